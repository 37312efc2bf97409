//! A connected async end, over any kind of pipe.

use super::{
    End, Instance, Peer, WaitLimit,
    end::Emptied,
    system::asynchronous::{Accepting, TaskWait},
};
use crate::{
    error::{PipeErrorKind, fail},
    message::{MessageBatch, MessageRead, Peek},
    options::{PipeInfo, PipeMode},
};
use ::tokio::io::{Interest, Ready};
use std::{
    future::poll_fn,
    io::{self, IoSlice, IoSliceMut},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

/// An async end of a pipe.
#[derive(Debug)]
pub(crate) struct AsyncEnd {
    end: End,
    /// The task that polled for reading last, and only that one.
    reader: Mutex<TaskWait>,
    /// The task that polled for writing last, and only that one.
    writer: Mutex<TaskWait>,
    /// What the last try to write had no room for: less room is no reason to try again.
    wanted: AtomicUsize,
}

impl AsyncEnd {
    pub(crate) fn new(end: End) -> AsyncEnd {
        AsyncEnd { end, reader: Mutex::default(), writer: Mutex::default(), wanted: AtomicUsize::new(1) }
    }

    pub(crate) fn of_instance(instance: &Instance) -> AsyncEnd {
        AsyncEnd::new(instance.end())
    }

    /// The same end for blocking calls.
    pub(crate) fn into_end(self) -> End {
        if let Ok(end) = self.end.current() {
            end.leave_async();
        }
        self.end
    }

    /// The handle, for as long as the end is borrowed.
    #[cfg(windows)]
    pub(crate) fn handle(&self) -> std::os::windows::io::BorrowedHandle<'_> {
        self.end.handle()
    }

    // ---------------------------------------------------------------- the server's side

    /// Waits for a client.
    pub(crate) async fn connect(&self) -> io::Result<()> {
        // A client's end, and one that a listener handed out for good, is connected.
        let Some(instance) = self.end.instance() else { return Ok(()) };
        let mut accepting = Accepting::default();
        poll_fn(|cx| {
            loop {
                match instance.connect(&WaitLimit::zero()) {
                    Ok(()) => return accepting.poll_identity(cx, instance),
                    Err(error) if error == PipeErrorKind::TimedOut => {}
                    failed => return Poll::Ready(failed),
                }
                ready!(accepting.poll_client(cx, instance))?;
            }
        })
        .await
    }

    /// Ends the connection with the client.
    pub(crate) fn disconnect(&self) -> io::Result<()> {
        match self.end.instance() {
            Some(instance) => instance.disconnect(),
            None => {
                Err(fail(PipeErrorKind::Unsupported, "this end has no instance that could be used again"))
            }
        }
    }

    // ---------------------------------------------------------------- what needs no waiting

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
        self.end.current()?.try_read(bufs)
    }

    pub(crate) fn try_write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let written = self.end.current()?.try_write(bufs);
        self.note_wanted(&written, bufs.iter().map(|buf| buf.len()).sum());
        written
    }

    pub(crate) fn try_read_messages(&self, batch: &mut MessageBatch) -> io::Result<usize> {
        batch.clear();
        self.end.current()?.try_read_messages(batch)
    }

    pub(crate) fn try_write_messages(&self, messages: &[IoSlice<'_>]) -> io::Result<usize> {
        let written = self.end.current()?.try_write_messages(messages);
        self.note_wanted(&written, messages.first().map_or(0, |first| first.len()));
        written
    }

    /// Remembers how much room a write of `len` bytes has not found.
    fn note_wanted(&self, written: &io::Result<usize>, len: usize) {
        let has_no_room = written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        // A hint for the same task: nothing else depends on its order.
        self.wanted.store(if has_no_room { len } else { 1 }, Ordering::Relaxed);
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

    /// Ends the sending direction where an end can do that; a remote pipe waits for what was handed over. Elsewhere there is
    /// nothing to do.
    pub(crate) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.end.current() {
            Ok(end) => end.poll_shutdown(cx, &mut lock(&self.writer)),
            Err(_) => Poll::Ready(Ok(())),
        }
    }

    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_readable(cx, &mut lock(&self.reader))
    }

    pub(crate) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_writable(cx, &mut lock(&self.writer))
    }

    fn poll_readable(&self, cx: &mut Context<'_>, wait: &mut TaskWait) -> Poll<io::Result<()>> {
        match self.end.current() {
            Ok(end) => end.poll_readable(cx, wait),
            // The read reports it.
            Err(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_writable(&self, cx: &mut Context<'_>, wait: &mut TaskWait) -> Poll<io::Result<()>> {
        match self.end.current() {
            Ok(end) => end.poll_writable(cx, wait, self.wanted.load(Ordering::Relaxed)),
            // The write reports it.
            Err(_) => Poll::Ready(Ok(())),
        }
    }

    // ---------------------------------------------------------------- waiting

    /// Waits until a read or a write, whichever `interest` asks for, would not wait.
    pub(crate) async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        let (mut reader, mut writer) = (TaskWait::default(), TaskWait::default());
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
        let mut message = Vec::new();
        Ok(self.read_message_to(&mut message, len_max).await?.map(|_| message))
    }

    pub(crate) async fn read_message_to(
        &self,
        message: &mut Vec<u8>,
        len_max: usize,
    ) -> io::Result<Option<usize>> {
        let message = Emptied::new(message);
        let (end, mut wait) = (self.end.current()?, TaskWait::default());
        let read = poll_fn(|cx| end.poll_message_to(cx, &mut wait, message.message, len_max)).await;
        message.unless_read(read)
    }

    pub(crate) async fn read_message_into(&self, buf: &mut [u8]) -> io::Result<MessageRead> {
        let (end, mut wait) = (self.end.current()?, TaskWait::default());
        poll_fn(|cx| end.poll_message_into(cx, &mut wait, buf)).await
    }

    pub(crate) async fn write_message(&self, message: &[u8]) -> io::Result<()> {
        self.end.current()?.write_message_async(message).await
    }

    pub(crate) async fn read_messages(&self, batch: &mut MessageBatch) -> io::Result<usize> {
        batch.clear();
        let (end, mut wait) = (self.end.current()?, TaskWait::default());
        poll_fn(|cx| end.poll_messages(cx, &mut wait, batch)).await
    }

    pub(crate) async fn write_messages(&self, messages: &[IoSlice<'_>]) -> io::Result<usize> {
        let (end, mut wait) = (self.end.current()?, TaskWait::default());
        poll_fn(|cx| end.poll_write_messages(cx, &mut wait, messages)).await
    }

    pub(crate) async fn transact(&self, request: &[u8], len_max: usize) -> io::Result<Vec<u8>> {
        self.end.current()?.transact_async(request, len_max).await
    }

    pub(crate) async fn drain(&self) -> io::Result<()> {
        self.end.current()?.drain_async().await
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a poll leaves in it is whole at every step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
