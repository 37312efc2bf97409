//! Blocking writes to a connection: bytes and messages.
#![expect(unsafe_code, reason = "the kernel reads from the buffers of callers")]

use super::{
    super::{
        WaitLimit,
        errors::{closed, no_messages, too_long},
    },
    connection::Connection,
    direction::DirectionGuard,
    handle::code,
    handle_info,
    operation::{self, Finished},
};
use std::{
    borrow::Cow,
    io::{self, IoSlice},
    os::windows::io::AsHandle,
};
use windows_sys::Win32::Foundation::ERROR_BROKEN_PIPE;

/// The longest piece written at once where the system does not report room, in bytes.
const PIECE_LEN_MAX: u32 = 4096;

impl Connection {
    /// Writes: on a byte pipe as a stream, on a message pipe as one message. Returns when no more than the quota is
    /// unread, or with what was written when the limit is reached.
    pub(crate) fn write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.pipe.check_may_write()?;
        let bytes = gathered(bufs);
        if self.messages {
            return self.write_message(&bytes).map(|()| bytes.len());
        }
        if bytes.is_empty() {
            return self.check_usable().map(|()| 0);
        }
        let limit = self.write_limit();
        let lock = self.writing.lock(&limit)?;
        if limit.is_endless() {
            self.write_all(&lock, &bytes, &limit)
        } else {
            self.write_limited(&lock, &bytes, &limit)
        }
    }

    /// Writes one message, all of it or nothing.
    pub(crate) fn write_message(&self, message: &[u8]) -> io::Result<()> {
        self.write_message_within(message, &self.write_limit())
    }

    pub(super) fn write_message_within(&self, message: &[u8], limit: &WaitLimit) -> io::Result<()> {
        self.check_may_write_message(message.len())?;
        let lock = self.writing.lock(limit)?;
        let Finished { len, outcome } = self.write_once(&lock, message, limit);
        match outcome {
            Err(error) if len < message.len() || message.is_empty() => Err(error),
            _ => Ok(()),
        }
    }

    /// Writes messages one after the other, and says how many; an error after the first only ends that.
    pub(crate) fn write_messages(&self, messages: &[IoSlice<'_>]) -> io::Result<usize> {
        self.check_may_write_messages(messages)?;
        let limit = self.write_limit();
        let lock = self.writing.lock(&limit)?;
        for (count, message) in messages.iter().enumerate() {
            let Finished { len, outcome } = self.write_once(&lock, message, &limit);
            match outcome {
                Err(error) if len < message.len() || message.is_empty() => {
                    return if count > 0 { Ok(count) } else { Err(error) };
                }
                _ => {}
            }
        }
        Ok(messages.len())
    }

    pub(super) fn check_may_write_messages(&self, messages: &[IoSlice<'_>]) -> io::Result<()> {
        self.check_may_write_message(0)?;
        self.check_usable()?;
        messages.iter().try_for_each(|message| self.check_may_write_message(message.len()))
    }

    pub(super) fn check_may_write_message(&self, len: usize) -> io::Result<()> {
        self.pipe.check_may_write()?;
        if !self.messages {
            return Err(no_messages("write"));
        }
        if u32::try_from(len).is_err() {
            return Err(too_long(len as u64, u32::MAX.into()));
        }
        Ok(())
    }

    /// One system call for all of it: the kernel waits for room.
    fn write_all(&self, lock: &DirectionGuard<'_>, mut bytes: &[u8], limit: &WaitLimit) -> io::Result<usize> {
        let mut written = 0;
        while !bytes.is_empty() {
            let Finished { len, outcome } = self.write_once(lock, bytes, limit);
            match outcome {
                Err(error) if written + len == 0 => return Err(error),
                Err(_) => return Ok(written + len),
                Ok(()) => {}
            }
            written += len;
            (_, bytes) = bytes.split_at_checked(len).unwrap_or_default();
        }
        Ok(written)
    }

    /// Writes so that the count of bytes is exact when the limit is reached (rule T1).
    ///
    /// The kernel does not report how much of a cancelled write was read before. So one write has no more than there is
    /// room for, and the write that waits for room is a single byte: it is read or it is not. Where the kernel never
    /// reports room, a write is a small piece.
    fn write_limited(
        &self,
        lock: &DirectionGuard<'_>,
        mut bytes: &[u8],
        limit: &WaitLimit,
    ) -> io::Result<usize> {
        let mut written = 0;
        while !bytes.is_empty() {
            let len = self.pipe.within(self.generation, || self.piece_len())?;
            let (piece, _) = bytes.split_at_checked(len).unwrap_or((bytes, &[]));
            let Finished { len, outcome } = self.write_once(lock, piece, limit);
            written += len;
            match outcome {
                Ok(()) => {}
                // Published counts as written.
                Err(_) if written > 0 => return Ok(written),
                Err(error) => return Err(error),
            }
            (_, bytes) = bytes.split_at_checked(len).unwrap_or_default();
        }
        Ok(written)
    }

    /// The length of the next piece of a limited write.
    fn piece_len(&self) -> io::Result<usize> {
        // The handle of an end that only writes has no right to query.
        let quota = || handle_info::quota(self.pipe.as_handle(), self.side).unwrap_or(PIECE_LEN_MAX);
        let room = match self.pipe.room().unwrap_or(0) {
            0 if self.pipe.reports_room() => 1,
            // A piece beyond the quota would be begun for a reader that waits, and be pending after that.
            0 => quota().clamp(1, PIECE_LEN_MAX),
            room => room,
        };
        Ok(usize::try_from(room).unwrap_or(usize::MAX))
    }

    pub(super) fn write_once(&self, lock: &DirectionGuard<'_>, bytes: &[u8], limit: &WaitLimit) -> Finished {
        let event = match lock.event() {
            Ok(event) => event,
            Err(error) => return Finished { len: 0, outcome: Err(error) },
        };
        let write = |overlapped| {
            // SAFETY: `bytes` is borrowed until `run` returns, and so after the end; the `OVERLAPPED` is its own.
            self.pipe.within(self.generation, || unsafe { self.pipe.begin_write(bytes, overlapped) })
        };
        // SAFETY: one write is begun, on this handle.
        let Finished { len, outcome } = unsafe { operation::run(self.pipe.raw(), event, limit, write) };
        Finished { len, outcome: outcome.map_err(broken_as_closed) }
    }
}

/// The kernel reports a closed pipe to a pending write as to a read; callers get one error for both (rule B5).
pub(super) fn broken_as_closed(error: io::Error) -> io::Error {
    if code(&error) == Some(ERROR_BROKEN_PIPE) { closed() } else { error }
}

/// All the bytes in one piece.
pub(super) fn gathered<'a>(bufs: &'a [IoSlice<'_>]) -> Cow<'a, [u8]> {
    let mut filled = bufs.iter().filter(|buf| !buf.is_empty());
    match (filled.next(), filled.next()) {
        (None, _) => Cow::Borrowed(&[]),
        (Some(only), None) => Cow::Borrowed(only),
        _ => Cow::Owned(bufs.iter().flat_map(|buf| buf.iter().copied()).collect()),
    }
}
