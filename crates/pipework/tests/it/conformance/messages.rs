//! M1 to M5: messages.

use std::{collections::HashMap, thread};

use pipework::{MessageRead, PipeErrorKind, PipeMode};

use super::{Case, SHORT, every, expect, expect_alive, expect_same, long, message_pair, pair, pattern};
use crate::{
    child::Other,
    harness::{blocked, unique, wait_until},
    surface::{End, OpenSpec, Peeked, Spec, Surface},
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        every("M1", m1_each_write_is_one_message),
        every("M1", m1_a_vectored_write_is_one_message),
        long(every("M1", m1_a_message_may_have_any_size)),
        every("M1", m1_large_messages_of_many_sizes_follow_each_other),
        every("M1", m1_an_empty_message_is_a_message_and_not_the_end),
        long(every("M1", m1_messages_of_several_threads_never_mix)),
        every("M1", m1_messages_larger_than_the_quota_wait_for_the_reader),
        every("M1", m1_a_closed_end_takes_no_message),
        every("M1", m1_a_byte_pipe_has_no_messages),
        every("M2", m2_a_short_buffer_gets_its_part),
        every("M2", m2_beyond_the_cap_is_more_data_and_nothing_is_lost),
        every("M2", m2_read_is_bytes_and_never_more_data),
        every("M2", m2_read_in_message_read_mode_ends_at_a_message),
        every("M2", m2_the_end_comes_after_the_last_message),
        every("M3", m3_a_client_begins_in_byte_read_mode),
        every("M3", m3_messages_merge_in_byte_read_mode),
        every("M3", m3_switching_in_the_middle_of_a_message),
        every("M3", m3_the_server_reads_as_the_pipe_is),
        every("M4", m4_peek_takes_nothing),
        every("M4", m4_peek_tells_what_is_left_of_the_first_message),
        every("M4", m4_peek_looks_at_messages_in_byte_read_mode),
        every("M4", m4_peek_of_a_byte_pipe_shows_all),
        every("M4", m4_peek_of_a_large_message),
        every("M4", m4_peek_of_a_closed_pipe_is_broken),
        every("M4", m4_peek_of_a_listening_server_is_bad_pipe),
        every("M4", m4_peek_after_a_disconnect_is_not_connected),
        every("M5", m5_transact_writes_and_reads),
        every("M5", m5_transact_has_large_messages),
        every("M5", m5_transact_needs_message_read_mode),
        every("M5", m5_transact_needs_nothing_unread),
        every("M5", m5_a_short_reply_buffer_gets_more_data),
        every("M5", m5_transact_on_a_closed_pipe_is_broken),
    ]
}

/// Where an empty message takes room, and `peek` distinguishes it from no message.
#[cfg(unix)]
pub(super) fn cases_of_this_system() -> Vec<Case> {
    vec![
        every("M1", m1_a_writer_goes_on_when_empty_messages_are_skipped),
        every("M4", m4_peek_sees_an_empty_message),
    ]
}

/// The next message, of at most 16 MiB.
#[track_caller]
fn next(end: &dyn End) -> Vec<u8> {
    end.read_message(16 << 20).unwrap().expect("a message, not the end")
}

/// M1: some fit into the memory of the one before, some don't, and some need none.
fn m1_large_messages_of_many_sizes_follow_each_other(here: &dyn Surface) {
    let there = Other::spawn(here);
    let (server, client) = super::pair_with(here, &there, &Spec::new(&unique()).messages().quota(4096));
    let sizes = [200_000, 150_000, 262_144, 9_000, 5, 600_000, 131_072, 8_193, 300_000];
    for (one, other) in [(client.as_ref(), server.end()), (server.end(), client.as_ref())] {
        for (seed, len) in (0..).zip(sizes) {
            let message = pattern(seed, len);
            thread::scope(|scope| {
                scope.spawn(|| one.write_message(&message).unwrap());
                expect_same(&next(other), &message);
            });
        }
    }
}

