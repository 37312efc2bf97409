//! Giving to a connection: bytes and messages.
#![expect(unsafe_code, reason = "the kernel reads from the buffers of callers")]

use super::{
    super::Limit,
    connection::Connection,
    facts,
    handle::{code, system_error},
    operation::{self, Finished},
    turn::Taken,
};
use crate::error::{PipeErrorKind, fail};
use std::{
    borrow::Cow,
    io::{self, IoSlice},
    os::windows::io::AsHandle,
};
use windows_sys::Win32::Foundation::{ERROR_BROKEN_PIPE, ERROR_NO_DATA};

/// What is written at once where the system does not tell whether there is room, in bytes.
const UNTOLD_LEN_MAX: u32 = 4096;

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
        let turn = self.writing.take(&limit)?;
        if limit.is_endless() {
            self.write_all(&turn, &bytes, &limit)
        } else {
            self.write_limited(&turn, &bytes, &limit)
        }
    }

    /// Writes one message, all of it or nothing.
    pub(crate) fn write_message(&self, message: &[u8]) -> io::Result<()> {
        self.check_may_write_message(message.len())?;
        let limit = self.write_limit();
        let turn = self.writing.take(&limit)?;
        let Finished { len, outcome } = self.write_once(&turn, message, &limit);
        match outcome {
            Err(error) if len < message.len() || message.is_empty() => Err(error),
            _ => Ok(()),
        }
    }

    pub(super) fn check_may_write_message(&self, len: usize) -> io::Result<()> {
        self.pipe.check_may_write()?;
        if !self.messages {
            return Err(fail(PipeErrorKind::BadPipe, "a byte pipe has no messages: call `write`"));
        }
        if u32::try_from(len).is_err() {
            let text = format!("a message has at most {} bytes, not {len}", u32::MAX);
            return Err(fail(PipeErrorKind::Invalid, text));
        }
        Ok(())
    }

    /// One call of the system for all of it: the kernel waits for room.
    fn write_all(&self, turn: &Taken<'_>, mut bytes: &[u8], limit: &Limit) -> io::Result<usize> {
        let mut written = 0;
        while !bytes.is_empty() {
            let Finished { len, outcome } = self.write_once(turn, bytes, limit);
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

    /// Writes so that at the limit it is known to the byte what can be read (rule T1).
    ///
    /// The system does not tell how much of a write that is cancelled was read before. So only what has room is written
    /// at once, and what waits for room is a single byte, which is read or not. Where the system never tells of room, it
    /// is a small piece.
    fn write_limited(&self, turn: &Taken<'_>, mut bytes: &[u8], limit: &Limit) -> io::Result<usize> {
        let mut written = 0;
        while !bytes.is_empty() {
            let len = self.pipe.within(self.generation, || self.len_now())?;
            let (chunk, _) = bytes.split_at_checked(len).unwrap_or((bytes, &[]));
            let Finished { len, outcome } = self.write_once(turn, chunk, limit);
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

    /// How much to write at once.
    fn len_now(&self) -> io::Result<usize> {
        // The handle of an end that only writes may not ask.
        let quota = || facts::quota(self.pipe.as_handle(), self.side).unwrap_or(UNTOLD_LEN_MAX);
        let room = match self.pipe.room().unwrap_or(0) {
            0 if self.pipe.tells_room() => 1,
            // More than the quota would be begun for a waiting reader, and not be over with that.
            0 => quota().clamp(1, UNTOLD_LEN_MAX),
            room => room,
        };
        Ok(usize::try_from(room).unwrap_or(usize::MAX))
    }

    pub(super) fn write_once(&self, turn: &Taken<'_>, bytes: &[u8], limit: &Limit) -> Finished {
        let event = match turn.event() {
            Ok(event) => event,
            Err(error) => return Finished { len: 0, outcome: Err(error) },
        };
        let write = |overlapped| {
            // SAFETY: `bytes` is borrowed until `run` returns, and so after the end; the `OVERLAPPED` is its own.
            self.pipe.within(self.generation, || unsafe { self.pipe.begin_write(bytes, overlapped) })
        };
        // SAFETY: one write is begun, on this handle.
        let mut finished = unsafe { operation::run(self.pipe.raw(), event, limit, write) };
        // A write that waited hears of the end of the pipe in the words of a read; to its caller it is one thing (rule B5).
        if let Err(error) = &finished.outcome
            && code(error) == Some(ERROR_BROKEN_PIPE)
        {
            finished.outcome = Err(system_error(ERROR_NO_DATA));
        }
        finished
    }
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
