//! Large messages whose writer is still copying, on every surface.
#![expect(
    clippy::disallowed_methods,
    reason = "where a reader waits when more comes must not matter; the rest is for time"
)]

use super::Connection;
use crate::{
    Canceller, ClientOptions, MessageBatch, MessageRead, NamedPipeBuilder, PipeErrorKind, PipeMode, PipeName,
    PipeStream,
    os::unix::PipeStreamExt,
    ring::Storage,
    sys::{End, asynchronous::AsyncEnd, end::PipeEnd},
};
use std::{
    cell::Cell,
    future::Future,
    io::{self, IoSlice, Read},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Waker},
    thread,
    time::{Duration, Instant},
};

/// Bytes of each message: more than the ring holds, and so many that a reader copies along.
const LEN: usize = 1 << 20;
/// Long enough for anything that is there already.
const SHORT: Duration = Duration::from_millis(30);

/// Two ends with a memory object, from the first to the second.
struct Pair {
    writer: Arc<Connection>,
    reader: PipeStream,
    /// How much of the message is there.
    filled: AtomicUsize,
}

/// Whether a task would wait now.
fn is_pending(task: Pin<&mut impl Future>) -> bool {
    task.poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

fn content(seed: u8) -> Vec<u8> {
    let bytes = (0_u32..).map(|index| (index / 7).to_le_bytes()[0] ^ seed);
    bytes.take(LEN).collect()
}

impl Pair {
    fn new() -> Pair {
        let name = PipeName::unique("large").unwrap();
        let server = NamedPipeBuilder::new(&name).pipe_mode(PipeMode::Message).create().unwrap();
        let client = ClientOptions::new().read_mode(PipeMode::Message).open(&name).unwrap();
        server.connect().unwrap();
        let reader = server.into_stream();
        thread::scope(|scope| {
            scope.spawn(|| client.write_message(&content(0)).unwrap());
            assert!(reader.read_message(LEN).unwrap().unwrap() == content(0));
        });
        let End::Connection(writer) = client.end() else { panic!("an end of one connection") };
        // Maps it.
        writer.outgoing_object().as_mut().unwrap().prepare(&[], 0).unwrap();
        Pair { writer: Arc::clone(writer), reader, filled: AtomicUsize::new(0) }
    }

    /// Does what a write of the message does, up to its first `filled` bytes.
    fn write_until(&self, message: &[u8], filled: usize) {
        let rings = self.writer.rings_known().unwrap();
        let mut producer = rings.producer().unwrap();
        assert!(producer.has_room(LEN as u64).unwrap());
        producer.announce_large(LEN as u64, Storage::KeptObject, 0);
        self.filled.store(0, Ordering::Relaxed);
        self.writer.wake_early(rings, &mut producer);
        drop(producer);
        self.fill(message, filled);
    }

    fn fill(&self, message: &[u8], filled: usize) {
        let rings = self.writer.rings_known().unwrap();
        let mut producer = rings.producer().unwrap();
        let mut object = self.writer.outgoing_object();
        let before = self.filled.load(Ordering::Relaxed) as u64;
        let report = |filled: u64| {
            if filled > before {
                producer.fill_large(filled);
                self.filled.store(usize::try_from(filled).unwrap(), Ordering::Relaxed);
            }
        };
        object.as_mut().unwrap().copy_in(&[IoSlice::new(message)], filled, report);
        drop(object);
        self.writer.wake_early(rings, &mut producer);
    }

    /// Blocks of memory that the object at the reader has.
    fn reader_blocks(&self) -> i64 {
        let End::Connection(reader) = self.reader.end() else { panic!("an end of one connection") };
        reader.incoming_blocks()
    }

    /// The end of the reader, async.
    fn task(&self) -> AsyncEnd {
        AsyncEnd::new(self.reader.end().clone())
    }
}

fn expect<T: std::fmt::Debug>(outcome: io::Result<T>, kind: PipeErrorKind) {
    assert_eq!(PipeErrorKind::of(&outcome.unwrap_err()), Some(kind));
}

fn runtime() -> ::tokio::runtime::Runtime {
    ::tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn a_message_that_is_not_whole_is_not_there() {
    let pair = Pair::new();
    pair.write_until(&content(1), LEN - 1);
    let seen = pair.reader.peek(&mut [0; 9]).unwrap();
    assert_eq!((seen.copied, seen.available, seen.message_left), (0, 0, None));
    let try_read = || pair.reader.try_read(&mut [0; 9]);
    assert_eq!(try_read().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    pair.reader.set_read_timeout(Some(SHORT)).unwrap();
    expect((&pair.reader).read(&mut [0; 9]), PipeErrorKind::TimedOut);
    expect(pair.reader.read_message(LEN), PipeErrorKind::TimedOut);
    expect(pair.reader.read_message(9), PipeErrorKind::TimedOut);
    expect(pair.reader.read_message_into(&mut [0; 9]), PipeErrorKind::TimedOut);
    let mut buffer = vec![9; 9];
    expect(pair.reader.read_message_to(&mut buffer, LEN), PipeErrorKind::TimedOut);
    assert_eq!(buffer, b"");
    runtime().block_on(async {
        let task = pair.task();
        assert!(is_pending(pin!(task.ready(::tokio::io::Interest::READABLE))));
    });
    // Nothing is lost by all that.
    pair.fill(&content(1), LEN);
    expect(pair.reader.read_message(9), PipeErrorKind::MoreData);
    assert_eq!(pair.reader.peek(&mut [0; 9]).unwrap().message_left, Some(LEN - 9));
    assert_eq!(try_read().unwrap(), 9);
    assert!(pair.reader.read_message(LEN).unwrap().unwrap() == content(1)[9..]);
}

#[test]
fn a_canceller_ends_the_wait_for_the_rest() {
    let pair = Pair::new();
    pair.write_until(&content(1), LEN / 2);
    let canceller = Canceller::new().unwrap();
    pair.reader.set_canceller(Some(&canceller));
    thread::scope(|scope| {
        let reading = scope.spawn(|| pair.reader.read_message(LEN));
        thread::sleep(SHORT);
        canceller.cancel();
        expect(reading.join().unwrap(), PipeErrorKind::Aborted);
    });
    pair.reader.set_canceller(None);
    pair.fill(&content(1), LEN);
    assert!(pair.reader.read_message(LEN).unwrap().unwrap() == content(1));
}

#[test]
fn a_reader_copies_along_and_returns_when_all_is_there() {
    let pair = Pair::new();
    for seed in 1..20 {
        let message = content(seed);
        thread::scope(|scope| {
            let reading = scope.spawn(|| {
                let mut short = vec![0; 3 * LEN / 4];
                if seed % 2 == 0 {
                    return pair.reader.read_message(LEN).unwrap().unwrap();
                }
                assert_eq!(
                    pair.reader.read_message_into(&mut short).unwrap(),
                    MessageRead::Part(short.len())
                );
                short.extend(pair.reader.read_message(LEN).unwrap().unwrap());
                short
            });
            pair.write_until(&message, 0);
            for filled in (0..=LEN).step_by(LEN / 8) {
                // Some readers fall asleep, some spin.
                thread::sleep(Duration::from_micros(u64::from(seed) * 50));
                pair.fill(&message, filled);
            }
            assert!(reading.join().unwrap() == message);
        });
    }
}

#[test]
fn a_task_copies_along_and_loses_nothing_when_it_is_dropped() {
    let pair = Pair::new();
    runtime().block_on(async {
        let task = pair.task();
        for seed in 1..10 {
            let message = content(seed);
            pair.write_until(&message, LEN / 3);
            let mut dropped = vec![7; 9];
            {
                let mut reading = pin!(task.read_message_to(&mut dropped, LEN));
                assert!(is_pending(reading.as_mut()));
            }
            assert_eq!(dropped, b"", "a part of a message");
            let mut buffer = vec![7; 9];
            {
                let mut reading = pin!(task.read_message_to(&mut buffer, LEN));
                for filled in [LEN / 3, LEN / 2, LEN - 1] {
                    pair.fill(&message, filled);
                    assert!(is_pending(reading.as_mut()));
                }
                pair.fill(&message, LEN);
                assert_eq!(reading.await.unwrap(), Some(LEN));
            }
            assert!(buffer == message);
        }
    });
}

/// Another task takes the message of which one has copied a part; that one begins the next message at its beginning.
#[test]
fn a_part_that_was_copied_along_belongs_to_its_message() {
    let pair = Pair::new();
    runtime().block_on(async {
        let task = pair.task();
        pair.write_until(&content(1), LEN / 2);
        let mut reading = pin!(task.read_message(LEN));
        assert!(is_pending(reading.as_mut()));
        pair.fill(&content(1), LEN);
        assert!(pair.reader.read_message(LEN).unwrap().unwrap() == content(1));
        pair.write_until(&content(2), LEN);
        assert!(reading.await.unwrap().unwrap() == content(2));
    });
}

/// Another call takes the beginning of the message of which one has copied a part along; that one returns the rest.
#[test]
fn a_part_that_was_copied_along_begins_where_the_message_does() {
    let pair = Pair::new();
    runtime().block_on(async {
        let task = pair.task();
        pair.write_until(&content(1), LEN / 2);
        let mut reading = pin!(task.read_message(LEN));
        assert!(is_pending(reading.as_mut()));
        pair.fill(&content(1), LEN);
        assert_eq!(pair.reader.read_message_into(&mut [0; 9]).unwrap(), MessageRead::Part(9));
        assert!(reading.await.unwrap().unwrap() == content(1)[9..]);
    });
}

#[test]
fn the_end_of_the_connection_ends_the_wait_for_the_rest() {
    for is_disconnected in [false, true] {
        let pair = Pair::new();
        pair.write_until(&content(1), LEN / 2);
        let Pair { writer, reader, .. } = pair;
        let End::Connection(end) = reader.end() else { panic!("an end of one connection") };
        thread::scope(|scope| {
            let reading = scope.spawn(|| reader.read_message(LEN));
            thread::sleep(SHORT);
            if is_disconnected {
                end.disconnect();
                expect(reading.join().unwrap(), PipeErrorKind::NotConnected);
            } else {
                drop(writer);
                assert_eq!(reading.join().unwrap().unwrap(), None);
            }
        });
    }
}

/// The rest comes in a batch too, and what follows it in the next one.
#[test]
fn a_batch_has_a_large_message_when_it_is_whole() {
    let pair = Pair::new();
    pair.write_until(&content(1), LEN - 1);
    let mut batch = MessageBatch::new(9, 2 * LEN);
    pair.reader.set_read_timeout(Some(SHORT)).unwrap();
    expect(pair.reader.read_messages(&mut batch), PipeErrorKind::TimedOut);
    pair.reader.set_read_timeout(None).unwrap();
    thread::scope(|scope| {
        let reading = scope.spawn(|| pair.reader.read_messages(&mut batch).unwrap());
        thread::sleep(SHORT);
        pair.fill(&content(1), LEN);
        assert_eq!(reading.join().unwrap(), 1);
    });
    assert!(batch.get(0).unwrap() == content(1));
}

#[test]
fn of_a_writer_that_dies_in_the_middle_nothing_is_read() {
    for filled in [0, LEN / 2, LEN - 1] {
        let pair = Pair::new();
        pair.write_until(&content(1), filled);
        let Pair { writer, reader, .. } = pair;
        drop(writer);
        let mut buffer = vec![1];
        assert_eq!(reader.read_message_to(&mut buffer, LEN).unwrap(), None);
        assert_eq!(buffer, b"");
        assert_eq!(reader.read_message_into(&mut [0; 9]).unwrap(), MessageRead::End);
        expect(reader.peek(&mut [0; 9]), PipeErrorKind::Broken);
    }
}

/// A write that never waits uses the object again, and its end may close at once.
#[test]
fn a_try_is_a_whole_message_or_none() {
    let pair = Pair::new();
    let end = pair.writer.clone();
    let write = |message: &[u8]| PipeEnd::try_write(&*end, &[IoSlice::new(message)]);
    assert_eq!(write(&content(1)).unwrap(), LEN);
    assert_eq!(write(&content(2)).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    assert!(pair.reader.read_message(LEN).unwrap().unwrap() == content(1));
    assert_eq!(write(&content(3)).unwrap(), LEN);
    let Pair { writer, reader, .. } = pair;
    drop((end, writer));
    assert!(reader.read_message(LEN).unwrap().unwrap() == content(3));
    assert_eq!(reader.read_message(LEN).unwrap(), None);
}

/// One object serves messages of many lengths, and its memory goes back to the system when it was not used for a while.
#[test]
fn the_memory_of_large_messages_is_used_again_and_given_back() {
    // When the object was last used, or a little earlier: the machine may stop the test for longer than it is kept.
    let used = Cell::new(Instant::now());
    let pair = Pair::new();
    let end = |writer: &Connection, message: &[u8]| PipeEnd::write_message(writer, message);
    let exchange = |len: usize, seed: u8| {
        let message = vec![seed; len];
        thread::scope(|scope| {
            let writing = scope.spawn(|| end(&pair.writer, &message));
            assert!(pair.reader.read_message(len).unwrap().unwrap() == message);
            writing.join().unwrap().unwrap();
        });
    };
    let inode = || {
        let object = pair.writer.outgoing_object();
        object.as_ref().map(|object| rustix::fs::fstat(object).unwrap().st_ino)
    };
    let object = Cell::new(inode());
    assert!(object.get().is_some());
    let expect_kept = |what: &str| {
        let (before, now) = (object.replace(inode()), inode());
        assert!(used.get().elapsed() > super::large::KEPT_FOR || now == before, "{what}");
    };
    let exchange_in_it = |len: usize, seed: u8| {
        let begun = Instant::now();
        exchange(len, seed);
        expect_kept(&format!("used again for {len} bytes"));
        used.set(begun);
    };
    for (seed, len) in (1..).zip([LEN, LEN / 2 + 5000, LEN - 1, 700_000, LEN]) {
        exchange_in_it(len, seed);
    }
    used.set(Instant::now());
    exchange(LEN + 1, 6);
    assert_ne!(object.replace(inode()), inode(), "it does not fit");
    for (seed, len) in (7..).zip([2 * LEN, LEN + 7, 3 * LEN / 2, 2 * LEN]) {
        exchange_in_it(len, seed);
    }
    pair.writer.release_large();
    expect_kept("used a moment ago");
    thread::sleep(super::large::KEPT_FOR);
    pair.writer.release_large();
    assert_eq!(inode(), None);
    if cfg!(target_os = "linux") && !cfg!(pipework_portable) {
        assert_eq!(pair.reader_blocks(), 0, "the reader has an empty object");
    }
    exchange(LEN, 11);
    assert!(inode().is_some());
}

/// The thread that sleeps at the end of the writer gives the memory back, with no further call.
#[test]
fn a_thread_that_sleeps_gives_the_memory_back() {
    let pair = Pair::new();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| PipeEnd::read_message_into(&*pair.writer, &mut [0; 9]));
        let begun = Instant::now();
        while pair.writer.outgoing_object().is_some() {
            assert!(begun.elapsed() < Duration::from_secs(60), "it is kept for ever");
            thread::sleep(Duration::from_millis(20));
        }
        pair.reader.write_message(b"wake up").unwrap();
        assert_eq!(waiting.join().unwrap().unwrap(), MessageRead::Whole(7));
    });
}

/// Messages that need much less do not keep it.
#[test]
fn an_object_that_is_much_too_large_gives_way() {
    let pair = Pair::new();
    let is_kept = || pair.writer.outgoing_object().is_some();
    // Each of these uses it again, and only the one in the middle needs it.
    thread::sleep(super::large::KEPT_FOR);
    pair.writer.outgoing_object().as_mut().unwrap().prepare(&[], LEN as u64 / 2).unwrap();
    assert!(pair.writer.release_large().is_some() && is_kept());
    thread::sleep(super::large::KEPT_FOR);
    pair.writer.outgoing_object().as_mut().unwrap().prepare(&[], LEN as u64 / 8).unwrap();
    assert_eq!(pair.writer.release_large(), None);
    assert!(!is_kept());
}
