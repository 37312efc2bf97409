//! What the two end types, blocking and async, need of a connection.

#[cfg(feature = "tokio")]
use super::asynchronous::{ReadWait, WriteWait};
use super::{super::settings::Settings, connection::Connection, errors, peer::Peer};
use crate::{
    message::{MessageRead, Peek},
    options::{PipeInfo, PipeMode},
};
use std::{
    fmt::Debug,
    io::{self, IoSlice},
};
#[cfg(feature = "tokio")]
use std::{
    io::IoSliceMut,
    pin::Pin,
    task::{Context, Poll},
};

/// A boxed future of an async call.
#[cfg(feature = "tokio")]
pub(crate) type PipeFuture<'a, T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send + 'a>>;

/// One end of one connection.
pub(crate) trait PipeEnd: Debug + Send + Sync {
    /// Read mode, timeouts and canceller.
    fn options(&self) -> &Settings;

    fn read(&self, buf: &mut [u8]) -> io::Result<usize>;
    fn write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize>;
    fn read_message(&self, len_max: usize) -> io::Result<Option<Vec<u8>>>;
    fn read_message_into(&self, buf: &mut [u8]) -> io::Result<MessageRead>;
    fn write_message(&self, message: &[u8]) -> io::Result<()>;
    fn transact(&self, request: &[u8], len_max: usize) -> io::Result<Vec<u8>>;
    fn peek(&self, buf: &mut [u8]) -> io::Result<Peek>;
    fn drain(&self) -> io::Result<()>;
    fn shutdown_write(&self) -> io::Result<()>;
    fn set_read_mode(&self, mode: PipeMode) -> io::Result<()>;
    fn info(&self) -> io::Result<PipeInfo>;
    fn peer(&self) -> io::Result<Peer>;

    /// Reads what is there; `WouldBlock` if nothing is.
    #[cfg(feature = "tokio")]
    fn try_read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize>;

    /// Writes what fits; `WouldBlock` if nothing does.
    #[cfg(feature = "tokio")]
    fn try_write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Returns the peer as far as it is known without waiting.
    #[cfg(feature = "tokio")]
    fn peer_now(&self) -> io::Result<Peer>;

    #[cfg(feature = "tokio")]
    fn poll_read(
        &self,
        cx: &mut Context<'_>,
        wait: &mut ReadWait,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>>;

    #[cfg(feature = "tokio")]
    fn poll_write(
        &self,
        cx: &mut Context<'_>,
        wait: &mut WriteWait,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>>;

    /// Ready when a read would not wait, be it for an error.
    #[cfg(feature = "tokio")]
    fn poll_read_ready(&self, cx: &mut Context<'_>, wait: &mut ReadWait) -> Poll<io::Result<()>>;

    /// Ready when a write would not wait, be it for an error. `wanted` is the length that the last `try_write_vectored` had
    /// no room for, or 1.
    #[cfg(feature = "tokio")]
    fn poll_write_ready(
        &self,
        cx: &mut Context<'_>,
        wait: &mut WriteWait,
        wanted: usize,
    ) -> Poll<io::Result<()>>;

    #[cfg(feature = "tokio")]
    fn poll_read_message(
        &self,
        cx: &mut Context<'_>,
        wait: &mut ReadWait,
        len_max: usize,
    ) -> Poll<io::Result<Option<Vec<u8>>>>;

    #[cfg(feature = "tokio")]
    fn poll_read_message_into(
        &self,
        cx: &mut Context<'_>,
        wait: &mut ReadWait,
        buf: &mut [u8],
    ) -> Poll<io::Result<MessageRead>>;

    /// Ends the sending side where the transport has one; ready at once elsewhere.
    #[cfg(feature = "tokio")]
    fn poll_shutdown(&self, cx: &mut Context<'_>, wait: &mut WriteWait) -> Poll<io::Result<()>>;

    #[cfg(feature = "tokio")]
    fn write_message_async<'a>(&'a self, message: &'a [u8]) -> PipeFuture<'a, ()>;

    #[cfg(feature = "tokio")]
    fn transact_async<'a>(&'a self, request: &'a [u8], len_max: usize) -> PipeFuture<'a, Vec<u8>>;

    #[cfg(feature = "tokio")]
    fn drain_async(&self) -> PipeFuture<'_, ()>;
}

impl PipeEnd for Connection {
    fn options(&self) -> &Settings {
        &self.settings
    }

    fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        Connection::read(self, buf)
    }

    fn write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        Connection::write(self, bufs)
    }

    fn read_message(&self, len_max: usize) -> io::Result<Option<Vec<u8>>> {
        Connection::read_message(self, len_max)
    }

    fn read_message_into(&self, buf: &mut [u8]) -> io::Result<MessageRead> {
        Connection::read_message_into(self, buf)
    }

    fn write_message(&self, message: &[u8]) -> io::Result<()> {
        Connection::write_message(self, message)
    }

    fn transact(&self, request: &[u8], len_max: usize) -> io::Result<Vec<u8>> {
        Connection::transact(self, request, len_max)
    }

    fn peek(&self, buf: &mut [u8]) -> io::Result<Peek> {
        Connection::peek(self, buf)
    }

    fn drain(&self) -> io::Result<()> {
        Connection::drain(self)
    }

    fn shutdown_write(&self) -> io::Result<()> {
        Err(errors::no_half_close())
    }

    fn set_read_mode(&self, mode: PipeMode) -> io::Result<()> {
        Connection::set_read_mode(self, mode)
    }

    fn info(&self) -> io::Result<PipeInfo> {
        Connection::info(self)
    }

    fn peer(&self) -> io::Result<Peer> {
        Connection::peer(self)
    }

    #[cfg(feature = "tokio")]
    fn try_read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        Connection::try_read_vectored(self, bufs)
    }

    #[cfg(feature = "tokio")]
    fn try_write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        Connection::try_write_vectored(self, bufs)
    }

