//! The event of a canceller, and its handle for waits.

pub(crate) use super::handle::Event;

use super::super::Canceller;
use std::{
    io,
    os::windows::io::{AsHandle, BorrowedHandle},
};

/// A new event, not set.
pub(crate) fn cancel_event() -> io::Result<Event> {
    Event::manual_reset()
}

impl AsHandle for Canceller {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.event().as_handle()
    }
}
