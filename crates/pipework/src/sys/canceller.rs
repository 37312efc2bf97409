//! Ending waits: an event that is never taken back.

use super::system::{Event, cancel_event};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// A token that many waits share.
#[derive(Clone, Debug)]
pub(crate) struct Canceller {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    cancelled: AtomicBool,
    event: Event,
}

impl Canceller {
    pub(crate) fn new() -> io::Result<Canceller> {
        let event = cancel_event()?;
        Ok(Canceller { shared: Arc::new(Shared { cancelled: AtomicBool::new(false), event }) })
    }

    pub(crate) fn cancel(&self) {
        // Release: a thread that sees the cancellation also sees all that was done before it.
        self.shared.cancelled.store(true, Ordering::Release);
        self.shared.event.set();
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.shared.cancelled.load(Ordering::Acquire)
    }

    /// The event that a backend waits for beside its own.
    pub(super) fn event(&self) -> &Event {
        &self.shared.event
    }
}
