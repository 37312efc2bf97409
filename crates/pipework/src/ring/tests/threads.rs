//! Both ends of a ring in threads of their own, on the same memory. ThreadSanitizer sees a copy that nothing orders after
//! the other end's (`scripts/thread-sanitizer`).

use super::super::{Consumer, Direction, Front, Geometry, Memory, Producer};
use std::{io::IoSlice, sync::Arc, thread};

/// So much goes through a ring of a page that each byte of it is used many times.
const LEN: usize = 200_000;

fn ring(messages: bool) -> (Producer, Consumer) {
    let geometry = Geometry::new(messages, Some(4096), None);
    let memory = Arc::new(Memory::heap(geometry.len()));
    let producer = Producer::new(Arc::clone(&memory), &geometry, Direction::Inbound).unwrap();
    let consumer = Consumer::new(memory, &geometry, Direction::Inbound).unwrap();
    (producer, consumer)
}

/// Byte number `index` of everything.
fn byte(index: usize) -> u8 {
    let [low, middle, ..] = index.to_le_bytes();
    low.wrapping_mul(13) ^ middle
}

/// How long piece number `number` is.
fn piece(number: usize) -> usize {
    1 + number * 37 % 3000
}

#[test]
fn bytes_of_one_thread_reach_another() {
    let (mut producer, mut consumer) = ring(false);
    let all: Vec<u8> = (0..LEN).map(byte).collect();
    let sent = all.clone();
    let writer = thread::spawn(move || {
        let (mut done, mut number) = (0, 0);
        while done < sent.len() {
            let end = sent.len().min(done + piece(number));
            match producer.write_bytes(&sent[done..end]).unwrap() {
                0 => thread::yield_now(),
                written => done += written,
            }
            number += 1;
        }
    });
    let mut got = Vec::<u8>::with_capacity(LEN);
    while got.len() < LEN {
        if consumer.front().unwrap() == Front::Empty {
            thread::yield_now();
            continue;
        }
        let mut buf = vec![0; piece(got.len())];
        let ahead = consumer.copy_front(&mut buf.clone());
        let taken = consumer.take(&mut buf);
        assert!(ahead <= taken);
        got.extend(&buf[..taken]);
    }
    writer.join().unwrap();
    assert!(got == all, "other bytes");
}

#[test]
fn messages_of_one_thread_reach_another() {
    let (mut producer, mut consumer) = ring(true);
    let messages: Vec<Vec<u8>> = (0..LEN / 1500).map(|number| vec![byte(number); piece(number)]).collect();
    let sent = messages.clone();
    let writer = thread::spawn(move || {
        for message in sent {
            let (begin, end) = message.split_at(message.len() / 2);
            while !producer.write_message(&[IoSlice::new(begin), IoSlice::new(end)]).unwrap() {
                thread::yield_now();
            }
        }
        while !producer.is_drained().unwrap() {
            thread::yield_now();
        }
    });
    for message in messages {
        let left = loop {
            match consumer.front().unwrap() {
                Front::Message { left, .. } => break usize::try_from(left).unwrap(),
                _ => thread::yield_now(),
            }
        };
        let mut buf = vec![0; left];
        assert_eq!(consumer.take(&mut buf), left);
        consumer.end_message();
        assert!(buf == message, "another message");
    }
    writer.join().unwrap();
}

/// The ring begins anew again and again, and its memory is released: no byte is touched that the other end still uses.
#[test]
fn a_ring_that_begins_anew_is_the_same_in_both_threads() {
    let geometry = Geometry::new(false, Some(1 << 16), None);
    let memory = Arc::new(Memory::heap(geometry.len()));
    let mut producer = Producer::new(Arc::clone(&memory), &geometry, Direction::Inbound).unwrap();
    let mut consumer = Consumer::new(memory, &geometry, Direction::Inbound).unwrap();
    let writer = thread::spawn(move || {
        let (mut sent, mut released) = (0, 0);
        for number in 0..400 {
            let piece: Vec<u8> = (sent..sent + piece(number * 7)).map(byte).collect();
            let mut rest = &piece[..];
            while !rest.is_empty() {
                match producer.write_bytes(rest).unwrap() {
                    0 => thread::yield_now(),
                    written => rest = &rest[written..],
                }
            }
            sent += piece.len();
            if number % 20 == 19 {
                while !producer.is_drained().unwrap() {
                    thread::yield_now();
                }
            }
            released += u32::from(producer.release_unused().unwrap());
        }
        (sent, released)
    });
    let mut got = 0;
    while !(writer.is_finished() && consumer.front().unwrap() == Front::Empty) {
        if consumer.front().unwrap() == Front::Empty {
            thread::yield_now();
            continue;
        }
        let mut buf = vec![0; piece(got)];
        let taken = consumer.take(&mut buf);
        assert!((got..).zip(&buf[..taken]).all(|(index, got)| byte(index) == *got), "other bytes");
        got += taken;
    }
    let (sent, released) = writer.join().unwrap();
    assert_eq!(got, sent);
    assert!(released > 0, "a writer that waited for its reader releases what it touched");
}
