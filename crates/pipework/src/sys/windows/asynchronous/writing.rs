//! Giving to a connection without ever keeping a thread waiting.
//!
//! What has room is written at once. What has none is begun as an operation, which owns its bytes: the reader gets them, so
//! they are written, and the next write waits until it is over. It is not taken back when an end is dropped: it keeps the
//! handle open until the other end has read it or has closed. What that end still writes is thrown away meanwhile.

use super::{
    super::{
        connection::Connection,
        drain, facts,
        handle::{code, system_error},
        operation::Finished,
        writing::gathered,
    },
    aside::Aside,
    at_once, check_runtime,
    completion::Operation,
    lock,
    tasks::Waiter,
};
use crate::error::PipeErrorKind;
use ::tokio::task::coop;
use std::{
    future::poll_fn,
    io::{self, IoSlice},
    os::windows::io::AsHandle,
    sync::Arc,
    task::{Context, Poll, ready},
};
use windows_sys::Win32::Foundation::{ERROR_BROKEN_PIPE, ERROR_NO_DATA};

/// How many bytes of a stream are copied at most for a write that waits for room; no more than the quota either.
const WAITING_LEN_MAX: u32 = 65_536;

/// What of a connection's writes is under way.
#[derive(Debug, Default)]
pub(super) struct Writing {
    waiting: Option<Arc<Operation>>,
    /// Of the connection.
    generation: u32,
    /// How many bytes of a stream may wait for room.
    len_max: Option<u32>,
}

/// What was written: how much, and what of it waits for room.
type Written = (usize, Option<Arc<Operation>>);

