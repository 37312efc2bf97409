//! The reading half of a ring.

use super::{
    Corrupt, Direction, Geometry, Memory,
    layout::{Lane, PIECE_LEN, Word, next_epoch},
    record::{HEADER_LEN, Record, Storage},
    sync::Ordering,
};
use std::sync::Arc;

/// The front of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Front {
    /// Nothing.
    Empty,
    /// This many bytes of a stream.
    Bytes(u64),
    /// A message of which this much is left.
    Message {
        /// Bytes of it not yet taken.
        left: u64,
        /// Bytes of it that were taken before.
        taken: u64,
        /// Whether it is a large one, in a memory object.
        attached: bool,
    },
}

/// The place that messages are taken to.
pub(crate) trait MessageSink {
    /// Room for a message of so many bytes, which is taken if there is any.
    fn place(&mut self, len: u64) -> Option<&mut [u8]>;
}

/// The large message at the front, which its writer may still be copying into its memory object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Large {
    /// The payload that was taken before what is left of it. Nothing else that is read begins there.
    pub(crate) position: u64,
    /// Bytes of it.
    pub(crate) len: u64,
    /// Bytes of it that were taken before.
    pub(crate) taken: u64,
    /// Bytes of it, from the first on, that are there.
    pub(crate) filled: u64,
    /// Whether its memory object is still to be received.
    pub(crate) is_new: bool,
}

impl Large {
    /// Whether all of it is there, so that it may be shown.
    pub(crate) fn is_whole(&self) -> bool {
        self.filled == self.len
    }
}

/// The message that is being read.
#[derive(Clone, Copy, Debug)]
struct Current {
    record: Record,
    taken: u64,
}

/// Reads one direction; the only writer of its head.
#[derive(Debug)]
pub(crate) struct Consumer {
    memory: Arc<Memory>,
    lane: Lane,
    /// How far we have read: the truth.
    head: u64,
    /// The payload that we have read: the truth.
    payload: u64,
    /// The producer's last claim that was checked.
    tail: u64,
    current: Option<Current>,
    /// Bytes of a large message at the front that are there: the producer's last claim that was checked.
    filled: u64,
    /// Whether room was published since that was last asked.
    published: bool,
}

/// The claim of a producer that a consumer has seen, for a look from outside the ring.
#[cfg(feature = "tokio")]
#[derive(Debug)]
pub(crate) struct TailWatch {
    memory: Arc<Memory>,
    direction: Direction,
    seen: u64,
}

#[cfg(feature = "tokio")]
impl TailWatch {
    #[cfg(test)]
    pub(crate) fn of_nothing() -> TailWatch {
        TailWatch { memory: Arc::new(Memory::heap(4096)), direction: Direction::Inbound, seen: 0 }
    }

    /// Whether there may be something to read. The consumer checks it.
    pub(crate) fn has_moved(&self) -> bool {
        self.memory.load(Word::Tail(self.direction), Ordering::Relaxed) != self.seen
    }
}

impl Consumer {
    /// The reading half of `direction`; `None` where the pipe does not have it.
    pub(crate) fn new(memory: Arc<Memory>, geometry: &Geometry, direction: Direction) -> Option<Consumer> {
        let lane = geometry.lane(direction)?;
        Some(Consumer {
            memory,
            lane,
            head: 0,
            payload: 0,
            tail: 0,
            current: None,
            filled: 0,
            published: false,
        })
    }

    /// Whether it has published room, so that a writer may have to be woken, since this was last asked.
    pub(crate) fn take_published(&mut self) -> bool {
        std::mem::take(&mut self.published)
    }

    /// The data that can be read now.
    pub(crate) fn front(&mut self) -> Result<Front, Corrupt> {
        if !self.lane.messages {
            if self.tail == self.head {
                self.refresh()?;
            }
            let available = self.tail - self.head;
            return Ok(if available == 0 { Front::Empty } else { Front::Bytes(available) });
        }
        if self.current.is_none() {
            if self.tail == self.head {
                self.refresh()?;
            }
            if self.tail == self.head {
                return Ok(Front::Empty);
            }
            let record = self.header_at(self.head)?;
            self.begin_message(record);
        }
        match self.current {
            Some(Current { record, taken }) if record.storage == Storage::Ring => {
                Ok(Front::Message { left: record.len - taken, taken, attached: false })
            }
            Some(current) => self.front_large(current),
            None => Ok(Front::Empty),
        }
    }

