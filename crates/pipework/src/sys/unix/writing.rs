//! Giving to a connection: bytes, messages, and waiting until they were read.

use super::{
    connection::{Connection, LazyLimit, nobody_reads},
    link::{Link, Writing, denied},
    memory,
    waiting::Operation,
};
use crate::{
    error::{PipeErrorKind, context, fail},
    ring::{Interest, MESSAGE_LEN_MAX, PIECE_LEN, Sleep},
};
use std::{
    io::{self, IoSlice},
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

/// A reader that was seen to live within this time is taken to live: a killed one says nothing in the memory, and
/// asking the kernel at every write would cost more than the write.
const TRUST_IN_LIFE: Duration = Duration::from_micros(50);

impl Connection {
    /// Writes: on a byte pipe as a stream, on a message pipe as one message. Returns when no more than the quota is
    /// unread, or with what was published when the limit is reached.
    pub(crate) fn write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.check_may_write()?;
        let len = bufs.iter().map(|buf| buf.len()).sum();
        if self.shape.messages {
            return self.write_message(bufs).map(|()| len);
        }
        self.check_usable()?;
        if len == 0 {
            return Ok(0);
        }
        let make = || self.settings.write_limit();
        let mut limit = LazyLimit::new(&make);
        let link = self.link(&mut limit)?.ok_or_else(nobody_reads)?;
        let _turn = self.waiting.turn(Operation::Write, make)?;
        let mut written = 0;
        for buf in bufs {
            let outcome = self.write_all(link, &mut limit, buf, &mut written);
            match outcome {
                Ok(()) => {}
                // Published counts as written (rule T1).
                Err(error) if written > 0 && was_ended(&error) => return Ok(written),
                Err(error) => return Err(error),
            }
        }
        self.settle(link, &mut limit)?;
        Ok(written)
    }

    /// Writes what fits, else `WouldBlock`.
    pub(crate) fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
        self.check_may_write()?;
        self.check_usable()?;
        let would_block = || io::Error::from(io::ErrorKind::WouldBlock);
        if buf.is_empty() && !self.shape.messages {
            return Ok(0);
        }
        let _turn = self.waiting.try_turn(Operation::Write).ok_or_else(would_block)?;
        for is_last_look in [false, true] {
            if is_last_look {
                self.waiting.drain_now(|| self.drain())?;
                self.readiness().arm_write();
            }
            let Some(link) = self.link_now()? else {
                if self.look_whether_closed() {
                    return Err(nobody_reads());
                }
                continue;
            };
            if is_last_look {
                link.sleepers.announce(Interest::Space, Sleep::Deep);
            }
            if let Some(len) = self.publish_now(link, buf)? {
                self.wake(link, Interest::Data);
                return Ok(len);
            }
        }
        Err(would_block())
    }

    /// Writes one message, all of it or nothing.
    pub(crate) fn write_message(&self, parts: &[IoSlice<'_>]) -> io::Result<()> {
        self.check_may_write()?;
        if !self.shape.messages {
            return Err(fail(PipeErrorKind::BadPipe, "a byte pipe has no messages: call `write`"));
        }
        self.check_usable()?;
        let len: u64 = parts.iter().map(|part| part.len() as u64).sum();
        if len > MESSAGE_LEN_MAX {
            let text = format!("a message has at most {MESSAGE_LEN_MAX} bytes, not {len}");
            return Err(fail(PipeErrorKind::Invalid, text));
        }
        let make = || self.settings.write_limit();
        let mut limit = LazyLimit::new(&make);
        let link = self.link(&mut limit)?.ok_or_else(nobody_reads)?;
        let _turn = self.waiting.turn(Operation::Write, make)?;
        if link.writing()?.producer.is_inline(len) {
            return self.write_inline(link, &mut limit, parts, len);
        }
        let memory = memory_of(parts, len)?;
        self.when_there_is_room(link, &mut limit, len)?;
        self.send_attachment(&memory, &mut limit)?;
        link.writing()?.producer.announce_attached(len);
        self.wake(link, Interest::Data);
        self.settle(link, &mut limit)
    }

    /// Waits until the other end has read everything that was written.
    pub(crate) fn drain_written(&self) -> io::Result<()> {
        self.check_may_write()?;
        self.check_usable()?;
        let make = || self.settings.write_limit();
        let mut limit = LazyLimit::new(&make);
        let Some(link) = self.link_now()? else {
            // Before the hello nothing was written.
            return Ok(());
        };
        let is_drained = || {
            let drained = link.writing()?.producer.is_drained();
            self.checked(drained)
        };
        loop {
            self.check_usable()?;
            let is_closed = self.is_closed();
            if is_drained()? {
                return Ok(());
            }
            if is_closed {
                return Err(fail(
                    PipeErrorKind::Broken,
                    "the other end closed before it had read everything",
                ));
            }
            self.wait(link, Interest::Space, &mut limit, is_drained)?;
        }
    }

    pub(super) fn check_may_write(&self) -> io::Result<()> {
        if self.may.write { Ok(()) } else { Err(denied("write")) }
    }

    /// Publishes all of `bytes`, waiting for room; counts in `written` what was.
    fn write_all(
        &self,
        link: &Link,
        limit: &mut LazyLimit<'_>,
        mut bytes: &[u8],
        written: &mut usize,
    ) -> io::Result<()> {
        while !bytes.is_empty() {
            let published = {
                let mut writing = link.writing()?;
                self.check_reader(&mut writing)?;
                // In pieces, so that the reader reads one while the next is written.
                let (piece, _) = bytes.split_at(bytes.len().min(PIECE_LEN));
                self.checked(writing.producer.write_bytes(piece))?
            };
            if published > 0 {
                self.wake(link, Interest::Data);
                *written += published;
                (_, bytes) = bytes.split_at(published);
                continue;
            }
            self.wait(link, Interest::Space, limit, || {
                let writable = link.writing()?.producer.is_writable();
                self.checked(writable)
            })?;
        }
        Ok(())
    }

    /// Writes a message that lies in the ring.
    fn write_inline(
        &self,
        link: &Link,
        limit: &mut LazyLimit<'_>,
        parts: &[IoSlice<'_>],
        len: u64,
    ) -> io::Result<()> {
        let is_settled = loop {
            {
                let mut writing = link.writing()?;
                self.check_reader(&mut writing)?;
                if self.checked(writing.producer.write_message(parts))? {
                    break self.checked(writing.producer.is_settled())?;
                }
            }
            self.wait_for_room(link, limit, len)?;
        };
        self.wake(link, Interest::Data);
        if is_settled { Ok(()) } else { self.settle(link, limit) }
    }

    fn when_there_is_room(&self, link: &Link, limit: &mut LazyLimit<'_>, len: u64) -> io::Result<()> {
        loop {
            {
                let mut writing = link.writing()?;
                self.check_reader(&mut writing)?;
                if self.checked(writing.producer.has_room(len))? {
                    return Ok(());
                }
            }
            self.wait_for_room(link, limit, len)?;
        }
    }

    fn wait_for_room(&self, link: &Link, limit: &mut LazyLimit<'_>, len: u64) -> io::Result<()> {
        self.wait(link, Interest::Space, limit, || {
            let room = link.writing()?.producer.has_room(len);
            self.checked(room)
        })
    }

    /// Waits until no more than the quota is unread. What was published is written, whatever ends this wait.
    fn settle(&self, link: &Link, limit: &mut LazyLimit<'_>) -> io::Result<()> {
        let is_settled = || {
            let settled = link.writing()?.producer.is_settled();
            self.checked(settled)
        };
        while !is_settled()? {
            self.check_usable()?;
            if self.is_closed() {
                return Err(nobody_reads());
            }
            match self.wait(link, Interest::Space, limit, is_settled) {
                Err(error) if was_ended(&error) => return Ok(()),
                outcome => outcome?,
            }
        }
        Ok(())
    }

    /// Publishes what fits now; `None` when nothing does.
    fn publish_now(&self, link: &Link, buf: &[u8]) -> io::Result<Option<usize>> {
        let len = buf.len() as u64;
        let mut writing = link.writing()?;
        self.check_reader(&mut writing)?;
        if !self.shape.messages {
            let published = self.checked(writing.producer.write_bytes(buf))?;
            return Ok((published > 0).then_some(published));
        }
        if !self.checked(writing.producer.has_room(len))? {
            return Ok(None);
        }
        if writing.producer.is_inline(len) {
            self.checked(writing.producer.write_message(&[IoSlice::new(buf)]))?;
            return Ok(Some(buf.len()));
        }
        let memory = memory_of(&[IoSlice::new(buf)], len)?;
        let at_once = || super::super::Limit::new(Some(Duration::ZERO), None);
        match self.send_attachment(&memory, &mut LazyLimit::new(&at_once)) {
            Ok(()) => {
                writing.producer.announce_attached(len);
                Ok(Some(buf.len()))
            }
            Err(error) if error == PipeErrorKind::TimedOut => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether somebody may still read what is about to be written (rule B5).
    pub(super) fn check_reader(&self, writing: &mut Writing) -> io::Result<()> {
        self.check_usable()?;
        if self.is_closed() {
            return Err(nobody_reads());
        }
        let now = Instant::now();
        if now.duration_since(writing.seen_alive) > TRUST_IN_LIFE {
            if self.look_whether_closed() {
                self.check_usable()?;
                return Err(nobody_reads());
            }
            writing.seen_alive = now;
        }
        Ok(())
    }
}

/// Whether a wait was ended by its limit, not by the pipe.
fn was_ended(error: &io::Error) -> bool {
    *error == PipeErrorKind::TimedOut || *error == PipeErrorKind::Aborted
}

/// A memory that holds a message.
pub(super) fn memory_of(parts: &[IoSlice<'_>], len: u64) -> io::Result<OwnedFd> {
    let making = || format!("making the memory of a message of {len} bytes");
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    let memory = memory::create(len).map_err(|error| context(making(), error))?;
    let mut offset = 0;
    for part in parts {
        memory::write_at(&memory, part, offset).map_err(|error| context(making(), error))?;
        offset += part.len();
    }
    Ok(memory)
}
