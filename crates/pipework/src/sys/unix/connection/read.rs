//! Attempts to take from a connection: bytes, a message, a whole message, a look ahead. None of them waits.

use super::{
    super::memory,
    Connection,
    rings::Rings,
    step::{On, Step},
};
use crate::{
    error::{PipeErrorKind, context},
    message::{MessageBatch, MessageRead, Peek},
    ring::{Consumer, Front},
    sys::errors::{
        broken, denied, more_data, no_messages, out_of_memory, reads_bytes, unread_before_transaction,
    },
};
use std::{
    io::{self, IoSliceMut},
    os::fd::OwnedFd,
};

/// The outcome of a look at the ring.
pub(super) enum TakeOutcome<T> {
    Some(T),
    /// The ring is empty.
    Nothing,
    /// A message is announced, and its memory object is still in the socket.
    Announced,
}

impl<T> TakeOutcome<T> {
    pub(super) fn map<U>(self, convert: impl FnOnce(T) -> U) -> TakeOutcome<U> {
        match self {
            TakeOutcome::Some(value) => TakeOutcome::Some(convert(value)),
            TakeOutcome::Nothing => TakeOutcome::Nothing,
            TakeOutcome::Announced => TakeOutcome::Announced,
        }
    }
}

impl Connection {
    // ---------------------------------------------------------------- checks before the first attempt

    pub(super) fn check_may_read(&self) -> io::Result<()> {
        if self.may.read { Ok(()) } else { Err(denied("read")) }
    }

    /// Whether a read into these buffers has something to do; an empty one only reports what is wrong (rule B4).
    pub(super) fn check_read(&self, bufs: &[IoSliceMut<'_>]) -> io::Result<bool> {
        self.check_may_read()?;
        self.check_usable()?;
        Ok(bufs.iter().any(|buf| !buf.is_empty()))
    }

    fn check_message_mode(&self) -> io::Result<()> {
        self.check_may_read()?;
        if self.options.reads_messages() {
            return Ok(());
        }
        Err(if self.shape.messages { reads_bytes() } else { no_messages("read") })
    }

    pub(super) fn check_read_message(&self) -> io::Result<()> {
        self.check_message_mode()?;
        self.check_usable()
    }

    /// Whether a read of messages has something to do.
    pub(super) fn check_read_messages(&self, batch: &MessageBatch) -> io::Result<bool> {
        self.check_read_message()?;
        Ok(!batch.takes_nothing())
    }

    pub(super) fn check_transaction(&self) -> io::Result<()> {
        self.check_may_write()?;
        self.check_read_message()
    }

    // ---------------------------------------------------------------- attempts

    /// Reads bytes, in either read mode; skips empty messages, so that 0 is the end.
    pub(super) fn attempt_read(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<Step<usize>> {
        let step = self.attempt_take(|consumer| self.take_into_all(consumer, bufs))?;
        Ok(step.map(|read| read.unwrap_or(0)))
    }

    /// Reads one message, or the part of it that fits.
    pub(super) fn attempt_message(&self, buf: &mut [u8]) -> io::Result<Step<MessageRead>> {
        let step = self.attempt_take(|consumer| self.take_message(consumer, buf))?;
        Ok(step.map(|read| read.unwrap_or(MessageRead::End)))
    }

    /// Reads one whole message of at most `len_max` bytes; `None` is the end.
    pub(super) fn attempt_whole_message(&self, len_max: usize) -> io::Result<Step<Option<Vec<u8>>>> {
        self.attempt_take(|consumer| self.take_whole(consumer, len_max))
    }

    /// Whether a read would not wait, be it for the end or an error.
    #[cfg(feature = "tokio")]
    pub(super) fn attempt_readable(&self) -> io::Result<Step<()>> {
        if self.check_may_read().is_err() || self.check_usable().is_err() || self.is_closed() {
            return Ok(Step::Done(()));
        }
        // An error here is an error of the next read too.
        Ok(match self.rings_now() {
            Ok(Some(rings)) if rings.consumer()?.front() == Ok(Front::Empty) => Step::Blocked(On::Data),
            Ok(None) if self.is_closed() => Step::Done(()),
            Ok(None) => Step::Blocked(On::Hello),
            _ => Step::Done(()),
        })
    }

    /// Whether a transaction may begin: the rings are there, and nothing is unread.
    pub(super) fn attempt_transaction(&self) -> io::Result<Step<()>> {
        let Step::Done(rings) = self.attempt_rings()? else { return Ok(Step::Blocked(On::Hello)) };
        let front = rings.ok_or_else(broken)?.consumer()?.front();
        if self.checked(front)? != Front::Empty {
            return Err(unread_before_transaction());
        }
        Ok(Step::Done(()))
    }

    /// Copies what is there without taking it. It looks at the socket too, so it is complete at once.
    pub(crate) fn peek(&self, buf: &mut [u8]) -> io::Result<Peek> {
        self.check_may_read()?;
        self.check_usable()?;
        // Receives the memory objects of announced messages too, before the ring is locked.
        self.parking.drain_now(|| self.empty_doorbell())?;
        let is_closed = self.poll_hangup();
        // The server may have disconnected this client before the hello: that is known only now.
        self.check_usable()?;
        let nothing = Peek { copied: 0, available: 0, message_left: None };
        let Step::Done(rings) = self.attempt_rings()? else { return Ok(nothing) };
        let rings = rings.ok_or_else(broken)?;
        let mut consumer = rings.consumer()?;
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

    /// The rings; `None` when the peer has gone without a hello.
    pub(super) fn attempt_rings(&self) -> io::Result<Step<Option<&Rings>>> {
        self.check_usable()?;
        if let Some(rings) = self.rings_known() {
            return Ok(Step::Done(Some(rings)));
        }
        // Read before the socket: what was sent before the end is there when the end is seen.
        let is_closed = self.is_closed();
        let is_drained = self.parking.drain_now(|| self.empty_doorbell())?;
        Ok(match self.rings_known() {
            Some(rings) => Step::Done(Some(rings)),
            // Where another thread empties the socket, it may be about to take the hello.
            None if is_closed && is_drained => Step::Done(None),
            None => Step::Blocked(On::Hello),
        })
    }

    /// Takes something if it is there; `None` is the end.
    pub(super) fn attempt_take<T>(
        &self,
        mut take: impl FnMut(&mut Consumer) -> io::Result<TakeOutcome<T>>,
    ) -> io::Result<Step<Option<T>>> {
        self.check_usable()?;
        // Read before the ring: what was written before the end is there when the end is seen.
        let is_closed = self.is_closed();
        let rings = match self.rings_known() {
            Some(rings) => rings,
            None => match self.attempt_rings()? {
                Step::Done(Some(rings)) => rings,
                Step::Done(None) => return Ok(Step::Done(None)),
                Step::Blocked(on) => return Ok(Step::Blocked(on)),
            },
        };
        for is_received in [false, true] {
            let taken = take(&mut *rings.consumer()?)?;
            match taken {
                TakeOutcome::Some(value) => return Ok(Step::Done(Some(value))),
                TakeOutcome::Nothing if is_closed => return Ok(Step::Done(None)),
                TakeOutcome::Nothing => return Ok(Step::Blocked(On::Data)),
                TakeOutcome::Announced if is_received => {}
                TakeOutcome::Announced => {
                    let is_drained = self.parking.drain_now(|| self.empty_doorbell())?;
                    if is_closed && is_drained && self.attachments().is_empty() {
                        return Err(self.corrupt("a message was announced and its memory never sent"));
                    }
                }
            }
        }
        Ok(Step::Blocked(On::Attachment))
    }

    // ---------------------------------------------------------------- taking from the ring

    /// Fills several buffers as one read would fill one.
    fn take_into_all(
        &self,
        consumer: &mut Consumer,
        bufs: &mut [IoSliceMut<'_>],
    ) -> io::Result<TakeOutcome<usize>> {
        let mut filled = 0;
        for buf in bufs.iter_mut().filter(|buf| !buf.is_empty()) {
            if filled > 0 && !self.may_take_more(consumer)? {
                break;
            }
            match self.take_bytes(consumer, buf)? {
                TakeOutcome::Some(len) => {
                    filled += len;
                    if len < buf.len() {
                        break;
                    }
                }
                other if filled == 0 => return Ok(other),
                TakeOutcome::Nothing | TakeOutcome::Announced => break,
            }
        }
        Ok(if filled > 0 { TakeOutcome::Some(filled) } else { TakeOutcome::Nothing })
    }

    /// Whether a read that has got something may take more: not beyond the end of a message in message read mode.
    fn may_take_more(&self, consumer: &mut Consumer) -> io::Result<bool> {
        Ok(match self.checked(consumer.front())? {
            Front::Empty => false,
            Front::Bytes(_) => true,
            Front::Message { taken, attached, .. } => {
                taken > 0 || !(attached || self.options.reads_messages())
            }
        })
    }

    /// Fills `buf` with what is there, in byte read mode across the bounds of messages.
    fn take_bytes(&self, consumer: &mut Consumer, buf: &mut [u8]) -> io::Result<TakeOutcome<usize>> {
        let reads_messages = self.options.reads_messages();
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
                        None => return Ok(TakeOutcome::Announced),
                    }
                }
                Front::Message { .. } => {
                    filled += consumer.take(rest);
                    consumer.end_message();
                }
            }
        }
        Ok(if filled > 0 { TakeOutcome::Some(filled) } else { TakeOutcome::Nothing })
    }

