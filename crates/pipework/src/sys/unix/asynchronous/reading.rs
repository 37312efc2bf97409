//! Taking from a connection without ever keeping a thread waiting.

use super::{
    super::{
        connection::Connection,
        reading::{Taken, broken},
        waiting::{Operation, TurnGuard},
    },
    tasks::Waiter,
};
use crate::{
    error::{PipeErrorKind, fail},
    message::MessageRead,
    ring::{Consumer, Front, Interest},
};
use std::{
    future::poll_fn,
    io::{self, IoSlice, IoSliceMut},
    task::{Context, Poll},
};

impl Connection {
    /// Reads bytes, in either read mode; 0 is the end.
    pub(super) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        waiter: &mut Waiter,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(done) = self.need_not_read(bufs)? {
            return Poll::Ready(Ok(done));
        }
        let read = self.poll_take(cx, waiter, |consumer| self.take_into_all(consumer, bufs));
        read.map_ok(|read| read.unwrap_or(0))
    }

    /// The same without waiting, else `WouldBlock`.
    pub(super) fn read_now(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        if let Some(done) = self.need_not_read(bufs)? {
            return Ok(done);
        }
        let would_block = || io::Error::from(io::ErrorKind::WouldBlock);
        let _turn = self.waiting.try_turn(Operation::Read).ok_or_else(would_block)?;
        let read = self.take_now(&mut |consumer| self.take_into_all(consumer, bufs))?;
        read.map(|read| read.unwrap_or(0)).ok_or_else(would_block)
    }

    fn need_not_read(&self, bufs: &[IoSliceMut<'_>]) -> io::Result<Option<usize>> {
        self.check_may_read()?;
        self.check_usable()?;
        Ok(bufs.iter().all(|buf| buf.is_empty()).then_some(0))
    }

    /// Whether a read would not wait, be it for an error.
    pub(super) fn poll_readable(&self, cx: &mut Context<'_>, waiter: &mut Waiter) -> Poll<io::Result<()>> {
        if self.check_may_read().is_err() {
            return Poll::Ready(Ok(()));
        }
        self.poll_for(cx, waiter, None, Interest::Data, || {
            if self.check_usable().is_err() || self.is_closed() {
                return Ok(Some(()));
            }
            // What fails here is an error of the next read.
            let is_empty = match self.link_now() {
                Ok(Some(link)) => link.consumer()?.front() == Ok(Front::Empty),
                Ok(None) => true,
                Err(_) => false,
            };
            Ok((!is_empty).then_some(()))
        })
    }

    /// Whether it is known who the client is.
    pub(super) fn poll_known(&self, cx: &mut Context<'_>, waiter: &mut Waiter) -> Poll<io::Result<()>> {
        self.poll_for(cx, waiter, None, Interest::Data, || Ok((!self.is_unknown()).then_some(())))
    }

    /// Reads one message, or the part of it that fits.
    pub(super) fn poll_message_into(
        &self,
        cx: &mut Context<'_>,
        waiter: &mut Waiter,
        buf: &mut [u8],
    ) -> Poll<io::Result<MessageRead>> {
        self.check_message_mode()?;
        let read = self.poll_take(cx, waiter, |consumer| self.take_message(consumer, buf));
        read.map_ok(|read| read.unwrap_or(MessageRead::End))
    }

    /// Reads one whole message of at most `len_max` bytes; `None` is the end.
    pub(super) fn poll_message(
        &self,
        cx: &mut Context<'_>,
        waiter: &mut Waiter,
        len_max: usize,
    ) -> Poll<io::Result<Option<Vec<u8>>>> {
        self.check_message_mode()?;
        self.poll_take(cx, waiter, |consumer| self.take_whole(consumer, len_max))
    }

    /// Writes a message and reads the reply.
    pub(super) async fn transact_in_task(&self, request: &[u8], len_max: usize) -> io::Result<Vec<u8>> {
        self.check_may_read()?;
        self.check_may_write()?;
        self.check_message_mode()?;
        self.check_usable()?;
        let mut waiter = Waiter::default();
        // From the request to the reply nobody else may read, or two replies could change places.
        let turn = poll_fn(|cx| self.poll_turn(cx, &mut waiter, Operation::Read)).await?;
        let linked = poll_fn(|cx| self.poll_link(cx, &mut waiter)).await?;
        if !linked {
            return Err(broken());
        }
        if let Some(link) = self.link_now()?
            && self.checked(link.consumer()?.front())? != Front::Empty
        {
            return Err(fail(PipeErrorKind::Busy, "a transaction can't begin while something is unread"));
        }
        let request = [IoSlice::new(request)];
        let written = self.write_message_in_task(&request).await;
        written.map_err(|error| if error == PipeErrorKind::NoData { broken() } else { error })?;
        let reply = poll_fn(|cx| {
            self.poll_for(cx, &mut waiter, None, Interest::Data, || {
                self.take_now(&mut |consumer| self.take_whole(consumer, len_max))
            })
        });
        let reply = reply.await?;
        drop(turn);
        reply.ok_or_else(broken)
    }

    /// Whether the rings are there; `false` when the other end went away without a hello.
    fn poll_link(&self, cx: &mut Context<'_>, waiter: &mut Waiter) -> Poll<io::Result<bool>> {
        self.poll_for(cx, waiter, None, Interest::Data, || {
            self.check_usable()?;
            let is_closed = self.is_closed();
            let is_linked = self.link_now()?.is_some();
            Ok((is_linked || is_closed).then_some(is_linked))
        })
    }

    fn poll_turn(
        &self,
        cx: &mut Context<'_>,
        waiter: &mut Waiter,
        operation: Operation,
    ) -> Poll<io::Result<TurnGuard<'_>>> {
        self.poll_for(cx, waiter, None, Interest::Data, || {
            self.check_usable()?;
            Ok(self.waiting.turn_or_wake(operation))
        })
    }

    /// Takes something as soon as it is there; `None` is the end.
    fn poll_take<T>(
        &self,
        cx: &mut Context<'_>,
        waiter: &mut Waiter,
        mut take: impl FnMut(&mut Consumer) -> io::Result<Taken<T>>,
    ) -> Poll<io::Result<Option<T>>> {
        self.poll_for(cx, waiter, Some(Operation::Read), Interest::Data, || self.take_now(&mut take))
    }

    /// Takes something if it is there: `Some(None)` is the end, `None` is nothing yet. In its turn.
    fn take_now<T>(
        &self,
        take: &mut impl FnMut(&mut Consumer) -> io::Result<Taken<T>>,
    ) -> io::Result<Option<Option<T>>> {
        self.check_usable()?;
        // Looked at before the ring: what was written before the end is there when the end is seen.
        let is_closed = self.is_closed();
        let Some(link) = self.link_now()? else { return Ok(is_closed.then_some(None)) };
        for _ in 0..2 {
            let taken = take(&mut *link.consumer()?)?;
            match taken {
                Taken::Got(value) => {
                    self.wake(link, Interest::Space);
                    return Ok(Some(Some(value)));
                }
                Taken::Nothing => return Ok(is_closed.then_some(None)),
                Taken::NotYet => {
                    let is_drained = self.waiting.drain_now(|| self.drain())?;
                    if is_closed && is_drained && self.attachments().is_empty() {
                        return Err(self.corrupt("a message was announced and its memory never sent"));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Fills several buffers as one read would fill one.
    fn take_into_all(
        &self,
        consumer: &mut Consumer,
        bufs: &mut [IoSliceMut<'_>],
    ) -> io::Result<Taken<usize>> {
        let mut filled = 0;
        for buf in bufs.iter_mut().filter(|buf| !buf.is_empty()) {
            if filled > 0 && !self.goes_on(consumer)? {
                break;
            }
            match self.take_bytes(consumer, buf)? {
                Taken::Got(len) => {
                    filled += len;
                    if len < buf.len() {
                        break;
                    }
                }
                other if filled == 0 => return Ok(other),
                Taken::Nothing | Taken::NotYet => break,
            }
        }
        Ok(if filled > 0 { Taken::Got(filled) } else { Taken::Nothing })
    }

    /// Whether a read that has got something may take more: not over the end of a message in message read mode.
    fn goes_on(&self, consumer: &mut Consumer) -> io::Result<bool> {
        Ok(match self.checked(consumer.front())? {
            Front::Empty => false,
            Front::Bytes(_) => true,
            Front::Message { taken, attached, .. } => {
                taken > 0 || !(attached || self.settings.reads_messages())
            }
        })
    }
}
