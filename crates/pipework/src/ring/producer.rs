//! The writing half of a ring.

use super::{
    Corrupt, Direction, Geometry, Memory,
    layout::{FRONT_LEN, Lane, PIECE_LEN, RELEASED_MIN, Word, next_epoch, since_epoch},
    record::{HEADER_LEN, Record, Storage},
    sync::Ordering,
};
use std::{io::IoSlice, sync::Arc};

/// How many writes in a row look for an empty ring before a producer looks less often: a request often has several parts, and
/// the ring is empty before its first.
const LOOKS_IN_ROW: u32 = 4;

/// Publishes into one direction; the only writer of its tail.
#[derive(Debug)]
pub(crate) struct Producer {
    memory: Arc<Memory>,
    lane: Lane,
    /// How far we have published: the truth.
    tail: u64,
    /// The payload published so far: the truth. On a byte pipe the same as the tail.
    payload: u64,
    /// The consumer's last claim that was checked, or the beginning of this epoch.
    head: u64,
    /// The consumer's last claim of the payload it has read.
    payload_read: u64,
    /// A write that ends within this index need not look: there is room, and it stays where it falls.
    until: u64,
    /// A write that ends beyond this index looks whether the ring is empty.
    stays_until: u64,
    /// How many looks in a row found that it is not.
    vain_looks: u32,
    /// Where the epoch before this one ended.
    ended: u64,
    /// How far from its beginning the ring was touched in earlier epochs, since memory was last released.
    touched: u64,
    /// Whether data was published since that was last asked.
    published: bool,
}

impl Producer {
    /// The writing half of `direction`; `None` where the pipe does not have it.
    pub(crate) fn new(memory: Arc<Memory>, geometry: &Geometry, direction: Direction) -> Option<Producer> {
        let lane = geometry.lane(direction)?;
        let mut producer = Producer {
            memory,
            lane,
            tail: 0,
            payload: 0,
            head: 0,
            payload_read: 0,
            until: 0,
            stays_until: FRONT_LEN,
            vain_looks: 0,
            ended: 0,
            touched: 0,
            published: false,
        };
        producer.know();
        Some(producer)
    }

    /// Whether it has published data, so that a reader may have to be woken, since this was last asked.
    pub(crate) fn take_published(&mut self) -> bool {
        std::mem::take(&mut self.published)
    }

    /// Publishes what fits of `bytes` now; 0 is a full pipe.
    ///
    /// Never more than the quota lies unread, but with a quota of zero, where a write could else never begin.
    pub(crate) fn write_bytes(&mut self, bytes: &[u8]) -> Result<usize, Corrupt> {
        let wanted = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if self.until - self.tail < wanted {
            self.look(wanted)?;
        }
        let count = wanted.min(self.until - self.tail);
        let len = usize::try_from(count).unwrap_or(usize::MAX);
        let Some((now, _)) = bytes.split_at_checked(len) else { return Ok(0) };
        if len > 0 {
            self.copy_in(self.tail, now);
            self.payload += count;
            self.publish(self.tail + count);
        }
        Ok(len)
    }

    /// Whether a message of `len` bytes lies in the ring, or elsewhere with an announcement in the ring.
    pub(crate) fn is_inline(&self, len: u64) -> bool {
        Record { len, storage: Storage::Ring }.ring_len() <= self.lane.capacity
    }

