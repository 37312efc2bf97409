//! M6: many messages in one call.

use std::thread;

use pipework::{MessageRead, PipeErrorKind, PipeMode};

use super::{
    Case, HOUR, SHORT, every, expect, expect_alive, expect_refused, expect_same, long, message_pair, pair,
    pair_with, pattern,
};
use crate::{
    child::Other,
    harness::unique,
    surface::{End, OpenSpec, Spec, Surface},
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        long(every("M6", m6_a_batch_is_its_messages_in_order)),
        every("M6", m6_a_batch_holds_what_is_there_up_to_its_limits),
        every("M6", m6_a_message_beyond_the_batch_is_more_data_and_stays),
        every("M6", m6_a_batch_begins_with_the_rest_of_a_message),
        every("M6", m6_the_end_comes_after_the_last_batch),
        every("M6", m6_reading_a_batch_waits_for_the_first_message_only),
        every("M6", m6_a_batch_waits_for_room_as_its_messages_would),
        every("M6", m6_writing_a_batch_times_out_with_exactly_what_was_written),
        every("M6", m6_a_batch_that_meets_the_end_returns_what_went_before),
        every("M6", m6_batches_of_several_threads_never_mix),
        every("M6", m6_a_batch_of_nothing_moves_nothing),
        every("M6", m6_a_batch_needs_messages),
    ]
}

fn parts(messages: &[Vec<u8>]) -> Vec<&[u8]> {
    messages.iter().map(Vec::as_slice).collect()
}

/// Reads batches of at most `count_max` messages until there are so many.
#[track_caller]
fn read_all(end: &dyn End, count: usize, count_max: usize) -> Vec<Vec<u8>> {
    let mut got = Vec::new();
    while got.len() < count {
        let batch = end.read_messages(count_max.min(count - got.len()), 16 << 20).unwrap();
        assert!(!batch.is_empty() && batch.len() <= count_max);
        got.extend(batch);
    }
    got
}

#[track_caller]
fn expect_all_same(got: &[Vec<u8>], wanted: &[Vec<u8>]) {
    assert_eq!(got.len(), wanted.len(), "messages");
    got.iter().zip(wanted).for_each(|(got, wanted)| expect_same(got, wanted));
}

/// M6: empty, small, about the quota, and beyond the ring, mixed; in both directions, and read one by one too.
fn m6_a_batch_is_its_messages_in_order(here: &dyn Surface) {
    let there = Other::spawn(here);
    let spec = Spec::new(&unique()).messages().quota(4096);
    let (server, client) = pair_with(here, &there, &spec);
    let sizes = [0, 1, 15, 16, 17, 64, 4095, 4096, 0, 4097, 0, 3, 100_000, 7, 8176, 8177, 700_000, 0, 64];
    let messages: Vec<Vec<u8>> =
        (0..).zip(sizes.into_iter().chain([64; 200])).map(|(seed, len)| pattern(seed, len)).collect();
    for (one, other) in [(server.end(), client.as_ref()), (client.as_ref(), server.end())] {
        for count_max in [1, 3, 1000] {
            thread::scope(|scope| {
                let writing = scope.spawn(|| one.write_messages(&parts(&messages)).unwrap());
                expect_all_same(&read_all(other, messages.len(), count_max), &messages);
                assert_eq!(writing.join().unwrap(), messages.len());
            });
        }
        thread::scope(|scope| {
            scope.spawn(|| one.write_messages(&parts(&messages)).unwrap());
            for message in &messages {
                expect_same(&other.read_message(16 << 20).unwrap().unwrap(), message);
            }
        });
    }
    expect_alive(server.end(), client.as_ref());
}

/// M6: the limits of the batch are the number of messages and their length together.
fn m6_a_batch_holds_what_is_there_up_to_its_limits(here: &dyn Surface) {
    let (server, client) = message_pair(here, here);
    let messages: Vec<Vec<u8>> = (0..9).map(|seed| pattern(seed, 10)).collect();
    assert_eq!(client.write_messages(&parts(&messages)).unwrap(), 9);
    let next = |count_max, len_max| server.end().read_messages(count_max, len_max).unwrap();
    assert_eq!(next(3, 1000), messages[..3]);
    assert_eq!(next(100, 29), messages[3..5]);
    assert_eq!(next(100, 30), messages[5..8]);
    client.write_message(b"later").unwrap();
    assert_eq!(next(100, 1000), [messages[8].clone(), b"later".to_vec()]);
}

