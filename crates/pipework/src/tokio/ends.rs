//! The two connected ends.

use crate::{
    message::{MessageRead, Peek},
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

/// The server's end of one instance, as tokio's.
///
/// It can be opened from its creation on. After a client, [`disconnect`](NamedPipeServer::disconnect) and
/// [`connect`](NamedPipeServer::connect) make it serve the next one. A [`Listener`](super::Listener) hands out ends that are
/// connected already.
///
/// Reading is always bytes, also of a message pipe; messages come from
/// [`read_message`](NamedPipeServer::read_message). On a message pipe each write is one message. Flushing and
/// shutting down have nothing to do, as in tokio: [`drain`](NamedPipeServer::drain) waits for the reader, and dropping closes.
/// (A plain Unix socket can be shut down.)
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

/// The client's end, as tokio's.
///
/// Reading is always bytes, also of a message pipe; messages come from
/// [`read_message`](NamedPipeClient::read_message). On a message pipe each write is one message. Flushing and
/// shutting down have nothing to do, as in tokio: [`drain`](NamedPipeClient::drain) waits for the reader, and dropping closes.
/// (A plain Unix socket can be shut down.)
#[derive(Debug)]
pub struct NamedPipeClient {
    pub(crate) end: AsyncEnd,
}

impl NamedPipeServer {
    /// Waits for a client (rules C2, C7). Corresponds to `ConnectNamedPipe`.
    ///
    /// # Cancel safety
    /// Cancel safe: the instance goes on listening, and a client that comes meanwhile is there for the next call.
    ///
    /// # Errors
    /// `NoData` if a client came and left: call [`disconnect`](NamedPipeServer::disconnect), then `connect` again.
    #[doc(alias = "ConnectNamedPipe")]
    pub async fn connect(&self) -> io::Result<()> {
        self.end.connect().await
    }

    /// Throws the client and all unread data out (rule F2). Corresponds to `DisconnectNamedPipe`.
    ///
    /// # Errors
    /// `NotConnected` if it was disconnected already; `Unsupported` on a plain socket.
    #[doc(alias = "DisconnectNamedPipe")]
    pub fn disconnect(&self) -> io::Result<()> {
        self.end.disconnect()
    }
}

/// What both ends have: written once, so that they can't differ.
macro_rules! ends {
    ($($end:ident),*) => { $(
        impl $end {
            pub(super) fn new(end: AsyncEnd) -> $end {
                $end { end }
            }

            /// Tells type, end, instances and buffer sizes. Corresponds to `GetNamedPipeInfo`.
            ///
            /// # Errors
            /// Those of the system, for a plain socket.
            #[doc(alias = "GetNamedPipeInfo")]
            pub fn info(&self) -> io::Result<PipeInfo> {
                self.end.info()
            }

            /// Waits until reading or writing, whichever `interest` asks for, would not wait, and tells which of them. That
            /// includes errors and the end of the pipe, which the call itself then tells.
            ///
            /// # Cancel safety
            /// Cancel safe: it takes nothing.
            ///
            /// # Errors
            /// When there is no runtime, or it shuts down.
            pub async fn ready(&self, interest: Interest) -> io::Result<Ready> {
                self.end.ready(interest).await
            }

            /// Waits until reading would not wait.
            ///
            /// # Cancel safety
            /// Cancel safe: it takes nothing.
            ///
            /// # Errors
            /// As [`ready`](Self::ready).
            pub async fn readable(&self) -> io::Result<()> {
                self.ready(Interest::READABLE).await.map(drop)
            }

            /// Waits until writing would not wait; after a [`try_write`](Self::try_write) that had no room, until there is
            /// as much as it wanted on a message pipe.
            ///
            /// # Cancel safety
            /// Cancel safe: it gives nothing.
            ///
            /// # Errors
            /// As [`ready`](Self::ready).
            pub async fn writable(&self) -> io::Result<()> {
                self.ready(Interest::WRITABLE).await.map(drop)
            }

            /// Polls for [`readable`](Self::readable). Of several tasks that poll for reading the last one is woken.
            ///
            /// # Errors
            /// As [`ready`](Self::ready).
            pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.end.poll_read_ready(cx)
            }

            /// Polls for [`writable`](Self::writable). Of several tasks that poll for writing the last one is woken.
            ///
            /// # Errors
            /// As [`ready`](Self::ready).
            pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.end.poll_write_ready(cx)
            }

            /// Reads what is there; 0 is the end of the pipe, or an empty buffer.
            ///
            /// # Errors
            /// `WouldBlock` when nothing is there; else those of reading.
            pub fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
                self.try_read_vectored(&mut [IoSliceMut::new(buf)])
            }

            /// Reads what is there into several buffers, one after the other.
            ///
            /// # Errors
            /// As [`try_read`](Self::try_read).
            pub fn try_read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                self.end.try_read(bufs)
            }

            /// Writes what fits; on a message pipe all of it as one message, or nothing.
            ///
            /// # Errors
            /// `WouldBlock` when nothing fits; else those of writing.
            pub fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
                self.try_write_vectored(&[IoSlice::new(buf)])
            }

            /// Writes what fits of several buffers, one after the other; on a message pipe they are one message.
            ///
            /// # Errors
            /// As [`try_write`](Self::try_write).
            pub fn try_write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                self.end.try_write(bufs)
            }

            /// Reads one whole message, at most `len_max` bytes; `None` is the end of the pipe.
            ///
            /// # Cancel safety
            /// Cancel safe: the message is taken whole, as it is returned, or stays.
            ///
            /// # Errors
            /// - `MoreData`: the message is longer; nothing is lost, read it with a larger limit or in parts.
            /// - `BadPipe`: this end reads bytes; the text says what to call.
            /// - And those of reading.
            pub async fn read_message(&self, len_max: usize) -> io::Result<Option<Vec<u8>>> {
                self.end.read_message(len_max).await
            }

            /// Reads one message, or the part of it that fits (rule M2).
            ///
            /// # Cancel safety
            /// Cancel safe: what is not returned stays, and the buffer is not touched after a drop.
            ///
            /// # Errors
            /// `BadPipe` when this end reads bytes, and those of reading.
            #[doc(alias = "ReadFile")]
            pub async fn read_message_into(&self, buf: &mut [u8]) -> io::Result<MessageRead> {
                self.end.read_message_into(buf).await
            }

            /// Writes one message, also an empty one: all of it or an error (rule M1). One that is larger than the quota
            /// waits for its reader.
            ///
            /// # Cancel safety
            /// Cancel safe: the message is published whole or not at all. Dropped while it waits for the reader of what it
            /// has published, it has been written.
            ///
            /// # Errors
            /// `BadPipe` on a byte pipe, `Invalid` beyond 4,294,967,295 bytes, and those of writing.
            #[doc(alias = "WriteFile")]
            pub async fn write_message(&self, message: &[u8]) -> io::Result<()> {
                self.end.write_message(message).await
            }

            /// Writes a message and reads the reply, at most `len_max` bytes (rule M5). Corresponds to
            /// `TransactNamedPipe`.
            ///
            /// # Cancel safety
            /// Not cancel safe: when it is dropped after the request was written, the reply comes unread.
            ///
            /// # Errors
            /// - `BadPipe`: this end does not read messages.
            /// - `Busy`: something is unread.
            /// - `Broken`: the other end has closed.
            /// - `MoreData`: the reply is longer; it is still there to be read.
            /// - And those of reading and writing.
            #[doc(alias = "TransactNamedPipe")]
            pub async fn transact(&self, request: &[u8], len_max: usize) -> io::Result<Vec<u8>> {
                self.end.transact(request, len_max).await
            }

            /// Looks at what is there without taking it; never waits (rule M4). Corresponds to `PeekNamedPipe`.
            ///
            /// # Errors
            /// - `Broken`: the other end has closed, and everything was read.
            /// - `BadPipe`: a server end without a client, or a disconnected pipe.
            /// - `AccessDenied`: this end may not read.
            #[doc(alias = "PeekNamedPipe")]
            pub fn peek(&self, buf: &mut [u8]) -> io::Result<Peek> {
                self.end.peek(buf)
            }

            /// Waits until the other end has read everything written (rule F1). Corresponds to `FlushFileBuffers`.
            ///
            /// # Cancel safety
            /// Cancel safe: it only looks.
            ///
            /// # Errors
            /// `Broken` when the other end goes away first, `AccessDenied` on an end that may not write.
            #[doc(alias = "FlushFileBuffers")]
            pub async fn drain(&self) -> io::Result<()> {
                self.end.drain().await
            }

            /// Switches how this end reads (rules M3, N5). Corresponds to `SetNamedPipeHandleState`.
            ///
            /// # Errors
            /// `Invalid` for message read mode on a byte pipe.
            #[doc(alias = "SetNamedPipeHandleState")]
            pub fn set_read_mode(&self, mode: PipeMode) -> io::Result<()> {
                self.end.set_read_mode(mode)
            }

            /// Tells who the other end is; answers still after it has gone (rule A3).
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
                self.end.poll_shut_down(cx)
            }
        }
    )* };
}

ends!(NamedPipeServer, NamedPipeClient);
