//! The locks of creators: files in the directories of pipes, and beside the paths of plain sockets.

use super::{
    super::os,
    namespace::{identity, refused},
};
use crate::{
    error::{PipeErrorKind, context, fail},
    model::dir_format::LOCK,
};
use rustix::{
    fs::{AtFlags, FlockOperation, Mode, OFlags},
    io::Errno,
};
use std::{
    ffi::{OsStr, OsString},
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    time::{Duration, Instant},
};

/// Held by a server that creates or removes what is dead; never by a client.
#[derive(Debug)]
pub(crate) struct Lock {
    dir: OwnedFd,
    leaf: OsString,
    mode: Mode,
    file: OwnedFd,
}

/// Whether a creator waits for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LockWait {
    Waits,
    /// It fails with `WouldBlock` instead.
    OneTry,
}

impl LockWait {
    pub(crate) fn take(self, mut lock: Lock) -> io::Result<Lock> {
        match self {
            LockWait::Waits => lock.take(),
            LockWait::OneTry if lock.try_take()? => Ok(lock),
            LockWait::OneTry => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

/// How long a creator waits for another: much longer than any creation takes.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

impl Lock {
    /// The lock of everything in `name_dir`, or of the one directory in it that is ours.
    pub(crate) fn open(dir: impl AsFd, path: &Path) -> io::Result<Lock> {
        let dir = dir.as_fd().try_clone_to_owned()?;
        Lock::open_in(dir, LOCK.into(), Mode::RUSR | Mode::WUSR | os::SPARED)
            .map_err(|error| context(format!("opening the lock of {}", path.display()), error))
    }

    /// The lock of a path, by a file beside it that is gone again when no process needs it.
    pub(crate) fn beside(path: &Path, lock_wait: LockWait) -> io::Result<PathLock> {
        let mut leaf = OsString::from(".");
        leaf.push(path.file_name().unwrap_or_default());
        leaf.push(LOCK);
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | os::PATH_ONLY;
        let lock = rustix::fs::open(path.parent().unwrap_or(Path::new("/")), flags, Mode::empty())
            .and_then(|dir| Lock::open_in(dir, leaf, Mode::RUSR | Mode::WUSR))
            .map_err(|error| refused(path, error))?;
        Ok(PathLock { lock: lock_wait.take(lock)? })
    }

    fn open_in(dir: OwnedFd, leaf: OsString, mode: Mode) -> rustix::io::Result<Lock> {
        let file = open_file(&dir, &leaf, mode)?;
        Ok(Lock { dir, leaf, mode, file })
    }

    /// Takes it if it is free.
    pub(crate) fn try_take(&mut self) -> io::Result<bool> {
        loop {
            match rustix::fs::flock(&self.file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK | Errno::INTR) => return Ok(false),
                Err(error) => return Err(context("locking the pipe's directory", error)),
            }
            // Something removed the file, as its last holder may? Then it locks nothing any more.
            let mine = rustix::fs::fstat(&self.file)?;
            let there = rustix::fs::statat(&self.dir, &self.leaf, AtFlags::SYMLINK_NOFOLLOW);
            if there.is_ok_and(|there| identity(&there) == identity(&mine)) {
                return Ok(true);
            }
            self.file = open_file(&self.dir, &self.leaf, self.mode)
                .map_err(|error| context("opening the lock of the pipe's directory", error))?;
        }
    }

    /// Takes it, waiting for other creators: they hold it for microseconds, unless they were stopped.
    pub(crate) fn take(self) -> io::Result<Lock> {
        self.take_within(LOCK_TIMEOUT)
    }

    fn take_within(mut self, timeout: Duration) -> io::Result<Lock> {
        let begun = Instant::now();
        let mut pause = Duration::from_micros(20);
        while !self.try_take()? {
            if begun.elapsed() > timeout {
                return Err(fail(
                    PipeErrorKind::TimedOut,
                    "another process has held the lock of the pipe's directory for 10 s; is one stopped in `create`?",
                ));
            }
            pause_for(pause);
            pause = (pause * 2).min(Duration::from_millis(2));
        }
        Ok(self)
    }
}

fn open_file(dir: &OwnedFd, leaf: &OsStr, mode: Mode) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, leaf, flags, mode)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a file lock can't be waited for with a deadline, only tried again"
)]
fn pause_for(time: Duration) {
    std::thread::sleep(time);
}

