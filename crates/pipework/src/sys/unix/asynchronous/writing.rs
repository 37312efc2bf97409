//! Giving to a connection without ever keeping a thread waiting.

use super::{
    super::{
        connection::{ATTACHMENT, Connection, nobody_reads},
        link::{self, Link},
        poll,
        waiting::Operation,
        writing::memory_of,
    },
    pause::Pause,
    tasks::Waiter,
};
use crate::{
    error::{PipeErrorKind, fail},
    ring::{Interest, MESSAGE_LEN_MAX},
};
use ::tokio::io::Interest as Readiness;
use rustix::{event::PollFlags, io::Errno};
use std::{
    future::poll_fn,
    io::{self, IoSlice},
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

/// When to look again whether other connections have taken their descriptors.
const PAUSE_TOO_MANY: Duration = Duration::from_millis(2);

/// What came of an attempt to publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Published {
    /// So many bytes.
    Len(usize),
    /// Nothing: there is no room, and the reader will say when there is.
    Full,
    /// Nothing: the socket can't take the memory of a message now.
    SocketFull,
    /// Nothing: too many descriptors of this user are under way, and nobody says when there are fewer.
    TooMany,
}

/// Where a writer waits for what the other end does not tell: rarely anywhere.
#[derive(Debug, Default)]
pub(super) enum Beside {
    #[default]
    Nowhere,
    /// Until the socket takes more. It is another number of the socket: the connection's own is registered for reading.
    Socket(Arc<OwnedFd>, super::Reactor),
    /// For a while.
    Pause(Pause),
}

/// What a writing task keeps between polls.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    pub(super) waiter: Waiter,
    beside: Beside,
    beside_waiter: Waiter,
}

