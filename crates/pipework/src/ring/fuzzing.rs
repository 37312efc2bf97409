//! One honest end of a ring, while bytes from outside decide what the words of the other end and the payload say.

use super::{
    Consumer, Direction, Front, Geometry, Memory, MessageSink, Producer,
    layout::{Word, next_epoch},
    record::{HEADER_LEN, Record, Storage},
    sync::Ordering,
};
use std::{io::IoSlice, sync::Arc};

/// Small, so that the ends of the ring are near.
const QUOTA: u32 = 4 * 4096;
/// More than the ring holds.
const LEN_MAX: usize = 3 * 4 * 4096;

/// What the bytes ask for, one after the other; after the last one everything is zero.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *byte
    }

    fn number(&mut self) -> u64 {
        // Most numbers that can be true are small, in either epoch.
        match self.byte() {
            255 => u64::from_le_bytes([(); 8].map(|()| self.byte())),
            254 => next_epoch(0) + (u64::from(self.byte()) << 8 | u64::from(self.byte())),
            high => u64::from(high) << 8 | u64::from(self.byte()),
        }
    }

    fn len(&mut self) -> usize {
        usize::try_from(self.number()).unwrap_or(LEN_MAX).min(LEN_MAX)
    }
}

fn memory(messages: bool) -> (Arc<Memory>, Geometry) {
    let geometry = Geometry::new(messages, Some(QUOTA), None);
    (Arc::new(Memory::heap(geometry.len())), geometry)
}

/// Takes messages as long as there is room for them.
struct Sink {
    buf: Vec<u8>,
    begin: usize,
}

impl MessageSink for Sink {
    fn place(&mut self, len: u64) -> Option<&mut [u8]> {
        let begin = self.begin;
        let end = begin.checked_add(usize::try_from(len).ok()?)?;
        let place = self.buf.get_mut(begin..end)?;
        self.begin = end;
        Some(place)
    }
}

/// A writer that lies: its reader never reads outside the ring, and never gets more than it asked for.
///
/// # Panics
/// If it does.
pub fn hostile_writer(bytes: &[u8]) {
    let mut input = Input(bytes);
    let (memory, geometry) = memory(input.byte() & 1 == 1);
    let Some(mut consumer) = Consumer::new(Arc::clone(&memory), &geometry, Direction::Inbound) else {
        return;
    };
    let Some(lane) = geometry.lane(Direction::Inbound) else { return };
    while !input.0.is_empty() {
        match input.byte() % 9 {
            0 => memory.store(Word::Tail(Direction::Inbound), input.number(), Ordering::Release),
            1 => {
                let at = lane.place(input.number());
                let payload = [(); 16].map(|()| input.byte());
                memory.copy_in(at.0, &payload[..payload.len().min(at.1)]);
            }
            2 => {
                // A header that could be true, where one is expected.
                let places = [Storage::Ring, Storage::NewObject, Storage::KeptObject];
                let storage = places[usize::from(input.byte()) % places.len()];
                let record = Record { len: input.number(), storage };
                let at = lane.place(input.number().wrapping_mul(HEADER_LEN));
                memory.copy_in(at.0, &record.encode());
            }
            3 => {
                let front = consumer.front();
                let mut buf = vec![0; input.len()];
                if let Ok(Front::Message { left, attached: false, .. }) = front {
                    assert!(left <= lane.capacity, "a message that can't lie in the ring");
                }
                if front.is_ok() {
                    let seen = consumer.copy_front(&mut buf);
                    assert!(seen <= buf.len());
                    let taken = consumer.take(&mut buf);
                    assert!(taken <= buf.len());
                }
            }
            4 if lane.messages => {
                let mut sink = Sink { buf: vec![0; input.len()], begin: 0 };
                let outcome = consumer.take_messages(&mut sink);
                assert!(outcome != Ok(true) || consumer.front().is_ok(), "empty, and a message that is none");
            }
            5 => {
                if let Ok(available) = consumer.available() {
                    assert!(lane.messages || available <= lane.capacity);
                }
            }
            6 => memory.store(Word::Filled(Direction::Inbound), input.number(), Ordering::Release),
            7 => {
                let whole = matches!(consumer.front(), Ok(Front::Message { attached: true, .. }));
                if let Ok(Some(large)) = consumer.large() {
                    assert!(large.filled <= large.len && (large.taken == 0 || large.is_whole()), "{large:?}");
                    assert!(!whole || large.is_whole(), "it was whole before");
                    consumer.received_object();
                    if large.is_whole() {
                        consumer.took_attached((large.len - large.taken).min(input.number()));
                        consumer.end_message();
                    }
                }
            }
            _ => {
                if consumer.front().is_ok() {
                    consumer.end_message();
                }
            }
        }
    }
}

/// A reader that lies: its writer never writes outside the ring, and never accepts more than the quota holds.
///
/// # Panics
/// If it does.
pub fn hostile_reader(bytes: &[u8]) {
    let mut input = Input(bytes);
    let (memory, geometry) = memory(input.byte() & 1 == 1);
    let Some(mut producer) = Producer::new(Arc::clone(&memory), &geometry, Direction::Inbound) else {
        return;
    };
    let Some(lane) = geometry.lane(Direction::Inbound) else { return };
    while !input.0.is_empty() {
        match input.byte() % 9 {
            0 => memory.store(Word::Head(Direction::Inbound), input.number(), Ordering::Release),
            1 => memory.store(Word::Payload(Direction::Inbound), input.number(), Ordering::Release),
            2 => {
                let payload = vec![1; input.len()];
                let outcome = if lane.messages {
                    let len = payload.len() as u64;
                    match producer.has_room(len) {
                        Ok(true) if producer.is_inline(len) => {
                            producer.write_message(&[IoSlice::new(&payload)]).map(usize::from)
                        }
                        other => other.map(usize::from),
                    }
                } else {
                    producer.write_bytes(&payload)
                };
                if let Ok(written) = outcome {
                    assert!(written <= payload.len().max(1));
                }
            }
            3 if lane.messages => {
                let payload = vec![1; input.len()];
                let messages: Vec<_> = payload.chunks(1 + input.len()).map(IoSlice::new).collect();
                if let Ok(written) = producer.write_messages(&messages) {
                    assert!(written <= messages.len());
                }
            }
            4 => {
                // The ring begins anew, as in honest use.
                let tail = memory.load(Word::Tail(Direction::Inbound), Ordering::Relaxed);
                memory.store(Word::Head(Direction::Inbound), tail, Ordering::Release);
            }
            5 => {
                let is_released = producer.release_unused();
                assert!(
                    is_released != Ok(true) || producer.is_drained() == Ok(true),
                    "released what is unread"
                );
            }
            6 if lane.messages => {
                // No writer has a message of more bytes.
                let len = input.number() % (1 << 40);
                if !producer.is_inline(len) && producer.has_room(len) == Ok(true) {
                    producer.announce_large(len, Storage::KeptObject, 0);
                    producer.fill_large(len);
                }
            }
            7 => {
                let answers = [producer.is_settled(), producer.is_writable(), producer.is_drained()];
                let is_drained = answers[2] == Ok(true);
                assert!(!is_drained || answers[1] != Ok(false), "drained, and no room");
            }
            _ => {
                producer.take_published();
            }
        }
    }
}
