//! Honest use against a model, and every false value that the shared words can have.
#![expect(clippy::cast_possible_truncation, reason = "the numbers are small")]

use super::super::{
    Consumer, Corrupt, Direction, Front, Geometry, Memory, MessageSink, PIECE_LEN, Producer, Storage,
    layout::{Word, next_epoch},
    record::{HEADER_LEN, MESSAGE_LEN_MAX, Record},
    sync::Ordering,
};
use proptest::prelude::*;
use std::{collections::VecDeque, io::IoSlice, sync::Arc};

/// Takes copies, as long as all of them fit.
struct Messages {
    taken: Vec<Vec<u8>>,
    count_max: usize,
    len_left: u64,
}

impl MessageSink for Messages {
    fn place(&mut self, len: u64) -> Option<&mut [u8]> {
        if self.taken.len() == self.count_max || len > self.len_left {
            return None;
        }
        self.len_left -= len;
        self.taken.push(vec![0; len as usize]);
        self.taken.last_mut().map(Vec::as_mut_slice)
    }
}

/// At most so many messages that have at most so many bytes together, and whether nothing is left.
fn take_messages(
    consumer: &mut Consumer,
    count_max: usize,
    len_max: u64,
) -> (Vec<Vec<u8>>, Result<bool, Corrupt>) {
    let mut sink = Messages { taken: Vec::new(), count_max, len_left: len_max };
    let is_empty = consumer.take_messages(&mut sink);
    (sink.taken, is_empty)
}

fn write_messages(producer: &mut Producer, messages: &[Vec<u8>]) -> usize {
    let slices: Vec<IoSlice<'_>> = messages.iter().map(|message| IoSlice::new(message)).collect();
    producer.write_messages(&slices).unwrap()
}

/// A ring, and what can be lied with.
pub(super) fn ring(messages: bool, quota: u32) -> (Arc<Memory>, Geometry, Producer, Consumer) {
    let geometry = Geometry::new(messages, Some(quota), None);
    let memory = Arc::new(Memory::heap(geometry.len()));
    let producer = Producer::new(Arc::clone(&memory), &geometry, Direction::Inbound).unwrap();
    let consumer = Consumer::new(Arc::clone(&memory), &geometry, Direction::Inbound).unwrap();
    (memory, geometry, producer, consumer)
}

pub(super) fn write(producer: &mut Producer, message: &[u8]) -> bool {
    producer.write_message(&[IoSlice::new(message)]).unwrap()
}

pub(super) fn read(consumer: &mut Consumer) -> Option<Vec<u8>> {
    let Front::Message { left, attached: false, .. } = consumer.front().unwrap() else { return None };
    let mut message = vec![0; usize::try_from(left).unwrap()];
    assert_eq!(consumer.take(&mut message), message.len());
    consumer.end_message();
    Some(message)
}

pub(super) const TAIL: Word = Word::Tail(Direction::Inbound);
pub(super) const HEAD: Word = Word::Head(Direction::Inbound);
const PAYLOAD: Word = Word::Payload(Direction::Inbound);

#[test]
fn each_end_says_once_that_it_published() {
    let (_, _, mut producer, mut consumer) = ring(false, 10);
    assert!(!producer.take_published() && !consumer.take_published());
    assert_eq!(producer.write_bytes(&[0; 20]).unwrap(), 10);
    assert!(producer.take_published() && !producer.take_published());
    assert_eq!(producer.write_bytes(&[0; 20]).unwrap(), 0);
    assert!(!producer.take_published(), "it was full");
    assert_eq!(consumer.front().unwrap(), Front::Bytes(10));
    assert!(!consumer.take_published(), "it only looked");
    assert_eq!(consumer.take(&mut [0; 4]), 4);
    assert!(consumer.take_published() && !consumer.take_published());

    let (_, _, mut producer, mut consumer) = ring(true, 10);
    assert!(write(&mut producer, &[0; 4]));
    assert!(producer.take_published() && !producer.take_published());
    assert_eq!(consumer.front().unwrap(), Front::Message { left: 4, taken: 0, attached: false });
    assert_eq!(consumer.take(&mut [0; 4]), 4);
    assert!(consumer.take_published() && !consumer.take_published());
    consumer.end_message();
    assert!(consumer.take_published() && !consumer.take_published());
}