/// M1: whatever the call, in both directions.
fn m1_each_write_is_one_message(here: &dyn Surface) {
    let there = Other::spawn(here);
    let (server, client) = message_pair(here, &there);
    for (one, other) in [(server.end(), client.as_ref()), (client.as_ref(), server.end())] {
        assert_eq!(one.write(b"first").unwrap(), 5);
        one.write_message(b"second").unwrap();
        one.write_message(b"3").unwrap();
        assert_eq!(next(other), b"first");
        assert_eq!(next(other), b"second");
        assert_eq!(next(other), b"3");
    }
}

/// M1: std's default would send the first part only.
fn m1_a_vectored_write_is_one_message(here: &dyn Surface) {
    let (server, client) = message_pair(here, here);
    let large = pattern(1, 100_000);
    assert_eq!(client.write_vectored(&[b"head:", b"", b"body"]).unwrap(), 9);
    assert_eq!(client.write_vectored(&[b""]).unwrap(), 0);
    assert_eq!(next(server.end()), b"head:body");
    assert_eq!(next(server.end()), b"");
    thread::scope(|scope| {
        scope.spawn(|| assert_eq!(client.write_vectored(&[b"head:", &large]).unwrap(), 100_005));
        expect_same(&next(server.end())[5..], &large);
    });
}

/// M1: nothing, one byte, about the quota, about the ring, and far beyond.
fn m1_a_message_may_have_any_size(here: &dyn Surface) {
    let there = Other::spawn(here);
    for quota in [4096, 65_536] {
        let spec = Spec::new(&unique()).messages().quota(quota);
        let (server, client) = super::pair_with(here, &there, &spec);
        let quota = usize::try_from(quota).unwrap();
        let around = |len: usize| [len - 17, len - 16, len - 15, len - 1, len, len + 1, len + 16];
        let sizes =
            [0, 1, 2, 3, 7, 8, 9].into_iter().chain(around(quota)).chain(around(2 * quota)).chain([3 << 20]);
        for (seed, len) in (0..).zip(sizes) {
            let message = pattern(seed, len);
            thread::scope(|scope| {
                scope.spawn(|| client.write_message(&message).unwrap());
                expect_same(&next(server.end()), &message);
                scope.spawn(|| server.end().write_message(&message).unwrap());
                expect_same(&next(client.as_ref()), &message);
            });
        }
    }
}

/// M1: zero length is a message too.
fn m1_an_empty_message_is_a_message_and_not_the_end(here: &dyn Surface) {
    let there = Other::spawn(here);
    let (server, client) = message_pair(here, &there);
    client.write_message(b"").unwrap();
    assert_eq!(client.write(b"").unwrap(), 0);
    client.write_message(b"x").unwrap();
    client.write_message(b"").unwrap();
    assert_eq!(server.end().read_message(0).unwrap(), Some(Vec::new()));
    assert_eq!(server.end().read_message_into(&mut [0; 9]).unwrap(), MessageRead::Whole(0));
    assert_eq!(next(server.end()), b"x");
    assert_eq!(next(server.end()), b"");
    drop(client);
    assert_eq!(server.end().read_message(9).unwrap(), None);
}

/// M1: never interleaved, whatever the size; each thread's own messages stay in order.
fn m1_messages_of_several_threads_never_mix(here: &dyn Surface) {
    const EACH: usize = 100;
    let (server, client) = message_pair(here, here);
    let len = |index: usize| [1, 100, 5_000, 70_000, 300_000][index % 5];
    thread::scope(|scope| {
        for writer in 0..4_u8 {
            let client = client.as_ref();
            scope.spawn(move || {
                for index in 0..EACH {
                    let mut message = vec![writer; len(index)];
                    message.extend_from_slice(&u32::try_from(index).unwrap().to_be_bytes());
                    client.write_message(&message).unwrap();
                }
            });
        }
        let mut seen: HashMap<u8, usize> = HashMap::new();
        for _ in 0..4 * EACH {
            let message = next(server.end());
            let (fill, number) = message.split_at(message.len() - 4);
            let index = seen.entry(fill[0]).or_default();
            assert_eq!(number, u32::try_from(*index).unwrap().to_be_bytes());
            assert_eq!(fill.len(), len(*index));
            assert!(fill.iter().all(|byte| *byte == fill[0]), "a message of two writers");
            *index += 1;
        }
        assert!(seen.values().all(|count| *count == EACH));
    });
}

