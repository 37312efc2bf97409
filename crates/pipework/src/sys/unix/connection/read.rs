//! Attempts to take from a connection: bytes, a message, a whole message, a look ahead. None of them waits.

use super::{
    Connection,
    large::Along,
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
use std::io::{self, IoSliceMut};

/// The outcome of a look at the ring.
pub(super) enum TakeOutcome<T> {
    Some(T),
    /// The ring is empty.
    Nothing,
    /// Of a large message so many bytes are there, and not all.
    Filling(u64),
    /// A message is announced, and its memory object is still in the socket.
    Announced,
}

impl<T> TakeOutcome<T> {
    pub(super) fn map<U>(self, convert: impl FnOnce(T) -> U) -> TakeOutcome<U> {
        match self {
            TakeOutcome::Some(value) => TakeOutcome::Some(convert(value)),
            TakeOutcome::Nothing => TakeOutcome::Nothing,
            TakeOutcome::Filling(filled) => TakeOutcome::Filling(filled),
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

    /// Reads one message, or the part of it that fits. An attempt of the same call goes on where the one before has come.
    pub(super) fn attempt_message(&self, buf: &mut [u8], along: &mut Along) -> io::Result<Step<MessageRead>> {
        let step = self.attempt_take(|consumer| self.take_message(consumer, buf, along))?;
        Ok(step.map(|read| read.unwrap_or(MessageRead::End)))
    }

    /// Reads one whole message of at most `len_max` bytes into `message`, and returns its length; `None` is the end. An attempt
    /// of the same call goes on where the one before has come.
    pub(super) fn attempt_whole_message(
        &self,
        message: &mut Vec<u8>,
        len_max: usize,
        along: &mut Along,
    ) -> io::Result<Step<Option<usize>>> {
        self.attempt_take(|consumer| self.take_whole(consumer, message, len_max, along))
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
            Front::Message { left, attached, .. } => {
                let left = usize::try_from(left).unwrap_or(usize::MAX);
                let copied = if attached {
                    self.copy_large(&mut consumer, buf, &mut Along::default())?.unwrap_or(0)
                } else {
                    consumer.copy_front(buf)
                };
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
                // A large message whose writer is gone never becomes whole.
                TakeOutcome::Nothing | TakeOutcome::Filling(_) if is_closed => return Ok(Step::Done(None)),
                TakeOutcome::Filling(filled) => return Ok(Step::Blocked(On::Rest(filled))),
                TakeOutcome::Nothing => return Ok(Step::Blocked(On::Data)),
                TakeOutcome::Announced if is_received => {}
                TakeOutcome::Announced => {
                    let is_drained = self.parking.drain_now(|| self.empty_doorbell())?;
                    if is_closed && is_drained && self.large_objects().arrived.is_none() {
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
                TakeOutcome::Nothing | TakeOutcome::Filling(_) | TakeOutcome::Announced => break,
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
                Front::Message { attached: true, .. } => {
                    match self.take_large(consumer, rest, &mut Along::default())?.map(len_of) {
                        TakeOutcome::Some(len) => filled += len,
                        other => return Ok(other),
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
        along: &mut Along,
    ) -> io::Result<TakeOutcome<MessageRead>> {
        match self.checked(consumer.front())? {
            Front::Message { left, attached: false, .. } => {
                let len = consumer.take(buf);
                consumer.end_message();
                Ok(TakeOutcome::Some(message_read(len, left)))
            }
            Front::Empty if !consumer.is_filling() => Ok(TakeOutcome::Nothing),
            _ => self.take_large(consumer, buf, along),
        }
    }

    /// Takes the whole message at the front, if it is not too long.
    fn take_whole(
        &self,
        consumer: &mut Consumer,
        message: &mut Vec<u8>,
        len_max: usize,
        along: &mut Along,
    ) -> io::Result<TakeOutcome<usize>> {
        match self.checked(consumer.front())? {
            Front::Message { left, attached: false, .. } => {
                let len = usize::try_from(left).unwrap_or(usize::MAX);
                if len > len_max {
                    return Err(more_data(left, len_max));
                }
                message.truncate(len);
                make_room(message, len, true)?;
                consumer.take(message);
                consumer.end_message();
                Ok(TakeOutcome::Some(len))
            }
            Front::Empty if !consumer.is_filling() => Ok(TakeOutcome::Nothing),
            _ => self.take_whole_large(consumer, message, len_max, along),
        }
    }

    /// Takes the large message at the front, once it is whole. Until then the memory of `message` grows with what is there.
    #[cold]
    #[inline(never)]
    fn take_whole_large(
        &self,
        consumer: &mut Consumer,
        message: &mut Vec<u8>,
        len_max: usize,
        along: &mut Along,
    ) -> io::Result<TakeOutcome<usize>> {
        loop {
            let Some(large) = self.checked(consumer.large())? else { return Ok(TakeOutcome::Nothing) };
            let left = large.len - large.taken;
            let fits = usize::try_from(left).is_ok_and(|left| left <= len_max);
            if large.is_whole() && !fits {
                return Err(more_data(left, len_max));
            }
            let come = if fits { large.filled - large.taken } else { 0 };
            let len = usize::try_from(come).unwrap_or(usize::MAX);
            make_room(message, len, large.is_whole())?;
            let (now, _) = message.split_at_mut(len);
            if large.is_whole() {
                let taken = self.take_large(consumer, now, along)?;
                message.truncate(len);
                return Ok(taken.map(|_| len));
            }
            if self.copy_large(consumer, now, along)?.is_none() {
                return Ok(TakeOutcome::Announced);
            }
            if self.checked(consumer.large())? == Some(large) {
                return Ok(TakeOutcome::Filling(large.filled));
            }
        }
    }

    /// Takes from the large message at the front, once it is whole; until then copies what is there.
    #[cold]
    #[inline(never)]
    fn take_large(
        &self,
        consumer: &mut Consumer,
        buf: &mut [u8],
        along: &mut Along,
    ) -> io::Result<TakeOutcome<MessageRead>> {
        loop {
            let Some(large) = self.checked(consumer.large())? else { return Ok(TakeOutcome::Nothing) };
            let Some(copied) = self.copy_large(consumer, buf, along)? else {
                return Ok(TakeOutcome::Announced);
            };
            if large.is_whole() {
                consumer.took_attached(copied as u64);
                consumer.end_message();
                return Ok(TakeOutcome::Some(message_read(copied, large.len - large.taken)));
            }
            if self.checked(consumer.large())?.map(|now| now.filled) == Some(large.filled) {
                return Ok(TakeOutcome::Filling(large.filled));
            }
        }
    }

    /// Copies what is there of the large message at the front, and takes nothing; returns how much of it is in `buf`. `None`
    /// if its memory object has not come yet.
    fn copy_large(
        &self,
        consumer: &mut Consumer,
        buf: &mut [u8],
        along: &mut Along,
    ) -> io::Result<Option<usize>> {
        let Some(large) = self.checked(consumer.large())? else { return Ok(None) };
        self.with_object(consumer, &large, |object| along.copy(object, &large, buf))
    }
}

fn len_of(read: MessageRead) -> usize {
    match read {
        MessageRead::Whole(len) | MessageRead::Part(len) => len,
        MessageRead::End => 0,
    }
}

fn message_read(len: usize, left: u64) -> MessageRead {
    if len as u64 == left { MessageRead::Whole(len) } else { MessageRead::Part(len) }
}

/// Makes room for `len` bytes; not more if that is the whole message, and else so that growing again is rare.
fn make_room(message: &mut Vec<u8>, len: usize, is_whole: bool) -> io::Result<()> {
    let Some(missing) = len.checked_sub(message.len()) else { return Ok(()) };
    let reserved = if is_whole { message.try_reserve_exact(missing) } else { message.try_reserve(missing) };
    reserved.map_err(out_of_memory)?;
    message.resize(len, 0);
    Ok(())
}

/// The failure of a transaction after its request was written. One of the system may pass, and whoever repeats the whole
/// transaction then delivers the request twice.
pub(super) fn of_reply(error: io::Error) -> io::Error {
    match PipeErrorKind::of(&error) {
        Some(_) => error,
        None => context("the request was written; read its reply with `read_message`", error),
    }
}
