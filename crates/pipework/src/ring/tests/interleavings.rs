//! Every interleaving of producer, consumer and waking, by loom.

use super::super::{
    Consumer, Direction, Front, Geometry, Interest, Memory, MessageSink, Producer, Side, Storage, WaitKind,
    WaitWords,
};
use loom::{
    sync::{Arc as LoomArc, Condvar, Mutex},
    thread,
};
use std::{io::IoSlice, sync::Arc};

/// A ring of the smallest size.
fn ring(messages: bool, quota: u32) -> (Arc<Memory>, Producer, Consumer) {
    let geometry = Geometry::new(messages, Some(quota), None);
    let memory = Arc::new(Memory::heap(geometry.len()));
    let producer = Producer::new(Arc::clone(&memory), &geometry, Direction::Inbound).unwrap();
    let consumer = Consumer::new(Arc::clone(&memory), &geometry, Direction::Inbound).unwrap();
    (memory, producer, consumer)
}

/// A doorbell: a byte in a socket, in which any number of rings are one. A thread that waits for one that
/// never rings is a deadlock, which loom reports.
#[derive(Default)]
struct Bell {
    has_rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    fn ring(&self) {
        *self.has_rung.lock().unwrap() = true;
        self.changed.notify_one();
    }

    fn wait(&self) {
        let mut has_rung = self.has_rung.lock().unwrap();
        while !std::mem::take(&mut *has_rung) {
            has_rung = self.changed.wait(has_rung).unwrap();
        }
    }
}

#[test]
fn what_is_read_is_what_was_written() {
    loom::model(|| {
        let (_memory, mut producer, mut consumer) = ring(false, 2);
        let writer = thread::spawn(move || {
            let mut left: &[u8] = b"abc";
            while !left.is_empty() {
                let written = producer.write_bytes(left).unwrap();
                left = &left[written..];
                thread::yield_now();
            }
        });
        let mut got = Vec::<u8>::new();
        while got.len() < 3 {
            let mut buf = [0; 3];
            if consumer.front().unwrap() != Front::Empty {
                let len = consumer.take(&mut buf);
                got.extend(&buf[..len]);
            }
            thread::yield_now();
        }
        writer.join().unwrap();
        assert_eq!(got, b"abc");
    });
}

#[test]
fn a_message_is_seen_whole_or_not_at_all() {
    loom::model(|| {
        let (_memory, mut producer, mut consumer) = ring(true, 64);
        let writer = thread::spawn(move || {
            assert!(producer.write_message(&[IoSlice::new(b"one"), IoSlice::new(b"two")]).unwrap());
        });
        if let Front::Message { left, .. } = consumer.front().unwrap() {
            let mut buf = [0; 8];
            assert_eq!((left, consumer.take(&mut buf)), (6, 6));
            assert_eq!(&buf[..6], b"onetwo");
        }
        writer.join().unwrap();
    });
}

/// Each message of a batch is seen whole or not at all, and in order; its place is used again after it was read.
#[test]
fn a_batch_is_seen_message_by_message() {
    struct Sink(Vec<[u8; 2]>);
    impl MessageSink for Sink {
        fn place(&mut self, len: u64) -> Option<&mut [u8]> {
            assert_eq!(len, 2);
            self.0.push([0; 2]);
            self.0.last_mut().map(<[u8; 2]>::as_mut_slice)
        }
    }
    loom::model(|| {
        let (_memory, mut producer, mut consumer) = ring(true, 4);
        let writer = thread::spawn(move || {
            let messages = [b"11", b"22", b"33"].map(|message| IoSlice::new(message));
            let mut left = &messages[..];
            while !left.is_empty() {
                let written = producer.write_messages(left).unwrap();
                left = &left[written..];
                thread::yield_now();
            }
        });
        let mut taken = Sink(Vec::new());
        while taken.0.len() < 3 {
            consumer.take_messages(&mut taken).unwrap();
            thread::yield_now();
        }
        writer.join().unwrap();
        assert_eq!(taken.0, [*b"11", *b"22", *b"33"]);
    });
}

/// The object is memory of its own, so the ring alone says what of it may be read.
#[test]
fn what_is_there_of_a_large_message_can_be_copied() {
    const OBJECT: usize = 4096;
    loom::model(|| {
        let (_memory, mut producer, mut consumer) = ring(true, 1);
        let object = Arc::new(Memory::heap(OBJECT + 2));
        let filled_object = Arc::clone(&object);
        let writer = thread::spawn(move || {
            let len = 1 << 20;
            producer.announce_large(len, Storage::KeptObject, 0);
            filled_object.copy_in(OBJECT, b"a");
            producer.fill_large(1);
            filled_object.copy_in(OBJECT + 1, b"b");
            producer.fill_large(len);
        });
        if let Some(large) = consumer.large().unwrap() {
            let mut copied = vec![0; usize::try_from(large.filled.min(2)).unwrap()];
            object.copy_out(OBJECT, &mut copied);
            assert_eq!(copied, b"ab"[..copied.len()]);
            let is_shown = consumer.front().unwrap() != Front::Empty;
            assert!(is_shown || !large.is_whole());
        }
        writer.join().unwrap();
    });
}