/// M1: and a write that waits has not sent a part.
fn m1_messages_larger_than_the_quota_wait_for_the_reader(here: &dyn Surface) {
    let there = Other::spawn(here);
    let spec = Spec::new(&unique()).messages().quota(100);
    let (server, client) = super::pair_with(here, &there, &spec);
    let message = pattern(2, 5000);
    thread::scope(|scope| {
        let writing = there.blocked(scope, || client.write_message(&message));
        expect_same(&next(server.end()), &message);
        writing.join().unwrap().unwrap();
    });
    expect_alive(client.as_ref(), server.end());
}

/// M1: as with bytes (rule B5).
fn m1_a_closed_end_takes_no_message(here: &dyn Surface) {
    let there = Other::spawn(here);
    let (server, client) = message_pair(here, &there);
    drop(client);
    for message in [b"".as_slice(), b"x", &[0; 3 << 20]] {
        expect(server.end().write_message(message), PipeErrorKind::NoData);
        expect(server.end().write(message), PipeErrorKind::NoData);
    }
}

/// M1: so writing one is an error, and no byte is sent.
fn m1_a_byte_pipe_has_no_messages(here: &dyn Surface) {
    let (server, client) = pair(here, &Spec::new(&unique()));
    expect(client.write_message(b"x"), PipeErrorKind::BadPipe);
    expect(server.end().write_message(b""), PipeErrorKind::BadPipe);
    expect(client.read_message(9), PipeErrorKind::BadPipe);
    assert_eq!(server.end().peek(9).unwrap().available, 0);
    expect_alive(client.as_ref(), server.end());
}

/// M1: a byte read that skips empty messages makes room for the writer behind them, also if it returns nothing.
#[cfg(unix)]
fn m1_a_writer_goes_on_when_empty_messages_are_skipped(here: &dyn Surface) {
    let there = Other::spawn(here);
    let name = unique();
    let server = here.create(&Spec::new(&name).messages().quota(100)).unwrap();
    let client = there.open(&OpenSpec::new(&name)).unwrap();
    server.connect().unwrap();
    server.end().set_write_timeout(Some(SHORT)).unwrap();
    let full = (0..100_000).find_map(|_| server.end().write_message(b"").err());
    assert!(full.is_some_and(|fault| fault == PipeErrorKind::TimedOut), "empty messages take room too");
    server.end().set_write_timeout(None).unwrap();
    client.set_read_timeout(Some(SHORT)).unwrap();
    thread::scope(|scope| {
        let writing = blocked(scope, || server.end().write_message(b""));
        crate::harness::let_sleep_deepen();
        expect(client.read_some(9), PipeErrorKind::TimedOut);
        writing.join().unwrap().unwrap();
    });
}

/// M2: a short buffer gets its part, and the rest comes with the next reads.
fn m2_a_short_buffer_gets_its_part(here: &dyn Surface) {
    let there = Other::spawn(here);
    let (server, client) = message_pair(here, &there);
    server.end().write_message(b"0123456789").unwrap();
    server.end().write_message(b"next").unwrap();
    let mut part = [0; 4];
    assert_eq!(client.read_message_into(&mut part).unwrap(), MessageRead::Part(4));
    assert_eq!(&part, b"0123");
    assert_eq!(client.read_message_into(&mut part).unwrap(), MessageRead::Part(4));
    assert_eq!(&part, b"4567");
    assert_eq!(client.read_message_into(&mut part).unwrap(), MessageRead::Whole(2));
    assert_eq!(&part[..2], b"89");
    assert_eq!(client.read_message_into(&mut part).unwrap(), MessageRead::Whole(4));
    assert_eq!(&part, b"next");
    assert_eq!(PipeErrorKind::MoreData.code(), 234);
}