proptest! {
    /// Bytes in, bytes out, whatever the pieces; never more than the quota unread.
    #[test]
    fn a_stream_is_a_queue(quota in 0..10_000_u32, steps in prop::collection::vec((any::<bool>(), 0..6000_usize), 1..60)) {
        let (_, geometry, mut producer, mut consumer) = ring(false, quota);
        let capacity = geometry.lane(Direction::Inbound).unwrap().capacity;
        let limit = if quota == 0 { usize::try_from(capacity).unwrap() } else { quota as usize };
        let (mut queue, mut next) = (VecDeque::new(), 0_u8);
        for (is_write, len) in steps {
            if is_write {
                let bytes: Vec<u8> = (0..len).map(|index| next.wrapping_add(index as u8)).collect();
                let written = producer.write_bytes(&bytes).unwrap();
                prop_assert_eq!(written, len.min(limit - queue.len()));
                next = next.wrapping_add(written as u8);
                queue.extend(&bytes[..written]);
                let is_empty = queue.is_empty();
                prop_assert!(!producer.release_unused().unwrap() || is_empty);
            } else {
                let front = consumer.front().unwrap();
                prop_assert_eq!(front == Front::Empty, queue.is_empty());
                let available = usize::try_from(consumer.available().unwrap()).unwrap();
                prop_assert_eq!(available, queue.len());
                let mut ahead = vec![0; len];
                let seen = consumer.copy_front(&mut ahead);
                let mut buf = vec![0; len];
                let taken = consumer.take(&mut buf);
                prop_assert_eq!(taken, len.min(queue.len()));
                prop_assert_eq!(&ahead[..seen], &buf[..taken]);
                prop_assert_eq!(&buf[..taken], queue.drain(..taken).collect::<Vec<u8>>());
            }
            prop_assert_eq!(producer.is_drained().unwrap(), queue.is_empty());
            prop_assert_eq!(producer.is_settled().unwrap(), queue.len() <= quota as usize);
            let writable = queue.is_empty() || queue.len() < quota as usize;
            prop_assert_eq!(producer.is_writable().unwrap(), writable);
        }
    }

    /// Messages in, the same messages out; within the quota, or one at a time.
    #[test]
    fn messages_are_a_queue(
        quota in prop_oneof![Just(0), 1..6000_u32],
        steps in prop::collection::vec((0..3, 0..9000_usize), 1..60),
    ) {
        let (_, geometry, mut producer, mut consumer) = ring(true, quota);
        let capacity = geometry.lane(Direction::Inbound).unwrap().capacity;
        let mut queue: VecDeque<Vec<u8>> = VecDeque::new();
        let ring_len = |len: usize| HEADER_LEN + (len as u64).next_multiple_of(HEADER_LEN);
        for (kind, len) in steps {
            let unread: usize = queue.iter().map(Vec::len).sum();
            let in_ring: u64 = queue.iter().map(|message| ring_len(message.len())).sum();
            let is_inline = ring_len(len) <= capacity;
            prop_assert_eq!(producer.is_inline(len as u64), is_inline);
            if kind > 0 {
                let message: Vec<u8> = (0..len).map(|index| (index * 7 + queue.len()) as u8).collect();
                let fits = unread + len <= quota as usize || queue.is_empty();
                let expected = fits && (!is_inline || in_ring + ring_len(len) <= capacity);
                prop_assert_eq!(producer.has_room(len as u64).unwrap(), expected);
                if is_inline {
                    prop_assert_eq!(write(&mut producer, &message), expected);
                    if expected {
                        queue.push_back(message);
                    }
                }
            } else {
                let got = read(&mut consumer);
                prop_assert_eq!(got, queue.pop_front());
                prop_assert!(!producer.release_unused().unwrap() || queue.is_empty());
            }
            let unread: usize = queue.iter().map(Vec::len).sum();
            prop_assert_eq!(consumer.available().unwrap(), unread as u64);
            prop_assert_eq!(producer.is_settled().unwrap(), unread <= quota as usize);
            prop_assert_eq!(producer.is_drained().unwrap(), queue.is_empty());
        }
    }

    /// Messages of a batch have the room that they would have alone, and arrive as they would.
    #[test]
    fn batches_are_their_messages_one_by_one(
        quota in prop_oneof![Just(0), 1..6000_u32, Just(100_000)],
        steps in prop::collection::vec(
            (prop::collection::vec(prop_oneof![0..70_usize, 0..9000_usize], 1..40), 0..40_usize, 0..50_000_u64),
            1..12,
        ),
    ) {
        let (_, _, mut one_by_one, mut read_one_by_one) = ring(true, quota);
        let (_, _, mut producer, mut consumer) = ring(true, quota);
        for (lens, count_max, len_max) in steps {
            let messages: Vec<Vec<u8>> = lens.iter().map(|len| (0..*len).map(|at| (at * 7 + len) as u8).collect()).collect();
            let inline = |message: &Vec<u8>| one_by_one.is_inline(message.len() as u64);
            let inline: Vec<Vec<u8>> = messages.iter().take_while(|message| inline(message)).cloned().collect();
            let written = inline.iter().take_while(|message| write(&mut one_by_one, message)).count();
            prop_assert_eq!(write_messages(&mut producer, &messages), written);
            let (taken, is_empty) = take_messages(&mut consumer, count_max, len_max);
            let mut len_left = len_max;
            for message in &taken {
                len_left -= message.len() as u64;
                prop_assert_eq!(Some(message.clone()), read(&mut read_one_by_one));
            }
            let next = match read_one_by_one.front().unwrap() {
                Front::Message { left, .. } => Some(left),
                _ => None,
            };
            prop_assert_eq!(is_empty, Ok(next.is_none()));
            prop_assert!(next.is_none_or(|next| taken.len() == count_max || next > len_left));
            prop_assert_eq!(producer.is_settled(), one_by_one.is_settled());
            prop_assert_eq!(producer.is_drained(), one_by_one.is_drained());
            prop_assert_eq!(producer.take_published(), one_by_one.take_published());
            prop_assert_eq!(consumer.take_published(), read_one_by_one.take_published());
        }
    }

    /// A message is taken in parts, looked at, and counted, always the same.
    #[test]
    fn parts_add_up(len in 1..3000_usize, parts in prop::collection::vec(1..700_usize, 1..20)) {
        let (_, _, mut producer, mut consumer) = ring(true, 4096);
        let message: Vec<u8> = (0..len).map(|index| index as u8).collect();
        prop_assert!(write(&mut producer, &message) && write(&mut producer, b"behind"));
        let mut got = Vec::<u8>::new();
        for part in parts {
            let Front::Message { left, taken, .. } = consumer.front().unwrap() else { panic!("a message") };
            prop_assert_eq!((taken as usize, left as usize), (got.len(), len - got.len()));
            let mut ahead = vec![0; part];
            let seen = consumer.copy_front(&mut ahead);
            let mut buf = vec![0; part];
            let took = consumer.take(&mut buf);
            prop_assert_eq!(&ahead[..seen], &buf[..took]);
            got.extend(&buf[..took]);
            prop_assert_eq!(consumer.available().unwrap() as usize, len - got.len() + 6);
            consumer.end_message();
            if got.len() == len {
                break;
            }
            prop_assert!(!producer.is_drained().unwrap());
        }
        prop_assert_eq!(&got[..], &message[..got.len()]);
        if got.len() == len {
            prop_assert_eq!(read(&mut consumer).unwrap(), b"behind");
            prop_assert!(producer.is_drained().unwrap());
        }
    }

    /// Whatever the writer claims, the reader believes it only if it can be, and never reads outside.
    #[test]
    fn a_lying_writer_is_found_out(claims in prop::collection::vec(any::<u64>(), 1..8), messages: bool) {
        let (memory, geometry, _, mut consumer) = ring(messages, 4096);
        let capacity = geometry.lane(Direction::Inbound).unwrap().capacity;
        let mut believed = 0;
        for claim in claims {
            memory.store(TAIL, claim, Ordering::Release);
            match consumer.available() {
                Ok(available) => {
                    prop_assert!(claim >= believed && claim <= capacity && (messages || available == claim));
                    believed = claim;
                }
                Err(Corrupt(_)) => prop_assert!(messages || claim < believed || claim > capacity),
            }
            consumer.front().ok();
            let mut buf = [0; 64];
            consumer.take(&mut buf);
            if consumer.available().is_err() {
                break;
            }
        }
    }

    /// Whatever the writer claims of the next epoch, the reader enters it only after it has read all of the one before, and
    /// reads from the beginning of the ring then.
    #[test]
    fn a_lie_about_the_epoch_is_found_out(
        steps in prop::collection::vec((any::<bool>(), prop_oneof![any::<u64>(), 0..5000_u64], any::<bool>()), 1..8),
    ) {
        let (memory, geometry, _, mut consumer) = ring(false, 4096);
        let lane = geometry.lane(Direction::Inbound).unwrap();
        let (mut head, mut tail) = (0, 0);
        for (is_next, len, takes) in steps {
            let claim = if is_next { next_epoch(head).wrapping_add(len) } else { head.wrapping_add(len) };
            // The other epoch has many more claims than one can be true of.
            let begins = next_epoch(head) + 1..=next_epoch(head) + lane.capacity;
            let (goes_on, begins) =
                ((tail..=head + lane.capacity).contains(&claim), head == tail && begins.contains(&claim));
            memory.store(TAIL, claim, Ordering::Release);
            let available = consumer.available();
            prop_assert_eq!(available.is_ok(), goes_on || begins);
            let Ok(available) = available else { break };
            if begins {
                head = next_epoch(head);
            }
            tail = claim;
            prop_assert_eq!(available, tail - head);
            memory.copy_in(lane.place(head).0, &[head as u8]);
            let mut buf = vec![0; if takes { 5000 } else { 1 }];
            let taken = consumer.take(&mut buf) as u64;
            prop_assert_eq!(taken, available.min(buf.len() as u64));
            prop_assert!(taken == 0 || buf[0] == head as u8);
            head += taken;
        }
    }

    /// In a new epoch the writer believes where the last one ended until the reader was in the new one, and never after.
    #[test]
    fn a_reader_that_lies_about_the_epoch_is_found_out(
        claim in prop_oneof![any::<u64>(), 0..30_000_u64, (0..30_000_u64).prop_map(|len| next_epoch(0) + len)],
        has_read: bool,
    ) {
        let (memory, _, mut producer, mut consumer) = ring(false, 1 << 16);
        for len in [10_000, 6_000] {
            prop_assert_eq!(producer.write_bytes(&vec![1; len]), Ok(len));
            if len == 10_000 || has_read {
                consumer.front().unwrap();
                prop_assert_eq!(consumer.take(&mut [0; 10_000]), len);
            }
            // The writer knows what the reader has done.
            producer.is_drained().unwrap();
        }
        let (start, end) = (next_epoch(0), next_epoch(0) + 6_000);
        prop_assert_eq!(memory.load(TAIL, Ordering::Relaxed), end);
        memory.store(HEAD, claim, Ordering::Release);
        let known = if has_read { end } else { start };
        let may_be = (known..=end).contains(&claim) || claim == 10_000 && !has_read;
        let found_out = Err(Corrupt("the reader says that it read what was not written"));
        prop_assert_eq!(producer.is_drained(), if may_be { Ok(claim == end) } else { found_out });
    }

    /// Whatever the reader claims, the writer believes it only if it can be.
    #[test]
    fn a_lying_reader_is_found_out(head: u64, payload: u64) {
        let (memory, _, mut producer, _) = ring(true, 4096);
        assert!(write(&mut producer, &[1; 100]));
        memory.store(HEAD, head, Ordering::Release);
        memory.store(PAYLOAD, payload, Ordering::Release);
        let may_be = head <= 128 && payload <= 100;
        prop_assert_eq!(producer.is_drained().is_ok(), may_be);
    }

    /// Headers are read back, and noise is none.
    #[test]
    fn headers_are_read_back(len in 0..=MESSAGE_LEN_MAX, place in 0_usize..3, noise: [u8; 16]) {
        let record = Record { len, storage: [Storage::Ring, Storage::NewObject, Storage::KeptObject][place] };
        prop_assert_eq!(Record::decode(record.encode()), Ok(record));
        if let Ok(record) = Record::decode(noise) {
            prop_assert_eq!(record.encode(), noise);
        }
    }
}