    /// Watches for what comes next, if nothing is there, and no large message that grows: that moves no tail.
    #[cfg(feature = "tokio")]
    pub(crate) fn watch(&mut self) -> Result<Option<TailWatch>, Corrupt> {
        Ok((self.front()? == Front::Empty && !self.is_filling()).then(|| TailWatch {
            memory: Arc::clone(&self.memory),
            direction: self.lane.direction,
            seen: self.tail,
        }))
    }

    #[cold]
    #[inline(never)]
    fn front_large(&mut self, Current { record, taken }: Current) -> Result<Front, Corrupt> {
        self.refresh_filled(record.len)?;
        let is_whole = self.filled == record.len;
        Ok(if is_whole {
            Front::Message { left: record.len - taken, taken, attached: true }
        } else {
            Front::Empty
        })
    }

    /// The large message at the front, if there is one, also if it is not whole yet.
    pub(crate) fn large(&mut self) -> Result<Option<Large>, Corrupt> {
        self.front()?;
        let (position, filled) = (self.payload, self.filled);
        Ok(self.current.filter(|current| current.record.storage != Storage::Ring).map(
            |Current { record, taken }| Large {
                position,
                len: record.len,
                taken,
                filled,
                is_new: record.storage == Storage::NewObject,
            },
        ))
    }

    /// Whether a large message is at the front, and not whole yet; asked when [`front`](Self::front) found nothing.
    pub(crate) fn is_filling(&self) -> bool {
        self.current.is_some()
    }

    /// Notes that the memory object of the message at the front was received.
    pub(crate) fn received_object(&mut self) {
        if let Some(current) = &mut self.current {
            current.record.storage = Storage::KeptObject;
        }
    }

    /// Takes bytes from the front (of the message there, in message mode) and publishes that; says how many.
    pub(crate) fn take(&mut self, buf: &mut [u8]) -> usize {
        buf.chunks_mut(PIECE_LEN)
            .map(|piece| {
                let len = self.copy_front(piece);
                self.advance(len as u64);
                len
            })
            .sum()
    }

    /// Takes whole messages that lie in the ring, for as long as `sink` has room for them, and publishes that together, in
    /// pieces. Returns whether nothing is left to read.
    pub(crate) fn take_messages(&mut self, sink: &mut impl MessageSink) -> Result<bool, Corrupt> {
        self.refresh()?;
        let mut published = self.head;
        let is_empty = loop {
            let current = match self.current {
                Some(current) => current,
                None if self.head == self.tail => break Ok(true),
                None => match self.header_at(self.head) {
                    Ok(record) => self.begin_message(record),
                    Err(corrupt) => break Err(corrupt),
                },
            };
            let Current { record, taken } = current;
            let lies_here = taken == 0 && record.storage == Storage::Ring;
            let Some(place) = lies_here.then(|| sink.place(record.len)).flatten() else { break Ok(false) };
            self.copy_out(self.head + HEADER_LEN, place);
            self.current = None;
            self.payload += record.len;
            self.head += record.ring_len();
            if self.head - published >= PIECE_LEN as u64 {
                self.publish_messages();
                published = self.head;
            }
        };
        if self.head > published {
            self.publish_messages();
        }
        is_empty
    }

    fn begin_message(&mut self, record: Record) -> Current {
        self.filled = 0;
        *self.current.insert(Current { record, taken: 0 })
    }

    /// Publishes that all messages before the head were taken.
    fn publish_messages(&mut self) {
        self.memory.store(Word::Payload(self.lane.direction), self.payload, Ordering::Relaxed);
        self.publish(self.head);
    }

    /// Counts bytes of a large message as taken: they were read from its memory object.
    pub(crate) fn took_attached(&mut self, len: u64) {
        self.advance(len);
    }

    /// Ends the message at the front, of which nothing is left.
    pub(crate) fn end_message(&mut self) {
        if let Some(Current { record, taken }) = self.current
            && taken == record.len
        {
            self.current = None;
            self.publish(self.head + record.ring_len());
        }
    }

    /// Copies what lies at the front, in message mode of the first message only, and takes nothing; says how much.
    pub(crate) fn copy_front(&self, buf: &mut [u8]) -> usize {
        let (index, available) = match self.current {
            Some(Current { record, .. }) if record.storage != Storage::Ring => return 0,
            Some(Current { record, taken }) => (self.head + HEADER_LEN + taken, record.len - taken),
            None if self.lane.messages => return 0,
            None => (self.head, self.tail - self.head),
        };
        let len = usize::try_from(available).unwrap_or(usize::MAX).min(buf.len());
        let (now, _) = buf.split_at_mut(len);
        self.copy_out(index, now);
        len
    }

