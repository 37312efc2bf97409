//! A connected end, whatever it consists of.

use super::{
    super::settings::Settings, connection::Connection, errors, instance::Instance, peer::Peer,
    pipe_end::PipeEnd,
};
use crate::{
    error::PipeErrorKind,
    message::{MessageRead, Peek},
    options::{PipeInfo, PipeMode},
};
use std::{
    io::{self, IoSlice},
    ops::Deref,
    sync::Arc,
};

/// An end of a pipe.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// One connection.
    Connection(Arc<Connection>),
    /// The connection that an instance has at the time of a call.
    Instance(Instance),
}

/// The connection that one call uses.
#[derive(Debug)]
pub(crate) enum Current<'a> {
    Borrowed(&'a dyn PipeEnd),
    Shared(Arc<dyn PipeEnd>),
}

impl<'a> Deref for Current<'a> {
    type Target = dyn PipeEnd + 'a;

    fn deref(&self) -> &Self::Target {
        match self {
            Current::Borrowed(end) => *end,
            Current::Shared(end) => &**end,
        }
    }
}

impl End {
    pub(crate) fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.current()?.read(buf)
    }

    pub(crate) fn write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.current()?.write(bufs)
    }

    pub(crate) fn read_message(&self, len_max: usize) -> io::Result<Option<Vec<u8>>> {
        self.current()?.read_message(len_max)
    }

    pub(crate) fn read_message_into(&self, buf: &mut [u8]) -> io::Result<MessageRead> {
        self.current()?.read_message_into(buf)
    }

    pub(crate) fn write_message(&self, message: &[u8]) -> io::Result<()> {
        self.current()?.write_message(message)
    }

    pub(crate) fn transact(&self, request: &[u8], len_max: usize) -> io::Result<Vec<u8>> {
        self.current()?.transact(request, len_max)
    }

    pub(crate) fn peek(&self, buf: &mut [u8]) -> io::Result<Peek> {
        let peeked = self.current().and_then(|current| current.peek(buf));
        match (self, peeked) {
            // Rule M4: an instance without a client is a bad pipe.
            (End::Instance(_), Err(error)) if is_without_client(&error) => Err(errors::no_client()),
            (_, peeked) => peeked,
        }
    }

    pub(crate) fn drain(&self) -> io::Result<()> {
        self.current()?.drain()
    }

    pub(crate) fn shutdown_write(&self) -> io::Result<()> {
        match self {
            // With a client or without one.
            End::Instance(_) => Err(errors::no_half_close()),
            End::Connection(_) => self.current()?.shutdown_write(),
        }
    }

    pub(crate) fn set_read_mode(&self, mode: PipeMode) -> io::Result<()> {
        match self {
            End::Instance(instance) => instance.set_read_mode(mode),
            End::Connection(_) => self.current()?.set_read_mode(mode),
        }
    }

    pub(crate) fn info(&self) -> io::Result<PipeInfo> {
        match self {
            End::Instance(instance) => instance.info(),
            End::Connection(_) => self.current()?.info(),
        }
    }

    pub(crate) fn peer(&self) -> io::Result<Peer> {
        self.current()?.peer()
    }

    pub(crate) fn try_clone(&self) -> io::Result<End> {
        // A clone belongs to one generation.
        self.connection().map(End::Connection)
    }

    pub(crate) fn settings(&self) -> &Settings {
        match self {
            End::Connection(connection) => connection.options(),
            End::Instance(instance) => instance.settings(),
        }
    }

    /// The connection that a call made now uses.
    pub(crate) fn current(&self) -> io::Result<Current<'_>> {
        match self {
            End::Connection(connection) => Ok(Current::Borrowed(&**connection)),
            End::Instance(instance) => Ok(Current::Shared(instance.connection_now()?)),
        }
    }

    pub(super) fn connection(&self) -> io::Result<Arc<Connection>> {
        match self {
            End::Connection(connection) => Ok(Arc::clone(connection)),
            End::Instance(instance) => instance.connection_now(),
        }
    }
}

fn is_without_client(error: &io::Error) -> bool {
    matches!(PipeErrorKind::of(error), Some(PipeErrorKind::Listening | PipeErrorKind::NotConnected))
}