/// M2: a message beyond the cap stays, in all its sizes, until somebody takes it.
fn m2_beyond_the_cap_is_more_data_and_nothing_is_lost(here: &dyn Surface) {
    let there = Other::spawn(here);
    let (server, client) = message_pair(here, &there);
    for len in [10, 60_000, 3 << 20] {
        let message = pattern(3, len);
        thread::scope(|scope| {
            scope.spawn(|| client.write_message(&message).unwrap());
            for cap in [0, 4, len - 1] {
                expect(server.end().read_message(cap), PipeErrorKind::MoreData);
            }
            expect_same(&server.end().read_message(len).unwrap().unwrap(), &message);
        });
    }
    client.write_message(b"after").unwrap();
    assert_eq!(next(server.end()), b"after");
}

/// M2: `Read` in message read mode: pieces of any size, no empty reads, no more data.
fn m2_read_is_bytes_and_never_more_data(here: &dyn Surface) {
    let (server, client) = message_pair(here, here);
    for message in [b"".as_slice(), b"01234567", b"", b"", b"89", b""] {
        client.write_message(message).unwrap();
    }
    drop(client);
    assert_eq!(server.end().read_some(3).unwrap(), b"012");
    assert_eq!(server.end().read_some(3).unwrap(), b"345");
    assert_eq!(server.end().read_to_end().unwrap(), b"6789");
}

/// M2: and ends where a message does, so that the two ways of reading can take turns.
fn m2_read_in_message_read_mode_ends_at_a_message(here: &dyn Surface) {
    let (server, client) = message_pair(here, here);
    for message in [b"012".as_slice(), b"", b"34", b"5"] {
        client.write_message(message).unwrap();
    }
    assert_eq!(server.end().read_some(9).unwrap(), b"012");
    assert_eq!(server.end().read_some(9).unwrap(), b"34");
    assert_eq!(next(server.end()), b"5");
}

/// M2: every message, then `None` and `End`.
fn m2_the_end_comes_after_the_last_message(here: &dyn Surface) {
    let there = Other::spawn(here);
    let (server, client) = message_pair(here, &there);
    client.write_message(b"last").unwrap();
    drop(client);
    assert_eq!(next(server.end()), b"last");
    for _ in 0..2 {
        assert_eq!(server.end().read_message(9).unwrap(), None);
        assert_eq!(server.end().read_message_into(&mut [0; 9]).unwrap(), MessageRead::End);
        assert_eq!(server.end().read_some(9).unwrap(), b"");
    }
}

/// M3: and may switch, at opening or later.
fn m3_a_client_begins_in_byte_read_mode(here: &dyn Surface) {
    let name = unique();
    let server = here.create(&Spec::new(&name).messages()).unwrap();
    let client = here.open(&OpenSpec::new(&name)).unwrap();
    server.connect().unwrap();
    server.end().write_message(b"hello").unwrap();
    expect(client.read_message(9), PipeErrorKind::BadPipe);
    expect(client.read_message_into(&mut [0; 9]), PipeErrorKind::BadPipe);
    client.set_read_mode(PipeMode::Message).unwrap();
    assert_eq!(next(client.as_ref()), b"hello");
    assert_eq!(client.info().unwrap().mode, PipeMode::Message);
}

/// M3: in byte read mode messages merge, while the pipe's writes stay messages.
fn m3_messages_merge_in_byte_read_mode(here: &dyn Surface) {
    let there = Other::spawn(here);
    let name = unique();
    let server = here.create(&Spec::new(&name).messages()).unwrap();
    let client = there.open(&OpenSpec::new(&name)).unwrap();
    server.connect().unwrap();
    for message in [b"ab".as_slice(), b"", b"cd", b"ef"] {
        server.end().write_message(message).unwrap();
    }
    assert_eq!(client.read_some(5).unwrap(), b"abcde");
    assert_eq!(client.read_some(5).unwrap(), b"f");
    client.write_message(b"one").unwrap();
    client.write_message(b"two").unwrap();
    assert_eq!(next(server.end()), b"one");
    assert_eq!(next(server.end()), b"two");
}

