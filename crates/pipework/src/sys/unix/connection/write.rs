//! Attempts to give to a connection: bytes, a message, and looks at how far the reader is. None of them waits.

use super::{
    super::poll,
    Connection,
    doorbell::ATTACHMENT,
    fd_passing::send_with,
    large::LargeObject,
    rings::Rings,
    step::{On, Space, Step},
};
use crate::{
    error::PipeErrorKind,
    ring::{MESSAGE_LEN_MAX, Producer, Storage},
    sys::errors::{closed, denied, no_messages, too_long, unread},
};
use rustix::{event::PollFlags, io::Errno};
use std::{
    io::{self, IoSlice},
    os::fd::AsFd,
    slice,
};

/// The outcome of publishing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Published {
    /// Bytes of payload; of a batch, messages.
    pub(super) len: usize,
    /// Whether no more than the quota is unread, so that the write may return.
    pub(super) is_settled: bool,
}

/// The outcome of a wait for the reader of what was published: that counts as written (rule T1), so nothing but the end of
/// the pipe is an error then. Whoever gets one writes again, and would deliver twice.
pub(super) fn ignore_unless_over(outcome: io::Result<()>) -> io::Result<()> {
    outcome.or_else(|error| if ends_pipe(&error) { Err(error) } else { Ok(()) })
}

/// Whether an error is the end of the pipe, and not that of a wait or a shortage of this process.
pub(super) fn ends_pipe(error: &io::Error) -> bool {
    !matches!(PipeErrorKind::of(error), None | Some(PipeErrorKind::TimedOut | PipeErrorKind::Aborted))
}

/// How far a write of several parts has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    /// Bytes that were published before.
    pub(super) written: usize,
    /// The most that one attempt publishes, in bytes.
    pub(super) len_max: usize,
    /// Whether the write returns as soon as it has published. Then, with a quota of zero, the next one waits for the reader of
    /// this one (rule B2); a write of a thread waits for its own.
    pub(super) returns_at_once: bool,
}

impl Progress {
    /// A write that publishes all it can and then returns.
    pub(super) const ONCE: Progress = Progress { written: 0, len_max: usize::MAX, returns_at_once: true };
}

impl Connection {
    // ---------------------------------------------------------------- checks before the first attempt

    pub(super) fn check_may_write(&self) -> io::Result<()> {
        if self.may.write { Ok(()) } else { Err(denied("write")) }
    }

