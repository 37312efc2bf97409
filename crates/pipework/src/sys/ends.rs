//! What instances do alike on every system, over the few things that each backend tells of its own.

use super::{End, Instance, Limit};
use std::time::Duration;

impl Instance {
    /// Whatever connection the instance has at the time of a call.
    pub(crate) fn end(&self) -> End {
        End::Instance(self.clone())
    }

    /// The connection that the instance has now, for good.
    pub(crate) fn into_end(self) -> End {
        match self.connection_now() {
            Ok(connection) => End::Connection(connection),
            Err(_) => End::Instance(self),
        }
    }

    /// Whether a client that has left wrote something that nobody has read.
    pub(crate) fn left_bytes(&self) -> bool {
        let peeked = self.connection_now().and_then(|connection| connection.peek(&mut []));
        peeked.is_ok_and(|peek| peek.available > 0)
    }

    /// How long a `connect` that begins now may wait.
    pub(crate) fn connect_limit(&self, timeout: Option<Duration>) -> Limit {
        Limit::new(timeout, self.settings().canceller())
    }
}
