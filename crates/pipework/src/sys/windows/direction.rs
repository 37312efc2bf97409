//! One direction of an end: its lock, the event that wakes a thread that waits for it, and the event of its operation.

use super::{
    super::{
        WaitLimit,
        direction_lock::{self, DirectionBackend, DirectionLock},
    },
    handle::{Event, event_in, wait},
};
use std::{io, os::windows::io::AsHandle, sync::OnceLock};

#[derive(Debug, Default)]
pub(super) struct Direction {
    lock: DirectionLock,
    /// Wakes one thread that waits for the lock.
    released: OnceLock<Event>,
    /// The event of the holder's operation.
    operation: OnceLock<Event>,
}

/// The right to read, or to write.
pub(super) type DirectionGuard<'a> = direction_lock::DirectionGuard<&'a Direction>;

impl Direction {
    /// Locks the direction; waits for that up to the limit.
    pub(super) fn lock(&self, limit: &WaitLimit) -> io::Result<DirectionGuard<'_>> {
        DirectionGuard::lock(self, limit)
    }

    /// Locks the direction if it is free.
    #[cfg(feature = "tokio")]
    pub(super) fn try_lock(&self) -> Option<DirectionGuard<'_>> {
        DirectionGuard::try_lock(self)
    }
}

impl DirectionBackend for &Direction {
    fn state(&self) -> &DirectionLock {
        &self.lock
    }

    fn prepare_to_park(&self) -> io::Result<()> {
        event_in(&self.released, Event::auto_reset).map(drop)
    }

    fn park(&self, limit: &WaitLimit) -> io::Result<()> {
        // The event stays set until a thread has waited for it, so a release before the wait is not missed.
        wait(event_in(&self.released, Event::auto_reset)?.as_handle(), limit)
    }

    fn unpark(&self) {
        if let Some(released) = self.released.get() {
            released.set();
        }
    }
}

impl<'a> DirectionGuard<'a> {
    /// The event of the operation, which only the holder uses.
    pub(super) fn event(&self) -> io::Result<&'a Event> {
        event_in(&self.direction().operation, Event::manual_reset)
    }
}
