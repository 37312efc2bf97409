//! Anonymous pipes for tasks.

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

/// Creates a one-way pipe of the kernel and returns its two ends, both for tasks.
///
/// `buffer_size` is a suggestion in bytes, 0 the system's default. For a pipe to a child, create it with
/// [`pipework::anonymous`](crate::anonymous()), give the child the one end, and convert the other.
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

/// The reading end of an anonymous pipe, or of a child's output, for tasks.
///
/// After the last writing end is closed, it gives everything that was written and then the end. Reading is cancel safe: what
/// is not returned stays in the pipe.
#[derive(Debug)]
pub struct AnonRead {
    pipe: AsyncAnonRead,
}

/// The writing end of an anonymous pipe, or of a child's input, for tasks; flushing and shutting down have nothing to do.
///
/// Writing when no reading end is open is [`PipeErrorKind::NoData`](crate::PipeErrorKind::NoData), and never a signal. Writing
/// is cancel safe: what was written is returned.
#[derive(Debug)]
pub struct AnonWrite {
    pipe: AsyncAnonWrite,
}

impl AnonRead {
    /// Gives the end back for blocking calls, or to become a child's input.
    ///
    /// # Errors
    /// Those of the system.
    pub fn into_blocking(self) -> io::Result<BlockingRead> {
        self.pipe.into_pipe().map(BlockingRead::from)
    }
}

impl AnonWrite {
    /// Gives the end back for blocking calls, or to become a child's output.
    ///
    /// # Errors
    /// Those of the system.
    pub fn into_blocking(self) -> io::Result<BlockingWrite> {
        self.pipe.into_pipe().map(BlockingWrite::from)
    }
}

/// From then on no handle to this end waits in its calls, also not a clone that was made before.
impl TryFrom<BlockingRead> for AnonRead {
    type Error = io::Error;

    fn try_from(end: BlockingRead) -> io::Result<AnonRead> {
        Ok(AnonRead { pipe: AsyncAnonRead::new(end.into())? })
    }
}

/// From then on no handle to this end waits in its calls, also not a clone that was made before.
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
