//! The same pipes, async, in a tokio runtime.
//!
//! A task tries; if there is nothing for it, it waits in the reactor of its runtime at the connection's own socket. No
//! thread of the runtime ever waits here.

mod anonymous;
pub(super) mod delay;
mod making;
pub(super) mod reactor;

pub(crate) use super::client::connecting::connect;
pub(crate) use super::connection::spin_policy::SpinPolicy;
pub(crate) use super::connection::task::TaskWait;
pub(crate) use super::server::accepting::Accepting;
pub(crate) use anonymous::{AsyncAnonRead, AsyncAnonWrite};
pub(crate) use delay::Delay;
pub(crate) use making::{create, create_with_attributes, open, open_with_attributes};
pub(crate) use reactor::Reactor;
