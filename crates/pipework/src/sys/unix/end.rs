//! The kinds of ends that there are on Unix.

#[cfg(feature = "remote")]
use super::remote::RemoteEnd;
use super::{
    super::{Instance, end::PipeEnd},
    connection::{Connection, rings::Shape},
    unix_socket::{SocketEnd, SocketListener},
};
use crate::{
    error::{PipeErrorKind, fail},
    message::MessageBatch,
    options::{PipeEnd as Side, PipeInfo, PipeMode},
};
use std::{
    io::{self, IoSlice, IoSliceMut},
    os::{fd::BorrowedFd, unix::net::UnixStream},
    sync::Arc,
};

/// An end of a pipe.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// One connection of a named pipe.
    Connection(Arc<Connection>),
    /// Whatever connection an instance has at the time of a call.
    Instance(Instance),
    /// A plain socket.
    Socket(Arc<SocketEnd>),
    /// A remote pipe.
    #[cfg(feature = "remote")]
    Remote(Arc<RemoteEnd>),
}

impl End {
    /// The end that stays with its connection, or the instance.
    pub(crate) fn kind(&self) -> Result<&dyn PipeEnd, &Instance> {
        match self {
            End::Connection(connection) => Ok(&**connection),
            End::Instance(instance) => Err(instance),
            End::Socket(socket) => Ok(&**socket),
            #[cfg(feature = "remote")]
            End::Remote(remote) => Ok(&**remote),
        }
    }

    pub(crate) fn set_spin(&self, spins: bool) -> io::Result<()> {
        self.current()?.set_spin(spins);
        Ok(())
    }

    pub(crate) fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.current()?.try_read(&mut [IoSliceMut::new(buf)])
    }

    pub(crate) fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
        self.current()?.try_write(&[IoSlice::new(buf)])
    }

    pub(crate) fn try_read_messages(&self, batch: &mut MessageBatch) -> io::Result<usize> {
        batch.clear();
        self.current()?.try_read_messages(batch)
    }

    pub(crate) fn try_write_messages(&self, messages: &[IoSlice<'_>]) -> io::Result<usize> {
        self.current()?.try_write_messages(messages)
    }

    pub(crate) fn read_ready_fd(&self) -> io::Result<BorrowedFd<'_>> {
        self.kind().map_err(|_| clone_first())?.read_ready_fd()
    }

    pub(crate) fn write_ready_fd(&self) -> io::Result<BorrowedFd<'_>> {
        self.kind().map_err(|_| clone_first())?.write_ready_fd()
    }

    /// The socket of an end that is a plain one and has no other handle.
    pub(crate) fn into_socket(self) -> Result<UnixStream, End> {
        match self {
            End::Socket(socket) => Arc::try_unwrap(socket)
                .and_then(|socket| socket.into_socket().map_err(Arc::new))
                .map_err(End::Socket),
            other => Err(other),
        }
    }
}

impl SocketListener {
    /// Takes a client if one is queued.
    pub(crate) fn try_accept(&self) -> io::Result<Option<End>> {
        Ok(self.accept_queued()?.map(|client| End::Socket(Arc::new(client))))
    }
}

impl Shape {
    /// The same, in public words.
    pub(super) fn info(&self, end: Side) -> PipeInfo {
        PipeInfo {
            mode: if self.messages { PipeMode::Message } else { PipeMode::Byte },
            end,
            max_instances: self.max_instances.into(),
            out_buffer_size: self.outbound.unwrap_or(0),
            in_buffer_size: self.inbound.unwrap_or(0),
        }
    }
}

fn clone_first() -> io::Error {
    fail(
        PipeErrorKind::Unsupported,
        "an instance changes its connection: ask a clone of the stream, which stays with one",
    )
}
