//! Memory objects of large messages: those that don't fit into the ring.
//!
//! Each direction has at most one. The writer makes it for the first large message, and uses it again for later ones that fit
//! into it: the reader has read everything before a large message is announced, so nothing in it is needed any more. Memory
//! that was used before is copied through a mapping, after the announcement, and the reader copies along. What would
//! take new memory is written before the announcement, by calls that can fail. So a message that is announced comes whole, unless its
//! writer dies.

use super::{
    super::{mapping, memory, os},
    Connection,
};
use crate::{
    error::context,
    ring::{Consumer, Large, Memory, PIECE_LEN},
};
use std::{
    io::{self, IoSlice},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// From this length on a reader copies along: a shorter message is copied before a reader has woken up.
const ALONG_MIN: usize = 4 * PIECE_LEN;

/// How long a writer keeps the memory of large messages at least after the last one that needs it.
pub(super) const KEPT_FOR: Duration = Duration::from_secs(1);

/// An object that is so many times as large as what it is used for gives way to a smaller one.
const TOO_LARGE: usize = 8;

/// The memory object of a direction, at one of its ends.
#[derive(Debug)]
pub(super) struct LargeObject {
    fd: OwnedFd,
    len: usize,
    mapped: Option<Memory>,
    /// So many of its bytes, from the first on, were written or read by calls. They are in memory, so that the mapping takes none.
    used: usize,
    /// When it was last written for a message for which a much smaller one would not do.
    needed: Instant,
}

/// The memory objects of one end.
#[derive(Debug, Default)]
pub(super) struct LargeObjects {
    /// One that came and belongs to a message that was not looked at yet.
    pub(super) arrived: Option<OwnedFd>,
    /// That of the direction which this end reads.
    incoming: Option<LargeObject>,
}

/// How far one call has copied the large message at the front. Nothing of it is taken before it is whole, and another call may
/// take it meanwhile.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::sys::unix) struct Along {
    position: u64,
    copied: usize,
}

/// The length of the memory object of a message: a power of two, so that it serves messages of about that length.
fn object_len(len: u64) -> Option<usize> {
    usize::try_from(len).ok()?.checked_next_power_of_two()
}

impl LargeObject {
    /// A new one that holds a message.
    pub(super) fn with_message(parts: &[IoSlice<'_>], len: u64) -> io::Result<LargeObject> {
        let making = || format!("making the memory object of a message of {len} bytes");
        let create = || {
            let len = object_len(len).ok_or(io::ErrorKind::OutOfMemory)?;
            let fd = memory::create(len)?;
            Ok(LargeObject { fd, len, mapped: None, used: 0, needed: Instant::now() })
        };
        let mut object = create().map_err(|error: io::Error| context(making(), error))?;
        object.write_from(0, parts, len).map_err(|error| context(making(), error))?;
        Ok(object)
    }

    /// One that the peer sent for a message.
    fn received(fd: OwnedFd, len: u64) -> Result<LargeObject, &'static str> {
        let len = object_len(len).ok_or("a message that is longer than any memory")?;
        memory::check(&fd, len)?;
        Ok(LargeObject { fd, len, mapped: None, used: 0, needed: Instant::now() })
    }

    pub(super) fn has_room(&self, len: u64) -> bool {
        usize::try_from(len).is_ok_and(|len| len <= self.len)
    }

