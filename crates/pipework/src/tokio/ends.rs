//! The two connected ends.

use crate::{
    message::{MessageBatch, MessageRead, Peek},
    options::{PipeInfo, PipeMode},
    peer::Peer,
    sys::asynchronous::AsyncEnd,
};
use ::tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready};
use std::{
    io::{self, IoSlice, IoSliceMut},
    pin::Pin,
    task::{Context, Poll, ready},
};

/// The server's end of one instance, as in tokio.
///
/// A client can open it as soon as it is created ([rule N8](crate::rules#n8)). After a client,
/// [`disconnect`](NamedPipeServer::disconnect) and [`connect`](NamedPipeServer::connect) make it serve the next one. A
/// [`Listener`](super::Listener) returns ends that are connected already.
///
/// [`AsyncRead`] always reads bytes, also from a message pipe; [`read_message`](NamedPipeServer::read_message) reads messages.
/// On a message pipe each write is one message. Flushing does nothing, as in tokio; [`drain`](NamedPipeServer::drain) waits for
/// the reader. Shutting down does nothing either, except on a plain Unix socket and on a remote pipe. Dropping closes the end.
///
/// # Examples
/// ```
/// use pipework::{PipeName, tokio::{ClientOptions, ServerOptions}};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let name = PipeName::unique("one")?;
/// let mut server = ServerOptions::new().first_pipe_instance(true).create(&name)?;
/// let mut client = ClientOptions::new().open(&name)?;
/// server.connect().await?;
/// client.write_all(b"ping").await?;
/// let mut buf = [0; 4];
/// server.read_exact(&mut buf).await?;
/// assert_eq!(&buf, b"ping");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct NamedPipeServer {
    pub(crate) end: AsyncEnd,
}

/// The client's end, as in tokio.
///
/// [`AsyncRead`] always reads bytes, also from a message pipe; [`read_message`](NamedPipeClient::read_message) reads messages.
/// On a message pipe each write is one message. Flushing does nothing, as in tokio; [`drain`](NamedPipeClient::drain) waits for
/// the reader. Shutting down does nothing either, except on a plain Unix socket and on a remote pipe. Dropping closes the end.
#[derive(Debug)]
pub struct NamedPipeClient {
    pub(crate) end: AsyncEnd,
}

impl NamedPipeServer {
    /// Waits for a client ([rule C2](crate::rules#c2), [rule C7](crate::rules#c7)). Corresponds to [`ConnectNamedPipe`].
    ///
    /// [`ConnectNamedPipe`]: https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-connectnamedpipe
    ///
    /// # Cancel safety
    /// Cancel safe: the instance listens on, and the next call returns a client that has connected meanwhile.
    ///
    /// # Errors
    /// `NoData` if a client connected and left. Call [`disconnect`](NamedPipeServer::disconnect), then `connect` again.
    #[doc(alias = "ConnectNamedPipe")]
    pub async fn connect(&self) -> io::Result<()> {
        self.end.connect().await
    }

    /// Disconnects the client and discards all unread data ([rule F2](crate::rules#f2)). Corresponds to
    /// [`DisconnectNamedPipe`].
    ///
    /// [`DisconnectNamedPipe`]: https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-disconnectnamedpipe
    ///
    /// # Errors
    /// `NotConnected` if the instance is disconnected already. `Unsupported` on a plain socket.
    #[doc(alias = "DisconnectNamedPipe")]
    pub fn disconnect(&self) -> io::Result<()> {
        self.end.disconnect()
    }
}

