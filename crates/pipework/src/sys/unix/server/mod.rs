//! The server's side: instances, the sockets at which they listen, and accepting.

pub(super) mod accept_readiness;
#[cfg(feature = "tokio")]
pub(super) mod accepting;
pub(super) mod instance;
pub(super) mod listening_socket;
pub(super) mod registry;

use std::time::Duration;

/// How often a server that waits looks whether its name is still there: often enough for a person who waits, and no more
/// than a few microseconds of work each time.
pub(in crate::sys::unix) const NAME_CHECK_PERIOD: Duration = Duration::from_secs(2);
