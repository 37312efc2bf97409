//! Several threads at the ends of one connection, against what must hold whatever their order.

use pipework::{ClientOptions, NamedPipe, NamedPipeBuilder, PipeErrorKind, PipeMode, PipeName, PipeStream};
use std::{
    collections::BTreeMap,
    io::{Read, Write},
    sync::mpsc,
    thread,
    time::Duration,
};

const WATCHDOG: Duration = Duration::from_secs(60);

/// Runs `work`, but not for ever: a thread that waits in vain fails its test and no other.
fn watched(work: impl FnOnce() + Send + 'static) {
    let (sender, receiver) = mpsc::channel();
    let worker = thread::spawn(move || {
        // Dropped at the end, and by a panic too.
        let _alive = sender;
        work();
    });
    match receiver.recv_timeout(WATCHDOG) {
        Err(mpsc::RecvTimeoutError::Timeout) => {
            panic!("threads wait for each other: nothing moved for {WATCHDOG:?}")
        }
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            if let Err(panic) = worker.join() {
                std::panic::resume_unwind(panic);
            }
        }
        Ok(()) => unreachable!("nothing is sent"),
    }
}

fn pair(mode: PipeMode, quota: u32) -> (NamedPipe, PipeStream) {
    let name = PipeName::unique("threads").unwrap();
    let server = NamedPipeBuilder::new(&name)
        .pipe_mode(mode)
        .in_buffer_size(quota)
        .out_buffer_size(quota)
        .create()
        .unwrap();
    let client = ClientOptions::new().read_mode(mode).open(&name).unwrap();
    server.connect().unwrap();
    (server, client)
}

/// A sequence of numbers without a library.
struct Numbers(u32);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) as usize % below
    }
}

const HEADER_LEN: usize = 8;

/// A message that has its writer and its number in it, and can be checked in every byte.
fn message(writer: u8, number: u16, len: usize) -> Vec<u8> {
    let [low, high] = number.to_le_bytes();
    let size = u32::try_from(len).unwrap().to_le_bytes();
    let body = (0..len).map(|index| writer ^ low ^ index.to_le_bytes()[0]);
    [writer, low, high, 0xAA].into_iter().chain(size).chain(body).collect()
}

/// Checks one message and says who wrote it, and as which.
fn check(got: &[u8]) -> (u8, u16) {
    assert!(got.len() >= HEADER_LEN, "a torn message of {} bytes", got.len());
    let (writer, number) = (got[0], u16::from_le_bytes([got[1], got[2]]));
    assert!(got == message(writer, number, got.len() - HEADER_LEN), "a message is not what was written");
    (writer, number)
}

fn body_len(numbers: &mut Numbers) -> usize {
    match numbers.next(10) {
        // Now and then one that does not fit into the ring.
        0 => 4000 + numbers.next(9000),
        1 => 0,
        _ => numbers.next(300),
    }
}

fn write_messages(end: &PipeStream, writer: u8, count: u16) {
    let mut numbers = Numbers(u32::from(writer) + 1);
    for number in 0..count {
        end.write_message(&message(writer, number, body_len(&mut numbers))).unwrap();
    }
}

/// Writers on clones of one end, readers on clones of the other, both ways at once, and onlookers at both ends.
fn messages_survive(quota: u32) {
    const WRITERS: u8 = 3;
    const COUNT: u16 = 150;
    let (server, client) = pair(PipeMode::Message, quota);
    let server = server.into_stream();
    let (to_server, at_server) = mpsc::channel();
    let (to_client, at_client) = mpsc::channel();
    let (over, is_over) = mpsc::channel::<()>();
    thread::scope(|scope| {
        for (from, to, seen) in [(&client, &server, &to_server), (&server, &client, &to_client)] {
            for writer in 0..WRITERS {
                let end = from.try_clone().unwrap();
                scope.spawn(move || write_messages(&end, writer, COUNT));
            }
            for _ in 0..2 {
                let (end, seen) = (to.try_clone().unwrap(), seen.clone());
                scope.spawn(move || read_messages_of(&end, &seen));
            }
        }
        let onlooker = server.try_clone().unwrap();
        scope.spawn(move || {
            let mut buf = [0; 100];
            while is_over.try_recv() == Err(mpsc::TryRecvError::Empty) {
                let peek = onlooker.peek(&mut buf).unwrap();
                assert!(peek.copied <= buf.len().min(peek.available));
            }
        });
        // All that was written was read once; then the readers are stopped.
        for (seen, end) in [(&at_server, &client), (&at_client, &server)] {
            expect_all(seen, WRITERS, COUNT);
            for _ in 0..2 {
                end.write_message(&[]).unwrap();
            }
        }
        drop(over);
    });
    drop((client, server));
    assert!(at_server.try_recv().is_err() && at_client.try_recv().is_err(), "nothing came twice");
}

/// Reads until an empty message says that it is enough; each reader sees every writer's messages in order.
fn read_messages_of(end: &PipeStream, seen: &mpsc::Sender<(u8, u16)>) {
    let mut last: BTreeMap<u8, u16> = BTreeMap::new();
    while let Some(got) = end.read_message(1 << 20).unwrap() {
        if got.is_empty() {
            return;
        }
        let (writer, number) = check(&got);
        if let Some(before) = last.insert(writer, number) {
            assert!(before < number, "writer {writer}: {number} came after {before}");
        }
        seen.send((writer, number)).unwrap();
    }
}

fn expect_all(seen: &mpsc::Receiver<(u8, u16)>, writers: u8, count: u16) {
    let mut all: Vec<(u8, u16)> =
        (0..u32::from(writers) * u32::from(count)).map(|_| seen.recv().unwrap()).collect();
    all.sort_unstable();
    let expected: Vec<(u8, u16)> =
        (0..writers).flat_map(|writer| (0..count).map(move |number| (writer, number))).collect();
    assert!(all == expected, "each message came once");
}

