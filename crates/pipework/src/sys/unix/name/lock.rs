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
    pub(crate) fn take(mut self) -> io::Result<Lock> {
        let begun = Instant::now();
        let mut pause = Duration::from_micros(20);
        while !self.try_take()? {
            if begun.elapsed() > LOCK_TIMEOUT {
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
    use super::Lock;
    use std::fs;

    #[test]
    fn a_lock_whose_file_was_removed_locks_the_next_file() {
        let path = std::env::temp_dir().join(format!("pipework-lock-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        let dir = fs::File::open(&path).unwrap();
        let open = || Lock::open(&dir, &path).unwrap();
        let mut late = open();
        fs::remove_file(path.join(".lock")).unwrap();
        let held = open().take().unwrap();
        assert!(!late.try_take().unwrap(), "two hold it");
        drop(held);
        assert!(late.try_take().unwrap());
        assert!(!open().try_take().unwrap(), "two hold it");
        fs::remove_dir_all(&path).unwrap();
    }
}