impl Connection {
    /// Writes what fits: on a byte pipe at least a byte, on a message pipe one whole message.
    pub(super) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        writer: &mut Writer,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(done) = self.need_not_write(bufs)? {
            return Poll::Ready(Ok(done));
        }
        self.poll_publish(cx, writer, bufs)
    }

    /// The same without waiting, else `WouldBlock`.
    pub(super) fn write_now(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        if let Some(done) = self.need_not_write(bufs)? {
            return Ok(done);
        }
        let would_block = || io::Error::from(io::ErrorKind::WouldBlock);
        let _turn = self.waiting.try_turn(Operation::Write).ok_or_else(would_block)?;
        match self.publish(bufs)? {
            Published::Len(len) => Ok(len),
            _ => Err(would_block()),
        }
    }

    /// Writes one message; returns when it is published and no more than the quota is unread.
    pub(super) async fn write_message_in_task(&self, parts: &[IoSlice<'_>]) -> io::Result<()> {
        self.check_may_write()?;
        if !self.shape.messages {
            return Err(fail(PipeErrorKind::BadPipe, "a byte pipe has no messages: call `write`"));
        }
        self.check_usable()?;
        check_len(parts)?;
        let mut writer = Writer::default();
        poll_fn(|cx| self.poll_publish(cx, &mut writer, parts)).await?;
        poll_fn(|cx| self.poll_settled(cx, &mut writer.waiter)).await
    }

    /// Whether a write of `len` bytes would not wait, be it for an error.
    pub(super) fn poll_writable(
        &self,
        cx: &mut Context<'_>,
        waiter: &mut Waiter,
        len: u64,
    ) -> Poll<io::Result<()>> {
        if self.check_may_write().is_err() {
            return Poll::Ready(Ok(()));
        }
        self.poll_for(cx, waiter, None, Interest::Space, || {
            if self.check_usable().is_err() || self.is_closed() {
                return Ok(Some(()));
            }
            // What fails here is an error of the next write.
            let Ok(link) = self.link_now() else { return Ok(Some(())) };
            let Some(link) = link else { return Ok(self.look_whether_closed().then_some(())) };
            let mut writing = link.writing()?;
            let has_room = if self.shape.messages {
                writing.producer.has_room(len)
            } else {
                writing.producer.is_writable()
            };
            Ok(has_room.unwrap_or(true).then_some(()))
        })
    }

    /// Waits until the other end has read everything that was written.
    pub(super) fn poll_drained(&self, cx: &mut Context<'_>, waiter: &mut Waiter) -> Poll<io::Result<()>> {
        self.check_may_write()?;
        self.poll_for(cx, waiter, None, Interest::Space, || {
            self.check_usable()?;
            // Before the hello nothing was written.
            let Some(link) = self.link_now()? else { return Ok(Some(())) };
            let is_closed = self.is_closed();
            let drained = link.writing()?.producer.is_drained();
            if self.checked(drained)? {
                return Ok(Some(()));
            }
            if is_closed {
                let text = "the other end closed before it had read everything";
                return Err(fail(PipeErrorKind::Broken, text));
            }
            Ok(None)
        })
    }

    fn need_not_write(&self, bufs: &[IoSlice<'_>]) -> io::Result<Option<usize>> {
        self.check_may_write()?;
        self.check_usable()?;
        if self.shape.messages {
            return check_len(bufs).map(|()| None);
        }
        Ok(bufs.iter().all(|buf| buf.is_empty()).then_some(0))
    }

    /// Waits until no more than the quota is unread, after something was published.
    fn poll_settled(&self, cx: &mut Context<'_>, waiter: &mut Waiter) -> Poll<io::Result<()>> {
        self.poll_for(cx, waiter, None, Interest::Space, || {
            let Some(link) = self.link_now()? else { return Err(nobody_reads()) };
            let is_closed = self.is_closed();
            let settled = link.writing()?.producer.is_settled();
            if self.checked(settled)? {
                return Ok(Some(()));
            }
            self.check_usable()?;
            if is_closed { Err(nobody_reads()) } else { Ok(None) }
        })
    }

    fn poll_publish(
        &self,
        cx: &mut Context<'_>,
        writer: &mut Writer,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Writer { waiter, beside, beside_waiter } = writer;
        loop {
            let mut last = Published::Full;
            let written = self.poll_for(cx, waiter, Some(Operation::Write), Interest::Space, || {
                last = self.publish(bufs)?;
                Ok(match last {
                    Published::Len(len) => Some(len),
                    _ => None,
                })
            });
            if written.is_ready() {
                *beside = Beside::Nowhere;
                return written;
            }
            let again = match last {
                Published::Len(_) | Published::Full => Poll::Pending,
                Published::SocketFull => self.poll_socket(cx, beside, beside_waiter),
                Published::TooMany => poll_pause(cx, beside),
            };
            match again {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn poll_socket(
        &self,
        cx: &mut Context<'_>,
        beside: &mut Beside,
        waiter: &mut Waiter,
    ) -> Poll<io::Result<()>> {
        if !matches!(beside, Beside::Socket(..)) {
            *beside = Beside::Socket(Arc::new(self.socket.try_clone()?), super::Reactor::default());
        }
        let Beside::Socket(socket, reactor) = beside else { return Poll::Pending };
        reactor.join(waiter, cx);
        reactor.poll(socket, Readiness::WRITABLE, Readiness::WRITABLE).map_ok(drop)
    }

    /// Publishes what fits now; in its turn.
    fn publish(&self, bufs: &[IoSlice<'_>]) -> io::Result<Published> {
        self.check_usable()?;
        let Some(link) = self.link_now()? else {
            return if self.look_whether_closed() { Err(nobody_reads()) } else { Ok(Published::Full) };
        };
        let published = if self.shape.messages {
            self.publish_message(link, bufs)
        } else {
            self.publish_bytes(link, bufs)
        }?;
        if matches!(published, Published::Len(_)) {
            self.wake(link, Interest::Data);
        }
        Ok(published)
    }

    fn publish_bytes(&self, link: &Link, bufs: &[IoSlice<'_>]) -> io::Result<Published> {
        let mut writing = link.writing()?;
        self.check_reader(&mut writing)?;
        // Without a quota each write waits until the one before it was read.
        if !self.checked(writing.producer.is_settled())? {
            return Ok(Published::Full);
        }
        let mut len = 0;
        for buf in bufs {
            let published = self.checked(writing.producer.write_bytes(buf))?;
            len += published;
            if published < buf.len() {
                break;
            }
        }
        Ok(if len > 0 { Published::Len(len) } else { Published::Full })
    }

    fn publish_message(&self, link: &Link, parts: &[IoSlice<'_>]) -> io::Result<Published> {
        let len = len_of(parts);
        let whole = Published::Len(usize::try_from(len).unwrap_or(usize::MAX));
        let mut writing = link.writing()?;
        self.check_reader(&mut writing)?;
        if writing.producer.is_inline(len) {
            let is_written = self.checked(writing.producer.write_message(parts))?;
            return Ok(if is_written { whole } else { Published::Full });
        }
        if !self.checked(writing.producer.has_room(len))? {
            return Ok(Published::Full);
        }
        if poll::now(self.socket.as_fd(), PollFlags::OUT).is_empty() {
            return Ok(Published::SocketFull);
        }
        let memory = memory_of(parts, len)?;
        match link::send_with(self.socket.as_fd(), &[ATTACHMENT], memory.as_fd()) {
            Ok(()) => {
                writing.producer.announce_attached(len);
                Ok(whole)
            }
            Err(Errno::AGAIN) => Ok(Published::SocketFull),
            Err(Errno::TOOMANYREFS) => Ok(Published::TooMany),
            Err(Errno::PIPE | Errno::CONNRESET) => Err(nobody_reads()),
            Err(error) => Err(error.into()),
        }
    }
}

fn poll_pause(cx: &mut Context<'_>, beside: &mut Beside) -> Poll<io::Result<()>> {
    if !matches!(beside, Beside::Pause(_)) {
        *beside = Beside::Pause(Pause::new(PAUSE_TOO_MANY)?);
    }
    let Beside::Pause(pause) = beside else { return Poll::Pending };
    let over = pause.poll(cx);
    if over.is_ready() {
        *beside = Beside::Nowhere;
    }
    over
}

fn len_of(parts: &[IoSlice<'_>]) -> u64 {
    parts.iter().map(|part| part.len() as u64).sum()
}

fn check_len(parts: &[IoSlice<'_>]) -> io::Result<()> {
    let len = len_of(parts);
    if len > MESSAGE_LEN_MAX {
        let text = format!("a message has at most {MESSAGE_LEN_MAX} bytes, not {len}");
        return Err(fail(PipeErrorKind::Invalid, text));
    }
    Ok(())
}
