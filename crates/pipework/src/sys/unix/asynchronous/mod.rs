//! The same pipes for tasks of a tokio runtime.
//!
//! A task tries; if there is nothing for it, it waits in the reactor of its runtime at the connection's own socket. No
//! thread of the runtime ever waits here.

mod accepting;
mod anonymous;
mod connecting;
mod making;
mod patience;
mod pause;
mod plain;
mod reactor;

pub(crate) use super::task::TaskWait;
pub(crate) use accepting::Accepting;
pub(crate) use anonymous::{AsyncAnonRead, AsyncAnonWrite};
pub(crate) use connecting::connect;
pub(crate) use making::{create, create_with_attributes, open, open_with_attributes};
pub(crate) use patience::Patience;
pub(crate) use pause::Pause;
pub(crate) use reactor::Reactor;
