//! The same pipes for tasks of a tokio runtime.
//!
//! A task tries; if there is nothing for it, an operation is begun whose end wakes it: a read of nothing, which ends when
//! something can be read, or the write of what had no room. The ends of operations are told by threads of the system's own
//! pool, which wake tasks and do nothing else. No thread of the runtime ever waits here.

mod accepting;
mod anonymous;
mod aside;
mod bell;
mod completion;
mod connecting;
mod end;
mod reading;
mod tasks;
mod writing;

pub(crate) use accepting::{Accepting, create, create_with_attributes};
pub(crate) use anonymous::{AsyncAnonRead, AsyncAnonWrite};
pub(crate) use connecting::{connect, open, open_with_attributes};
pub(crate) use end::AsyncEnd;

use super::{super::Limit, connection::Connection};
use crate::error::context;
use ::tokio::runtime::Handle;
use reading::Reading;
use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tasks::Tasks;
use writing::Writing;

/// How often a poll looks at most before it lets other tasks run.
const LOOKS_MAX: usize = 3;

/// What a connection has for tasks.
#[derive(Debug, Default)]
pub(super) struct State {
    readers: Arc<Tasks>,
    reading: Mutex<Reading>,
    writers: Arc<Tasks>,
    writing: Mutex<Writing>,
}

impl Connection {
    /// Wakes the tasks that wait here, to look again.
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

/// The limit of a call that may not wait.
fn at_once() -> Limit {
    Limit::new(Some(Duration::ZERO), None)
}

/// Waiting itself would work without a runtime, here and nowhere else.
fn check_runtime() -> io::Result<()> {
    Handle::try_current()
        .map(drop)
        .map_err(|error| context("waiting in a task needs a tokio runtime", io::Error::other(error)))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a poll leaves in it is whole at every step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