    /// Publishes one message, all of it or nothing; `false` is a full pipe. Only for messages that lie in the ring.
    pub(crate) fn write_message(&mut self, parts: &[IoSlice<'_>]) -> Result<bool, Corrupt> {
        let len = parts.iter().map(|part| part.len() as u64).sum::<u64>();
        if !self.has_room(len)? {
            return Ok(false);
        }
        let mut at = self.tail + HEADER_LEN;
        for part in parts {
            self.copy_in(at, part);
            at += part.len() as u64;
        }
        self.publish_record(Record { len, storage: Storage::Ring });
        Ok(true)
    }

    /// Publishes messages from the first one on, for as long as there is room and they lie in the ring; returns how many.
    ///
    /// Each needs the same room as if it were written alone, after those before it. They are published together, in pieces.
    pub(crate) fn write_messages(&mut self, messages: &[IoSlice<'_>]) -> Result<usize, Corrupt> {
        let (mut count, mut published) = (0, self.tail);
        for message in messages {
            let len = message.len() as u64;
            let record = Record { len, storage: Storage::Ring };
            if !self.fits(record) {
                // The reader's claims are compared with what it was shown.
                if self.tail > published {
                    self.publish(self.tail);
                }
                match self.look(record.ring_len()) {
                    Err(corrupt) if count == 0 => return Err(corrupt),
                    Ok(()) if self.fits(record) => {}
                    // The next call reports it.
                    _ => return Ok(count),
                }
                published = self.tail;
            }
            self.copy_in(self.tail + HEADER_LEN, message);
            self.copy_in(self.tail, &record.encode());
            self.payload += len;
            self.tail += record.ring_len();
            count += 1;
            if self.tail - published >= PIECE_LEN as u64 {
                self.publish(self.tail);
                published = self.tail;
            }
        }
        if self.tail > published {
            self.publish(self.tail);
        }
        Ok(count)
    }

    /// Whether a message of `len` bytes could be published now.
    ///
    /// One within the quota goes as soon as it fits into what is free of it. A larger one goes when all that came
    /// before it was read, so that at most one is under way, and its writer waits for its reader.
    pub(crate) fn has_room(&mut self, len: u64) -> Result<bool, Corrupt> {
        let storage = if self.is_inline(len) { Storage::Ring } else { Storage::KeptObject };
        let record = Record { len, storage };
        if !self.fits(record) {
            self.look(record.ring_len())?;
        }
        Ok(self.fits(record))
    }

    /// Announces a message of `len` bytes that lies elsewhere, of which `filled` bytes are there; only after `has_room`.
    ///
    /// The reader has read all that came before, so it no longer looks at how much of an earlier message was there.
    pub(crate) fn announce_large(&mut self, len: u64, storage: Storage, filled: u64) {
        // The Release of the tail publishes it.
        self.memory.store(Word::Filled(self.lane.direction), filled, Ordering::Relaxed);
        self.publish_record(Record { len, storage });
    }

    /// Publishes how much of the large message that was announced last is there.
    pub(crate) fn fill_large(&mut self, filled: u64) {
        self.published = true;
        // SYNC POINT filling: Release; pairs with the Acquire in `Consumer::refresh_filled`.
        self.memory.store(Word::Filled(self.lane.direction), filled, Ordering::Release);
    }

    /// Whether no more than the quota is unread, so that a write may return.
    pub(crate) fn is_settled(&mut self) -> Result<bool, Corrupt> {
        if self.payload - self.payload_read <= self.lane.quota {
            return Ok(true);
        }
        self.refresh()?;
        Ok(self.payload - self.payload_read <= self.lane.quota)
    }

    /// Whether a write of one byte could publish it now.
    pub(crate) fn is_writable(&mut self) -> Result<bool, Corrupt> {
        self.refresh()?;
        let unread = self.tail - self.head;
        Ok(unread == 0 || unread < self.lane.quota)
    }

    /// Whether the consumer has read everything, messages of length zero included.
    pub(crate) fn is_drained(&mut self) -> Result<bool, Corrupt> {
        self.refresh()?;
        Ok(self.head == self.tail)
    }

    /// Releases the memory that a burst took, if all of it was read; returns whether it did.
    pub(crate) fn release_unused(&mut self) -> Result<bool, Corrupt> {
        let touched = self.touched.max(since_epoch(self.tail)).min(self.lane.capacity);
        if touched < RELEASED_MIN || !self.is_drained()? {
            return Ok(false);
        }
        // What is written next lies at the front, which stays. So what is read next does, too.
        self.begin_epoch();
        self.touched = 0;
        let [front_len, len] =
            [FRONT_LEN, self.lane.capacity - FRONT_LEN].map(|len| usize::try_from(len).unwrap_or(0));
        self.memory.release(self.lane.offset + front_len, len);
        Ok(true)
    }

    /// Looks how far the consumer is, before a write of `len` ring bytes that does not fit into what is known to be free
    /// or would leave the front of the ring. If the ring is empty, the next epoch begins, at the front.
    ///
    /// A look takes a cache line from the consumer. While that does not keep up, each look is as far from the one
    /// before as the ring was used, so a stream hardly looks.
    #[cold]
    #[inline(never)]
    fn look(&mut self, len: u64) -> Result<(), Corrupt> {
        self.refresh()?;
        let len = len.min(self.lane.capacity);
        let used = since_epoch(self.tail);
        if self.head == self.tail {
            if used + len > FRONT_LEN {
                self.begin_epoch();
            }
            self.stays_until = self.stays_until.max(self.tail + len);
            self.vain_looks = 0;
        } else if self.tail + len > self.stays_until {
            self.vain_looks = (self.vain_looks + 1) % LOOKS_IN_ROW;
            let pause = if self.vain_looks == 0 { used.max(FRONT_LEN).min(self.lane.capacity) } else { 0 };
            self.stays_until = self.tail + len.max(pause);
        }
        self.know();
        Ok(())
    }

    /// Begins the next epoch, in which the ring begins anew; only while it is empty.
    fn begin_epoch(&mut self) {
        if since_epoch(self.tail) == 0 {
            return;
        }
        self.touched = self.touched.max(since_epoch(self.tail));
        self.ended = self.tail;
        self.tail = next_epoch(self.tail);
        self.head = self.tail;
        if !self.lane.messages {
            (self.payload, self.payload_read) = (self.tail, self.tail);
        }
        self.stays_until = self.tail + FRONT_LEN;
        self.know();
    }

    fn fits(&self, record: Record) -> bool {
        let unread = self.payload - self.payload_read;
        let within_quota = unread + record.len <= self.lane.quota || self.head == self.tail;
        within_quota && self.tail + record.ring_len() <= self.until
    }

    fn publish_record(&mut self, record: Record) {
        self.copy_in(self.tail, &record.encode());
        self.payload += record.len;
        self.publish(self.tail + record.ring_len());
    }

    fn publish(&mut self, tail: u64) {
        self.published = true;
        self.tail = tail;
        // SYNC POINT data: Release; pairs with the Acquire in `Consumer::refresh`.
        self.memory.store(Word::Tail(self.lane.direction), tail, Ordering::Release);
    }

    /// Takes the consumer's claims, if they can be true.
    #[inline(never)]
    fn refresh(&mut self) -> Result<(), Corrupt> {
        // SYNC POINT space: Acquire; pairs with the Release in `Consumer::publish`.
        let head = self.memory.load(Word::Head(self.lane.direction), Ordering::Acquire);
        // Until the consumer has read the first part of an epoch, it stands at the end of the one before.
        let stands = since_epoch(self.head) == 0 && head == self.ended;
        let head = if stands { self.head } else { head };
        if head < self.head || head > self.tail {
            return Err(Corrupt("the reader says that it read what was not written"));
        }
        self.head = head;
        self.know();
        if !self.lane.messages {
            self.payload_read = head;
            return Ok(());
        }
        let payload_read = self.memory.load(Word::Payload(self.lane.direction), Ordering::Relaxed);
        if payload_read < self.payload_read || payload_read > self.payload {
            return Err(Corrupt("the reader says that it read more than was written"));
        }
        self.payload_read = payload_read;
        Ok(())
    }

    /// Notes what follows from the head and from where a write stays.
    fn know(&mut self) {
        let is_limited = !self.lane.messages && self.lane.quota > 0;
        let room = if is_limited { self.lane.quota } else { self.lane.capacity };
        self.until = self.stays_until.min(self.head + room);
    }

    fn copy_in(&self, index: u64, bytes: &[u8]) {
        let (at, until_end) = self.lane.place(index);
        let (first, rest) = bytes.split_at(until_end.min(bytes.len()));
        self.memory.copy_in(at, first);
        if !rest.is_empty() {
            self.memory.copy_in(self.lane.offset, rest);
        }
    }
}
