//! Async anonymous pipes.

use crate::{
    anonymous::{AnonRead as BlockingRead, AnonWrite as BlockingWrite},
    sys::asynchronous::{AsyncAnonRead, AsyncAnonWrite},
};
use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

/// Creates a one-way pipe of the kernel and returns its two ends, both async.
///
/// `buffer_size` is a suggestion in bytes; 0 is the system's default. For a pipe to a child, call
/// [`pipework::anonymous`](crate::anonymous()), give one end to the child, and convert the other one.
///
/// # Errors
/// The system's error, such as too many open files.
///
/// # Examples
/// ```
/// use pipework::tokio::{AnonRead, anonymous};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let (mut read, mut write) = anonymous(0)?;
/// write.write_all(b"hello").await?;
/// drop(write);
/// let mut text = String::new();
/// read.read_to_string(&mut text).await?;
/// assert_eq!(text, "hello");
/// # Ok(())
/// # }
/// ```
pub fn anonymous(buffer_size: u32) -> io::Result<(AnonRead, AnonWrite)> {
    let (read, write) = crate::anonymous::anonymous(buffer_size)?;
    Ok((read.try_into()?, write.try_into()?))
}

/// The async reading end of an anonymous pipe, or of a child's output.
///
/// After the last writing end is closed, reads return the rest of the data and then the end of the pipe.
///
/// # Cancel safety
/// Reading is cancel safe: data that is not returned stays in the pipe.
#[derive(Debug)]
pub struct AnonRead {
    pipe: AsyncAnonRead,
}

/// The async writing end of an anonymous pipe, or of a child's input.
///
/// A write without an open reading end fails with [`PipeErrorKind::NoData`](crate::PipeErrorKind::NoData), and never raises a
/// signal. Flushing and shutting down do nothing.
///
/// # Cancel safety
/// Writing is cancel safe: a write that has written something has returned.
#[derive(Debug)]
pub struct AnonWrite {
    pipe: AsyncAnonWrite,
}

impl AnonRead {
    /// Converts the async end to a blocking one, for blocking calls or as a child's input.
    ///
    /// # Errors
    /// The system's error.
    pub fn into_blocking(self) -> io::Result<BlockingRead> {
        self.pipe.into_pipe().map(BlockingRead::from)
    }
}

impl AnonWrite {
    /// Converts the async end to a blocking one, for blocking calls or as a child's output.
    ///
    /// # Errors
    /// The system's error.
    pub fn into_blocking(self) -> io::Result<BlockingWrite> {
        self.pipe.into_pipe().map(BlockingWrite::from)
    }
}

/// Converts a blocking end. All handles to this end become non-blocking, also the clones that exist already.
impl TryFrom<BlockingRead> for AnonRead {
    type Error = io::Error;

    fn try_from(end: BlockingRead) -> io::Result<AnonRead> {
        Ok(AnonRead { pipe: AsyncAnonRead::new(end.into())? })
    }
}

/// Converts a blocking end. All handles to this end become non-blocking, also the clones that exist already.
impl TryFrom<BlockingWrite> for AnonWrite {
    type Error = io::Error;

    fn try_from(end: BlockingWrite) -> io::Result<AnonWrite> {
        Ok(AnonWrite { pipe: AsyncAnonWrite::new(end.into())? })
    }
}

impl AsyncRead for AnonRead {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buf.remaining() > 0 {
            let len = ready!(self.pipe.poll_read(cx, buf.initialize_unfilled()))?;
            buf.advance(len);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for AnonWrite {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.pipe.poll_write(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.pipe.poll_write(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
