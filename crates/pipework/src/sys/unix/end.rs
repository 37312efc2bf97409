//! A connected end, whatever it is made of.

#[cfg(feature = "remote")]
use super::remote::RemoteEnd;
use super::{
    connection::Connection, instance::Instance, link::Shape, peer::Peer, plain::PlainEnd, settings::Settings,
};
use crate::{
    error::{PipeErrorKind, fail},
    message::{MessageRead, Peek},
    options::{PipeEnd, PipeInfo, PipeMode},
};
use std::{
    io::{self, IoSlice},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
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
    Plain(Arc<PlainEnd>),
    /// A pipe on another computer.
    #[cfg(feature = "remote")]
    Remote(Arc<RemoteEnd>),
}

impl End {
    pub(crate) fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            End::Connection(connection) => connection.read(buf),
            End::Instance(instance) => instance.connection_now()?.read(buf),
            End::Plain(plain) => plain.read(buf),
            #[cfg(feature = "remote")]
            End::Remote(remote) => remote.read(buf),
        }
    }

    pub(crate) fn write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            End::Connection(connection) => connection.write(bufs),
            End::Instance(instance) => instance.connection_now()?.write(bufs),
            End::Plain(plain) => plain.write(bufs),
            #[cfg(feature = "remote")]
            End::Remote(remote) => remote.write(bufs),
        }
    }

    pub(crate) fn set_spin(&self, spins: bool) -> io::Result<()> {
        match self {
            // The kernel waits there.
            End::Plain(_) => Ok(()),
            #[cfg(feature = "remote")]
            End::Remote(_) => Ok(()),
            _ => self.connection().map(|connection| connection.set_spin(spins)),
        }
    }

    pub(crate) fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            End::Plain(plain) => plain.try_read(buf),
            #[cfg(feature = "remote")]
            End::Remote(remote) => remote.read_now(&mut [io::IoSliceMut::new(buf)]),
            _ => self.connection()?.try_read(buf),
        }
    }

    pub(crate) fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
        match self {
            End::Plain(plain) => plain.try_write(buf),
            #[cfg(feature = "remote")]
            End::Remote(remote) => remote.write_now(&[IoSlice::new(buf)]),
            _ => self.connection()?.try_write(buf),
        }
    }

    pub(crate) fn read_message(&self, len_max: usize) -> io::Result<Option<Vec<u8>>> {
        match self {
            #[cfg(feature = "remote")]
            End::Remote(remote) => remote.read_message(len_max),
            _ => self.connection()?.read_message(len_max),
        }
    }

    pub(crate) fn read_message_into(&self, buf: &mut [u8]) -> io::Result<MessageRead> {
        match self {
            #[cfg(feature = "remote")]
            End::Remote(remote) => remote.read_message_into(buf),
            _ => self.connection()?.read_message_into(buf),
        }
    }

    pub(crate) fn write_message(&self, message: &[u8]) -> io::Result<()> {
        match self {
            #[cfg(feature = "remote")]
            End::Remote(remote) => remote.write_message(message),
            _ => self.connection()?.write_message(&[IoSlice::new(message)]),
        }
    }

    pub(crate) fn transact(&self, request: &[u8], len_max: usize) -> io::Result<Vec<u8>> {
        match self {
            #[cfg(feature = "remote")]
            End::Remote(remote) => remote.transact(request, len_max),
            _ => self.connection()?.transact(request, len_max),
        }
    }

    pub(crate) fn peek(&self, buf: &mut [u8]) -> io::Result<Peek> {
        match self {
            End::Connection(connection) => connection.peek(buf),
            End::Plain(plain) => plain.peek(buf),
            #[cfg(feature = "remote")]
            End::Remote(remote) => remote.peek(buf),
            // Rule M4.
            End::Instance(instance) => instance
                .connection_now()
                .map_err(|_| fail(PipeErrorKind::BadPipe, "the instance has no client to peek at"))?
                .peek(buf),
        }
    }

    pub(crate) fn drain(&self) -> io::Result<()> {
        match self {
            End::Plain(plain) => plain.drain_written(),
            #[cfg(feature = "remote")]
            End::Remote(remote) => remote.drain(),
            _ => self.connection()?.drain_written(),
        }
    }

    pub(crate) fn shutdown_write(&self) -> io::Result<()> {
        match self {
            End::Plain(plain) => plain.shutdown_write(),
            _ => Err(fail(
                PipeErrorKind::Unsupported,
                "one direction of a named pipe can't be ended by itself; say in the protocol that nothing more comes",
            )),
        }
    }

    pub(crate) fn set_read_mode(&self, mode: PipeMode) -> io::Result<()> {
        let has_messages = match self {
            End::Connection(connection) => connection.shape.messages,
            End::Instance(instance) => instance.shape().messages,
            End::Plain(_) => false,
            #[cfg(feature = "remote")]
            End::Remote(remote) => return remote.set_read_mode(mode),
        };
        self.settings().set_read_mode(mode, has_messages)
    }

    pub(crate) fn info(&self) -> io::Result<PipeInfo> {
        match self {
            End::Connection(connection) => Ok(connection.info()),
            End::Plain(plain) => plain.info(),
            #[cfg(feature = "remote")]
            End::Remote(remote) => remote.info(),
            End::Instance(instance) => Ok(instance.shape().info(PipeEnd::Server)),
        }
    }

    pub(crate) fn peer(&self) -> io::Result<Peer> {
        match self {
            End::Plain(plain) => Peer::of(plain.as_fd()),
            #[cfg(feature = "remote")]
            End::Remote(remote) => Ok(remote.peer()),
            _ => {
                let connection = self.connection()?;
                connection.greet(&connection.settings.read_limit())?;
                connection.peer()
            }
        }
    }

    /// The same, without a wait.
    #[cfg(feature = "tokio")]
    pub(super) fn peer_now(&self) -> io::Result<Peer> {
        match self {
            End::Plain(plain) => Peer::of(plain.as_fd()),
            #[cfg(feature = "remote")]
            End::Remote(remote) => Ok(remote.peer()),
            _ => self.connection()?.peer(),
        }
    }

    pub(crate) fn try_clone(&self) -> io::Result<End> {
        match self {
            End::Plain(plain) => Ok(End::Plain(Arc::clone(plain))),
            #[cfg(feature = "remote")]
            End::Remote(remote) => Ok(End::Remote(Arc::clone(remote))),
            // A clone belongs to one generation.
            _ => self.connection().map(End::Connection),
        }
    }

    pub(crate) fn read_ready_fd(&self) -> io::Result<BorrowedFd<'_>> {
        match self {
            End::Connection(connection) => connection.readiness().read_fd((**connection).as_fd()),
            End::Plain(plain) => Ok(plain.read_ready_fd()),
            #[cfg(feature = "remote")]
            End::Remote(_) => Err(no_descriptor()),
            End::Instance(_) => Err(clone_first()),
        }
    }

    pub(crate) fn write_ready_fd(&self) -> io::Result<BorrowedFd<'_>> {
        match self {
            End::Connection(connection) => connection.readiness().write_fd((**connection).as_fd()),
            End::Plain(plain) => plain.write_ready_fd(),
            #[cfg(feature = "remote")]
            End::Remote(_) => Err(no_descriptor()),
            End::Instance(_) => Err(clone_first()),
        }
    }

    /// The socket of an end that is a plain one and has no other handle.
    pub(crate) fn into_socket(self) -> Result<UnixStream, End> {
        match self {
            End::Plain(plain) => Arc::try_unwrap(plain)
                .and_then(|plain| plain.into_socket().map_err(Arc::new))
                .map_err(End::Plain),
            other => Err(other),
        }
    }

    pub(crate) fn connection(&self) -> io::Result<Arc<Connection>> {
        match self {
            End::Connection(connection) => Ok(Arc::clone(connection)),
            End::Instance(instance) => instance.connection_now(),
            End::Plain(_) => {
                Err(fail(PipeErrorKind::BadPipe, "a plain socket has bytes only, and no messages"))
            }
            #[cfg(feature = "remote")]
            End::Remote(_) => {
                Err(fail(PipeErrorKind::Unsupported, "a pipe on another computer can't do this"))
            }
        }
    }

    pub(crate) fn settings(&self) -> &Settings {
        match self {
            End::Connection(connection) => &connection.settings,
            End::Instance(instance) => instance.settings(),
            End::Plain(plain) => &plain.settings,
            #[cfg(feature = "remote")]
            End::Remote(remote) => remote.settings(),
        }
    }
}

impl Shape {
    /// The same, in public words.
    pub(super) fn info(&self, end: PipeEnd) -> PipeInfo {
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

#[cfg(feature = "remote")]
fn no_descriptor() -> io::Error {
    let text =
        "a pipe on another computer has no descriptor of its own: use threads, or tasks of `pipework::tokio`";
    fail(PipeErrorKind::Unsupported, text)
}
