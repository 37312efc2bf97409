//! The same pipes, async, in a tokio runtime.
//!
//! A task tries; if there is nothing for it, it waits in the reactor of its runtime at the connection's own socket. No
//! thread of the runtime ever waits here.

mod anonymous;
mod create_open;
pub(super) mod delay;
pub(super) mod reactor;
pub(super) mod shared_timer;
pub(super) mod sweep;

pub(crate) use super::client::task::connect;
pub(crate) use super::connection::task::TaskWait;
pub(crate) use super::server::accepting::Accepting;
pub(crate) use anonymous::{AsyncAnonRead, AsyncAnonWrite};
pub(crate) use create_open::{create, create_with_attributes, open, open_with_attributes};
pub(crate) use delay::Delay;
pub(crate) use reactor::Reactor;
