//! A ring that begins anew, and the memory that it releases.
#![expect(clippy::cast_possible_truncation, reason = "the numbers are small")]

use super::{
    super::{
        Consumer, Direction, Front, Memory, Producer,
        layout::{FRONT_LEN, since_epoch},
        sync::Ordering,
    },
    hostile_words::{HEAD, TAIL, read, ring, write},
};

/// How far the writer has published since its ring began anew, and whether it did so an odd number of times.
fn tail(memory: &Memory) -> (u64, bool) {
    let tail = memory.load(TAIL, Ordering::Relaxed);
    (since_epoch(tail), since_epoch(tail) != tail)
}

/// Sends so many bytes and reads them.
fn pass(producer: &mut Producer, consumer: &mut Consumer, len: usize, value: u8) {
    assert_eq!(producer.write_bytes(&vec![value; len]), Ok(len));
    assert_eq!(consumer.front(), Ok(Front::Bytes(len as u64)));
    let mut buf = vec![0; len];
    assert_eq!(consumer.take(&mut buf), len);
    assert!(buf.iter().all(|byte| *byte == value));
}

/// Whether nothing but the front of a ring was touched by what `run` does.
fn stays_at_the_front(messages: bool, run: impl FnOnce(&mut Producer, &mut Consumer)) -> bool {
    let (memory, geometry, mut producer, mut consumer) = ring(messages, 1 << 18);
    let lane = geometry.lane(Direction::Inbound).unwrap();
    let at = lane.offset + usize::try_from(FRONT_LEN).unwrap();
    let beyond = vec![0xAA; usize::try_from(lane.capacity - FRONT_LEN).unwrap()];
    memory.copy_in(at, &beyond);
    run(&mut producer, &mut consumer);
    let mut now = vec![0; beyond.len()];
    memory.copy_out(at, &mut now);
    now == beyond
}

#[test]
fn what_is_answered_stays_at_the_front_of_the_ring() {
    assert!(stays_at_the_front(false, |producer, consumer| {
        for round in 0..5000_u32 {
            pass(producer, consumer, 64, round as u8);
        }
    }));
    assert!(stays_at_the_front(true, |producer, consumer| {
        for round in 0..5000_u32 {
            let sent = [round as u8; 64];
            assert!(write(producer, &sent));
            assert_eq!(read(consumer).unwrap(), sent);
        }
    }));
    assert!(!stays_at_the_front(false, |producer, consumer| pass(producer, consumer, 8193, 1)));
}

/// A look after the first part finds a ring that is not empty, so the first part of the next request looks too.
#[test]
fn requests_in_parts_leave_the_front_by_one_at_most() {
    for parts in [vec![8, 56], vec![16, 1000, 3000], vec![1, 2, 3, 4000]] {
        let (memory, _, mut producer, mut consumer) = ring(false, 1 << 18);
        let len: usize = parts.iter().sum();
        for _ in 0..2000 {
            for part in &parts {
                assert_eq!(producer.write_bytes(&vec![1; *part]), Ok(*part));
            }
            consumer.front().unwrap();
            assert_eq!(consumer.take(&mut vec![0; len]), len);
            assert!(tail(&memory).0 <= FRONT_LEN + len as u64, "{parts:?}");
        }
    }
}

/// While the reader does not keep up, looks become rare: each would take a cache line from it.
#[test]
fn a_stream_looks_less_and_less_often() {
    let (memory, _, mut producer, mut consumer) = ring(false, 1 << 18);
    assert_eq!(producer.write_bytes(&[0; 200]), Ok(200));
    let mut looks = 0;
    for _ in 0..100_000 {
        // A look would find this out.
        memory.store(HEAD, u64::MAX, Ordering::Relaxed);
        let outcome = producer.write_bytes(&[0; 100]);
        looks += u32::from(outcome.is_err());
        consumer.front().unwrap();
        consumer.take(&mut [0; 100]);
        if outcome.is_err() {
            assert_eq!(producer.write_bytes(&[0; 100]), Ok(100));
        }
    }
    assert!((40..400).contains(&looks), "{looks} looks in 10 MB");
}

