//! The event of a canceller, and how it is polled.

pub(crate) use super::os::Event;

use super::super::Canceller;
use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

/// A fresh one, not set.
pub(crate) fn cancel_event() -> io::Result<Event> {
    Event::new()
}

impl Canceller {
    pub(super) fn is_same(&self, other: &Canceller) -> bool {
        std::ptr::eq(self.event(), other.event())
    }
}

impl AsFd for Canceller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event().as_fd()
    }
}
