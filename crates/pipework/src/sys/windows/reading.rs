//! Taking from a connection: bytes, messages, a look ahead.
#![expect(unsafe_code, reason = "the kernel writes into the buffers of callers")]

use super::{
    super::Limit,
    connection::Connection,
    handle::{code, system_error},
    operation::{self, Finished},
    turn::Taken,
};
use crate::{
    error::{PipeErrorKind, fail},
    message::{MessageRead, Peek},
};
use std::io;
use windows_sys::Win32::Foundation::{ERROR_BROKEN_PIPE, ERROR_MORE_DATA, ERROR_NO_DATA};

/// What one read of the system came to.
pub(super) enum Got {
    /// So many bytes, and the message ends with them if it is one.
    Whole(usize),
    /// So many bytes, and the message goes on.
    Part(usize),
    End,
}

impl Connection {
    /// Reads bytes, in either read mode: skips empty messages, so that 0 is the end.
    pub(crate) fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.pipe.check_may_read()?;
        if buf.is_empty() {
            return self.check_usable().map(|()| 0);
        }
        let limit = self.read_limit();
        let turn = self.reading.take(&limit)?;
        // Bytes skip it.
        let _is_empty = self.take_watched_empty();
        loop {
            match self.read_once(&turn, buf, &limit)? {
                Got::Whole(0) => {}
                Got::Whole(len) | Got::Part(len) => return Ok(len),
                Got::End => return Ok(0),
            }
        }
    }

    /// Reads one message, or the part of it that fits.
    pub(crate) fn read_message_into(&self, buf: &mut [u8]) -> io::Result<MessageRead> {
        self.check_message_mode()?;
        let limit = self.read_limit();
        let turn = self.reading.take(&limit)?;
        if self.take_watched_empty() {
            return Ok(MessageRead::Whole(0));
        }
        Ok(match self.read_once(&turn, buf, &limit)? {
            Got::Whole(len) => MessageRead::Whole(len),
            Got::Part(len) => MessageRead::Part(len),
            Got::End => MessageRead::End,
        })
    }

    /// Reads one whole message of at most `len_max` bytes; `None` is the end.
    pub(crate) fn read_message(&self, len_max: usize) -> io::Result<Option<Vec<u8>>> {
        self.check_message_mode()?;
        let limit = self.read_limit();
        let turn = self.reading.take(&limit)?;
        if self.take_watched_empty() {
            return Ok(Some(Vec::new()));
        }
        self.take_whole(&turn, &limit, len_max)
    }

    /// Writes a message and reads the reply.
    ///
    /// Not by `TransactNamedPipe`, which has no room for a reply whose length nobody knows: a longer one would have lost
    /// its beginning by the time that is told.
    pub(crate) fn transact(&self, request: &[u8], len_max: usize) -> io::Result<Vec<u8>> {
        self.pipe.check_may_write()?;
        self.check_message_mode()?;
        let limit = self.read_limit();
        // From the request to the reply nobody else may read, or the replies of two threads could change places.
        let turn = self.reading.take(&limit)?;
        if self.pipe.within(self.generation, || self.pipe.peek(&mut []))?.available > 0 {
            return Err(fail(PipeErrorKind::Busy, "a transaction can't begin while something is unread"));
        }
        self.write_message(request).map_err(|error| match code(&error) {
            Some(ERROR_NO_DATA) => system_error(ERROR_BROKEN_PIPE),
            _ => error,
        })?;
        self.take_whole(&turn, &limit, len_max)?.ok_or_else(|| system_error(ERROR_BROKEN_PIPE))
    }

    /// Looks at what is there without taking it; never waits.
    pub(crate) fn peek(&self, buf: &mut [u8]) -> io::Result<Peek> {
        self.pipe.check_may_read()?;
        let seen = match self.pipe.within(self.generation, || self.pipe.peek(buf)) {
            // Rule M4: there is nothing to peek at.
            Err(error) if error == PipeErrorKind::NotConnected => {
                return Err(fail(PipeErrorKind::BadPipe, "the pipe is disconnected"));
            }
            seen => seen?,
        };
        let has_message = self.messages && (seen.available > 0 || seen.left > 0);
        Ok(Peek {
            copied: seen.copied,
            available: seen.available,
            message_left: has_message.then_some(seen.left),
        })
    }

    pub(super) fn check_message_mode(&self) -> io::Result<()> {
        self.pipe.check_may_read()?;
        if self.settings.reads_messages() {
            return Ok(());
        }
        let text = if self.messages {
            "this end reads bytes: switch it with `set_read_mode(PipeMode::Message)`, or call `read`"
        } else {
            "a byte pipe has no messages: call `read`"
        };
        Err(fail(PipeErrorKind::BadPipe, text))
    }

    /// Takes the next message once it is there, if it is not too long.
    pub(super) fn take_whole(
        &self,
        turn: &Taken<'_>,
        limit: &Limit,
        len_max: usize,
    ) -> io::Result<Option<Vec<u8>>> {
        // A read of nothing waits for a message and takes only an empty one.
        match self.read_once(turn, &mut [], limit)? {
            Got::Whole(_) => return Ok(Some(Vec::new())),
            Got::Part(_) => {}
            Got::End => return Ok(None),
        }
        let len = self.pipe.within(self.generation, || self.pipe.peek(&mut []))?.left;
        if len > len_max {
            let text = format!(
                "the message has {len} bytes and at most {len_max} were asked for; it is still there"
            );
            return Err(fail(PipeErrorKind::MoreData, text));
        }
        let mut message = Vec::new();
        message.try_reserve_exact(len).map_err(|error| io::Error::new(io::ErrorKind::OutOfMemory, error))?;
        message.resize(len, 0);
        match self.read_once(turn, &mut message, limit)? {
            Got::Whole(read) => {
                message.truncate(read);
                Ok(Some(message))
            }
            // Only this end reads, in its turn: what was there a moment ago is there now, and as long.
            Got::Part(_) => Err(io::Error::other("a message became longer while it was read")),
            Got::End => Ok(None),
        }
    }

    pub(super) fn read_once(&self, turn: &Taken<'_>, buf: &mut [u8], limit: &Limit) -> io::Result<Got> {
        let event = turn.event()?;
        let read = |overlapped| {
            // SAFETY: `buf` is borrowed for writing until `run` returns, and so after the end; the `OVERLAPPED` is its own.
            self.pipe.within(self.generation, || unsafe { self.pipe.begin_read(buf, overlapped) })
        };
        // SAFETY: one read is begun, on this handle.
        let Finished { len, outcome } = unsafe { operation::run(self.pipe.raw(), event, limit, read) };
        match outcome {
            Ok(()) => Ok(Got::Whole(len)),
            Err(error) => match code(&error) {
                Some(ERROR_MORE_DATA) => Ok(Got::Part(len)),
                Some(ERROR_BROKEN_PIPE) => Ok(Got::End),
                _ => Err(error),
            },
        }
    }
}
