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
mod lock;
mod pending_write;
mod pool_wait;
mod read_watch;
mod reading;
mod runtime;
mod state;
mod writing;

pub(crate) use accepting::{Accepting, create, create_with_attributes};
pub(crate) use anonymous::{AsyncAnonRead, AsyncAnonWrite};
pub(crate) use connecting::{connect, open, open_with_attributes};
pub(super) use state::State;

use crate::sys::waiters::Waiter;

/// What a task that waits at an end keeps between polls.
pub(crate) type TaskWait = Waiter;

/// How often one poll tries before it lets other tasks run.
const TRIES_MAX: usize = 3;
