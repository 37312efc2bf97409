//! Whose turn it is: of the threads at one end one reads and one writes at a time, each with an event of its own.

use super::{
    super::Limit,
    handle::{Event, event_in, wait},
};
use std::{
    io,
    os::windows::io::AsHandle,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

/// One direction's turn.
#[derive(Debug, Default)]
pub(super) struct Turn {
    queue: Mutex<Queue>,
    /// Tells one who waits that the turn was given back.
    given_back: OnceLock<Event>,
    /// Serves the operation of whose turn it is.
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

/// The turn is the holder's, until this is dropped.
#[derive(Debug)]
pub(super) struct Taken<'a> {
    turn: &'a Turn,
}

impl Turn {
    /// Takes the turn, waiting for it up to the limit.
    pub(super) fn take(&self, limit: &Limit) -> io::Result<Taken<'_>> {
        if self.queue().take() {
            return Ok(Taken { turn: self });
        }
        // Made before anybody is counted as waiting: who gives the turn back then finds it.
        let given_back = event_in(&self.given_back, Event::fleeting)?;
        loop {
            {
                let mut queue = self.queue();
                if queue.take() {
                    return Ok(Taken { turn: self });
                }
                queue.waiting += 1;
            }
            let woken = limit.check().and_then(|()| wait(given_back.as_handle(), limit));
            self.queue().waiting -= 1;
            woken?;
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Each change is one step, so a panic elsewhere leaves nothing half-done.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken<'_> {
    /// The event of the operation, which only the holder of the turn uses.
    pub(super) fn event(&self) -> io::Result<&Event> {
        event_in(&self.turn.operation, Event::lasting)
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let is_awaited = {
            let mut queue = self.turn.queue();
            queue.is_taken = false;
            queue.waiting > 0
        };
        if is_awaited && let Some(given_back) = self.turn.given_back.get() {
            given_back.set();
        }
    }
}