/// M3: what is left of a message goes on in the new mode.
fn m3_switching_in_the_middle_of_a_message(here: &dyn Surface) {
    let (server, client) = message_pair(here, here);
    for message in [b"0123".as_slice(), b"4567", b"89"] {
        client.write_message(message).unwrap();
    }
    assert_eq!(server.end().read_message_into(&mut [0; 2]).unwrap(), MessageRead::Part(2));
    server.end().set_read_mode(PipeMode::Byte).unwrap();
    assert_eq!(server.end().read_exact(4).unwrap(), b"2345");
    server.end().set_read_mode(PipeMode::Message).unwrap();
    assert_eq!(next(server.end()), b"67");
    assert_eq!(next(server.end()), b"89");
}

/// M3: the server's own read mode is the pipe's type.
fn m3_the_server_reads_as_the_pipe_is(here: &dyn Surface) {
    let name = unique();
    let listener = here.listen(&Spec::new(&name).messages()).unwrap();
    let client = here.open(&OpenSpec::new(&name)).unwrap();
    client.write_message(b"hello").unwrap();
    let server = listener.accept().unwrap();
    assert_eq!(next(server.as_ref()), b"hello");
    let (server, client) = pair(here, &Spec::new(&unique()));
    client.write_all(b"x").unwrap();
    expect(server.end().read_message(9), PipeErrorKind::BadPipe);
    assert_eq!(server.end().read_some(9).unwrap(), b"x");
}

/// M4: as often as one likes, and without waiting.
fn m4_peek_takes_nothing(here: &dyn Surface) {
    let there = Other::spawn(here);
    let (server, client) = message_pair(here, &there);
    let nothing = Peeked { data: Vec::new(), available: 0, message_left: None };
    assert_eq!(server.end().peek(9).unwrap(), nothing);
    client.write_message(b"hello").unwrap();
    for _ in 0..3 {
        let peeked = server.end().peek(9).unwrap();
        assert_eq!(peeked, Peeked { data: b"hello".to_vec(), available: 5, message_left: Some(0) });
    }
    client.set_write_timeout(Some(SHORT)).unwrap();
    expect(client.drain(), PipeErrorKind::TimedOut);
    assert_eq!(next(server.end()), b"hello");
    assert_eq!(server.end().peek(9).unwrap(), nothing);
}

/// M4: bytes left in the first message, bytes available in all.
fn m4_peek_tells_what_is_left_of_the_first_message(here: &dyn Surface) {
    let (server, client) = message_pair(here, here);
    client.write_message(b"01234567").unwrap();
    client.write_message(b"next").unwrap();
    let peeked = |len| server.end().peek(len).unwrap();
    assert_eq!(peeked(3), Peeked { data: b"012".to_vec(), available: 12, message_left: Some(5) });
    assert_eq!(peeked(0), Peeked { data: Vec::new(), available: 12, message_left: Some(8) });
    assert_eq!(peeked(99), Peeked { data: b"01234567".to_vec(), available: 12, message_left: Some(0) });
    assert_eq!(server.end().read_message_into(&mut [0; 6]).unwrap(), MessageRead::Part(6));
    assert_eq!(peeked(1), Peeked { data: b"6".to_vec(), available: 6, message_left: Some(1) });
    assert_eq!(next(server.end()), b"67");
    assert_eq!(next(server.end()), b"next");
}