#[test]
fn messages_of_many_threads_are_whole_and_in_order() {
    for quota in [0, 300, 65536] {
        watched(move || messages_survive(quota));
    }
}

/// On a byte pipe each write is a stretch of its own: writers take turns.
#[test]
fn bytes_of_many_threads_do_not_mix() {
    for quota in [0, 100, 65536] {
        watched(move || {
            const WRITERS: u8 = 3;
            const COUNT: u16 = 200;
            let (server, client) = pair(PipeMode::Byte, quota);
            thread::scope(|scope| {
                for writer in 0..WRITERS {
                    let mut end = client.try_clone().unwrap();
                    scope.spawn(move || {
                        let mut numbers = Numbers(u32::from(writer) + 7);
                        for number in 0..COUNT {
                            let bytes = message(writer, number, numbers.next(2000));
                            assert_eq!(
                                end.write(&bytes).unwrap(),
                                bytes.len(),
                                "without a time limit all is written"
                            );
                        }
                    });
                }
                let mut next = [0_u16; WRITERS as usize];
                let mut end = server.stream();
                for _ in 0..u32::from(WRITERS) * u32::from(COUNT) {
                    let mut got = vec![0; HEADER_LEN];
                    end.read_exact(&mut got).unwrap();
                    let len = u32::from_le_bytes(got[4..8].try_into().unwrap()) as usize;
                    assert!(len < 2000, "two writes mixed");
                    got.resize(HEADER_LEN + len, 0);
                    end.read_exact(&mut got[HEADER_LEN..]).unwrap();
                    let (writer, number) = check(&got);
                    assert_eq!(number, next[usize::from(writer)], "writer {writer}");
                    next[usize::from(writer)] += 1;
                }
            });
            drop(client);
            assert_eq!(server.stream().read(&mut [0; 8]).unwrap(), 0, "nothing more came");
        });
    }
}

/// Sums agree when several threads read one stream of bytes.
#[test]
fn bytes_are_read_once_by_many_threads() {
    watched(|| {
        const TOTAL: usize = 300_000;
        let (server, mut client) = pair(PipeMode::Byte, 777);
        let expected: u64 = (0..TOTAL).map(|index| (index % 256) as u64).sum();
        let server = server.into_stream();
        let (count, sum) = thread::scope(|scope| {
            let readers: Vec<_> = (0..3)
                .map(|_| {
                    let mut end = server.try_clone().unwrap();
                    scope.spawn(move || {
                        let (mut buf, mut count, mut sum) = ([0; 500], 0, 0);
                        loop {
                            match end.read(&mut buf).unwrap() {
                                0 => return (count, sum),
                                len => {
                                    count += len;
                                    sum += buf[..len].iter().map(|byte| u64::from(*byte)).sum::<u64>();
                                }
                            }
                        }
                    })
                })
                .collect();
            let bytes: Vec<u8> = (0..TOTAL).map(|index| index.to_le_bytes()[0]).collect();
            client.write_all(&bytes).unwrap();
            drop(client);
            readers
                .into_iter()
                .map(|reader| reader.join().unwrap())
                .fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1))
        });
        assert_eq!((count, sum), (TOTAL, expected));
    });
}

/// The last message before a close arrives, though it lies in a memory of its own and another thread of the reader
/// waits at the same end.
#[test]
#[cfg_attr(
    windows,
    ignore = "not on this system: a write that waits for its reader is taken back at the limit"
)]
fn a_last_large_message_is_not_lost_beside_a_waiting_writer() {
    watched(|| {
        for _ in 0..400 {
            let (server, client) = pair(PipeMode::Message, 16);
            let server = server.into_stream();
            let writer = server.try_clone().unwrap();
            thread::scope(|scope| {
                scope.spawn(move || {
                    // Its client never reads: it waits until that has gone.
                    let error = writer.write_message(&[1; 100]).unwrap_err();
                    assert_eq!(PipeErrorKind::of(&error), Some(PipeErrorKind::NoData));
                });
                scope.spawn(move || {
                    client.set_write_timeout(Some(Duration::from_millis(1))).unwrap();
                    // Published counts as written, and what was written outlives the writer.
                    client.write_message(&message(9, 9, 9000)).unwrap();
                });
                let got = server.read_message(1 << 20).unwrap().expect("the message that was written");
                assert_eq!(check(&got), (9, 9));
                assert!(server.read_message(1 << 20).unwrap().is_none(), "then the end");
            });
        }
    });
}

/// Looking at large messages does not get in the way of who reads them.
#[test]
fn an_onlooker_and_a_reader_of_large_messages_do_not_lock_each_other_out() {
    watched(|| {
        let (server, client) = pair(PipeMode::Message, 16);
        let server = server.into_stream();
        let onlooker = server.try_clone().unwrap();
        thread::scope(|scope| {
            scope.spawn(move || {
                let mut buf = [0; 9000];
                loop {
                    match onlooker.peek(&mut buf) {
                        Ok(peek) => assert!(peek.copied <= peek.available),
                        Err(error) => {
                            assert_eq!(PipeErrorKind::of(&error), Some(PipeErrorKind::Broken));
                            return;
                        }
                    }
                }
            });
            scope.spawn(move || {
                for number in 0..3000 {
                    client.write_message(&message(1, number, 5000)).unwrap();
                }
            });
            let mut next = 0;
            while let Some(got) = server.read_message(1 << 20).unwrap() {
                assert_eq!(check(&got), (1, next));
                next += 1;
            }
            assert_eq!(next, 3000);
        });
    });
}
