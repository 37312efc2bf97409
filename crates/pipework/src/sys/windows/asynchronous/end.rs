//! A connected end for async callers, whatever it consists of.

use super::{
    super::{End, Peer, instance::Instance},
    ReadWait, WriteWait,
    accepting::Accepting,
    lock, without_waiting,
};
use crate::{
    error::{PipeErrorKind, fail},
    message::{MessageRead, Peek},
    options::{PipeInfo, PipeMode},
};
use ::tokio::io::{Interest, Ready};
use std::{
    future::poll_fn,
    io::{self, IoSlice, IoSliceMut},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

/// An end of a pipe, for tasks of a runtime.
#[derive(Debug)]
pub(crate) struct AsyncEnd {
    end: End,
    /// The task that polled for reading last; only that one is woken.
    reader: Mutex<ReadWait>,
    /// The task that polled for writing last; only that one is woken.
    writer: Mutex<WriteWait>,
    /// The length that the last try to write had no room for: with less room a retry is useless.
    wanted: AtomicUsize,
}

impl AsyncEnd {
    pub(crate) fn new(end: End) -> AsyncEnd {
        AsyncEnd { end, reader: Mutex::default(), writer: Mutex::default(), wanted: AtomicUsize::new(1) }
    }

    pub(crate) fn of_instance(instance: &Instance) -> AsyncEnd {
        AsyncEnd::new(instance.end())
    }

    // ---------------------------------------------------------------- the server's side

    /// Waits for a client.
    pub(crate) async fn connect(&self) -> io::Result<()> {
        // A client's end, and a server's end that a listener handed out, stay connected.
        let End::Instance(instance) = &self.end else { return Ok(()) };
        let mut accepting = Accepting::default();
        poll_fn(|cx| {
            loop {
                match instance.connect(&without_waiting()) {
                    Ok(()) => return accepting.poll_known(cx, instance),
                    Err(error) if error == PipeErrorKind::TimedOut => {}
                    failed => return Poll::Ready(failed),
                }
                ready!(accepting.poll_client(cx, instance))?;
            }
        })
        .await
    }

    /// Disconnects the client.
    pub(crate) fn disconnect(&self) -> io::Result<()> {
        match &self.end {
            End::Instance(instance) => instance.disconnect(),
            _ => Err(fail(
                PipeErrorKind::Unsupported,
                "this end has no instance that could serve another client",
            )),
        }
    }

    // ---------------------------------------------------------------- calls that never wait

    pub(crate) fn info(&self) -> io::Result<PipeInfo> {
        self.end.info()
    }

    pub(crate) fn peer(&self) -> io::Result<Peer> {
        self.end.current()?.peer_now()
    }

    pub(crate) fn peek(&self, buf: &mut [u8]) -> io::Result<Peek> {
        self.end.peek(buf)
    }

    pub(crate) fn set_read_mode(&self, mode: PipeMode) -> io::Result<()> {
        self.end.set_read_mode(mode)
    }

    pub(crate) fn try_read(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.end.current()?.try_read_vectored(bufs)
    }

    pub(crate) fn try_write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let written = self.end.current()?.try_write_vectored(bufs);
        let has_no_room = written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        let wanted = if has_no_room { bufs.iter().map(|buf| buf.len()).sum() } else { 1 };
        // A hint for the same task: nothing else depends on its order.
        self.wanted.store(wanted, Ordering::Relaxed);
        written
    }

    // ---------------------------------------------------------------- polling

    pub(crate) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        self.end.current()?.poll_read(cx, &mut lock(&self.reader), bufs)
    }

    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.end.current()?.poll_write(cx, &mut lock(&self.writer), bufs)
    }

    pub(crate) fn poll_shut_down(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.end.current() {
            Ok(current) => current.poll_shutdown(cx, &mut lock(&self.writer)),
            // An instance without a client has no sending side.
            Err(_) => Poll::Ready(Ok(())),
        }
    }

    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_readable(cx, &mut lock(&self.reader))
    }

    pub(crate) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_writable(cx, &mut lock(&self.writer))
    }

    fn poll_readable(&self, cx: &mut Context<'_>, wait: &mut ReadWait) -> Poll<io::Result<()>> {
        match self.end.current() {
            Ok(current) => current.poll_read_ready(cx, wait),
            // The read returns the error.
            Err(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_writable(&self, cx: &mut Context<'_>, wait: &mut WriteWait) -> Poll<io::Result<()>> {
        match self.end.current() {
            Ok(current) => current.poll_write_ready(cx, wait, self.wanted.load(Ordering::Relaxed)),
            // The write returns the error.
            Err(_) => Poll::Ready(Ok(())),
        }
    }

    // ---------------------------------------------------------------- waiting

    /// Waits until a read or a write, whichever `interest` asks for, would not wait.
    pub(crate) async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        let (mut reader, mut writer) = (ReadWait::default(), WriteWait::default());
        poll_fn(|cx| {
            let mut ready = Ready::EMPTY;
            if interest.is_readable() && self.poll_readable(cx, &mut reader)?.is_ready() {
                ready |= Ready::READABLE;
            }
            if interest.is_writable() && self.poll_writable(cx, &mut writer)?.is_ready() {
                ready |= Ready::WRITABLE;
            }
            let asks_for_something = interest.is_readable() || interest.is_writable();
            if ready.is_empty() && asks_for_something { Poll::Pending } else { Poll::Ready(Ok(ready)) }
        })
        .await
    }

    pub(crate) async fn read_message(&self, len_max: usize) -> io::Result<Option<Vec<u8>>> {
        let (current, mut wait) = (self.end.current()?, ReadWait::default());
        poll_fn(|cx| current.poll_read_message(cx, &mut wait, len_max)).await
    }

    pub(crate) async fn read_message_into(&self, buf: &mut [u8]) -> io::Result<MessageRead> {
        let (current, mut wait) = (self.end.current()?, ReadWait::default());
        poll_fn(|cx| current.poll_read_message_into(cx, &mut wait, buf)).await
    }

    pub(crate) async fn write_message(&self, message: &[u8]) -> io::Result<()> {
        self.end.current()?.write_message_async(message).await
    }

    pub(crate) async fn transact(&self, request: &[u8], len_max: usize) -> io::Result<Vec<u8>> {
        self.end.current()?.transact_async(request, len_max).await
    }

    pub(crate) async fn drain(&self) -> io::Result<()> {
        self.end.current()?.drain_async().await
    }
}
