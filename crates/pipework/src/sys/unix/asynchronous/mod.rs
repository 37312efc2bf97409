//! The same pipes for tasks of a tokio runtime.
//!
//! A task tries; if there is nothing for it, it waits in the reactor of its runtime at the connection's own socket. No
//! thread of the runtime ever waits here.

mod accepting;
mod anonymous;
mod connecting;
mod connection;
mod end;
mod making;
mod patience;
mod pause;
mod plain;
mod reactor;
mod reading;
pub(super) mod tasks;
mod writing;

pub(crate) use accepting::Accepting;
pub(crate) use anonymous::{AsyncAnonRead, AsyncAnonWrite};
pub(crate) use connecting::connect;
pub(crate) use end::AsyncEnd;
pub(crate) use making::{create, create_with_attributes, open, open_with_attributes};
pub(crate) use reactor::Reactor;

use super::super::Limit;
use std::time::Duration;

/// The limit of a call that may not wait.
fn at_once() -> Limit {
    Limit::new(Some(Duration::ZERO), None)
}