impl Connection {
    /// Writes: on a byte pipe at least a byte, on a message pipe one whole message.
    pub(super) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        waiter: &mut Waiter,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(done) = self.need_not_write(bufs)? {
            return Poll::Ready(Ok(done));
        }
        let bytes = gathered(bufs);
        self.poll_publish(cx, waiter, &bytes).map_ok(|(len, _)| len)
    }

    /// The same without waiting, else `WouldBlock`.
    pub(super) fn write_now(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        if let Some(done) = self.need_not_write(bufs)? {
            return Ok(done);
        }
        let mut writing = lock(&self.state().writing);
        writing.notice();
        if writing.waiting.is_some() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.publish(&mut writing, &gathered(bufs)).map(|(len, _)| len)
    }

    /// Writes one message; returns when no more than the quota is unread.
    pub(super) async fn write_message_in_task(&self, message: &[u8]) -> io::Result<()> {
        self.check_may_write_message(message.len())?;
        let mut waiter = Waiter::default();
        let (_, waiting) = poll_fn(|cx| self.poll_publish(cx, &mut waiter, message)).await?;
        let Some(operation) = waiting else { return Ok(()) };
        let ended = poll_fn(|cx| {
            // Before looking: what comes from here on wakes this task.
            waiter.wait_at(&self.state().writers, cx);
            operation.ended().map_or(Poll::Pending, Poll::Ready)
        });
        let ended = ended.await;
        match ended.outcome() {
            Err(error) if ended.len < message.len() || message.is_empty() => Err(in_words_of_writes(error)),
            _ => Ok(()),
        }
    }

    /// Whether a write would not wait, be it for an error.
    pub(super) fn poll_writable(&self, cx: &mut Context<'_>, waiter: &mut Waiter) -> Poll<io::Result<()>> {
        if self.pipe.check_may_write().is_err() {
            return Poll::Ready(Ok(()));
        }
        self.poll_free(cx, waiter, |_| Ok(()))
    }

    /// Waits until the other end has read everything that was written.
    pub(super) async fn drain_in_task(&self) -> io::Result<()> {
        self.pipe.check_may_write()?;
        self.check_usable()?;
        let pipe = Arc::clone(&self.pipe);
        let outcome = Aside::begin(None, move || drain::flush(&pipe))?.await;
        // A client that was thrown out meanwhile may have made room for the next one, of whom this call says nothing.
        self.check_usable()?;
        outcome
    }

    fn need_not_write(&self, bufs: &[IoSlice<'_>]) -> io::Result<Option<usize>> {
        let len = bufs.iter().map(|buf| buf.len()).sum();
        if self.messages {
            return self.check_may_write_message(len).map(|()| None);
        }
        self.pipe.check_may_write()?;
        if len == 0 {
            return self.check_usable().map(|()| Some(0));
        }
        Ok(None)
    }

    fn poll_publish(
        &self,
        cx: &mut Context<'_>,
        waiter: &mut Waiter,
        bytes: &[u8],
    ) -> Poll<io::Result<Written>> {
        self.poll_free(cx, waiter, |writing| self.publish(writing, bytes))
    }

    /// Does something as soon as no write waits for room.
    fn poll_free<T>(
        &self,
        cx: &mut Context<'_>,
        waiter: &mut Waiter,
        mut act: impl FnMut(&mut Writing) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        let progress = ready!(coop::poll_proceed(cx));
        let state = self.state();
        // Before looking: what comes from here on wakes this task.
        waiter.wait_at(&state.writers, cx);
        let mut writing = lock(&state.writing);
        writing.notice();
        if writing.waiting.is_some() {
            check_runtime()?;
            return Poll::Pending;
        }
        progress.made_progress();
        Poll::Ready(act(&mut writing))
    }

    /// Writes what has room, or begins to write; in its turn.
    fn publish(&self, writing: &mut Writing, bytes: &[u8]) -> io::Result<Written> {
        if let Some(len) = self.write_with_room(bytes)? {
            return Ok((len, None));
        }
        let len = if self.messages { bytes.len() } else { bytes.len().min(self.waiting_len_max(writing)) };
        let (bytes, _) = bytes.split_at_checked(len).unwrap_or((bytes, &[]));
        let mut owned = Vec::new();
        owned.try_reserve_exact(len).map_err(|error| io::Error::new(io::ErrorKind::OutOfMemory, error))?;
        owned.extend_from_slice(bytes);
        let begun = Operation::write(&self.state().writers, &self.pipe, self.generation, owned);
        let (operation, ended) = begun.map_err(in_words_of_writes)?;
        if ended.is_some() {
            return Ok((len, None));
        }
        writing.waiting = Some(Arc::clone(&operation));
        writing.generation = self.generation;
        Ok((len, Some(operation)))
    }

    /// How many bytes a write of a stream may have that waits for room.
    fn waiting_len_max(&self, writing: &mut Writing) -> usize {
        // The handle of an end that only writes may not ask. Without a buffer every write waits.
        let ask = || match facts::quota(self.pipe.as_handle(), self.side) {
            Ok(0) | Err(_) => WAITING_LEN_MAX,
            Ok(quota) => quota.min(WAITING_LEN_MAX),
        };
        let len = *writing.len_max.get_or_insert_with(ask);
        usize::try_from(len).unwrap_or(usize::MAX)
    }

    /// Writes what has room, where the system tells of it: no buffer is needed for that.
    fn write_with_room(&self, bytes: &[u8]) -> io::Result<Option<usize>> {
        // The handle of an end that only writes may not ask.
        let room = self.pipe.within(self.generation, || Ok(self.pipe.room().unwrap_or(0)))?;
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        if room == 0 || (self.messages && room < bytes.len()) {
            return Ok(None);
        }
        let (chunk, _) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
        let turn = match self.writing.take(&at_once()) {
            Ok(turn) => turn,
            Err(error) if error == PipeErrorKind::TimedOut => return Ok(None),
            Err(error) => return Err(error),
        };
        let Finished { len, outcome } = self.write_once(&turn, chunk, &at_once());
        match outcome {
            Ok(()) => Ok(Some(len)),
            Err(_) if len > 0 && !self.messages => Ok(Some(len)),
            // Somebody else, with another handle of this end, took the room.
            Err(error) if error == PipeErrorKind::TimedOut && len == 0 => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Writing {
    /// Looks whether the write that waited for room is over. If it failed, the next one fails by itself.
    fn notice(&mut self) {
        if self.waiting.as_ref().is_some_and(|operation| operation.ended().is_some()) {
            self.waiting = None;
        }
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.notice();
        if let Some(operation) = &self.waiting {
            // Where nothing can be read, nobody waits for that either.
            operation.discard_meanwhile(self.generation).ok();
        }
    }
}

/// A write that waited hears of the end of the pipe in the words of a read; to its caller it is one thing (rule B5).
fn in_words_of_writes(error: io::Error) -> io::Error {
    if code(&error) == Some(ERROR_BROKEN_PIPE) { system_error(ERROR_NO_DATA) } else { error }
}
