//! Waiting for a change in directories.

use super::super::poll;
use crate::{
    model::dir_format::{EntryName, Taking},
    sys::WaitLimit,
};
use rustix::{
    event::PollFlags,
    fs::inotify::{self, CreateFlags, WatchFlags},
    io::Errno,
};
use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

/// The system lets a user have few of them (128 by default), and other programs of the user need them too.
const WATCHES_MAX: usize = 4;
/// How long to sleep at most between two looks where the kernel reports changes: it does not report a killed
/// process.
const PAUSE_WATCHED: Duration = Duration::from_millis(200);
/// How long to sleep where it does not.
const PAUSE_UNWATCHED: Duration = Duration::from_millis(5);

static WATCHES: AtomicUsize = AtomicUsize::new(0);

/// The event that ended a wait.
#[derive(Debug)]
pub(in crate::sys::unix) enum Change {
    /// These instances have begun to listen, and nothing else that matters happened.
    Instances(Vec<EntryName>),
    /// Something else, or just time: look at everything.
    Other,
}

/// Reports changes in some directories.
#[derive(Debug)]
pub(in crate::sys::unix) struct Watch {
    fd: Option<OwnedFd>,
    changes: WatchFlags,
}

impl Watch {
    /// Reports new names and new instances. Where no watch is available, it polls often.
    pub(in crate::sys::unix) fn for_instances() -> Watch {
        Watch::new(WatchFlags::CREATE | WatchFlags::MOVED_TO)
    }

    /// Reports freed instance slots: numbers of instances that change, and server processes that exit.
    pub(in crate::sys::unix) fn for_places() -> Watch {
        Watch::new(WatchFlags::ATTRIB | WatchFlags::DELETE)
    }

    fn new(changes: WatchFlags) -> Watch {
        let changes = changes | WatchFlags::DELETE_SELF | WatchFlags::ONLYDIR;
        if WATCHES.fetch_add(1, Ordering::Relaxed) < WATCHES_MAX
            && let Ok(fd) = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
        {
            return Watch { fd: Some(fd), changes };
        }
        WATCHES.fetch_sub(1, Ordering::Relaxed);
        Watch { fd: None, changes }
    }

    /// Adds a directory; the caller looks at it after this, not before. Once is enough, twice is harmless.
    pub(in crate::sys::unix) fn add(&mut self, directory: &Path) {
        let Some(fd) = &self.fd else { return };
        match inotify::add_watch(fd, directory, self.changes) {
            // A directory that is absent or not accessible has no changes to report.
            Ok(_) | Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => {}
            Err(_) => self.drop_watch(),
        }
    }

    /// Waits for a change that matters, for `limit`, or for a short time.
    pub(in crate::sys::unix) fn wait(&self, limit: &WaitLimit) -> io::Result<Change> {
        let Some(fd) = &self.fd else {
            poll::wait(&[], limit, Some(PAUSE_UNWATCHED))?;
            return Ok(Change::Other);
        };
        let begun = Instant::now();
        while let Some(left) = PAUSE_WATCHED.checked_sub(begun.elapsed()) {
            if !poll::wait(&[(fd.as_fd(), PollFlags::IN)], limit, Some(left))? {
                break;
            }
            match read_changes(fd) {
                Change::Instances(leaves) if leaves.is_empty() => {}
                change => return Ok(change),
            }
        }
        Ok(Change::Other)
    }

    /// The changes since the last look, without waiting; no instances, if nothing that matters happened.
    #[cfg(feature = "tokio")]
    pub(in crate::sys::unix) fn changes(&self) -> Change {
        self.fd.as_ref().map_or(Change::Other, read_changes)
    }

    /// How long to wait at most before a look at everything.
    #[cfg(feature = "tokio")]
    pub(in crate::sys::unix) fn pause(&self) -> Duration {
        if self.fd.is_some() { PAUSE_WATCHED } else { PAUSE_UNWATCHED }
    }

    /// A descriptor that is readable after a change; `None` where no watch is available.
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

/// The changes that the watch reports; no instances, if nothing that matters happened.
fn read_changes(fd: &OwnedFd) -> Change {
    let mut space = [MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(fd, &mut space);
    let (mut instances, mut is_other) = (Vec::new(), false);
    while let Ok(event) = events.next() {
        let leaf = event.file_name().and_then(|name| name.to_str().ok()).and_then(EntryName::decode);
        match leaf {
            // An instance that has just got its client; the next one has another name.
            Some(EntryName::Instance { taking: Taking::Full, .. }) => {}
            // Only a client that looks at everything enters it.
            Some(EntryName::Instance { taking: Taking::Queue, .. }) => is_other = true,
            Some(leaf @ EntryName::Instance { .. }) => instances.push(leaf),
            // Unfinished files: the watch reports them again when they are finished.
            Some(EntryName::Temporary(_) | EntryName::Claim(_)) => {}
            Some(EntryName::Server { .. }) | None => is_other = true,
        }
    }
    if is_other { Change::Other } else { Change::Instances(instances) }
}
