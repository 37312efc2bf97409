//! What async reads keep between polls: the watch for something to read, and what it has taken.

use super::{
    super::pipe::Pipe,
    completion::{Ended, Operation},
};
use std::{sync::Arc, thread};

/// How often to yield while the completion of a cancelled operation is on its way.
const YIELDS_MAX: u32 = 100_000;

/// What is known of a connection's unread data.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// The read of length zero that ends when something can be read.
    pub(super) watch: Option<Watch>,
    /// A watch has ended, and no read was tried since.
    pub(super) is_signalled: bool,
    /// A watch has taken an empty message, which is the next one to return.
    pub(super) has_empty: bool,
    /// A transaction waits for its reply: no other task may read.
    pub(super) is_reserved: bool,
}

/// A pending read of length zero.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) operation: Arc<Operation>,
    /// Whether it was begun in message read mode, in which it takes an empty message.
    pub(super) takes_empty: bool,
    pub(super) pipe: Arc<Pipe>,
}

impl Reading {
    /// Takes note of how the watch ended, if it did.
    pub(super) fn notice_end(&mut self) {
        if let Some(watch) = &self.watch
            && let Some(ended) = watch.operation.ended()
        {
            let takes_empty = watch.takes_empty;
            self.watch = None;
            self.note_end(ended, takes_empty);
        }
    }

    pub(super) fn note_end(&mut self, ended: Ended, takes_empty: bool) {
        if takes_empty && ended.outcome().is_ok() {
            self.has_empty = true;
        } else {
            self.is_signalled = true;
        }
    }

    /// Ends the watch. The kernel is done with it afterwards; its completion comes from another thread a moment later. If
    /// that takes too long, the watch stays until the completion says whether it has taken an empty message.
    pub(super) fn cancel_watch(&mut self) {
        if let Some(watch) = &self.watch {
            watch.operation.cancel(&watch.pipe);
            let mut yields = 0..YIELDS_MAX;
            while watch.operation.ended().is_none() && yields.next().is_some() {
                thread::yield_now();
            }
        }
        self.notice_end();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if self.operation.ended().is_none() {
            self.operation.cancel(&self.pipe);
        }
    }
}