#[test]
fn zeroed_memory_is_no_message() {
    let (memory, _, _, mut consumer) = ring(true, 4096);
    memory.store(TAIL, 64, Ordering::Release);
    assert_eq!(consumer.front(), Err(Corrupt("a message header without its tag")));
    assert!(consumer.available().is_err());
}

#[test]
fn a_message_must_lie_within_what_was_published() {
    for (len, tail) in [(100, 112), (4096, 128), (MESSAGE_LEN_MAX, 4096), (1, 16)] {
        let (memory, geometry, _, mut consumer) = ring(true, 4096);
        let at = geometry.lane(Direction::Inbound).unwrap().offset;
        memory.copy_in(at, &Record { len, storage: Storage::Ring }.encode());
        memory.store(TAIL, tail, Ordering::Release);
        assert_eq!(consumer.front(), Err(Corrupt("a message that ends beyond what was published")), "{len}");
    }
    // The same behind an honest message.
    for (len, tail, why) in [
        (17, 32 + 32, "a message that ends beyond what was published"),
        (0, 32 + 15, "a message header that ends beyond what was published"),
    ] {
        let (memory, geometry, mut producer, mut consumer) = ring(true, 4096);
        assert!(write(&mut producer, b"honest"));
        assert_eq!(read(&mut consumer).unwrap(), b"honest");
        let at = geometry.lane(Direction::Inbound).unwrap().offset + 32;
        memory.copy_in(at, &Record { len, storage: Storage::Ring }.encode());
        memory.store(TAIL, tail, Ordering::Release);
        assert_eq!(consumer.front(), Err(Corrupt(why)));
    }
    let (memory, _, _, mut consumer) = ring(true, 4096);
    memory.store(TAIL, 15, Ordering::Release);
    assert_eq!(consumer.front(), Err(Corrupt("a message header that ends beyond what was published")));
}