/// M4: in byte read mode too, where reading would go on into the next message.
fn m4_peek_looks_at_messages_in_byte_read_mode(here: &dyn Surface) {
    let (server, client) = message_pair(here, here);
    server.end().set_read_mode(PipeMode::Byte).unwrap();
    client.write_message(b"0123").unwrap();
    client.write_message(b"4567").unwrap();
    let peeked = |len| server.end().peek(len).unwrap();
    assert_eq!(peeked(9), Peeked { data: b"0123".to_vec(), available: 8, message_left: Some(0) });
    assert_eq!(server.end().read_some(9).unwrap(), b"01234567");
}

/// M4: an empty message is there, and nothing is left of it.
#[cfg(unix)]
fn m4_peek_sees_an_empty_message(here: &dyn Surface) {
    let (server, client) = message_pair(here, here);
    client.write_message(b"").unwrap();
    let peeked = server.end().peek(9).unwrap();
    assert_eq!(peeked, Peeked { data: Vec::new(), available: 0, message_left: Some(0) });
    assert_eq!(next(server.end()), b"");
}

/// M4: a byte pipe shows all.
fn m4_peek_of_a_byte_pipe_shows_all(here: &dyn Surface) {
    let (server, client) = pair(here, &Spec::new(&unique()));
    client.write_all(b"0123").unwrap();
    client.write_all(b"4567").unwrap();
    let peeked = |len| server.end().peek(len).unwrap();
    assert_eq!(peeked(99), Peeked { data: b"01234567".to_vec(), available: 8, message_left: None });
    assert_eq!(peeked(3), Peeked { data: b"012".to_vec(), available: 8, message_left: None });
    assert_eq!(server.end().read_exact(8).unwrap(), b"01234567");
}

/// M4: also where the message does not fit the ring.
fn m4_peek_of_a_large_message(here: &dyn Surface) {
    let (server, client) = message_pair(here, here);
    let message = pattern(4, 3 << 20);
    thread::scope(|scope| {
        let writing = blocked(scope, || client.write_message(&message));
        wait_until(|| server.end().peek(0).unwrap().available > 0);
        let peeked = server.end().peek(1000).unwrap();
        assert_eq!(peeked.available, message.len());
        assert_eq!(peeked.message_left, Some(message.len() - 1000));
        expect_same(&peeked.data, &message[..1000]);
        expect_same(&next(server.end()), &message);
        writing.join().unwrap().unwrap();
    });
}

/// M4: once everything was read.
fn m4_peek_of_a_closed_pipe_is_broken(here: &dyn Surface) {
    let there = Other::spawn(here);
    let (server, client) = message_pair(here, &there);
    client.write_message(b"left").unwrap();
    drop(client);
    assert_eq!(server.end().peek(9).unwrap().data, b"left");
    assert_eq!(next(server.end()), b"left");
    expect(server.end().peek(9), PipeErrorKind::Broken);
    assert_eq!(PipeErrorKind::Broken.code(), 109);
}

/// M4: there is nobody to look at.
fn m4_peek_of_a_listening_server_is_bad_pipe(here: &dyn Surface) {
    let server = here.create(&Spec::new(&unique())).unwrap();
    expect(server.end().peek(9), PipeErrorKind::BadPipe);
    assert_eq!(PipeErrorKind::BadPipe.code(), 230);
}

/// M4: at the client's end. The instance has no client to look at, as before it had one.
fn m4_peek_after_a_disconnect_is_not_connected(here: &dyn Surface) {
    let there = Other::spawn(here);
    let (server, client) = message_pair(here, &there);
    client.write_message(b"unread").unwrap();
    server.end().write_message(b"unread").unwrap();
    assert_eq!(server.end().peek(9).unwrap().data, b"unread");
    server.disconnect().unwrap();
    expect(client.peek(9), PipeErrorKind::NotConnected);
    expect(server.end().peek(9), PipeErrorKind::BadPipe);
    // Before the server has read or written anything.
    let name = unique();
    let server = here.create(&Spec::new(&name).messages()).unwrap();
    let client = there.open(&OpenSpec::new(&name)).unwrap();
    server.connect().unwrap();
    server.disconnect().unwrap();
    expect(client.peek(9), PipeErrorKind::NotConnected);
    expect(server.end().peek(9), PipeErrorKind::BadPipe);
    assert_eq!(PipeErrorKind::NotConnected.code(), 233);
}

