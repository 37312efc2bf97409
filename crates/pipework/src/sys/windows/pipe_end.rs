//! What a connection does, on each of its surfaces.

#[cfg(feature = "tokio")]
use super::{super::end::Work, asynchronous::TaskWait};
use super::{
    super::{end::PipeEnd, end_options::EndOptions},
    connection::Connection,
    peer::Peer,
};
use crate::{
    message::{MessageBatch, MessageRead, Peek},
    options::{PipeInfo, PipeMode},
};
use std::io::{self, IoSlice, IoSliceMut};
#[cfg(feature = "tokio")]
use std::task::{Context, Poll};

/// The most bytes that one read into several buffers returns.
const GATHERED_LEN_MAX: usize = 64 * 1024;

impl PipeEnd for Connection {
    fn options(&self) -> &EndOptions {
        &self.options
    }

    fn read(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        read_vectored(self, bufs)
    }

    fn write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        Connection::write(self, bufs)
    }

    fn read_message_to(&self, message: &mut Vec<u8>, len_max: usize) -> io::Result<Option<usize>> {
        Connection::read_message_to(self, message, len_max)
    }

    fn read_message_into(&self, buf: &mut [u8]) -> io::Result<MessageRead> {
        Connection::read_message_into(self, buf)
    }

    fn write_message(&self, message: &[u8]) -> io::Result<()> {
        Connection::write_message(self, message)
    }

    fn read_messages(&self, batch: &mut MessageBatch) -> io::Result<usize> {
        Connection::read_messages(self, batch)
    }

    fn write_messages(&self, messages: &[IoSlice<'_>]) -> io::Result<usize> {
        Connection::write_messages(self, messages)
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

    fn set_read_mode(&self, mode: PipeMode) -> io::Result<()> {
        Connection::set_read_mode(self, mode)
    }

    fn info(&self) -> io::Result<PipeInfo> {
        Connection::info(self)
    }

    fn is_connected(&self) -> io::Result<bool> {
        Connection::is_connected(self)
    }

    fn peer(&self) -> io::Result<Peer> {
        Connection::peer(self)
    }

    #[cfg(feature = "tokio")]
    fn try_read(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        Connection::try_read_vectored(self, bufs)
    }

    #[cfg(feature = "tokio")]
    fn try_write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        Connection::try_write_vectored(self, bufs)
    }

    #[cfg(feature = "tokio")]
    fn try_read_messages(&self, batch: &mut MessageBatch) -> io::Result<usize> {
        Connection::try_read_messages(self, batch)
    }

    #[cfg(feature = "tokio")]
    fn try_write_messages(&self, messages: &[IoSlice<'_>]) -> io::Result<usize> {
        Connection::try_write_messages(self, messages)
    }

    /// The read of length zero that watches for data would take an empty message away.
    #[cfg(feature = "tokio")]
    fn leave_async(&self) {
        self.without_watch(|| ());
    }

    #[cfg(feature = "tokio")]
    fn poll_read(
        &self,
        cx: &mut Context<'_>,
        wait: &mut TaskWait,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        Connection::poll_read(self, cx, wait, bufs)
    }

    #[cfg(feature = "tokio")]
    fn poll_write(
        &self,
        cx: &mut Context<'_>,
        wait: &mut TaskWait,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Connection::poll_write(self, cx, wait, bufs)
    }

    #[cfg(feature = "tokio")]
    fn poll_readable(&self, cx: &mut Context<'_>, wait: &mut TaskWait) -> Poll<io::Result<()>> {
        Connection::poll_read_ready(self, cx, wait)
    }

    // A write that lacks room is begun anyway, so no length matters.
    #[cfg(feature = "tokio")]
    fn poll_writable(&self, cx: &mut Context<'_>, wait: &mut TaskWait, _len: usize) -> Poll<io::Result<()>> {
        Connection::poll_write_ready(self, cx, wait)
    }

    #[cfg(feature = "tokio")]
    fn poll_message_to(
        &self,
        cx: &mut Context<'_>,
        wait: &mut TaskWait,
        message: &mut Vec<u8>,
        len_max: usize,
    ) -> Poll<io::Result<Option<usize>>> {
        Connection::poll_read_message_to(self, cx, wait, message, len_max)
    }

    #[cfg(feature = "tokio")]
    fn poll_message_into(
        &self,
        cx: &mut Context<'_>,
        wait: &mut TaskWait,
        buf: &mut [u8],
    ) -> Poll<io::Result<MessageRead>> {
        Connection::poll_read_message_into(self, cx, wait, buf)
    }

    #[cfg(feature = "tokio")]
    fn poll_messages(
        &self,
        cx: &mut Context<'_>,
        wait: &mut TaskWait,
        batch: &mut MessageBatch,
    ) -> Poll<io::Result<usize>> {
        Connection::poll_read_messages(self, cx, wait, batch)
    }

    #[cfg(feature = "tokio")]
    fn poll_write_messages(
        &self,
        cx: &mut Context<'_>,
        wait: &mut TaskWait,
        messages: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Connection::poll_write_messages(self, cx, wait, messages)
    }

    #[cfg(feature = "tokio")]
    fn write_message_async<'a>(&'a self, message: &'a [u8]) -> Work<'a, ()> {
        Box::pin(Connection::write_message_async(self, message))
    }

    #[cfg(feature = "tokio")]
    fn transact_async<'a>(&'a self, request: &'a [u8], len_max: usize) -> Work<'a, Vec<u8>> {
        Box::pin(Connection::transact_async(self, request, len_max))
    }

    #[cfg(feature = "tokio")]
    fn drain_async(&self) -> Work<'_, ()> {
        Box::pin(Connection::drain_async(self))
    }
}

/// Reads once and fills the buffers one after the other. A second read could return bytes of the next message.
fn read_vectored(connection: &Connection, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    let len: usize = bufs.iter().map(|buf| buf.len()).sum();
    let mut filled = bufs.iter_mut().filter(|buf| !buf.is_empty());
    match filled.next() {
        None => connection.read(&mut []),
        // There is no other buffer, or this one is large enough.
        Some(first) if first.len() == len || first.len() >= GATHERED_LEN_MAX => connection.read(first),
        Some(first) => {
            let mut gathered = vec![0; len.min(GATHERED_LEN_MAX)];
            let read = connection.read(&mut gathered)?;
            let mut rest = gathered.get(..read).unwrap_or_default();
            for buf in std::iter::once(first).chain(filled) {
                let (now, later) = rest.split_at(rest.len().min(buf.len()));
                buf.iter_mut().zip(now).for_each(|(to, from)| *to = *from);
                rest = later;
            }
            Ok(read)
        }
    }
}