/// What was honest before a lie is taken, and published.
#[test]
fn a_batch_ends_before_a_lie() {
    let (memory, geometry, mut producer, mut consumer) = ring(true, 4096);
    assert_eq!(write_messages(&mut producer, &[b"one".to_vec(), b"two".to_vec()]), 2);
    let at = geometry.lane(Direction::Inbound).unwrap().offset + 64;
    memory.copy_in(at, &Record { len: 17, storage: Storage::Ring }.encode());
    memory.store(TAIL, 64 + 32, Ordering::Release);
    let lie = Corrupt("a message that ends beyond what was published");
    assert_eq!(take_messages(&mut consumer, 9, 99), (vec![b"one".to_vec(), b"two".to_vec()], Err(lie)));
    assert_eq!(memory.load(HEAD, Ordering::Relaxed), 64);
    assert_eq!(memory.load(PAYLOAD, Ordering::Relaxed), 6);
    assert_eq!(take_messages(&mut consumer, 9, 99), (vec![], Err(lie)));
    memory.store(TAIL, 63, Ordering::Release);
    assert!(take_messages(&mut consumer, 9, 99).1.is_err());
}

/// A reader that lies while a batch is written gets no more of it, and the next write reports it.
#[test]
fn a_batch_believes_no_false_reader() {
    let (memory, _, mut producer, _) = ring(true, 4096);
    let messages = [vec![1; 3000], vec![2; 1000], vec![3; 2000]];
    // More than was published, and less than is written by the end of the batch.
    memory.store(HEAD, 1, Ordering::Release);
    memory.store(PAYLOAD, 5000, Ordering::Release);
    assert_eq!(write_messages(&mut producer, &messages), 2);
    let slices = messages.each_ref().map(|message| IoSlice::new(message));
    assert!(producer.write_messages(&slices[2..]).is_err());
}