/// M6: at the front of a batch it is an error, later it ends the batch.
fn m6_a_message_beyond_the_batch_is_more_data_and_stays(here: &dyn Surface) {
    for len in [30, 100_000] {
        let (server, client) = message_pair(here, here);
        let messages = [b"first".to_vec(), pattern(1, len), b"last".to_vec()];
        thread::scope(|scope| {
            let writing = scope.spawn(|| client.write_messages(&parts(&messages)).unwrap());
            let end = server.end();
            assert_eq!(end.read_messages(9, 29).unwrap(), messages[..1]);
            for _ in 0..2 {
                expect(end.read_messages(9, 29), PipeErrorKind::MoreData);
            }
            assert_eq!(end.read_messages(1, len).unwrap(), messages[1..2]);
            assert_eq!(end.read_messages(9, 29).unwrap(), messages[2..]);
            assert_eq!(writing.join().unwrap(), 3);
        });
    }
}

/// M6: as single reads do.
fn m6_a_batch_begins_with_the_rest_of_a_message(here: &dyn Surface) {
    let (server, client) = message_pair(here, here);
    assert_eq!(client.write_messages(&[b"in two parts", b"next"]).unwrap(), 2);
    assert_eq!(server.end().read_message_into(&mut [0; 3]).unwrap(), MessageRead::Part(3));
    assert_eq!(server.end().read_messages(9, 99).unwrap(), [b"two parts".to_vec(), b"next".to_vec()]);
}

/// M6: what ends a batch comes with the next read.
fn m6_the_end_comes_after_the_last_batch(here: &dyn Surface) {
    let there = Other::spawn(here);
    let (server, client) = message_pair(here, &there);
    assert_eq!(client.write_messages(&[b"one", b"two", b"three"]).unwrap(), 3);
    drop(client);
    assert_eq!(server.end().read_messages(2, 99).unwrap(), [b"one", b"two"]);
    assert_eq!(server.end().read_messages(2, 99).unwrap(), [b"three"]);
    for _ in 0..2 {
        assert!(server.end().read_messages(2, 99).unwrap().is_empty());
    }
    expect(server.end().write_messages(&[b"back"]), PipeErrorKind::NoData);
}

/// M6, T1.
fn m6_reading_a_batch_waits_for_the_first_message_only(here: &dyn Surface) {
    let there = Other::spawn(here);
    let (server, client) = message_pair(here, &there);
    client.set_read_timeout(Some(SHORT)).unwrap();
    expect_refused(client.read_messages(2, 99), PipeErrorKind::TimedOut);
    client.set_read_timeout(Some(HOUR)).unwrap();
    thread::scope(|scope| {
        let reading = there.blocked(scope, || client.read_messages(2, 99).unwrap());
        server.end().write_message(b"first").unwrap();
        assert_eq!(reading.join().unwrap(), [b"first"]);
    });
}

/// M6, B2: each message needs the room that it would need alone.
fn m6_a_batch_waits_for_room_as_its_messages_would(here: &dyn Surface) {
    for quota in [0, 1000] {
        let (server, client) = pair(here, &Spec::new(&unique()).messages().quota(quota));
        let messages: Vec<Vec<u8>> = (0..7).map(|seed| pattern(seed, 400)).collect();
        thread::scope(|scope| {
            let writing = scope.spawn(|| client.write_messages(&parts(&messages)).unwrap());
            for message in &messages {
                let unread = server.end().peek(0).unwrap().available;
                // Windows shows what a write that waits would write.
                let waiting = if cfg!(windows) { 400 } else { 0 };
                let unread_max = usize::try_from(quota).unwrap().max(400) + waiting;
                assert!(unread <= unread_max, "{unread} bytes are unread");
                expect_same(&server.end().read_message(400).unwrap().unwrap(), message);
            }
            assert_eq!(writing.join().unwrap(), 7);
        });
    }
}

