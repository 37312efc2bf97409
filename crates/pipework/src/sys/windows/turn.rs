//! The lock of one direction of an end: one thread reads and one writes at a time, each with its own event.

use super::{
    super::Limit,
    handle::{Event, event_in, wait},
};
use std::{
    io,
    os::windows::io::AsHandle,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

/// The lock of one direction.
#[derive(Debug, Default)]
pub(super) struct Turn {
    queue: Mutex<Queue>,
    /// Wakes one thread that waits for the lock.
    released: OnceLock<Event>,
    /// The event of the holder's operation.
    operation: OnceLock<Event>,
}

#[derive(Debug, Default)]
struct Queue {
    is_taken: bool,
    waiting: u32,
}

impl Queue {
    fn take(&mut self) -> bool {
        !std::mem::replace(&mut self.is_taken, true)
    }
}

/// Holds the lock until it is dropped.
#[derive(Debug)]
pub(super) struct Taken<'a> {
    turn: &'a Turn,
}

impl Turn {
    /// Takes the lock; waits for it up to the limit.
    pub(super) fn take(&self, limit: &Limit) -> io::Result<Taken<'_>> {
        if self.queue().take() {
            return Ok(Taken { turn: self });
        }
        // Created before this thread counts as waiting, so a holder that sees it waiting finds the event.
        let released = event_in(&self.released, Event::auto_reset)?;
        loop {
            {
                let mut queue = self.queue();
                if queue.take() {
                    return Ok(Taken { turn: self });
                }
                queue.waiting += 1;
            }
            let woken = limit.check().and_then(|()| wait(released.as_handle(), limit));
            self.queue().waiting -= 1;
            woken?;
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Every change is a single step, so a panic elsewhere does no harm.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken<'_> {
    /// The event of the operation, which only the holder uses.
    pub(super) fn event(&self) -> io::Result<&Event> {
        event_in(&self.turn.operation, Event::manual_reset)
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let is_awaited = {
            let mut queue = self.turn.queue();
            queue.is_taken = false;
            queue.waiting > 0
        };
        if is_awaited && let Some(released) = self.turn.released.get() {
            released.set();
        }
    }
}
