//! What a canceller is made of here, and how it is waited for.

pub(crate) use super::handle::Event;

use super::super::Canceller;
use std::{
    io,
    os::windows::io::{AsHandle, BorrowedHandle},
};

/// A fresh one, not set.
pub(crate) fn cancel_event() -> io::Result<Event> {
    Event::lasting()
}

impl AsHandle for Canceller {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.event().as_handle()
    }
}
