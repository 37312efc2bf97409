//! What ends and instances do alike on every system, over the few things that each backend tells of its own.

use super::{End, Instance, Limit};
use crate::message::MessageRead;
use std::{io, time::Duration};

impl End {
    pub(crate) fn read_message(&self, len_max: usize) -> io::Result<Option<Vec<u8>>> {
        self.connection()?.read_message(len_max)
    }

    pub(crate) fn read_message_into(&self, buf: &mut [u8]) -> io::Result<MessageRead> {
        self.connection()?.read_message_into(buf)
    }

    pub(crate) fn transact(&self, request: &[u8], len_max: usize) -> io::Result<Vec<u8>> {
        self.connection()?.transact(request, len_max)
    }
}

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