#[test]
fn a_ring_in_use_begins_where_it_does() {
    let (memory, _, mut producer, mut consumer) = ring(false, 1 << 16);
    assert_eq!(producer.write_bytes(&[1; 10_000]), Ok(10_000));
    consumer.front().unwrap();
    assert_eq!(consumer.take(&mut [0; 9_999]), 9_999);
    assert_eq!(producer.write_bytes(&[2; 10_000]), Ok(10_000));
    assert_eq!((tail(&memory), producer.release_unused()), ((20_000, false), Ok(false)), "a byte is unread");
    consumer.front().unwrap();
    assert_eq!(consumer.take(&mut [0; 10_001]), 1, "the last look was before");
    consumer.front().unwrap();
    assert_eq!(consumer.take(&mut [0; 10_001]), 10_000);
    assert_eq!(producer.write_bytes(&[3; 10]), Ok(10));
    assert_eq!(tail(&memory), (10, true));
    consumer.front().unwrap();
    let mut buf = [0; 11];
    assert_eq!((consumer.take(&mut buf), buf), (10, [3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 0]));
    // A message that was taken in part.
    let (memory, _, mut producer, mut consumer) = ring(true, 1 << 16);
    assert!(write(&mut producer, &[1; 5000]));
    consumer.front().unwrap();
    assert_eq!(consumer.take(&mut [0; 4000]), 4000);
    assert!(write(&mut producer, &[2; 5000]));
    assert!(!tail(&memory).1, "its place is still in use");
    let mut rest = [0; 1000];
    assert_eq!((consumer.take(&mut rest), rest), (1000, [1; 1000]));
    consumer.end_message();
    assert_eq!(read(&mut consumer).unwrap(), [2; 5000]);
}

/// What is allowed to lie unread is counted over the end of an epoch as within one.
#[test]
fn the_quota_holds_in_each_epoch() {
    let (_, _, mut producer, mut consumer) = ring(false, 10_000);
    for value in 0..7 {
        pass(&mut producer, &mut consumer, 9_000, value);
        assert_eq!(producer.write_bytes(&[value; 20_000]), Ok(10_000));
        assert_eq!(producer.write_bytes(&[value]), Ok(0));
        assert_eq!((producer.is_settled(), producer.is_writable()), (Ok(true), Ok(false)));
        consumer.front().unwrap();
        assert_eq!(consumer.take(&mut [0; 20_000]), 10_000);
        assert_eq!((producer.is_drained(), producer.is_writable()), (Ok(true), Ok(true)));
    }
    let (_, _, mut producer, mut consumer) = ring(true, 10_000);
    for value in 0..7 {
        assert!(write(&mut producer, &[value; 9_000]));
        assert!(!write(&mut producer, &[value; 1_001]));
        assert!(write(&mut producer, &[value; 1_000]));
        assert!(!producer.has_room(1).unwrap());
        assert_eq!(read(&mut consumer).unwrap(), [value; 9_000]);
        assert_eq!(read(&mut consumer).unwrap(), [value; 1_000]);
        assert_eq!(producer.is_settled(), Ok(true));
    }
}

#[test]
fn memory_of_a_burst_is_released_when_all_was_read() {
    let (memory, geometry, mut producer, mut consumer) = ring(false, 1 << 16);
    let lane = geometry.lane(Direction::Inbound).unwrap();
    pass(&mut producer, &mut consumer, 10_000, 1);
    assert_eq!(producer.release_unused(), Ok(false), "it does not pay");
    assert_eq!(producer.write_bytes(&[2; 40_000]), Ok(40_000));
    assert_eq!(producer.release_unused(), Ok(false), "it was not read");
    consumer.front().unwrap();
    assert_eq!(consumer.take(&mut vec![0; 40_000]), 40_000);
    assert_eq!(producer.release_unused(), Ok(true));
    assert_eq!(producer.release_unused(), Ok(false), "once");
    let (mut front, mut beyond) = ([0], [0]);
    memory.copy_out(lane.offset, &mut front);
    memory.copy_out(lane.offset + usize::try_from(FRONT_LEN).unwrap(), &mut beyond);
    assert_eq!((front, beyond), ([2], [0xEE]), "the front stays");
    // What was touched before the ring began anew counts too.
    pass(&mut producer, &mut consumer, 40_000, 3);
    pass(&mut producer, &mut consumer, 5_000, 4);
    pass(&mut producer, &mut consumer, 10, 5);
    assert_eq!(producer.release_unused(), Ok(true));
    pass(&mut producer, &mut consumer, 65_536, 6);
    assert_eq!(producer.is_drained(), Ok(true));
    memory.store(HEAD, 0, Ordering::Release);
    assert!(producer.release_unused().is_err(), "a head that goes back");
}
