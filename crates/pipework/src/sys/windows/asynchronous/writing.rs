//! Async writes to a connection, which never block a thread.
//!
//! What there is room for is written at once. What lacks room is begun as an operation that owns its bytes: the reader will
//! get them, so they count as written, and the next write waits until that operation has completed. Dropping an end does not
//! cancel it: it keeps the handle open until the peer has read it or has closed. Data that the peer sends meanwhile is
//! discarded.

use super::{
    super::{
        connection::Connection,
        drain, handle_info,
        operation::Finished,
        writing::{broken_as_closed, gathered},
    },
    TaskWait,
    blocking_call::BlockingCall,
    completion::Operation,
    lock::lock,
    pending_write::Writing,
    runtime::check_runtime,
};
use crate::{
    error::PipeErrorKind,
    sys::{WaitLimit, errors::out_of_memory},
};
use ::tokio::task::coop;
use std::{
    future::poll_fn,
    io::{self, IoSlice},
    os::windows::io::AsHandle,
    sync::Arc,
    task::{Context, Poll, ready},
};

/// The most bytes of a stream that are copied for a write that waits for room; never more than the quota.
const PENDING_LEN_MAX: u32 = 65_536;

/// What was written: the length, and the operation if it waits for room.
type Written = (usize, Option<Arc<Operation>>);

