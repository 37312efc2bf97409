//! Blocking reads from a connection: bytes, messages, peeks.
#![expect(unsafe_code, reason = "the kernel writes into the buffers of callers")]

use super::{
    super::{
        WaitLimit,
        end::fill_batch,
        errors::{
            broken, more_data, no_messages, of_transaction, out_of_memory, reads_bytes,
            unread_before_transaction,
        },
    },
    connection::Connection,
    direction::DirectionGuard,
    handle::code,
    operation::{self, Finished},
};
#[cfg(feature = "tokio")]
use crate::error::PipeErrorKind;
use crate::message::{MessageBatch, MessageRead, Peek};
use std::io;
use windows_sys::Win32::Foundation::{ERROR_BROKEN_PIPE, ERROR_MORE_DATA};

/// The outcome of one read of the system.
pub(super) enum ReadOutcome {
    /// So many bytes; on a message pipe they end the message.
    Whole(usize),
    /// So many bytes, and the message goes on.
    Part(usize),
    End,
}

impl Connection {
    /// Reads bytes, in either read mode. Skips empty messages, because 0 means the end.
    pub(crate) fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.pipe.check_may_read()?;
        if buf.is_empty() {
            return self.check_usable().map(|()| 0);
        }
        let limit = self.read_limit();
        let lock = self.reading.lock(&limit)?;
        // Bytes skip it.
        let _is_empty = self.take_watched_empty();
        loop {
            match self.read_once(&lock, buf, &limit)? {
                ReadOutcome::Whole(0) => {}
                ReadOutcome::Whole(len) | ReadOutcome::Part(len) => return Ok(len),
                ReadOutcome::End => return Ok(0),
            }
        }
    }

    /// Reads one message, or the part of it that fits.
    pub(crate) fn read_message_into(&self, buf: &mut [u8]) -> io::Result<MessageRead> {
        self.check_reads_messages()?;
        let limit = self.read_limit();
        let lock = self.reading.lock(&limit)?;
        if self.take_watched_empty() {
            return Ok(MessageRead::Whole(0));
        }
        Ok(match self.read_once(&lock, buf, &limit)? {
            ReadOutcome::Whole(len) => MessageRead::Whole(len),
            ReadOutcome::Part(len) => MessageRead::Part(len),
            ReadOutcome::End => MessageRead::End,
        })
    }

    /// Reads one whole message of at most `len_max` bytes; `None` is the end.
    pub(crate) fn read_message_to(&self, message: &mut Vec<u8>, len_max: usize) -> io::Result<Option<usize>> {
        self.check_reads_messages()?;
        let limit = self.read_limit();
        let lock = self.reading.lock(&limit)?;
        if self.take_watched_empty() {
            message.clear();
            return Ok(Some(0));
        }
        self.read_whole(&lock, &limit, message, len_max)
    }

    /// Reads at least one whole message, and others that are there; 0 is the end.
    pub(crate) fn read_messages(&self, batch: &mut MessageBatch) -> io::Result<usize> {
        self.check_reads_messages()?;
        let limit = self.read_limit();
        let lock = self.reading.lock(&limit)?;
        self.fill_batch(batch, |len_max| {
            if self.take_watched_empty() {
                return Ok(Some(Vec::new()));
            }
            let mut message = Vec::new();
            Ok(self.read_whole(&lock, &limit, &mut message, len_max)?.map(|_| message))
        })
    }

    /// Fills a batch with what `next` reads, and after the first message only with what is seen to be there.
    pub(super) fn fill_batch(
        &self,
        batch: &mut MessageBatch,
        mut next: impl FnMut(usize) -> io::Result<Option<Vec<u8>>>,
    ) -> io::Result<usize> {
        if batch.takes_nothing() {
            return self.check_usable().map(|()| 0);
        }
        fill_batch(batch, |batch, len_max| {
            // Nothing shows an empty message, so a read of the next one could wait.
            let is_due = batch.is_empty() || {
                let seen = self.pipe.within(self.generation, || self.pipe.peek(&mut []))?;
                seen.available > 0 || seen.left > 0
            };
            if is_due { next(len_max) } else { Ok(None) }
        })
    }

    /// Writes a message and reads the reply.
    ///
    /// `TransactNamedPipe` would need a buffer for the reply before its length is known. If the reply is longer, the call
    /// has already taken the beginning when it reports that.
    pub(crate) fn transact(&self, request: &[u8], len_max: usize) -> io::Result<Vec<u8>> {
        self.pipe.check_may_write()?;
        self.check_reads_messages()?;
        let limit = self.read_limit();
        // No other thread reads between request and reply, or two threads could get each other's replies.
        let lock = self.reading.lock(&limit)?;
        if self.pipe.within(self.generation, || self.pipe.peek(&mut []))?.available > 0 {
            return Err(unread_before_transaction());
        }
        // One deadline for the whole call; the request has that of a write besides.
        let request_limit = self.write_limit().sooner_of(&limit);
        self.write_message_within(request, &request_limit).map_err(of_transaction)?;
        let mut reply = Vec::new();
        self.read_whole(&lock, &limit, &mut reply, len_max)?.map(|_| reply).ok_or_else(broken)
    }

    /// Copies unread data without consuming it; never waits.
    pub(crate) fn peek(&self, buf: &mut [u8]) -> io::Result<Peek> {
        self.pipe.check_may_read()?;
        #[cfg(feature = "tokio")]
        if self.holds_empty_message() {
            return self.peek_empty_message();
        }
        let seen = self.pipe.within(self.generation, || self.pipe.peek(buf))?;
        let has_message = self.messages && (seen.available > 0 || seen.left > 0);
        Ok(Peek {
            copied: seen.copied,
            available: seen.available,
            message_left: has_message.then_some(seen.left),
        })
    }

    /// An empty message that an async read has taken from the kernel is the first one, and hides those behind it.
    #[cfg(feature = "tokio")]
    fn peek_empty_message(&self) -> io::Result<Peek> {
        let available = match self.pipe.within(self.generation, || self.pipe.peek(&mut [])) {
            Ok(seen) => seen.available,
            // It is still unread, so this is not the end yet.
            Err(error) if error == PipeErrorKind::Broken => 0,
            Err(error) => return Err(error),
        };
        Ok(Peek { copied: 0, available, message_left: Some(0) })
    }

    pub(super) fn check_reads_messages(&self) -> io::Result<()> {
        self.pipe.check_may_read()?;
        if self.options.reads_messages() {
            return Ok(());
        }
        Err(if self.messages { reads_bytes() } else { no_messages("read") })
    }

    /// Waits for the next message and reads it, unless it is too long.
    pub(super) fn read_whole(
        &self,
        lock: &DirectionGuard<'_>,
        limit: &WaitLimit,
        message: &mut Vec<u8>,
        len_max: usize,
    ) -> io::Result<Option<usize>> {
        message.clear();
        // A read of length zero waits for a message and consumes it only if it is empty.
        match self.read_once(lock, &mut [], limit)? {
            ReadOutcome::Whole(_) => return Ok(Some(0)),
            ReadOutcome::Part(_) => {}
            ReadOutcome::End => return Ok(None),
        }
        let len = self.pipe.within(self.generation, || self.pipe.peek(&mut []))?.left;
        if len > len_max {
            return Err(more_data(len as u64, len_max));
        }
        message.try_reserve_exact(len).map_err(out_of_memory)?;
        message.resize(len, 0);
        match self.read_once(lock, message, limit)? {
            ReadOutcome::Whole(read) => {
                message.truncate(read);
                Ok(Some(read))
            }
            // This thread alone reads now, so the message is still there and has the same length.
            ReadOutcome::Part(_) => Err(io::Error::other("a message became longer while it was read")),
            ReadOutcome::End => Ok(None),
        }
    }

    pub(super) fn read_once(
        &self,
        lock: &DirectionGuard<'_>,
        buf: &mut [u8],
        limit: &WaitLimit,
    ) -> io::Result<ReadOutcome> {
        let event = lock.event()?;
        let read = |overlapped| {
            // SAFETY: `buf` is borrowed for writing until `run` returns, and so after the end; the `OVERLAPPED` is its own.
            self.pipe.within(self.generation, || unsafe { self.pipe.begin_read(buf, overlapped) })
        };
        // SAFETY: one read is begun, on this handle.
        let Finished { len, outcome } = unsafe { operation::run(self.pipe.raw(), event, limit, read) };
        match outcome {
            Ok(()) => Ok(ReadOutcome::Whole(len)),
            Err(error) => match code(&error) {
                Some(ERROR_MORE_DATA) => Ok(ReadOutcome::Part(len)),
                Some(ERROR_BROKEN_PIPE) => Ok(ReadOutcome::End),
                _ => Err(error),
            },
        }
    }
}