/// No thread sleeps for ever: the reader announces, looks again and sleeps; the writer publishes and looks
/// for sleepers.
fn a_reader_sleeps(has_slept_lightly: bool) {
    loom::model(move || {
        let (memory, mut producer, mut consumer) = ring(false, 2);
        let bell = LoomArc::new(Bell::default());
        let (writers_bell, writers_memory) = (LoomArc::clone(&bell), Arc::clone(&memory));
        let writer = thread::spawn(move || {
            let wait_words = WaitWords::new(writers_memory, Side::Client);
            producer.write_bytes(b"a").unwrap();
            // A thread at the futex wakes by itself.
            if wait_words.must_wake(Interest::Data).socket {
                writers_bell.ring();
            }
        });
        let wait_words = WaitWords::new(memory, Side::Server);
        if has_slept_lightly {
            wait_words.announce(Interest::Data, WaitKind::Futex);
            wait_words.withdraw(Interest::Data, WaitKind::Futex);
        }
        while consumer.front().unwrap() == Front::Empty {
            wait_words.announce(Interest::Data, WaitKind::Poll);
            if consumer.front().unwrap() == Front::Empty {
                bell.wait();
            }
        }
        writer.join().unwrap();
    });
}

#[test]
fn a_sleeping_reader_is_woken() {
    a_reader_sleeps(false);
}

/// Also when the writer comes just as a sleep at the futex turns into one at the socket.
#[test]
fn a_reader_that_falls_into_deep_sleep_is_woken() {
    a_reader_sleeps(true);
}

#[test]
fn a_sleeping_writer_is_woken() {
    loom::model(|| {
        let (memory, mut producer, mut consumer) = ring(false, 1);
        producer.write_bytes(b"a").unwrap();
        let bell = LoomArc::new(Bell::default());
        let (readers_bell, readers_memory) = (LoomArc::clone(&bell), Arc::clone(&memory));
        let reader = thread::spawn(move || {
            let wait_words = WaitWords::new(readers_memory, Side::Server);
            consumer.front().unwrap();
            consumer.take(&mut [0]);
            if wait_words.must_wake(Interest::Space).socket {
                readers_bell.ring();
            }
        });
        let wait_words = WaitWords::new(memory, Side::Client);
        while producer.write_bytes(b"b").unwrap() == 0 {
            wait_words.announce(Interest::Space, WaitKind::Poll);
            if !producer.is_writable().unwrap() {
                bell.wait();
            }
        }
        reader.join().unwrap();
    });
}

/// A place is written again only after it was read.
#[test]
fn what_was_read_is_overwritten_and_nothing_else() {
    loom::model(|| {
        let (_memory, mut producer, mut consumer) = ring(false, 4096);
        assert_eq!(producer.write_bytes(&[1; 4096]).unwrap(), 4096);
        consumer.front().unwrap();
        let reader = thread::spawn(move || {
            let mut byte = [0];
            assert_eq!((consumer.take(&mut byte), byte), (1, [1]));
        });
        let overwritten = producer.write_bytes(&[2, 3]).unwrap();
        assert!(overwritten <= 1);
        reader.join().unwrap();
    });
}

/// Both ends place each byte alike, wherever the ring begins: nothing is read that was not written there, and nothing is
/// written or released that is still to be read.
#[test]
fn a_ring_that_begins_anew_is_the_same_at_both_ends() {
    loom::model(|| {
        let (_memory, mut producer, mut consumer) = ring(false, 64);
        let writer = thread::spawn(move || {
            for part in [b"abc", b"def", b"ghi"] {
                assert_eq!(producer.write_bytes(part).unwrap(), 3);
                thread::yield_now();
            }
        });
        let mut got = Vec::<u8>::new();
        while got.len() < 9 {
            let mut buf = [0; 9];
            if consumer.front().unwrap() != Front::Empty {
                let len = consumer.take(&mut buf);
                got.extend(&buf[..len]);
            }
            thread::yield_now();
        }
        writer.join().unwrap();
        assert_eq!(got, b"abcdefghi");
    });
}

/// The same of messages that are counted, looked at and taken in parts.
#[test]
fn a_message_in_a_ring_that_begins_anew_is_whole() {
    loom::model(|| {
        let (_memory, mut producer, mut consumer) = ring(true, 64);
        let writer = thread::spawn(move || {
            for message in [b"ab", b"cd", b"ef"] {
                assert!(producer.write_message(&[IoSlice::new(message)]).unwrap());
                thread::yield_now();
            }
        });
        for expected in [b"ab", b"cd", b"ef"] {
            while consumer.front().unwrap() == Front::Empty {
                thread::yield_now();
            }
            let (mut first, mut second) = ([0], [0]);
            assert_eq!(consumer.take(&mut first), 1);
            assert!(consumer.available().unwrap() >= 1);
            assert_eq!((consumer.take(&mut second), [first[0], second[0]]), (1, *expected));
            consumer.end_message();
        }
        writer.join().unwrap();
    });
}

/// Memory is released only where all was read, and nothing of it is read before it is written again.
#[test]
fn what_is_released_is_not_read() {
    loom::model(|| {
        let (_memory, mut producer, mut consumer) = ring(false, 64);
        assert_eq!(producer.write_bytes(&[1; 20]).unwrap(), 20);
        let writer = thread::spawn(move || {
            producer.release_unused().unwrap();
            assert_eq!(producer.write_bytes(&[2; 8]).unwrap(), 8);
        });
        let mut got = Vec::<u8>::new();
        while got.len() < 28 {
            let mut buf = [0; 28];
            if consumer.front().unwrap() != Front::Empty {
                let len = consumer.take(&mut buf);
                got.extend(&buf[..len]);
            }
            thread::yield_now();
        }
        writer.join().unwrap();
        assert!(got.iter().take(20).all(|byte| *byte == 1) && got.iter().skip(20).all(|byte| *byte == 2));
    });
}