/// The methods of both ends, written once so that they can't differ.
macro_rules! ends {
    ($($end:ident),*) => { $(
        impl $end {
            pub(super) fn new(end: AsyncEnd) -> $end {
                $end { end }
            }

            /// Returns the pipe's type, maximum of instances and buffer sizes, and the side of this end. Corresponds to
            /// [`GetNamedPipeInfo`].
            ///
            /// [`GetNamedPipeInfo`]: https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-getnamedpipeinfo
            ///
            /// # Errors
            /// The system's error for a plain socket. `Unsupported` for a remote pipe, on any system but Windows.
            #[doc(alias = "GetNamedPipeInfo")]
            pub fn info(&self) -> io::Result<PipeInfo> {
                self.end.info()
            }

            /// Waits until the end is ready to read or to write, as `interest` says, and returns what it is ready for.
            ///
            /// An end is also ready if the read or write would return an error or the end of the pipe.
            ///
            /// # Cancel safety
            /// Cancel safe: it takes no data.
            ///
            /// # Errors
            /// The runtime's error if there is no runtime or it shuts down.
            pub async fn ready(&self, interest: Interest) -> io::Result<Ready> {
                self.end.ready(interest).await
            }

            /// Waits until a read would not wait.
            ///
            /// # Cancel safety
            /// Cancel safe: it takes no data.
            ///
            /// # Errors
            /// As [`ready`](Self::ready).
            pub async fn readable(&self) -> io::Result<()> {
                self.ready(Interest::READABLE).await.map(drop)
            }

            /// Waits until a write would not wait. On a message pipe, after a [`try_write`](Self::try_write) without room, it
            /// waits for as much room as that message needs.
            ///
            /// # Cancel safety
            /// Cancel safe: it writes no data.
            ///
            /// # Errors
            /// As [`ready`](Self::ready).
            pub async fn writable(&self) -> io::Result<()> {
                self.ready(Interest::WRITABLE).await.map(drop)
            }

            /// Polls for [`readable`](Self::readable). If several tasks poll for reading, only the last one is woken.
            ///
            /// # Errors
            /// As [`ready`](Self::ready).
            pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.end.poll_read_ready(cx)
            }

            /// Polls for [`writable`](Self::writable). If several tasks poll for writing, only the last one is woken.
            ///
            /// # Errors
            /// As [`ready`](Self::ready).
            pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.end.poll_write_ready(cx)
            }

            /// Reads without waiting. 0 is the end of the pipe, or means that `buf` is empty.
            ///
            /// # Errors
            /// `WouldBlock` if nothing is there. Else the [errors](crate::PipeStream#errors) of reads.
            pub fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
                self.try_read_vectored(&mut [IoSliceMut::new(buf)])
            }

            /// Reads without waiting into several buffers, one after the other.
            ///
            /// # Errors
            /// As [`try_read`](Self::try_read).
            pub fn try_read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                self.end.try_read(bufs)
            }

            /// Writes what fits, without waiting. On a message pipe it writes `buf` as one message or not at all.
            ///
            /// # Errors
            /// `WouldBlock` if there is no room. Else the [errors](crate::PipeStream#errors) of writes.
            pub fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
                self.try_write_vectored(&[IoSlice::new(buf)])
            }

            /// Writes what fits of several buffers, one after the other, without waiting. On a message pipe all buffers are one
            /// message.
            ///
            /// # Errors
            /// As [`try_write`](Self::try_write).
            pub fn try_write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                self.end.try_write(bufs)
            }

            /// Reads the messages that are there, as many as `batch` takes, without waiting. 0 is the end of the pipe.
            ///
            /// # Errors
            /// `WouldBlock` if no message is there. Else those of [`read_messages`](Self::read_messages).
            pub fn try_read_messages(&self, batch: &mut MessageBatch) -> io::Result<usize> {
                self.end.try_read_messages(batch)
            }

            /// Writes messages from the first one on, as many as fit, without waiting, and returns how many it has written.
            ///
            /// # Errors
            /// `WouldBlock` if the first message does not fit. Else those of [`write_messages`](Self::write_messages).
            pub fn try_write_messages(&self, messages: &[IoSlice<'_>]) -> io::Result<usize> {
                self.end.try_write_messages(messages)
            }

            /// Reads one whole message of at most `len_max` bytes. `None` is the end of the pipe.
            ///
            /// # Cancel safety
            /// Cancel safe: a message that is not returned stays unread as a whole.
            ///
            /// # Errors
            /// - `MoreData`: the message is longer. It stays unread: read it with a larger limit or in parts.
            /// - `BadPipe`: this end reads bytes. The text says what to call.
            /// - The [errors](crate::PipeStream#errors) of reads.
            pub async fn read_message(&self, len_max: usize) -> io::Result<Option<Vec<u8>>> {
                self.end.read_message(len_max).await
            }

            /// Reads one whole message of at most `len_max` bytes into `message`, in place of what is in it, and returns its
            /// length. `None` is the end of the pipe. After anything but a message the buffer is empty.
            ///
            /// # Cancel safety
            /// Cancel safe: a message that is not returned stays unread as a whole, and the buffer is empty.
            ///
            /// # Errors
            /// Those of [`read_message`](Self::read_message).
            pub async fn read_message_to(&self, message: &mut Vec<u8>, len_max: usize) -> io::Result<Option<usize>> {
                self.end.read_message_to(message, len_max).await
            }

            /// Reads one message, or as much of it as fits ([rule M2](crate::rules#m2)). Corresponds to [`ReadFile`] in
            /// message read mode.
            ///
            /// [`ReadFile`]: https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-readfile
            ///
            /// # Cancel safety
            /// Cancel safe: data that is not returned stays unread, and nothing writes to the buffer after a drop.
            ///
            /// # Errors
            /// `BadPipe` if this end reads bytes, and the [errors](crate::PipeStream#errors) of reads.
            #[doc(alias = "ReadFile")]
            pub async fn read_message_into(&self, buf: &mut [u8]) -> io::Result<MessageRead> {
                self.end.read_message_into(buf).await
            }

            /// Writes one message as a whole or not at all ([rule M1](crate::rules#m1)). The message may be empty. A message
            /// that is larger than the quota waits for its reader. Corresponds to [`WriteFile`] on a message pipe.
            ///
            /// [`WriteFile`]: https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-writefile
            ///
            /// # Cancel safety
            /// Cancel safe: the message is written as a whole or not at all. A future that is dropped while it waits for the
            /// reader has written it.
            ///
            /// # Errors
            /// - `BadPipe`: this is a byte pipe.
            /// - `Invalid`: the message is longer than 4,294,967,295 bytes. A remote message must have 1 to 65,535 bytes.
            /// - The [errors](crate::PipeStream#errors) of writes.
            #[doc(alias = "WriteFile")]
            pub async fn write_message(&self, message: &[u8]) -> io::Result<()> {
                self.end.write_message(message).await
            }

            /// Reads at least one whole message, and all others that are there already, up to the limits of `batch`. Returns how
            /// many; 0 is the end of the pipe, or a batch that takes no message ([rule M6](crate::rules#m6)).
            ///
            /// [`PipeStream::read_messages`](crate::PipeStream::read_messages) describes it further.
            ///
            /// # Cancel safety
            /// Cancel safe: if the future is dropped, no message was taken.
            ///
            /// # Errors
            /// - `MoreData`: the first message has more bytes than the batch may have. It stays unread.
            /// - `BadPipe`: this end reads bytes. The text says what to call.
            /// - The [errors](crate::PipeStream#errors) of reads.
            pub async fn read_messages(&self, batch: &mut MessageBatch) -> io::Result<usize> {
                self.end.read_messages(batch).await
            }

            /// Writes each of `messages` as a message of its own, in their order. Waits until at least one fits, writes those
            /// that fit, and returns how many it has written ([rule M6](crate::rules#m6)).
            ///
            /// The messages may be empty and of different sizes. As [`AsyncWrite`] does, this returns as soon as messages are
            /// written. A message that is larger than the quota waits until everything before it was read.
            ///
            /// # Cancel safety
            /// Cancel safe: if the future is dropped, no message was written.
            ///
            /// # Errors
            /// Those of [`write_message`](Self::write_message), if no message was written. `Invalid` for the length of any
            /// message is checked before anything is written.
            ///
            /// # Examples
            /// ```
            /// use pipework::{MessageBatch, PipeMode, PipeName, tokio::{ClientOptions, ServerOptions}};
            /// use std::io::IoSlice;
            /// # #[tokio::main(flavor = "current_thread")]
            /// # async fn main() -> std::io::Result<()> {
            /// let name = PipeName::unique("batches")?;
            /// let server = ServerOptions::new().pipe_mode(PipeMode::Message).create(&name)?;
            /// let client = ClientOptions::new().open(&name)?;
            /// server.connect().await?;
            /// let messages = [b"one".as_slice(), b"", b"three"].map(IoSlice::new);
            /// let mut rest = &messages[..];
            /// while !rest.is_empty() {
            ///     rest = &rest[client.write_messages(rest).await?..];
            /// }
            /// let mut batch = MessageBatch::new(64, 65_536);
            /// let mut count = 0;
            /// while count < messages.len() {
            ///     count += server.read_messages(&mut batch).await?;
            /// }
            /// # Ok(())
            /// # }
            /// ```
            pub async fn write_messages(&self, messages: &[IoSlice<'_>]) -> io::Result<usize> {
                self.end.write_messages(messages).await
            }

            /// Writes a message and reads the reply, of at most `len_max` bytes ([rule M5](crate::rules#m5)). Corresponds to
            /// [`TransactNamedPipe`].
            ///
            /// [`TransactNamedPipe`]: https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-transactnamedpipe
            ///
            /// # Cancel safety
            /// Not cancel safe: if the future is dropped after the request was written, the reply arrives and stays unread.
            ///
            /// # Errors
            /// - `BadPipe`: this end does not read messages.
            /// - `Busy`: there is unread data.
            /// - `Broken`: the peer has closed.
            /// - `MoreData`: the reply is longer. It stays unread.
            /// - The [errors](crate::PipeStream#errors) of reads and writes.
            #[doc(alias = "TransactNamedPipe")]
            pub async fn transact(&self, request: &[u8], len_max: usize) -> io::Result<Vec<u8>> {
                self.end.transact(request, len_max).await
            }

            /// Copies unread data without taking it, and never waits ([rule M4](crate::rules#m4)). Corresponds to
            /// [`PeekNamedPipe`].
            ///
            /// [`PeekNamedPipe`]: https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-peeknamedpipe
            ///
            /// # Errors
            /// Those of [`PipeStream::peek`](crate::PipeStream::peek).
            #[doc(alias = "PeekNamedPipe")]
            pub fn peek(&self, buf: &mut [u8]) -> io::Result<Peek> {
                self.end.peek(buf)
            }

            /// Waits until the peer has read everything that was written ([rule F1](crate::rules#f1)). Corresponds to
            /// [`FlushFileBuffers`].
            ///
            /// [`FlushFileBuffers`]: https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-flushfilebuffers
            ///
            /// # Cancel safety
            /// Cancel safe: it changes nothing.
            ///
            /// # Errors
            /// `Broken` if the peer closes first, `AccessDenied` on an end that may not write.
            #[doc(alias = "FlushFileBuffers")]
            pub async fn drain(&self) -> io::Result<()> {
                self.end.drain().await
            }

            /// Sets how this end reads ([rule M3](crate::rules#m3)). Corresponds to [`SetNamedPipeHandleState`].
            ///
            /// [`SetNamedPipeHandleState`]: https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-setnamedpipehandlestate
            ///
            /// # Errors
            /// `Invalid` for message read mode on a byte pipe ([rule N5](crate::rules#n5)).
            #[doc(alias = "SetNamedPipeHandleState")]
            pub fn set_read_mode(&self, mode: PipeMode) -> io::Result<()> {
                self.end.set_read_mode(mode)
            }

            /// Returns the process and user at the other end, also after it has closed ([rule A3](crate::rules#a3)).
            ///
            /// # Errors
            /// `Listening` or `NotConnected` on a server end without a client.
            pub fn peer(&self) -> io::Result<Peer> {
                self.end.peer().map(Peer::new)
            }
        }

        impl AsyncRead for $end {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                let len = ready!(self.end.poll_read(cx, &mut [IoSliceMut::new(buf.initialize_unfilled())]))?;
                buf.advance(len);
                Poll::Ready(Ok(()))
            }
        }

        impl AsyncWrite for $end {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                self.end.poll_write(cx, &[IoSlice::new(buf)])
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                self.end.poll_write(cx, bufs)
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.end.poll_shutdown(cx)
            }
        }
    )* };
}

ends!(NamedPipeServer, NamedPipeClient);
