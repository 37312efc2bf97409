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
    fs::{AtFlags, CWD, FlockOperation, Mode, OFlags},
    io::Errno,
};
use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Held by a server that creates or cleans; never by a client.
#[derive(Debug)]
pub(crate) struct Lock {
    file: OwnedFd,
}

/// How long a creator waits for another: much longer than any creation takes.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

impl Lock {
    /// The lock of everything in `name_dir`, or of the one directory in it that is ours.
    pub(crate) fn open(dir: impl AsFd, path: &Path) -> io::Result<Lock> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(dir, LOCK, flags, Mode::RUSR | Mode::WUSR | os::SPARED)
            .map_err(|error| context(format!("opening the lock of {}", path.display()), error))?;
        Ok(Lock { file })
    }

    /// The lock of a path, by a file beside it that is gone again when no process needs it.
    pub(crate) fn beside(path: &Path) -> io::Result<PathLock> {
        let mut leaf = std::ffi::OsString::from(".");
        leaf.push(path.file_name().unwrap_or_default());
        leaf.push(LOCK);
        let path = path.with_file_name(leaf);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        loop {
            let file = rustix::fs::openat(CWD, &path, flags, Mode::RUSR | Mode::WUSR)
                .map_err(|error| refused(&path, error))?;
            let lock = Lock { file }.take()?;
            // Its last holder removed it while we waited? Then it locks nothing any more.
            let mine = rustix::fs::fstat(&lock.file)?;
            let there = rustix::fs::statat(CWD, &path, AtFlags::SYMLINK_NOFOLLOW);
            if there.is_ok_and(|there| identity(&there) == identity(&mine)) {
                return Ok(PathLock { path, _lock: lock });
            }
        }
    }

    /// Takes it if it is free.
    pub(crate) fn try_take(&self) -> io::Result<bool> {
        match rustix::fs::flock(&self.file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK | Errno::INTR) => Ok(false),
            Err(error) => Err(context("locking the pipe's directory", error)),
        }
    }

    /// Takes it, waiting for other creators: they hold it for microseconds, unless they were stopped.
    pub(crate) fn take(self) -> io::Result<Lock> {
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
    path: PathBuf,
    _lock: Lock,
}

impl Drop for PathLock {
    fn drop(&mut self) {
        // While it is still held, so that no other process's file is removed.
        rustix::fs::unlinkat(CWD, &self.path, AtFlags::empty()).ok();
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Said aloud, since a forked child may still hold the descriptor.
        rustix::fs::flock(&self.file, FlockOperation::Unlock).ok();
    }
}
