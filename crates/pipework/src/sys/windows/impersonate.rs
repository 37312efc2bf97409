//! Impersonation: running code with the rights of a server's client.

use super::{connection::Connection, end::End, thread_token::impersonate};
use crate::{
    error::{PipeErrorKind, fail},
    options::PipeEnd,
};
use std::io;

impl End {
    /// Runs `act` on this thread as the client (server ends only).
    pub(crate) fn as_client<T>(&self, act: impl FnOnce() -> T) -> io::Result<T> {
        self.connection()?.as_client(act)
    }
}

impl Connection {
    fn as_client<T>(&self, act: impl FnOnce() -> T) -> io::Result<T> {
        if self.side == PipeEnd::Client {
            let text = "only a server can impersonate its client; a client can't impersonate its server";
            return Err(fail(PipeErrorKind::Unsupported, text));
        }
        self.check_usable()?;
        impersonate(&self.pipe, act)
    }
}