    /// Writes what would take new memory of a message; returns how many bytes before that are still to be copied.
    pub(super) fn prepare(&mut self, parts: &[IoSlice<'_>], len: u64) -> io::Result<usize> {
        let used = if self.map().is_some() { self.used } else { 0 };
        let copied_later = usize::try_from(len).unwrap_or(usize::MAX).min(used);
        let writing = || format!("writing into the memory object of a message of {len} bytes");
        self.write_from(copied_later, parts, len).map_err(|error| context(writing(), error))?;
        if usize::try_from(len).is_ok_and(|len| len > self.len / TOO_LARGE) {
            self.needed = Instant::now();
        }
        Ok(copied_later)
    }

    /// Whether the reader of a message of which so many bytes are still to be copied should copy along.
    pub(super) fn is_copied_along(copied_later: usize) -> bool {
        copied_later >= ALONG_MIN
    }

    /// Copies the first `end` bytes of a message, and reports after each piece how many are there.
    pub(super) fn copy_in(&mut self, parts: &[IoSlice<'_>], end: usize, mut report: impl FnMut(u64)) {
        let Some(mapped) = &self.mapped else { return };
        for (start, part) in parts_between(parts, 0, end) {
            let mut offset = start;
            for piece in part.chunks(PIECE_LEN) {
                mapped.copy_in(offset, piece);
                offset += piece.len();
                report(offset as u64);
            }
        }
    }

    /// Gives its memory back to the system: at every end, whichever has it.
    pub(super) fn release(&self) {
        memory::release(&self.fd, self.len);
    }

    /// Writes the bytes of a message from `offset` on by calls.
    fn write_from(&mut self, offset: usize, parts: &[IoSlice<'_>], len: u64) -> io::Result<()> {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        // The object was made under another limit, perhaps, and a write beyond it would be a signal.
        os::check_file_size(len)?;
        for (offset, part) in parts_between(parts, offset, len) {
            memory::write_at(&self.fd, part, offset)?;
        }
        self.used = self.used.max(len);
        Ok(())
    }

    /// Fills `buf` from `offset`. What was never read before may not be there, whatever the writer says, and a mapping would take memory
    /// for it.
    fn copy_out(&mut self, offset: usize, buf: &mut [u8]) -> io::Result<()> {
        let end = offset.saturating_add(buf.len());
        let (before, rest) = buf.split_at_mut(self.used.saturating_sub(offset).min(buf.len()));
        if !before.is_empty() {
            match self.map() {
                Some(mapped) => mapped.copy_out(offset, before),
                None => memory::read_at(&self.fd, before, offset)?,
            }
        }
        memory::read_at(&self.fd, rest, end - rest.len())?;
        if offset <= self.used {
            self.used = self.used.max(end);
        }
        Ok(())
    }

    /// The mapping; without room for it calls do the same.
    fn map(&mut self) -> Option<&Memory> {
        if self.mapped.is_none() {
            self.mapped = mapping::map(&self.fd, self.len).ok();
        }
        self.mapped.as_ref()
    }
}

impl AsFd for LargeObject {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What the bytes from `begin` to `end` of a message are, each part with its offset in the message.
fn parts_between<'a>(
    parts: &'a [IoSlice<'_>],
    begin: usize,
    end: usize,
) -> impl Iterator<Item = (usize, &'a [u8])> {
    let mut next = 0;
    parts.iter().filter_map(move |part| {
        let start = next;
        next += part.len();
        let (from, to) = (begin.max(start), end.min(next));
        let part = part.get(from.checked_sub(start)?..to.checked_sub(start)?)?;
        (!part.is_empty()).then_some((from, part))
    })
}

impl Along {
    /// Copies what has come of the message at the front, up to the length of `buf`.
    pub(super) fn copy(
        &mut self,
        object: &mut LargeObject,
        large: &Large,
        buf: &mut [u8],
    ) -> io::Result<usize> {
        if self.position != large.position || self.copied > buf.len() {
            *self = Along { position: large.position, copied: 0 };
        }
        let taken = usize::try_from(large.taken).unwrap_or(usize::MAX);
        let come = usize::try_from(large.filled - large.taken).unwrap_or(usize::MAX).min(buf.len());
        if let Some(missing) = buf.get_mut(self.copied..come)
            && !missing.is_empty()
        {
            object.copy_out(taken + self.copied, missing)?;
            self.copied = come;
        }
        Ok(self.copied)
    }
}

impl Connection {
    /// The memory objects of what this end reads.
    pub(super) fn large_objects(&self) -> MutexGuard<'_, LargeObjects> {
        self.large_objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The memory object of what this end writes.
    pub(super) fn outgoing_object(&self) -> MutexGuard<'_, Option<LargeObject>> {
        self.outgoing_object.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `copy` with the memory object of the message at the front; `None` if that has not come yet.
    pub(super) fn with_object<T>(
        &self,
        consumer: &mut Consumer,
        large: &Large,
        copy: impl FnOnce(&mut LargeObject) -> io::Result<T>,
    ) -> io::Result<Option<T>> {
        let mut objects = self.large_objects();
        if large.is_new {
            let Some(fd) = objects.arrived.take() else { return Ok(None) };
            match LargeObject::received(fd, large.len) {
                Ok(object) => {
                    if let Some(before) = objects.incoming.replace(object) {
                        before.release();
                    }
                    consumer.received_object();
                }
                Err(why) => {
                    drop(objects);
                    return Err(self.corrupt(why));
                }
            }
        }
        match objects.incoming.as_mut().filter(|object| object.has_room(large.len)) {
            Some(object) => copy(object).map(Some),
            None => {
                drop(objects);
                Err(self.corrupt("a large message in a memory object that was never sent"))
            }
        }
    }

    /// Gives the memory of large messages back that this end wrote, if it was not needed for a while and all was read.
    /// Returns how long it is kept at least, if it is kept because it was needed a moment ago.
    pub(super) fn release_large(&self) -> Option<Duration> {
        let time_left = |object: &LargeObject| KEPT_FOR.checked_sub(object.needed.elapsed());
        // A thread that has it uses it.
        if let Some(left) = time_left(self.outgoing_object.try_lock().ok()?.as_ref()?) {
            return Some(left);
        }
        // In the order of a write, which has the ring first.
        let mut producer = self.rings_known()?.producer().ok()?;
        let mut outgoing = self.outgoing_object();
        if outgoing.as_ref().is_some_and(|object| time_left(object).is_none())
            && producer.is_drained() == Ok(true)
            && let Some(object) = outgoing.take()
        {
            object.release();
        }
        None
    }

    /// Gives the memory of large messages back that this end has read, whatever the peer does with its object.
    pub(super) fn drop_large(&self) {
        if let Some(object) = self.large_objects().incoming.take() {
            object.release();
        }
    }

    /// Blocks of memory that the object has which this end reads.
    #[cfg(all(test, feature = "tokio"))]
    pub(super) fn incoming_blocks(&self) -> i64 {
        let objects = self.large_objects();
        objects
            .incoming
            .as_ref()
            .map_or(0, |object| rustix::fs::fstat(object).expect("an open file").st_blocks)
    }
}
