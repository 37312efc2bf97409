//! Waiting for a change in directories.

use super::super::{super::Limit, poll};
use rustix::{
    event::PollFlags,
    fs::inotify::{self, CreateFlags, WatchFlags},
    io::Errno,
};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

/// The system lets a user have few of them (128 by default), and other programs of the user need them too.
const WATCHES_MAX: usize = 4;
/// How long to sleep at most between two looks, where changes are told: what is not told is a killed process.
const PAUSE_TOLD: Duration = Duration::from_millis(100);
/// How long to sleep where they are not.
const PAUSE_UNTOLD: Duration = Duration::from_millis(5);

static WATCHES: AtomicUsize = AtomicUsize::new(0);

/// Tells of new names, of names that vanish, and of changed numbers of instances, in some directories.
#[derive(Debug)]
pub(in crate::sys::unix) struct Watch {
    fd: Option<OwnedFd>,
}

impl Watch {
    /// Without a watch, if there can't be one, changes are looked for often.
    pub(in crate::sys::unix) fn new() -> Watch {
        if WATCHES.fetch_add(1, Ordering::Relaxed) < WATCHES_MAX
            && let Ok(fd) = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
        {
            return Watch { fd: Some(fd) };
        }
        WATCHES.fetch_sub(1, Ordering::Relaxed);
        Watch { fd: None }
    }

    /// Adds a directory; the caller looks at it after this, not before. Once is enough, twice is harmless.
    pub(in crate::sys::unix) fn add(&mut self, directory: &Path) {
        let changes = WatchFlags::CREATE
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE
            | WatchFlags::ATTRIB
            | WatchFlags::DELETE_SELF
            | WatchFlags::ONLYDIR;
        let Some(fd) = &self.fd else { return };
        match inotify::add_watch(fd, directory, changes) {
            // A directory that is not there, or not for us, has nothing to tell.
            Ok(_) | Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => {}
            Err(_) => self.drop_watch(),
        }
    }

    /// Waits for a change, for `limit`, or for a short time.
    pub(in crate::sys::unix) fn wait(&self, limit: &Limit) -> io::Result<()> {
        let Some(fd) = &self.fd else {
            poll::wait(&[], limit, Some(PAUSE_UNTOLD))?;
            return Ok(());
        };
        if poll::wait(&[(fd.as_fd(), PollFlags::IN)], limit, Some(PAUSE_TOLD))? {
            let mut events = [0; 4096];
            // What happened does not matter: the caller looks at everything.
            while rustix::io::read(fd, &mut events).is_ok_and(|len| len > 0) {}
        }
        Ok(())
    }

    /// A descriptor that is readable after a change; `None` where changes are not told.
    pub(in crate::sys::unix) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(AsFd::as_fd)
    }

    fn drop_watch(&mut self) {
        if self.fd.take().is_some() {
            WATCHES.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.drop_watch();
    }
}