/// M5: a request and its reply, from either end.
fn m5_transact_writes_and_reads(here: &dyn Surface) {
    let there = Other::spawn(here);
    let (server, client) = message_pair(here, &there);
    for (one, other) in [(server.end(), client.as_ref()), (client.as_ref(), server.end())] {
        thread::scope(|scope| {
            let asking = scope.spawn(|| one.transact(b"question", 100).unwrap());
            assert_eq!(next(other), b"question");
            other.write_message(b"answer").unwrap();
            assert_eq!(asking.join().unwrap(), b"answer");
            let asking = scope.spawn(|| one.transact(b"", 0).unwrap());
            assert_eq!(next(other), b"");
            other.write_message(b"").unwrap();
            assert_eq!(asking.join().unwrap(), b"");
        });
    }
}

/// M5: request and reply may be larger than the quota.
fn m5_transact_has_large_messages(here: &dyn Surface) {
    let there = Other::spawn(here);
    let (server, client) = super::pair_with(here, &there, &Spec::new(&unique()).messages().quota(4096));
    for (one, other) in [(server.end(), client.as_ref()), (client.as_ref(), server.end())] {
        for (request, reply) in [(200_000, 9), (9, 300_000), (250_000, 150_000)] {
            let (request, reply) = (pattern(1, request), pattern(2, reply));
            thread::scope(|scope| {
                let asking = scope.spawn(|| one.transact(&request, reply.len()).unwrap());
                expect_same(&next(other), &request);
                other.write_message(&reply).unwrap();
                expect_same(&asking.join().unwrap(), &reply);
            });
        }
    }
}

/// M5: else bad pipe, and nothing is sent.
fn m5_transact_needs_message_read_mode(here: &dyn Surface) {
    let (server, client) = message_pair(here, here);
    client.set_read_mode(PipeMode::Byte).unwrap();
    expect(client.transact(b"x", 9), PipeErrorKind::BadPipe);
    assert_eq!(server.end().peek(9).unwrap().message_left, None);
    let (server, client) = pair(here, &Spec::new(&unique()));
    expect(client.transact(b"x", 9), PipeErrorKind::BadPipe);
    assert_eq!(server.end().peek(9).unwrap().available, 0);
}

/// M5: else busy, and nothing is sent or read.
fn m5_transact_needs_nothing_unread(here: &dyn Surface) {
    let there = Other::spawn(here);
    let (server, client) = message_pair(here, &there);
    server.end().write_message(b"unread").unwrap();
    expect(client.transact(b"x", 9), PipeErrorKind::Busy);
    assert_eq!(server.end().peek(9).unwrap().message_left, None);
    assert_eq!(next(client.as_ref()), b"unread");
}

/// M5: and the reply is still there.
fn m5_a_short_reply_buffer_gets_more_data(here: &dyn Surface) {
    let (server, client) = message_pair(here, here);
    thread::scope(|scope| {
        let asking = scope.spawn(|| client.transact(b"question", 3));
        assert_eq!(next(server.end()), b"question");
        server.end().write_message(b"answer").unwrap();
        expect(asking.join().unwrap(), PipeErrorKind::MoreData);
        assert_eq!(next(client.as_ref()), b"answer");
    });
}

/// M5: before the request as after it.
fn m5_transact_on_a_closed_pipe_is_broken(here: &dyn Surface) {
    let (server, client) = message_pair(here, here);
    thread::scope(|scope| {
        let asking = scope.spawn(|| client.transact(b"question", 9));
        assert_eq!(next(server.end()), b"question");
        drop(server);
        expect(asking.join().unwrap(), PipeErrorKind::Broken);
    });
    expect(client.transact(b"again", 9), PipeErrorKind::Broken);
}