impl Connection {
    /// Writes: on a byte pipe at least a byte, on a message pipe one whole message.
    pub(crate) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        wait: &mut TaskWait,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(done) = self.write_nothing(bufs)? {
            return Poll::Ready(Ok(done));
        }
        let bytes = gathered(bufs);
        self.poll_publish(cx, wait, &bytes).map_ok(|(len, _)| len)
    }

    /// The same without waiting; `WouldBlock` while another write waits for room.
    pub(crate) fn try_write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        if let Some(done) = self.write_nothing(bufs)? {
            return Ok(done);
        }
        let mut writing = lock(&self.state().writing);
        writing.notice_end();
        if writing.pending.is_some() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.publish(&mut writing, &gathered(bufs)).map(|(len, _)| len)
    }

    /// Writes one message; returns when no more than the quota is unread.
    pub(crate) async fn write_message_async(&self, message: &[u8]) -> io::Result<()> {
        self.check_may_write_message(message.len())?;
        let mut wait = TaskWait::default();
        let (_, pending) = poll_fn(|cx| self.poll_publish(cx, &mut wait, message)).await?;
        let Some(operation) = pending else { return Ok(()) };
        let ended = poll_fn(|cx| {
            // Registered before the look, so that an end from here on wakes this task.
            wait.wait_at(&self.state().writers, cx);
            operation.ended().map_or(Poll::Pending, Poll::Ready)
        });
        let ended = ended.await;
        match ended.outcome() {
            Err(error) if ended.len < message.len() || message.is_empty() => Err(broken_as_closed(error)),
            _ => Ok(()),
        }
    }

    /// Writes messages, at least one, and no more after one that waits for room.
    pub(crate) fn poll_write_messages(
        &self,
        cx: &mut Context<'_>,
        wait: &mut TaskWait,
        messages: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check_may_write_messages(messages)?;
        self.poll_idle(cx, wait, |writing| self.publish_messages(writing, messages))
    }

    /// The same without waiting; `WouldBlock` while another write waits for room.
    pub(crate) fn try_write_messages(&self, messages: &[IoSlice<'_>]) -> io::Result<usize> {
        self.check_may_write_messages(messages)?;
        let mut writing = lock(&self.state().writing);
        writing.notice_end();
        if writing.pending.is_some() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.publish_messages(&mut writing, messages)
    }

    fn publish_messages(&self, writing: &mut Writing, messages: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut count = 0;
        for message in messages {
            match self.publish(writing, message) {
                Ok((_, pending)) => {
                    count += 1;
                    if pending.is_some() {
                        break;
                    }
                }
                Err(error) if count == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(count)
    }

    /// Ready when a write would not wait, be it for an error.
    pub(crate) fn poll_write_ready(&self, cx: &mut Context<'_>, wait: &mut TaskWait) -> Poll<io::Result<()>> {
        if self.pipe.check_may_write().is_err() {
            return Poll::Ready(Ok(()));
        }
        self.poll_idle(cx, wait, |_| Ok(()))
    }

    /// Waits until the peer has read everything that was written.
    pub(crate) async fn drain_async(&self) -> io::Result<()> {
        self.pipe.check_may_write()?;
        self.check_usable()?;
        let pipe = Arc::clone(&self.pipe);
        let outcome = BlockingCall::begin(None, move || drain::flush(&pipe))?.await;
        // If the client was disconnected meanwhile, the outcome may be that of the next client.
        self.check_usable()?;
        outcome
    }

    /// A write of nothing to a byte pipe returns 0 without waiting (rule B4).
    fn write_nothing(&self, bufs: &[IoSlice<'_>]) -> io::Result<Option<usize>> {
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
        wait: &mut TaskWait,
        bytes: &[u8],
    ) -> Poll<io::Result<Written>> {
        self.poll_idle(cx, wait, |writing| self.publish(writing, bytes))
    }

    /// Calls `act` as soon as no write waits for room.
    fn poll_idle<T>(
        &self,
        cx: &mut Context<'_>,
        wait: &mut TaskWait,
        mut act: impl FnMut(&mut Writing) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        let progress = ready!(coop::poll_proceed(cx));
        let state = self.state();
        // Registered before the look, so that an end from here on wakes this task.
        wait.wait_at(&state.writers, cx);
        let mut writing = lock(&state.writing);
        writing.notice_end();
        if writing.pending.is_some() {
            check_runtime()?;
            return Poll::Pending;
        }
        progress.made_progress();
        Poll::Ready(act(&mut writing))
    }

    /// Writes what there is room for, or begins to write; no other write is pending.
    fn publish(&self, writing: &mut Writing, bytes: &[u8]) -> io::Result<Written> {
        if let Some(len) = self.write_with_room(bytes)? {
            return Ok((len, None));
        }
        let len = if self.messages { bytes.len() } else { bytes.len().min(self.pending_len_max(writing)) };
        let (bytes, _) = bytes.split_at_checked(len).unwrap_or((bytes, &[]));
        let mut owned = Vec::new();
        owned.try_reserve_exact(len).map_err(out_of_memory)?;
        owned.extend_from_slice(bytes);
        let begun = Operation::write(&self.state().writers, &self.pipe, self.generation, owned);
        let (operation, ended) = begun.map_err(broken_as_closed)?;
        if ended.is_some() {
            return Ok((len, None));
        }
        writing.pending = Some(Arc::clone(&operation));
        writing.generation = self.generation;
        Ok((len, Some(operation)))
    }

    /// The most bytes of a stream that one write lets wait for room.
    fn pending_len_max(&self, writing: &mut Writing) -> usize {
        // The handle of an end that only writes has no right to query. With a quota of 0 every write waits.
        let query = || match handle_info::quota(self.pipe.as_handle(), self.side) {
            Ok(0) | Err(_) => PENDING_LEN_MAX,
            Ok(quota) => quota.min(PENDING_LEN_MAX),
        };
        let len = *writing.len_max.get_or_insert_with(query);
        usize::try_from(len).unwrap_or(usize::MAX)
    }

    /// Writes what there is room for, without a copy, where the kernel reports room. `None` if there is none.
    fn write_with_room(&self, bytes: &[u8]) -> io::Result<Option<usize>> {
        // The handle of an end that only writes has no right to query.
        let room = self.pipe.within(self.generation, || Ok(self.pipe.room().unwrap_or(0)))?;
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        if room == 0 || (self.messages && room < bytes.len()) {
            return Ok(None);
        }
        let (chunk, _) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
        let Some(guard) = self.writing.try_lock() else { return Ok(None) };
        let Finished { len, outcome } = self.write_once(&guard, chunk, &WaitLimit::zero());
        match outcome {
            Ok(()) => Ok(Some(len)),
            Err(_) if len > 0 && !self.messages => Ok(Some(len)),
            // A writer with another handle of this end took the room.
            Err(error) if error == PipeErrorKind::TimedOut && len == 0 => Ok(None),
            Err(error) => Err(error),
        }
    }
}