/// The other end copies a long batch while the rest of it comes.
#[test]
fn long_batches_are_published_in_pieces() {
    /// Keeps how far the reader had published at each message.
    struct Watching<'a>(&'a Memory, Vec<u8>, Vec<u64>);
    impl MessageSink for Watching<'_> {
        fn place(&mut self, len: u64) -> Option<&mut [u8]> {
            self.2.push(self.0.load(HEAD, Ordering::Relaxed));
            self.1.resize(len as usize, 0);
            Some(&mut self.1)
        }
    }
    let (memory, _, mut producer, mut consumer) = ring(true, 1 << 20);
    let messages: Vec<Vec<u8>> = (0..200).map(|seed| vec![seed; 1000]).collect();
    assert_eq!(write_messages(&mut producer, &messages), 200);
    let mut watching = Watching(&memory, Vec::new(), Vec::new());
    assert_eq!(consumer.take_messages(&mut watching), Ok(true));
    watching.2.dedup();
    assert_eq!(watching.2.len(), 1 + 200 * 1024 / PIECE_LEN);
}

#[test]
fn a_message_longer_than_any_is_none() {
    let record =
        (u128::from(0x5057_4d53_4721_0001_u64) | u128::from(MESSAGE_LEN_MAX + 1) << 64).to_le_bytes();
    assert_eq!(Record::decode(record), Err(Corrupt("a message longer than any can be")));
}

