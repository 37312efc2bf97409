//! One end of a connection, on each surface, with the same calls.

use super::{bounds::WAIT, frame::FRAME_MAX};
use crate::plan::Mode;
use pipework::{
    PipeStream,
    os::unix::PipeStreamExt,
    tokio::{NamedPipeClient, NamedPipeServer},
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::{
    io::{self, Read, Write},
    os::fd::BorrowedFd,
    time::Duration,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// More than any message here.
const MESSAGE_MAX: usize = 1 << 20;

#[derive(Debug)]
pub(super) enum End {
    Blocking(PipeStream),
    EventLoop(PipeStream),
    AsyncServer(NamedPipeServer),
    AsyncClient(NamedPipeClient),
}

/// Calls the same method of whichever type it is; the async ones are waited for.
macro_rules! call {
    ($end:expr, $stream:ident => $blocking:expr, $other:expr) => {
        match $end {
            End::Blocking($stream) | End::EventLoop($stream) => $blocking,
            End::AsyncServer($stream) => $other,
            End::AsyncClient($stream) => $other,
        }
    };
}

impl End {
    /// A blocking end, none of whose waits is for ever.
    pub(super) fn blocking(stream: PipeStream, wait: Duration) -> io::Result<End> {
        stream.set_read_timeout(Some(wait))?;
        stream.set_write_timeout(Some(wait))?;
        Ok(End::Blocking(stream))
    }

    /// Writes a message, or bytes; returns how many.
    pub(super) async fn write(&mut self, mode: Mode, bytes: &[u8]) -> io::Result<usize> {
        if let End::EventLoop(stream) = self {
            return until_ready(|| stream.try_write(bytes), || stream.write_ready_fd());
        }
        if mode.is_messages() {
            let written =
                call!(self, stream => stream.write_message(bytes), stream.write_message(bytes).await);
            return written.map(|()| bytes.len());
        }
        call!(self, stream => (&*stream).write(bytes), stream.write(bytes).await)
    }

    /// Reads bytes, or a part of a message.
    pub(super) async fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            End::Blocking(stream) => (&*stream).read(buf),
            End::EventLoop(stream) => until_ready(|| stream.try_read(buf), || stream.read_ready_fd()),
            End::AsyncServer(stream) => stream.read(buf).await,
            End::AsyncClient(stream) => stream.read(buf).await,
        }
    }

    /// Reads a message; none is the end of the pipe.
    pub(super) async fn read_message(&mut self) -> io::Result<Option<Vec<u8>>> {
        if let End::EventLoop(stream) = self {
            let mut buf = vec![0; FRAME_MAX];
            let len = until_ready(|| stream.try_read(&mut buf), || stream.read_ready_fd())?;
            buf.truncate(len);
            // No message here is empty.
            return Ok((len > 0).then_some(buf));
        }
        call!(self, stream => stream.read_message(MESSAGE_MAX), stream.read_message(MESSAGE_MAX).await)
    }

    pub(super) async fn transact(&mut self, request: &[u8]) -> io::Result<Vec<u8>> {
        call!(self, stream => stream.transact(request, MESSAGE_MAX), stream.transact(request, MESSAGE_MAX).await)
    }

    pub(super) fn peek(&mut self) -> io::Result<()> {
        let mut buf = [0; 4];
        call!(self, stream => stream.peek(&mut buf), stream.peek(&mut buf)).map(drop)
    }

    pub(super) async fn drain(&mut self) -> io::Result<()> {
        call!(self, stream => stream.drain(), stream.drain().await)
    }
}

/// Tries until it does not say "would block", as an event loop does.
pub(super) fn until_ready<'a, T>(
    mut attempt: impl FnMut() -> io::Result<T>,
    ready_fd: impl Fn() -> io::Result<BorrowedFd<'a>>,
) -> io::Result<T> {
    loop {
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait_readable(ready_fd()?, WAIT)?,
            outcome => return outcome,
        }
    }
}

fn wait_readable(fd: BorrowedFd<'_>, timeout: Duration) -> io::Result<()> {
    let timeout = Timespec::try_from(timeout).map_err(io::Error::other)?;
    match poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout)) {
        Ok(0) => Err(io::ErrorKind::TimedOut.into()),
        // Interrupted, or out of memory: an event loop looks again.
        Ok(_) | Err(_) => Ok(()),
    }
}