/// A lock that lies beside the path it is for.
#[derive(Debug)]
pub(crate) struct PathLock {
    lock: Lock,
}

impl Drop for PathLock {
    fn drop(&mut self) {
        // While it is still held, so that no other process's file is removed.
        rustix::fs::unlinkat(&self.lock.dir, &self.lock.leaf, AtFlags::empty()).ok();
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Said aloud, since a forked child may still hold the descriptor.
        rustix::fs::flock(&self.file, FlockOperation::Unlock).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::FdFlags;
    use std::{fs, os::unix::fs::PermissionsExt, sync::mpsc, thread};
    use tempfile::TempDir;

    fn place() -> (TempDir, impl Fn() -> Lock) {
        let home = tempfile::tempdir().unwrap();
        let (path, dir) = (home.path().to_owned(), fs::File::open(home.path()).unwrap());
        (home, move || Lock::open(&dir, &path).unwrap())
    }

    #[test]
    fn a_lock_whose_file_was_removed_locks_the_next_file() {
        let (home, open) = place();
        let mut late = open();
        fs::remove_file(home.path().join(LOCK)).unwrap();
        let held = open().take().unwrap();
        assert!(!late.try_take().unwrap(), "two hold it");
        drop(held);
        assert!(late.try_take().unwrap());
        assert!(!open().try_take().unwrap(), "two hold it");
    }

    #[test]
    fn one_try_waits_for_no_other_creator() {
        let (_home, open) = place();
        let held = LockWait::OneTry.take(open()).unwrap();
        let error = LockWait::OneTry.take(open()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(held);
        LockWait::Waits.take(open()).unwrap();
    }

    #[test]
    fn a_creator_waits_until_its_time_is_over() {
        let (_home, open) = place();
        let held = open().take().unwrap();
        let error = open().take_within(Duration::from_millis(5)).unwrap_err();
        assert!(error == PipeErrorKind::TimedOut, "{error}");
        let (begins, begun) = mpsc::channel();
        let (waiting, mut looks) = (open(), open());
        let waiter = thread::spawn(move || {
            begins.send(()).unwrap();
            waiting.take()
        });
        begun.recv().unwrap();
        for _ in 0..10 {
            assert!(!looks.try_take().unwrap());
            pause_for(Duration::from_millis(1));
        }
        drop(held);
        waiter.join().unwrap().unwrap();
    }

    #[test]
    fn a_lock_is_free_although_a_child_still_has_its_descriptor() {
        let (_home, open) = place();
        let held = open().take().unwrap();
        let _of_a_child = held.file.try_clone().unwrap();
        drop(held);
        assert!(open().try_take().unwrap());
    }

    #[test]
    fn a_lock_is_a_file_of_its_owner_alone() {
        let (home, open) = place();
        let lock = open();
        let mode = |path: &Path| path.symlink_metadata().unwrap().permissions().mode() & 0o7777;
        let expected = Mode::RUSR | Mode::WUSR | os::SPARED;
        assert_eq!(mode(&home.path().join(LOCK)), expected.bits());
        let is_closed = |fd: &OwnedFd| rustix::io::fcntl_getfd(fd).unwrap().contains(FdFlags::CLOEXEC);
        assert!(is_closed(&lock.file) && is_closed(&lock.dir));
    }

    #[test]
    fn a_link_is_no_lock() {
        let home = tempfile::tempdir().unwrap();
        let dir = fs::File::open(home.path()).unwrap();
        std::os::unix::fs::symlink("elsewhere", home.path().join(LOCK)).unwrap();
        Lock::open(&dir, home.path()).unwrap_err();
        assert!(!home.path().join("elsewhere").exists());
    }

    #[test]
    fn a_lock_beside_a_path_goes_with_its_holder() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("socket");
        let held = Lock::beside(&path, LockWait::OneTry).unwrap();
        let file = home.path().join(".socket.lock");
        assert_eq!(file.symlink_metadata().unwrap().permissions().mode() & 0o7777, 0o600);
        assert!(rustix::io::fcntl_getfd(&held.lock.dir).unwrap().contains(FdFlags::CLOEXEC));
        let error = Lock::beside(&path, LockWait::OneTry).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert!(file.exists(), "it is still held");
        drop(held);
        assert!(!file.exists());
    }
}
