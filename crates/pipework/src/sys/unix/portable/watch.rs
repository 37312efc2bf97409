//! Waiting for a change in directories by polling, where the system does not report changes.

use super::super::poll;
use crate::{model::dir_format::EntryName, sys::WaitLimit};
use std::{
    io,
    os::fd::BorrowedFd,
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

/// How long to sleep before the second look; from then on twice as long each time.
const PAUSE_MICROSECONDS_MIN: u32 = 1_000;
/// How long to sleep at most between two looks: what a caller waits too long in the worst case.
const PAUSE_MICROSECONDS_MAX: u32 = 10_000;

/// The event that ended a wait.
#[derive(Debug)]
pub(in crate::sys::unix) enum Change {
    /// These instances have begun to listen; never reported here.
    #[expect(dead_code, reason = "the systems that report changes have it")]
    Instances(Vec<EntryName>),
    /// Just time: look at everything.
    Other,
}

/// Lets a caller look for new names, for names that vanish, and for changed numbers of instances, often at first and
/// less often later.
#[derive(Debug)]
pub(in crate::sys::unix) struct Watch {
    /// How long the next sleep lasts, in microseconds.
    pause: AtomicU32,
}

impl Watch {
    pub(in crate::sys::unix) fn for_instances() -> Watch {
        Watch { pause: AtomicU32::new(PAUSE_MICROSECONDS_MIN) }
    }

    /// The same: what is waited for makes no difference here.
    pub(in crate::sys::unix) fn for_places() -> Watch {
        Watch::for_instances()
    }

    /// Adds a directory; here the caller's next look finds what changed in it.
    pub(in crate::sys::unix) fn add(&mut self, _: &Path) {}

    /// Waits for `limit`, or for a short time.
    pub(in crate::sys::unix) fn wait(&self, limit: &WaitLimit) -> io::Result<Change> {
        poll::wait(&[], limit, Some(self.pause()))?;
        Ok(Change::Other)
    }

    /// The changes, without waiting: always unknown.
    #[cfg(feature = "tokio")]
    pub(in crate::sys::unix) fn changes(&self) -> Change {
        Change::Other
    }

    /// How long to wait before the next look.
    pub(in crate::sys::unix) fn pause(&self) -> Duration {
        let pause = self.pause.load(Ordering::Relaxed);
        self.pause.store((pause * 2).min(PAUSE_MICROSECONDS_MAX), Ordering::Relaxed);
        Duration::from_micros(pause.into())
    }

    /// A descriptor that is readable after a change; none, since the system reports no changes.
    pub(in crate::sys::unix) fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::Canceller;

    #[test]
    fn pauses_grow_to_a_bound() {
        let mut watch = Watch::for_instances();
        watch.add(Path::new("/"));
        assert!(watch.fd().is_none());
        let mut pauses = Vec::new();
        for _ in 0..6 {
            pauses.push(watch.pause.load(Ordering::Relaxed));
            watch.wait(&WaitLimit::default()).unwrap();
        }
        assert_eq!(pauses, [1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
    }

    #[test]
    fn a_canceller_and_a_deadline_end_a_pause() {
        let watch = Watch { pause: AtomicU32::new(u32::MAX / 2) };
        let canceller = Canceller::new().unwrap();
        canceller.cancel();
        watch.wait(&WaitLimit::new(None, Some(canceller))).unwrap();
        watch.pause.store(u32::MAX / 2, Ordering::Relaxed);
        watch.wait(&WaitLimit::new(Some(Duration::from_millis(1)), None)).unwrap();
    }
}