#[test]
fn claims_never_go_back() {
    let (memory, _, mut producer, mut consumer) = ring(false, 4096);
    producer.write_bytes(&[7; 10]).unwrap();
    consumer.front().unwrap();
    consumer.take(&mut [0; 4]);
    assert!(!producer.is_drained().unwrap());
    memory.store(HEAD, 3, Ordering::Release);
    assert_eq!(producer.is_drained(), Err(Corrupt("the reader says that it read what was not written")));
    memory.store(HEAD, 11, Ordering::Release);
    assert!(producer.is_drained().is_err());
    memory.store(HEAD, 10, Ordering::Release);
    assert_eq!(producer.is_drained(), Ok(true));
    memory.store(TAIL, 9, Ordering::Release);
    assert_eq!(
        consumer.available(),
        Err(Corrupt("the writer says that it wrote more than there is room for"))
    );
}

#[test]
fn payload_claims_are_checked_on_their_own() {
    let (memory, _, mut producer, mut consumer) = ring(true, 4096);
    assert!(write(&mut producer, &[1; 50]));
    consumer.front().unwrap();
    consumer.take(&mut [0; 20]);
    assert!(!producer.is_drained().unwrap());
    for (claim, is_fine) in [(19, false), (51, false), (20, true), (50, true)] {
        memory.store(PAYLOAD, claim, Ordering::Release);
        assert_eq!(producer.is_drained().is_ok(), is_fine, "{claim}");
    }
}

#[test]
fn a_write_is_settled_when_its_reader_has_read() {
    for messages in [false, true] {
        let (_, _, mut producer, mut consumer) = ring(messages, 0);
        if messages {
            assert!(write(&mut producer, &[1; 3000]));
        } else {
            assert_eq!(producer.write_bytes(&[1; 3000]), Ok(3000));
        }
        assert!(!producer.is_settled().unwrap());
        consumer.front().unwrap();
        assert_eq!(consumer.take(&mut [0; 2999]), 2999);
        assert!(!producer.is_settled().unwrap());
        assert_eq!(consumer.take(&mut [0; 9]), 1);
        assert!(producer.is_settled().unwrap());
    }
}

#[test]
fn room_is_looked_for_again_when_there_seems_to_be_none() {
    let (_, _, mut producer, mut consumer) = ring(false, 4096);
    for _ in 0..2 {
        assert_eq!(producer.write_bytes(&[1; 4096]), Ok(4096));
        consumer.front().unwrap();
        assert_eq!(consumer.take(&mut [0; 4096]), 4096);
    }
    let (_, _, mut producer, mut consumer) = ring(true, 4096);
    for _ in 0..2 {
        assert!(producer.has_room(4096).unwrap());
        assert!(write(&mut producer, &[1; 4096]));
        assert_eq!(read(&mut consumer).unwrap().len(), 4096);
    }
}

#[test]
fn the_parts_of_a_message_follow_each_other() {
    let (_, _, mut producer, mut consumer) = ring(true, 4096);
    let parts = [&b"one"[..], b"", b"two", b"three"].map(IoSlice::new);
    assert_eq!(producer.write_message(&parts), Ok(true));
    assert_eq!(read(&mut consumer).unwrap(), b"onetwothree");
}

#[test]
fn a_message_is_looked_at_as_one_or_not_at_all() {
    let (_, _, mut producer, mut consumer) = ring(true, 4096);
    assert!(write(&mut producer, b"message"));
    assert_eq!(consumer.available(), Ok(7));
    let mut buf = [0; 64];
    assert_eq!(consumer.copy_front(&mut buf), 0, "its header is no payload");
    assert_eq!(consumer.take(&mut buf), 0);
    assert_eq!(read(&mut consumer).unwrap(), b"message");
}
