//! Taking from a connection: bytes, messages, a look ahead.

use super::{
    connection::{Connection, LazyLimit},
    link::{Link, denied},
    memory,
    waiting::Operation,
};
use crate::{
    error::{PipeErrorKind, fail, is_gone},
    message::{MessageRead, Peek},
    ring::{Consumer, Front, Interest, Sleep},
};
use std::{io, os::fd::OwnedFd};

/// What an attempt to take something came to.
pub(super) enum Taken<T> {
    /// This.
    Got(T),
    /// Nothing is there.
    Nothing,
    /// A message is there whose memory is still in the socket.
    NotYet,
}

impl Connection {
    /// Reads bytes, in either read mode: skips empty messages, so that 0 is the end.
    pub(crate) fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return self.check_may_read().and_then(|()| self.check_usable()).map(|()| 0);
        }
        let limit = || self.settings.read_limit();
        let read =
            self.take_when_there(&mut LazyLimit::new(&limit), |consumer| self.take_bytes(consumer, buf))?;
        Ok(read.unwrap_or(0))
    }

    /// Reads what is there, else `WouldBlock`.
    pub(crate) fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.check_may_read()?;
        self.check_usable()?;
        let would_block = || io::Error::from(io::ErrorKind::WouldBlock);
        let _turn = self.waiting.try_turn(Operation::Read).ok_or_else(would_block)?;
        for is_last_look in [false, true] {
            if is_last_look {
                self.waiting.drain_now(|| self.drain())?;
                self.readiness().arm_read();
            }
            self.check_usable()?;
            let is_closed = self.is_closed();
            if let Some(link) = self.link_now()? {
                if is_last_look {
                    link.sleepers.announce(Interest::Data, Sleep::Deep);
                }
                let taken = self.take_bytes(&mut *link.consumer()?, buf)?;
                if let Taken::Got(len) = taken {
                    self.wake(link, Interest::Space);
                    return Ok(len);
                }
            }
            if is_closed || buf.is_empty() {
                return Ok(0);
            }
        }
        Err(would_block())
    }

    /// Reads one message, or the part of it that fits.
    pub(crate) fn read_message_into(&self, buf: &mut [u8]) -> io::Result<MessageRead> {
        self.check_message_mode()?;
        let limit = || self.settings.read_limit();
        let read =
            self.take_when_there(&mut LazyLimit::new(&limit), |consumer| self.take_message(consumer, buf))?;
        Ok(read.unwrap_or(MessageRead::End))
    }

    /// Reads one whole message of at most `len_max` bytes; `None` is the end.
    pub(crate) fn read_message(&self, len_max: usize) -> io::Result<Option<Vec<u8>>> {
        self.check_message_mode()?;
        let limit = || self.settings.read_limit();
        self.take_when_there(&mut LazyLimit::new(&limit), |consumer| self.take_whole(consumer, len_max))
    }

    /// Writes a message and reads the reply.
    pub(crate) fn transact(&self, request: &[u8], len_max: usize) -> io::Result<Vec<u8>> {
        self.check_may_read()?;
        self.check_may_write()?;
        self.check_message_mode()?;
        self.check_usable()?;
        let limit = || self.settings.read_limit();
        let mut limit = LazyLimit::new(&limit);
        // From the request to the reply nobody else may read, or the replies of two threads could change places.
        let turn = self.waiting.turn(Operation::Read, || self.settings.read_limit())?;
        let link = self.link(&mut limit)?.ok_or_else(broken)?;
        if self.checked(link.consumer()?.front())? != Front::Empty {
            return Err(fail(PipeErrorKind::Busy, "a transaction can't begin while something is unread"));
        }
        self.write_message(&[io::IoSlice::new(request)])
            .map_err(|error| if error == PipeErrorKind::NoData { broken() } else { error })?;
        let reply = self.take_in_turn(link, &mut limit, |consumer| self.take_whole(consumer, len_max))?;
        drop(turn);
        reply.ok_or_else(broken)
    }

    /// Looks at what is there without taking it; never waits.
    pub(crate) fn peek(&self, buf: &mut [u8]) -> io::Result<Peek> {
        self.check_may_read()?;
        if let Err(error) = self.check_usable() {
            let is_over = is_gone(&error);
            return Err(if is_over {
                fail(PipeErrorKind::BadPipe, "the pipe is disconnected")
            } else {
                error
            });
        }
        // Takes the memories of announced messages too, before the ring is looked at under its lock.
        self.waiting.drain_now(|| self.drain())?;
        let is_closed = self.look_whether_closed();
        let nothing = Peek { copied: 0, available: 0, message_left: None };
        let Some(link) = self.link_now()? else {
            return if is_closed { Err(broken()) } else { Ok(nothing) };
        };
        let mut consumer = link.consumer()?;
        let front = self.checked(consumer.front())?;
        let available = usize::try_from(self.checked(consumer.available())?).unwrap_or(usize::MAX);
        match front {
            Front::Empty if is_closed => Err(broken()),
            Front::Empty => Ok(nothing),
            Front::Bytes(_) => Ok(Peek { copied: consumer.copy_front(buf), available, message_left: None }),
            Front::Message { left, taken, attached } => {
                let left = usize::try_from(left).unwrap_or(usize::MAX);
                let copied =
                    if attached { self.copy_attached(buf, taken, left)? } else { consumer.copy_front(buf) };
                Ok(Peek { copied, available, message_left: Some(left - copied) })
            }
        }
    }

    pub(super) fn check_may_read(&self) -> io::Result<()> {
        if self.may.read { Ok(()) } else { Err(denied("read")) }
    }

    pub(super) fn check_message_mode(&self) -> io::Result<()> {
        self.check_may_read()?;
        if self.settings.reads_messages() {
            return Ok(());
        }
        let text = if self.shape.messages {
            "this end reads bytes: switch it with `set_read_mode(PipeMode::Message)`, or call `read`"
        } else {
            "a byte pipe has no messages: call `read`"
        };
        Err(fail(PipeErrorKind::BadPipe, text))
    }

    /// Takes something as soon as it is there; `None` is the end.
    fn take_when_there<T>(
        &self,
        limit: &mut LazyLimit<'_>,
        take: impl FnMut(&mut Consumer) -> io::Result<Taken<T>>,
    ) -> io::Result<Option<T>> {
        self.check_may_read()?;
        self.check_usable()?;
        let Some(link) = self.link(limit)? else { return Ok(None) };
        let _turn = self.waiting.turn(Operation::Read, || self.settings.read_limit())?;
        self.take_in_turn(link, limit, take)
    }

    fn take_in_turn<T>(
        &self,
        link: &Link,
        limit: &mut LazyLimit<'_>,
        mut take: impl FnMut(&mut Consumer) -> io::Result<Taken<T>>,
    ) -> io::Result<Option<T>> {
        loop {
            self.check_usable()?;
            // Looked at before the ring: what was written before the end is there when the end is seen.
            let is_closed = self.is_closed();
            let taken = take(&mut *link.consumer()?)?;
            match taken {
                Taken::Got(value) => {
                    self.wake(link, Interest::Space);
                    return Ok(Some(value));
                }
                Taken::Nothing if is_closed => return Ok(None),
                Taken::NotYet => {
                    let is_drained = self.waiting.drain_now(|| self.drain())?;
                    if is_closed && is_drained && self.attachments().is_empty() {
                        return Err(self.corrupt("a message was announced and its memory never sent"));
                    }
                    self.wait(link, Interest::Data, limit, || Ok(!self.attachments().is_empty()))?;
                }
                Taken::Nothing => self.wait(link, Interest::Data, limit, || {
                    let front = link.consumer()?.front();
                    Ok(self.checked(front)? != Front::Empty)
                })?,
            }
        }
    }

    /// Fills `buf` with what is there, in byte read mode over the bounds of messages.
    pub(super) fn take_bytes(&self, consumer: &mut Consumer, buf: &mut [u8]) -> io::Result<Taken<usize>> {
        let reads_messages = self.settings.reads_messages();
        let mut filled = 0;
        loop {
            let (_, rest) = buf.split_at_mut(filled);
            if rest.is_empty() {
                break;
            }
            match self.checked(consumer.front())? {
                Front::Empty => break,
                Front::Bytes(available) => {
                    if available < rest.len() as u64 {
                        // More may have come since the ring was last looked at.
                        self.checked(consumer.available())?;
                    }
                    filled += consumer.take(rest);
                    break;
                }
                Front::Message { attached, .. } if filled > 0 && (attached || reads_messages) => break,
                Front::Message { left, taken, attached: true } => {
                    match self.take_attached(consumer, rest, left, taken)? {
                        Some(len) => filled += len,
                        None => return Ok(Taken::NotYet),
                    }
                }
                Front::Message { .. } => {
                    filled += consumer.take(rest);
                    consumer.end_message();
                }
            }
        }
        Ok(if filled > 0 { Taken::Got(filled) } else { Taken::Nothing })
    }

    /// Takes the message at the front, or as much of it as fits.
    pub(super) fn take_message(
        &self,
        consumer: &mut Consumer,
        buf: &mut [u8],
    ) -> io::Result<Taken<MessageRead>> {
        let Front::Message { left, taken, attached } = self.checked(consumer.front())? else {
            return Ok(Taken::Nothing);
        };
        let len = if attached {
            match self.take_attached(consumer, buf, left, taken)? {
                Some(len) => len,
                None => return Ok(Taken::NotYet),
            }
        } else {
            consumer.take(buf)
        };
        consumer.end_message();
        let is_whole = len as u64 == left;
        Ok(Taken::Got(if is_whole { MessageRead::Whole(len) } else { MessageRead::Part(len) }))
    }

    /// Takes the whole message at the front, if it is not too long.
    pub(super) fn take_whole(&self, consumer: &mut Consumer, len_max: usize) -> io::Result<Taken<Vec<u8>>> {
        let Front::Message { left, .. } = self.checked(consumer.front())? else {
            return Ok(Taken::Nothing);
        };
        let len = usize::try_from(left).unwrap_or(usize::MAX);
        if len > len_max {
            let text = format!(
                "the message has {left} bytes and at most {len_max} were asked for; it is still there"
            );
            return Err(fail(PipeErrorKind::MoreData, text));
        }
        let mut message = Vec::new();
        message.try_reserve_exact(len).map_err(|error| io::Error::new(io::ErrorKind::OutOfMemory, error))?;
        message.resize(len, 0);
        Ok(match self.take_message(consumer, &mut message)? {
            Taken::Got(_) => Taken::Got(message),
            Taken::Nothing => Taken::Nothing,
            Taken::NotYet => Taken::NotYet,
        })
    }

    /// Takes from a message that lies in a memory of its own; `None` when that has not come yet.
    fn take_attached(
        &self,
        consumer: &mut Consumer,
        buf: &mut [u8],
        left: u64,
        taken: u64,
    ) -> io::Result<Option<usize>> {
        let mut attachments = self.attachments();
        let Some(memory) = attachments.front() else { return Ok(None) };
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
        let (now, _) = buf.split_at_mut(len);
        let read = read_memory(memory, left + taken, now, taken);
        if let Err(why) = read? {
            drop(attachments);
            return Err(self.corrupt(why));
        }
        consumer.took_attached(len as u64);
        if len as u64 == left {
            attachments.pop_front();
        }
        drop(attachments);
        consumer.end_message();
        Ok(Some(len))
    }

    fn copy_attached(&self, buf: &mut [u8], taken: u64, left: usize) -> io::Result<usize> {
        let attachments = self.attachments();
        let Some(memory) = attachments.front() else { return Ok(0) };
        let len = left.min(buf.len());
        let (now, _) = buf.split_at_mut(len);
        let read = read_memory(memory, left as u64 + taken, now, taken)?;
        drop(attachments);
        read.map(|()| len).map_err(|why| self.corrupt(why))
    }
}

/// Fills `buf` from `offset` of a memory that must have exactly `len` bytes.
fn read_memory(
    memory: &OwnedFd,
    len: u64,
    buf: &mut [u8],
    offset: u64,
) -> io::Result<Result<(), &'static str>> {
    if let Err(why) = memory::check(memory, usize::try_from(len).unwrap_or(usize::MAX)) {
        return Ok(Err(why));
    }
    memory::read_at(memory, buf, usize::try_from(offset).unwrap_or(usize::MAX)).map(Ok)
}

pub(super) fn broken() -> io::Error {
    fail(PipeErrorKind::Broken, "the other end has closed, and all that it wrote was read")
}