    /// Whether a write has something to do. On a message pipe nothing is a message too (rule M1).
    pub(super) fn check_write(&self, bufs: &[IoSlice<'_>]) -> io::Result<bool> {
        self.check_may_write()?;
        self.check_usable()?;
        if self.shape.messages {
            return check_len(bufs).map(|()| true);
        }
        Ok(bufs.iter().any(|buf| !buf.is_empty()))
    }

    pub(super) fn check_write_message(&self, parts: &[IoSlice<'_>]) -> io::Result<()> {
        self.check_may_write()?;
        if !self.shape.messages {
            return Err(no_messages("write"));
        }
        self.check_usable()?;
        check_len(parts)
    }

    pub(super) fn check_write_messages(&self, messages: &[IoSlice<'_>]) -> io::Result<()> {
        self.check_write_message(&[])?;
        messages.iter().try_for_each(|message| check_len(slice::from_ref(message)))
    }

    pub(super) fn check_drain(&self) -> io::Result<()> {
        self.check_may_write()?;
        // A client that was disconnected before its hello was received finds that in the socket only.
        self.poll_hangup();
        self.check_usable()
    }

    // ---------------------------------------------------------------- attempts

    /// Publishes a part of a stream, or on a message pipe one whole message.
    pub(super) fn attempt_write(
        &self,
        bufs: &[IoSlice<'_>],
        progress: Progress,
    ) -> io::Result<Step<Published>> {
        let Step::Done(rings) = self.attempt_rings()? else { return Ok(Step::Blocked(On::Hello)) };
        let rings = rings.ok_or_else(closed)?;
        if self.is_closed() {
            return Err(closed());
        }
        if self.shape.messages {
            self.publish_message(rings, bufs)
        } else {
            self.publish_bytes(rings, bufs, progress)
        }
    }

    /// Whether a write of `len` bytes would not wait, be it for an error.
    #[cfg(feature = "tokio")]
    pub(super) fn attempt_writable(&self, len: u64) -> io::Result<Step<()>> {
        if self.check_may_write().is_err() || self.check_usable().is_err() || self.is_closed() {
            return Ok(Step::Done(()));
        }
        // An error here is an error of the next write too.
        let Ok(rings) = self.rings_now() else { return Ok(Step::Done(())) };
        let Some(rings) = rings else {
            return Ok(if self.is_closed() { Step::Done(()) } else { Step::Blocked(On::Hello) });
        };
        let space = if self.shape.messages { Space::Message(len) } else { Space::Byte };
        Ok(match self.has_come(rings, On::Space(space)) {
            Ok(false) => Step::Blocked(On::Space(space)),
            // A large message that needs a memory object needs the socket too.
            Ok(true)
                if self.shape.messages
                    && !rings.producer()?.is_inline(len)
                    && !self.outgoing_object().as_ref().is_some_and(|object| object.has_room(len))
                    && !self.socket_has_room() =>
            {
                Step::Blocked(On::Socket)
            }
            Ok(true) | Err(_) => Step::Done(()),
        })
    }

    /// Whether a write that was published may return.
    pub(super) fn attempt_settled(&self) -> io::Result<Step<()>> {
        self.attempt_progress(Space::Settled, closed)
    }

    /// Whether the peer has read everything.
    pub(super) fn attempt_drained(&self) -> io::Result<Step<()>> {
        self.attempt_progress(Space::Drained, unread)
    }

    /// Whether the reader has come so far; else the error if it can't any more.
    fn attempt_progress(&self, space: Space, gone: fn() -> io::Error) -> io::Result<Step<()>> {
        // Read before the ring: what was read before the end counts.
        let is_closed = self.is_closed();
        // Before the hello nothing was written.
        let Some(rings) = self.rings_now()? else { return Ok(Step::Done(())) };
        if self.has_come(rings, On::Space(space))? {
            return Ok(Step::Done(()));
        }
        self.check_usable()?;
        if is_closed { Err(gone()) } else { Ok(Step::Blocked(On::Space(space))) }
    }

    // ---------------------------------------------------------------- publishing into the ring

    fn publish_bytes(
        &self,
        rings: &Rings,
        bufs: &[IoSlice<'_>],
        progress: Progress,
    ) -> io::Result<Step<Published>> {
        let mut producer = rings.producer()?;
        if progress.returns_at_once && !self.checked(producer.is_settled())? {
            return Ok(Step::Blocked(On::Space(Space::Settled)));
        }
        let (mut skip, mut len) = (progress.written, 0);
        for buf in bufs {
            let Some(rest) = buf.get(skip..) else {
                skip -= buf.len();
                continue;
            };
            skip = 0;
            let piece = rest.get(..progress.len_max - len).unwrap_or(rest);
            let published = self.checked(producer.write_bytes(piece))?;
            len += published;
            if published < rest.len() {
                break;
            }
        }
        if len == 0 {
            return Ok(Step::Blocked(On::Space(Space::Byte)));
        }
        let is_settled = self.checked(producer.is_settled())?;
        Ok(Step::Done(Published { len, is_settled }))
    }

    pub(super) fn publish_message(
        &self,
        rings: &Rings,
        parts: &[IoSlice<'_>],
    ) -> io::Result<Step<Published>> {
        let len = len_of(parts);
        let mut producer = rings.producer()?;
        if producer.is_inline(len) {
            if !self.checked(producer.write_message(parts))? {
                return Ok(Step::Blocked(On::Space(Space::Message(len))));
            }
        } else {
            if !self.checked(producer.has_room(len))? {
                return Ok(Step::Blocked(On::Space(Space::Message(len))));
            }
            if let Some(on) = self.publish_large(rings, &mut producer, parts, len)? {
                return Ok(Step::Blocked(on));
            }
        }
        let is_settled = self.checked(producer.is_settled())?;
        Ok(Step::Done(Published { len: usize::try_from(len).unwrap_or(usize::MAX), is_settled }))
    }

    /// Publishes a message in a memory object, for which there is room in the ring; else what that needs.
    #[cold]
    #[inline(never)]
    fn publish_large(
        &self,
        rings: &Rings,
        producer: &mut Producer,
        parts: &[IoSlice<'_>],
        len: u64,
    ) -> io::Result<Option<On>> {
        let mut outgoing = self.outgoing_object();
        if let Some(object) = outgoing.as_mut().filter(|object| object.has_room(len)) {
            let copied_later = object.prepare(parts, len)?;
            if LargeObject::is_copied_along(copied_later) {
                producer.announce_large(len, Storage::KeptObject, 0);
                self.wake_early(rings, producer);
                // Nothing below can fail or wait, so all of the message comes.
                object.copy_in(parts, copied_later, |filled| producer.fill_large(filled));
                producer.fill_large(len);
            } else {
                object.copy_in(parts, copied_later, drop);
                producer.announce_large(len, Storage::KeptObject, len);
            }
            return Ok(None);
        }
        // Asked first, since making the memory object costs as much as the message.
        if !self.socket_has_room() {
            return Ok(Some(On::Socket));
        }
        let object = LargeObject::with_message(parts, len)?;
        match send_with(self.as_fd(), &[ATTACHMENT], object.as_fd()) {
            Ok(()) => {
                *outgoing = Some(object);
                producer.announce_large(len, Storage::NewObject, len);
                Ok(None)
            }
            Err(Errno::AGAIN) => Ok(Some(On::Socket)),
            Err(Errno::TOOMANYREFS) => Ok(Some(On::Descriptors)),
            Err(Errno::PIPE | Errno::CONNRESET) => Err(closed()),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the socket takes something, or its other end is closed.
    fn socket_has_room(&self) -> bool {
        !poll::now(self.as_fd(), PollFlags::OUT).is_empty()
    }
}

fn len_of(parts: &[IoSlice<'_>]) -> u64 {
    parts.iter().map(|part| part.len() as u64).sum()
}

fn check_len(parts: &[IoSlice<'_>]) -> io::Result<()> {
    let len = len_of(parts);
    if len > MESSAGE_LEN_MAX { Err(too_long(len, MESSAGE_LEN_MAX)) } else { Ok(()) }
}