    /// All payload that can be read now, in bytes, over all messages. A large one counts once [`front`](Self::front) has
    /// found it whole.
    pub(crate) fn available(&mut self) -> Result<u64, Corrupt> {
        self.refresh()?;
        if !self.lane.messages {
            return Ok(self.tail - self.head);
        }
        // The length that was read from the first header counts, not what the header says by now.
        let (mut index, mut sum) = match self.current {
            Some(Current { record, .. }) if record.storage != Storage::Ring && self.filled < record.len => {
                (self.head + record.ring_len(), 0)
            }
            Some(Current { record, taken }) => (self.head + record.ring_len(), record.len - taken),
            None => (self.head, 0),
        };
        while index < self.tail {
            let record = self.header_at(index)?;
            // How much of a large one is there is known when it is looked at.
            sum += if record.storage == Storage::Ring { record.len } else { 0 };
            index += record.ring_len();
        }
        Ok(sum)
    }

    /// The header of the record that begins at `index`, which lies before the tail. All of a record is published
    /// at once, so it must lie before the tail too.
    fn header_at(&self, index: u64) -> Result<Record, Corrupt> {
        if self.tail - index < HEADER_LEN {
            return Err(Corrupt("a message header that ends beyond what was published"));
        }
        let mut header = [0; 16];
        self.copy_out(index, &mut header);
        let record = Record::decode(header)?;
        if record.storage != Storage::Ring && index != self.head {
            return Err(Corrupt("a large message before the one in front of it was read"));
        }
        if record.ring_len() > self.tail - index {
            return Err(Corrupt("a message that ends beyond what was published"));
        }
        Ok(record)
    }

    fn advance(&mut self, len: u64) {
        self.payload += len;
        match &mut self.current {
            // The head moves on when the message ends: until then its place can't be used again.
            Some(current) => {
                current.taken += len;
                self.memory.store(Word::Payload(self.lane.direction), self.payload, Ordering::Relaxed);
                self.published = true;
            }
            None => self.publish(self.head + len),
        }
    }

    fn publish(&mut self, head: u64) {
        self.published = true;
        self.head = head;
        // SYNC POINT space: Release; pairs with the Acquire in `Producer::refresh`.
        self.memory.store(Word::Head(self.lane.direction), head, Ordering::Release);
    }

    /// Takes the producer's claim, if it can be true.
    fn refresh(&mut self) -> Result<(), Corrupt> {
        // SYNC POINT data: Acquire; pairs with the Release in `Producer::publish`.
        let tail = self.memory.load(Word::Tail(self.lane.direction), Ordering::Acquire);
        if tail < self.tail || tail - self.head > self.lane.capacity {
            return self.enter_epoch(tail);
        }
        self.tail = tail;
        Ok(())
    }

    /// Takes a claim that is none in this epoch: the producer may have begun the next one, if all of this one was read.
    #[cold]
    #[inline(never)]
    fn enter_epoch(&mut self, tail: u64) -> Result<(), Corrupt> {
        let start = next_epoch(self.head);
        let len = tail.wrapping_sub(start);
        if self.tail != self.head || len == 0 || len > self.lane.capacity {
            return Err(Corrupt("the writer says that it wrote more than there is room for"));
        }
        (self.head, self.tail) = (start, tail);
        Ok(())
    }

    /// Takes the producer's claim of how much of a large message is there, if it can be true.
    fn refresh_filled(&mut self, len: u64) -> Result<(), Corrupt> {
        // What is whole stays whole.
        if self.filled == len {
            return Ok(());
        }
        // SYNC POINT filling: Acquire; pairs with the Release in `Producer::fill_large`.
        let filled = self.memory.load(Word::Filled(self.lane.direction), Ordering::Acquire);
        if filled < self.filled || filled > len {
            return Err(Corrupt("the writer says that more or less of a message is there than can be"));
        }
        self.filled = filled;
        Ok(())
    }

    fn copy_out(&self, index: u64, buf: &mut [u8]) {
        let (at, until_end) = self.lane.place(index);
        let (first, rest) = buf.split_at_mut(until_end.min(buf.len()));
        self.memory.copy_out(at, first);
        if !rest.is_empty() {
            self.memory.copy_out(self.lane.offset, rest);
        }
    }
}