/// M6, T1: the messages that were published count, and no other message is.
fn m6_writing_a_batch_times_out_with_exactly_what_was_written(here: &dyn Surface) {
    let there = Other::spawn(here);
    let (server, client) = pair_with(here, &there, &Spec::new(&unique()).messages().quota(1000));
    let messages: Vec<Vec<u8>> = (0..5).map(|seed| pattern(seed, 400)).collect();
    client.set_write_timeout(Some(SHORT)).unwrap();
    assert_eq!(client.write_messages(&parts(&messages)).unwrap(), 2);
    expect_refused(client.write_messages(&parts(&messages[2..])), PipeErrorKind::TimedOut);
    assert_eq!(server.end().read_messages(9, 9999).unwrap(), messages[..2]);
    server.end().set_read_timeout(Some(SHORT)).unwrap();
    expect_refused(server.end().read_messages(9, 9999), PipeErrorKind::TimedOut);
    assert_eq!(client.write_messages(&parts(&messages[3..])).unwrap(), 2);
    assert_eq!(server.end().read_messages(9, 9999).unwrap(), messages[3..]);
}

/// M6, B5: the end is an error of the next write.
fn m6_a_batch_that_meets_the_end_returns_what_went_before(here: &dyn Surface) {
    let there = Other::spawn(here);
    let (server, client) = pair_with(here, &there, &Spec::new(&unique()).messages().quota(1000));
    let message = pattern(1, 400);
    thread::scope(|scope| {
        let writing = there.blocked(scope, || client.write_messages(&[message.as_slice(); 5]).unwrap());
        drop(server);
        assert_eq!(writing.join().unwrap(), 2);
    });
    expect(client.write_messages(&[message.as_slice(); 5]), PipeErrorKind::NoData);
}

/// M6, M1: whole, and each thread's own in order.
fn m6_batches_of_several_threads_never_mix(here: &dyn Surface) {
    const EACH: usize = 300;
    let (server, client) = message_pair(here, here);
    let message = |writer: u8, index: usize| {
        let mut message = vec![writer; 9 + index % 50];
        message[..8].copy_from_slice(&index.to_le_bytes());
        message
    };
    thread::scope(|scope| {
        for writer in 0..3_u8 {
            let client = client.as_ref();
            scope.spawn(move || {
                let messages: Vec<Vec<u8>> = (0..EACH).map(|index| message(writer, index)).collect();
                let mut rest = parts(&messages);
                while !rest.is_empty() {
                    let count = rest.len().min(17);
                    assert_eq!(client.write_messages(&rest[..count]).unwrap(), count);
                    rest.drain(..count);
                }
            });
        }
        let mut next = [0; 3];
        for got in read_all(server.end(), 3 * EACH, 11) {
            let index = usize::from_le_bytes(got[..8].try_into().unwrap());
            let writer = got[8];
            assert_eq!(got, message(writer, index));
            assert_eq!(std::mem::replace(&mut next[usize::from(writer)], index + 1), index);
        }
        assert_eq!(next, [EACH; 3]);
    });
}

/// M6: no messages to write, or no room for any in the batch.
fn m6_a_batch_of_nothing_moves_nothing(here: &dyn Surface) {
    let (server, client) = message_pair(here, here);
    assert_eq!(client.write_messages(&[]).unwrap(), 0);
    assert!(server.end().read_messages(0, 99).unwrap().is_empty());
    client.write_message(b"only").unwrap();
    assert!(server.end().read_messages(0, 99).unwrap().is_empty());
    assert_eq!(server.end().read_messages(1, 4).unwrap(), [b"only"]);
}

/// M6, M3.
fn m6_a_batch_needs_messages(here: &dyn Surface) {
    let (server, client) = pair(here, &Spec::new(&unique()));
    for end in [server.end(), client.as_ref()] {
        expect(end.write_messages(&[b"message"]), PipeErrorKind::BadPipe);
        expect(end.read_messages(9, 99), PipeErrorKind::BadPipe);
    }
    let spec = Spec::new(&unique()).messages();
    let server = here.create(&spec).unwrap();
    let client = here.open(&OpenSpec::new(&spec.name)).unwrap();
    server.connect().unwrap();
    assert_eq!(server.end().write_messages(&[b"one", b"two"]).unwrap(), 2);
    expect(client.read_messages(9, 99), PipeErrorKind::BadPipe);
    client.set_read_mode(PipeMode::Message).unwrap();
    assert_eq!(client.read_messages(9, 99).unwrap(), [b"one", b"two"]);
}