    // The kernel never waits for a peer's identity.
    #[cfg(feature = "tokio")]
    fn peer_now(&self) -> io::Result<Peer> {
        Connection::peer(self)
    }

    #[cfg(feature = "tokio")]
    fn poll_read(
        &self,
        cx: &mut Context<'_>,
        wait: &mut ReadWait,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        Connection::poll_read(self, cx, wait, bufs)
    }

    #[cfg(feature = "tokio")]
    fn poll_write(
        &self,
        cx: &mut Context<'_>,
        wait: &mut WriteWait,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Connection::poll_write(self, cx, wait, bufs)
    }

    #[cfg(feature = "tokio")]
    fn poll_read_ready(&self, cx: &mut Context<'_>, wait: &mut ReadWait) -> Poll<io::Result<()>> {
        Connection::poll_read_ready(self, cx, wait)
    }

    // A write that lacks room is begun anyway, so no length matters.
    #[cfg(feature = "tokio")]
    fn poll_write_ready(
        &self,
        cx: &mut Context<'_>,
        wait: &mut WriteWait,
        _wanted: usize,
    ) -> Poll<io::Result<()>> {
        Connection::poll_write_ready(self, cx, wait)
    }

    #[cfg(feature = "tokio")]
    fn poll_read_message(
        &self,
        cx: &mut Context<'_>,
        wait: &mut ReadWait,
        len_max: usize,
    ) -> Poll<io::Result<Option<Vec<u8>>>> {
        Connection::poll_read_message(self, cx, wait, len_max)
    }

    #[cfg(feature = "tokio")]
    fn poll_read_message_into(
        &self,
        cx: &mut Context<'_>,
        wait: &mut ReadWait,
        buf: &mut [u8],
    ) -> Poll<io::Result<MessageRead>> {
        Connection::poll_read_message_into(self, cx, wait, buf)
    }

    // As tokio's named pipes: shutting down does nothing.
    #[cfg(feature = "tokio")]
    fn poll_shutdown(&self, _cx: &mut Context<'_>, _wait: &mut WriteWait) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    #[cfg(feature = "tokio")]
    fn write_message_async<'a>(&'a self, message: &'a [u8]) -> PipeFuture<'a, ()> {
        Box::pin(Connection::write_message_async(self, message))
    }

    #[cfg(feature = "tokio")]
    fn transact_async<'a>(&'a self, request: &'a [u8], len_max: usize) -> PipeFuture<'a, Vec<u8>> {
        Box::pin(Connection::transact_async(self, request, len_max))
    }

    #[cfg(feature = "tokio")]
    fn drain_async(&self) -> PipeFuture<'_, ()> {
        Box::pin(Connection::drain_async(self))
    }
}