    /// Takes the message at the front, or as much of it as fits.
    pub(super) fn take_message(
        &self,
        consumer: &mut Consumer,
        buf: &mut [u8],
    ) -> io::Result<TakeOutcome<MessageRead>> {
        let Front::Message { left, taken, attached } = self.checked(consumer.front())? else {
            return Ok(TakeOutcome::Nothing);
        };
        let len = if attached {
            match self.take_attached(consumer, buf, left, taken)? {
                Some(len) => len,
                None => return Ok(TakeOutcome::Announced),
            }
        } else {
            consumer.take(buf)
        };
        consumer.end_message();
        let is_whole = len as u64 == left;
        Ok(TakeOutcome::Some(if is_whole { MessageRead::Whole(len) } else { MessageRead::Part(len) }))
    }

    /// Takes the whole message at the front, if it is not too long.
    fn take_whole(&self, consumer: &mut Consumer, len_max: usize) -> io::Result<TakeOutcome<Vec<u8>>> {
        let Front::Message { left, .. } = self.checked(consumer.front())? else {
            return Ok(TakeOutcome::Nothing);
        };
        let len = usize::try_from(left).unwrap_or(usize::MAX);
        if len > len_max {
            return Err(more_data(left, len_max));
        }
        let mut message = Vec::new();
        message.try_reserve_exact(len).map_err(out_of_memory)?;
        message.resize(len, 0);
        Ok(self.take_message(consumer, &mut message)?.map(|_| message))
    }

    /// Takes from a message that lies in a memory object of its own; `None` when that has not come yet.
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

/// The failure of a transaction after its request was written. One of the system may pass, and whoever repeats the whole
/// transaction then delivers the request twice.
pub(super) fn of_reply(error: io::Error) -> io::Error {
    match PipeErrorKind::of(&error) {
        Some(_) => error,
        None => context("the request was written; read its reply with `read_message`", error),
    }
}

/// Fills `buf` from `offset` of a memory object that must have exactly `len` bytes.
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
