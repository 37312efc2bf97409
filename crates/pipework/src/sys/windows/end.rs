//! A connected end, whatever it is made of.

use super::{
    super::settings::Settings,
    connection::{self, Connection},
    facts,
    instance::Instance,
    peer::Peer,
};
use crate::{
    error::{PipeErrorKind, fail},
    message::{MessageRead, Peek},
    options::{PipeInfo, PipeMode},
};
use std::{
    io::{self, IoSlice},
    sync::Arc,
};

/// An end of a pipe.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// One connection.
    Connection(Arc<Connection>),
    /// Whatever connection an instance has at the time of a call.
    Instance(Instance),
}

impl End {
    pub(crate) fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            End::Connection(connection) => connection.read(buf),
            End::Instance(instance) => instance.connection_now()?.read(buf),
        }
    }

    pub(crate) fn write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            End::Connection(connection) => connection.write(bufs),
            End::Instance(instance) => instance.connection_now()?.write(bufs),
        }
    }

    pub(crate) fn read_message(&self, len_max: usize) -> io::Result<Option<Vec<u8>>> {
        self.connection()?.read_message(len_max)
    }

    pub(crate) fn read_message_into(&self, buf: &mut [u8]) -> io::Result<MessageRead> {
        self.connection()?.read_message_into(buf)
    }

    pub(crate) fn transact(&self, request: &[u8], len_max: usize) -> io::Result<Vec<u8>> {
        self.connection()?.transact(request, len_max)
    }

    pub(crate) fn write_message(&self, message: &[u8]) -> io::Result<()> {
        self.connection()?.write_message(message)
    }

    pub(crate) fn peek(&self, buf: &mut [u8]) -> io::Result<Peek> {
        match self {
            End::Connection(connection) => connection.peek(buf),
            // Rule M4: without a client there is no connection that could be disconnected.
            End::Instance(instance) => match instance.connection_now().map(|connection| connection.peek(buf))
            {
                Ok(Err(error)) if error == PipeErrorKind::NotConnected => Err(no_client_to_peek_at()),
                Ok(outcome) => outcome,
                Err(_) => Err(no_client_to_peek_at()),
            },
        }
    }

    pub(crate) fn drain(&self) -> io::Result<()> {
        self.connection()?.drain_written()
    }

    pub(crate) fn shutdown_write(&self) -> io::Result<()> {
        Err(fail(
            PipeErrorKind::Unsupported,
            "one direction of a named pipe can't be ended by itself; say in the protocol that nothing more comes",
        ))
    }

    pub(crate) fn set_read_mode(&self, mode: PipeMode) -> io::Result<()> {
        match self {
            End::Connection(connection) => connection.set_read_mode(mode),
            End::Instance(instance) => {
                connection::switch(instance.pipe(), instance.settings(), mode, instance.has_messages())
            }
        }
    }

    pub(crate) fn info(&self) -> io::Result<PipeInfo> {
        match self {
            End::Connection(connection) => connection.info(),
            End::Instance(instance) => facts::info(instance.handle()),
        }
    }

    pub(crate) fn peer(&self) -> io::Result<Peer> {
        self.connection()?.peer()
    }

    pub(crate) fn try_clone(&self) -> io::Result<End> {
        // A clone belongs to one generation.
        self.connection().map(End::Connection)
    }

    pub(crate) fn connection(&self) -> io::Result<Arc<Connection>> {
        match self {
            End::Connection(connection) => Ok(Arc::clone(connection)),
            End::Instance(instance) => instance.connection_now(),
        }
    }

    pub(crate) fn settings(&self) -> &Settings {
        match self {
            End::Connection(connection) => &connection.settings,
            End::Instance(instance) => instance.settings(),
        }
    }
}

fn no_client_to_peek_at() -> io::Error {
    fail(PipeErrorKind::BadPipe, "the instance has no client to peek at")
}
