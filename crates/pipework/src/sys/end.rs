//! A connected end, whatever it is made of: one trait, and what every kind of end has from it.

use super::{
    End, Instance, Peer,
    end_options::EndOptions,
    errors::{no_half_close, no_messages, nothing_to_peek_at},
};
use crate::{
    error::PipeErrorKind,
    message::{MessageBatch, MessageRead, Peek},
    options::{PipeInfo, PipeMode},
};
use std::{
    fmt::Debug,
    io::{self, IoSlice, IoSliceMut},
    ops::Deref,
    sync::Arc,
};
#[cfg(feature = "tokio")]
use {
    super::system::asynchronous::TaskWait,
    std::{
        future::ready,
        pin::Pin,
        task::{Context, Poll},
    },
};

/// Async work that borrows an end.
#[cfg(feature = "tokio")]
pub(crate) type Work<'a, T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send + 'a>>;

/// The operations of one kind of end. It stays with one connection.
pub(crate) trait PipeEnd: Debug + Send + Sync {
    /// Read mode, timeouts and canceller.
    fn options(&self) -> &EndOptions;

    /// Reads bytes, in either read mode; 0 is the end.
    fn read(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize>;
    /// Writes a stream, or on a message pipe one message.
    fn write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize>;
    /// Reads what is there, else `WouldBlock`.
    #[cfg(any(unix, feature = "tokio"))]
    fn try_read(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize>;
    /// Writes what fits, else `WouldBlock`.
    #[cfg(any(unix, feature = "tokio"))]
    fn try_write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize>;
    /// Reads one whole message of at most `len_max` bytes in place of what is in the buffer; `None` is the end. After
    /// anything but a message the buffer may contain anything.
    fn read_message_to(&self, _message: &mut Vec<u8>, _len_max: usize) -> io::Result<Option<usize>> {
        Err(no_messages("read"))
    }
    /// Reads one message, or the part of it that fits.
    fn read_message_into(&self, _buf: &mut [u8]) -> io::Result<MessageRead> {
        Err(no_messages("read"))
    }
    /// Writes one message, all of it or nothing.
    fn write_message(&self, _message: &[u8]) -> io::Result<()> {
        Err(no_messages("write"))
    }
    /// Reads at least one whole message, and those that are there, as many as the batch takes; 0 is the end.
    fn read_messages(&self, _batch: &mut MessageBatch) -> io::Result<usize> {
        Err(no_messages("read"))
    }
    /// Writes messages up to the limit; says how many, and fails only if that is none.
    fn write_messages(&self, _messages: &[IoSlice<'_>]) -> io::Result<usize> {
        Err(no_messages("write"))
    }
    /// Reads the messages that are there, else `WouldBlock`.
    #[cfg(any(unix, feature = "tokio"))]
    fn try_read_messages(&self, _batch: &mut MessageBatch) -> io::Result<usize> {
        Err(no_messages("read"))
    }
    /// Writes the messages that fit, else `WouldBlock`.
    #[cfg(any(unix, feature = "tokio"))]
    fn try_write_messages(&self, _messages: &[IoSlice<'_>]) -> io::Result<usize> {
        Err(no_messages("write"))
    }
    /// Writes a message and reads the reply.
    fn transact(&self, _request: &[u8], _len_max: usize) -> io::Result<Vec<u8>> {
        Err(no_messages("write"))
    }
    /// Copies what is there without taking it.
    fn peek(&self, buf: &mut [u8]) -> io::Result<Peek>;
    /// Waits until the peer has read everything.
    fn drain(&self) -> io::Result<()>;
    /// Ends the sending direction, where an end can do that.
    fn shutdown_write(&self) -> io::Result<()> {
        Err(no_half_close())
    }

    /// Switches how this end reads.
    fn set_read_mode(&self, mode: PipeMode) -> io::Result<()>;
    /// Type, end, instances and quotas.
    fn info(&self) -> io::Result<PipeInfo>;
    /// The identity of the peer; waits until it is known.
    fn peer(&self) -> io::Result<Peer>;
    /// The identity of the peer, if it is known by now.
    #[cfg(feature = "tokio")]
    fn peer_now(&self) -> io::Result<Peer> {
        self.peer()
    }

    /// Whether the peer has its end open, without waiting.
    fn is_connected(&self) -> io::Result<bool>;

    /// Lets the threads and tasks of this end spin before they sleep, or not.
    #[cfg(unix)]
    fn set_spin(&self, _spins: bool) {}
    /// Readable when another `try_read` is due.
    #[cfg(unix)]
    fn read_ready_fd(&self) -> io::Result<std::os::fd::BorrowedFd<'_>>;
    /// Readable when another `try_write` is due.
    #[cfg(unix)]
    fn write_ready_fd(&self) -> io::Result<std::os::fd::BorrowedFd<'_>>;

    /// Cancels pending async operations that would take data away from blocking calls.
    #[cfg(feature = "tokio")]
    fn leave_async(&self) {}
    /// Polls for [`read`](Self::read).
    #[cfg(feature = "tokio")]
    fn poll_read(
        &self,
        cx: &mut Context<'_>,
        wait: &mut TaskWait,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>>;
    /// Polls for a write of what fits.
    #[cfg(feature = "tokio")]
    fn poll_write(
        &self,
        cx: &mut Context<'_>,
        wait: &mut TaskWait,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>>;
    /// Polls until a read would not wait, be it for an error.
    #[cfg(feature = "tokio")]
    fn poll_readable(&self, cx: &mut Context<'_>, wait: &mut TaskWait) -> Poll<io::Result<()>>;
    /// Polls until a write of `len` bytes would not wait, be it for an error.
    #[cfg(feature = "tokio")]
    fn poll_writable(&self, cx: &mut Context<'_>, wait: &mut TaskWait, len: usize) -> Poll<io::Result<()>>;
    /// Polls until the sending direction has ended, where an end can do that.
    #[cfg(feature = "tokio")]
    fn poll_shutdown(&self, _cx: &mut Context<'_>, _wait: &mut TaskWait) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    /// Polls for [`read_message_to`](Self::read_message_to). All polls of one wait have the same buffer.
    #[cfg(feature = "tokio")]
    fn poll_message_to(
        &self,
        _cx: &mut Context<'_>,
        _wait: &mut TaskWait,
        _message: &mut Vec<u8>,
        _len_max: usize,
    ) -> Poll<io::Result<Option<usize>>> {
        Poll::Ready(Err(no_messages("read")))
    }
    /// Polls for [`read_message_into`](Self::read_message_into). All polls of one wait have the same buffer.
    #[cfg(feature = "tokio")]
    fn poll_message_into(
        &self,
        _cx: &mut Context<'_>,
        _wait: &mut TaskWait,
        _buf: &mut [u8],
    ) -> Poll<io::Result<MessageRead>> {
        Poll::Ready(Err(no_messages("read")))
    }
    /// Polls for [`read_messages`](Self::read_messages).
    #[cfg(feature = "tokio")]
    fn poll_messages(
        &self,
        _cx: &mut Context<'_>,
        _wait: &mut TaskWait,
        _batch: &mut MessageBatch,
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(no_messages("read")))
    }
    /// Polls for a write of the messages that fit, at least one.
    #[cfg(feature = "tokio")]
    fn poll_write_messages(
        &self,
        _cx: &mut Context<'_>,
        _wait: &mut TaskWait,
        _messages: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(no_messages("write")))
    }
    /// [`write_message`](Self::write_message) for a task.
    #[cfg(feature = "tokio")]
    fn write_message_async<'a>(&'a self, _message: &'a [u8]) -> Work<'a, ()> {
        Box::pin(ready(Err(no_messages("write"))))
    }
    /// [`transact`](Self::transact) for a task.
    #[cfg(feature = "tokio")]
    fn transact_async<'a>(&'a self, _request: &'a [u8], _len_max: usize) -> Work<'a, Vec<u8>> {
        Box::pin(ready(Err(no_messages("write"))))
    }
    /// [`drain`](Self::drain) for a task.
    #[cfg(feature = "tokio")]
    fn drain_async(&self) -> Work<'_, ()>;
}

/// A buffer that is empty again if no message was read into it, also when the call is dropped.
pub(super) struct Emptied<'a> {
    pub(super) message: &'a mut Vec<u8>,
    is_read: bool,
}

impl<'a> Emptied<'a> {
    pub(super) fn new(message: &'a mut Vec<u8>) -> Emptied<'a> {
        Emptied { message, is_read: false }
    }

    /// The outcome of the call; keeps what is in the buffer if that is a message.
    pub(super) fn unless_read(mut self, read: io::Result<Option<usize>>) -> io::Result<Option<usize>> {
        self.is_read = matches!(read, Ok(Some(_)));
        read
    }
}

impl Drop for Emptied<'_> {
    fn drop(&mut self) {
        if !self.is_read {
            self.message.clear();
        }
    }
}

/// The end that an operation goes to.
pub(crate) enum Current<'a> {
    /// An end that stays with its connection.
    Fixed(&'a dyn PipeEnd),
    /// The connection that an instance has now.
    OfInstance(Arc<dyn PipeEnd>),
}

impl<'a> Deref for Current<'a> {
    type Target = dyn PipeEnd + 'a;

    fn deref(&self) -> &(dyn PipeEnd + 'a) {
        match self {
            Current::Fixed(end) => *end,
            Current::OfInstance(end) => &**end,
        }
    }
}

impl End {
    /// The end that an operation goes to which begins now.
    pub(crate) fn current(&self) -> io::Result<Current<'_>> {
        match self.kind() {
            Ok(end) => Ok(Current::Fixed(end)),
            Err(instance) => Ok(Current::OfInstance(instance.connection_now()?)),
        }
    }

    pub(crate) fn read(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.current()?.read(bufs)
    }

    pub(crate) fn write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.current()?.write(bufs)
    }

    pub(crate) fn read_message(&self, len_max: usize) -> io::Result<Option<Vec<u8>>> {
        let mut message = Vec::new();
        Ok(self.current()?.read_message_to(&mut message, len_max)?.map(|_| message))
    }

    pub(crate) fn read_message_to(&self, message: &mut Vec<u8>, len_max: usize) -> io::Result<Option<usize>> {
        let message = Emptied::new(message);
        let read = self.current()?.read_message_to(message.message, len_max);
        message.unless_read(read)
    }

    pub(crate) fn read_message_into(&self, buf: &mut [u8]) -> io::Result<MessageRead> {
        self.current()?.read_message_into(buf)
    }

    pub(crate) fn write_message(&self, message: &[u8]) -> io::Result<()> {
        self.current()?.write_message(message)
    }

    pub(crate) fn read_messages(&self, batch: &mut MessageBatch) -> io::Result<usize> {
        batch.clear();
        self.current()?.read_messages(batch)
    }

    pub(crate) fn write_messages(&self, messages: &[IoSlice<'_>]) -> io::Result<usize> {
        self.current()?.write_messages(messages)
    }

    pub(crate) fn transact(&self, request: &[u8], len_max: usize) -> io::Result<Vec<u8>> {
        self.current()?.transact(request, len_max)
    }

    pub(crate) fn peek(&self, buf: &mut [u8]) -> io::Result<Peek> {
        match self.kind() {
            Ok(end) => end.peek(buf),
            // Rule M4.
            Err(instance) => match instance.connection_now().and_then(|connection| connection.peek(buf)) {
                Err(error) if is_without_client(&error) => Err(nothing_to_peek_at()),
                peeked => peeked,
            },
        }
    }

    pub(crate) fn drain(&self) -> io::Result<()> {
        self.current()?.drain()
    }

    pub(crate) fn shutdown_write(&self) -> io::Result<()> {
        match self.kind() {
            Ok(end) => end.shutdown_write(),
            Err(_) => Err(no_half_close()),
        }
    }

    pub(crate) fn set_read_mode(&self, mode: PipeMode) -> io::Result<()> {
        match self.kind() {
            Ok(end) => end.set_read_mode(mode),
            Err(instance) => instance.set_read_mode(mode),
        }
    }

    pub(crate) fn info(&self) -> io::Result<PipeInfo> {
        match self.kind() {
            Ok(end) => end.info(),
            Err(instance) => instance.info(),
        }
    }

    pub(crate) fn peer(&self) -> io::Result<Peer> {
        self.current()?.peer()
    }

    pub(crate) fn is_connected(&self) -> io::Result<bool> {
        self.current()?.is_connected()
    }

    /// Another handle to the same end, which stays with its connection.
    pub(crate) fn try_clone(&self) -> io::Result<End> {
        match self.kind() {
            Ok(_) => Ok(self.clone()),
            Err(instance) => instance.connection_now().map(End::Connection),
        }
    }

    pub(crate) fn options(&self) -> &EndOptions {
        match self.kind() {
            Ok(end) => end.options(),
            Err(instance) => instance.options(),
        }
    }

    /// The instance, if it is the server's and may serve other clients.
    #[cfg(feature = "tokio")]
    pub(crate) fn instance(&self) -> Option<&Instance> {
        self.kind().err()
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
        let peeked = self.connection_now().and_then(|connection| PipeEnd::peek(&*connection, &mut []));
        peeked.is_ok_and(|peek| peek.available > 0)
    }
}

/// Fills a batch with what `next` returns, which gets the most bytes that a message may have. An error after some messages
/// only ends the batch.
#[cfg(any(windows, feature = "remote"))]
pub(super) fn fill_batch(
    batch: &mut MessageBatch,
    mut next: impl FnMut(&MessageBatch, usize) -> io::Result<Option<Vec<u8>>>,
) -> io::Result<usize> {
    batch.clear();
    while let Some(len_max) = batch.len_left() {
        let message = match next(batch, len_max) {
            Ok(Some(message)) => message,
            Ok(None) => break,
            Err(error) if batch.is_empty() => return Err(error),
            Err(_) => break,
        };
        match batch.place(message.len()) {
            Ok(Some(place)) => place.copy_from_slice(&message),
            // It was in memory a moment ago, and is lost now.
            _ => return Err(io::ErrorKind::OutOfMemory.into()),
        }
    }
    Ok(batch.len())
}

fn is_without_client(error: &io::Error) -> bool {
    matches!(PipeErrorKind::of(error), Some(PipeErrorKind::Listening | PipeErrorKind::NotConnected))
}
