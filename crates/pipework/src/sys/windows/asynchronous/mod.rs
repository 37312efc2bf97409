//! The async surface over the same pipes, in a tokio runtime.
//!
//! A task tries. If nothing is there, it begins an operation whose completion wakes it: a read of length zero, which ends
//! when something can be read, or the write that had no room. Threads of the system's pool receive the completions; they
//! wake tasks and do nothing else. No thread of the runtime ever waits here.

mod accepting;
mod anonymous;
mod blocking_call;
mod completion;
mod connecting;
mod pool_wait;
mod reading;
mod writing;

pub(crate) use accepting::{Accepting, create, create_with_attributes};
pub(crate) use anonymous::{AsyncAnonRead, AsyncAnonWrite};
pub(crate) use connecting::{connect, open, open_with_attributes};

use super::connection::Connection;
use crate::{
    error::context,
    sys::waiters::{Waiter, Waiters},
};
use ::tokio::runtime::Handle;
use reading::Reading;
use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use writing::Writing;

/// What a task that waits at an end keeps between polls.
pub(crate) type TaskWait = Waiter;

/// How often one poll tries before it lets other tasks run.
const TRIES_MAX: usize = 3;

/// The state of a connection's async reads and writes.
#[derive(Debug, Default)]
pub(super) struct State {
    readers: Arc<Waiters>,
    reading: Mutex<Reading>,
    writers: Arc<Waiters>,
    writing: Mutex<Writing>,
}

impl Connection {
    /// Wakes all tasks that wait here, so that they try again.
    pub(super) fn wake_tasks(&self) {
        if let Some(state) = self.state.get() {
            state.readers.wake_all();
            state.writers.wake_all();
        }
    }

    fn state(&self) -> &State {
        self.state.get_or_init(Box::default)
    }
}

/// Waiting would work here without a runtime, but on no other system.
fn check_runtime() -> io::Result<()> {
    Handle::try_current()
        .map(drop)
        .map_err(|error| context("waiting in a task needs a tokio runtime", io::Error::other(error)))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A poll leaves it consistent at every step, so a panic elsewhere does no harm.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
