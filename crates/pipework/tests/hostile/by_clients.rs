//! Clients that say hello properly and then lie in the shared words of a byte pipe.

use crate::{
    harness::Case,
    wire::{EPOCH, Linked, PAYLOAD, Victim, expect, send, word},
};
use pipework::{PipeErrorKind, PipeMode, PipeStream};
use rustix::fs::FallocateFlags;
use std::{
    io::{Read, Write},
    sync::mpsc,
    thread,
};

pub(crate) const CASES: &[Case] = &[
    ("client_lies_of_its_tail", lies_of_its_tail),
    ("client_lies_of_its_head", lies_of_its_head),
    ("client_lies_of_its_epoch", lies_of_its_epoch),
    ("client_changes_its_epoch_all_the_time", changes_its_epoch_all_the_time),
    ("client_leaves_odd_marks", leaves_odd_marks),
    ("client_rings_odd_bells", rings_odd_bells),
    ("client_punches_holes", punches_holes),
    ("client_changes_what_is_read", changes_what_is_read),
    ("client_clears_the_waiting_words", clears_the_waiting_words),
    ("client_changes_every_word", changes_every_word),
];

const QUOTA: u32 = 8192;

/// Each lie in a connection of its own, first at once and then after some honest bytes.
fn lies_of_its_tail() {
    let capacity = u64::from(QUOTA);
    let victim = Victim::new(PipeMode::Byte, QUOTA);
    for tail in [capacity + 1, capacity * 2, 1 << 63, u64::MAX] {
        let (client, mut end) = victim.attack_linked();
        client.publish(b"", tail);
        expect(end.read(&mut [0; 8]), PipeErrorKind::Corrupt, &format!("a tail of {tail}"));
        expect(end.peek(&mut [0; 8]), PipeErrorKind::Corrupt, "it stays so");
    }
    for tail in [9, 0, 10 + capacity + 1, u64::MAX] {
        let (client, mut end) = victim.attack_linked();
        client.publish(b"0123456789", 10);
        let mut buf = [0; 64];
        assert_eq!(end.read(&mut buf).unwrap(), 10);
        assert_eq!(&buf[..10], b"0123456789");
        client.publish(b"", tail);
        expect(end.read(&mut buf), PipeErrorKind::Corrupt, &format!("a tail of {tail} after 10"));
    }
    // As far as it can go: true or not, these bytes are its own.
    let (client, mut end) = victim.attack_linked();
    client.publish(b"", capacity);
    assert_eq!(end.read(&mut [0; 20000]).unwrap(), 8192);
    victim.expect_well();
}

fn lies_of_its_head() {
    let victim = Victim::new(PipeMode::Byte, QUOTA);
    let full = vec![7; QUOTA as usize];
    for head in [u64::from(QUOTA) + 1, 1 << 63, u64::MAX] {
        let (client, mut end) = victim.attack_linked();
        assert_eq!(end.write(&full).unwrap(), full.len());
        client.map.set(word::OUT_HEAD, head);
        client.ring();
        expect(end.write(b"more"), PipeErrorKind::Corrupt, &format!("a head of {head}"));
        expect(end.drain(), PipeErrorKind::Corrupt, "it stays so");
        expect(end.read(&mut [0; 8]), PipeErrorKind::Corrupt, "in both directions");
    }
    let (client, end) = victim.attack_linked();
    client.map.set(word::OUT_HEAD, 1);
    expect(end.drain(), PipeErrorKind::Corrupt, "it read what was not written");
    let (client, mut end) = victim.attack_linked();
    assert_eq!(end.write(&full).unwrap(), full.len());
    client.map.set(word::OUT_HEAD, 100);
    assert_eq!(end.write(&full[..100]).unwrap(), 100);
    client.map.set(word::OUT_HEAD, 99);
    client.ring();
    expect(end.write(b"more"), PipeErrorKind::Corrupt, "a head that goes back");
    // A reader that has read all, and says that it has read nothing: it is only slow.
    let (_client, mut end) = victim.attack_linked();
    assert_eq!(end.write(&full).unwrap(), full.len());
    expect(end.write(b"more"), PipeErrorKind::TimedOut, "nothing was read");
    expect(end.drain(), PipeErrorKind::TimedOut, "nothing was read");
    victim.expect_well();
}

/// The next epoch begins when all of this one was read, and at the beginning of the ring; nothing else is believed.
fn lies_of_its_epoch() {
    let victim = Victim::new(PipeMode::Byte, QUOTA);
    let capacity = u64::from(QUOTA);
    let mut buf = [0; 64];
    for tail in [EPOCH, EPOCH + capacity + 1, u64::MAX] {
        let (client, mut end) = victim.attack_linked();
        client.publish(b"0123456789", 10);
        assert_eq!(end.read(&mut buf).unwrap(), 10);
        client.publish(b"", tail);
        expect(end.read(&mut buf), PipeErrorKind::Corrupt, &format!("a tail of {tail:#x} after 10"));
        expect(end.peek(&mut buf), PipeErrorKind::Corrupt, "it stays so");
        expect(end.write(b"x"), PipeErrorKind::Corrupt, "in both directions");
    }
    // Something is unread, so its place may not be used again.
    for len in [6, 7] {
        let (client, mut end) = victim.attack_linked();
        client.publish(b"0123456789", 10);
        assert_eq!(end.read(&mut buf[..4]).unwrap(), 4);
        client.publish(b"abcdefghij", EPOCH + 10);
        if len == 7 {
            expect(end.read(&mut buf[..len]), PipeErrorKind::Corrupt, "it looks for more than it knew of");
            continue;
        }
        assert_eq!((end.read(&mut buf[..len]).unwrap(), &buf[..6]), (6, &b"efghij"[..]), "its own lie");
        assert_eq!(end.peek(&mut buf).unwrap().available, 10, "it has read all");
    }
    let (client, mut end) = victim.attack_linked();
    client.publish(b"0123456789", 10);
    assert_eq!(end.read(&mut buf).unwrap(), 10);
    client.publish(b"abcdefghij", EPOCH + 10);
    assert_eq!((end.read(&mut buf).unwrap(), &buf[..10]), (10, &b"abcdefghij"[..]), "an honest one");
    client.publish(b"", 5);
    assert_eq!((end.read(&mut buf).unwrap(), &buf[..5]), (5, &b"abcde"[..]), "an honest one again");
    client.publish(b"", EPOCH + 5);
    assert_eq!(end.peek(&mut buf).unwrap().available, 5);
    client.publish(b"", 5);
    expect(end.peek(&mut buf), PipeErrorKind::Corrupt, "the next epoch before this one was read");
    // The head of a reader that is in no epoch, or goes back to the one before.
    let full = vec![7; QUOTA as usize];
    for head in [EPOCH + capacity + 101, EPOCH + 99, capacity, 0, u64::MAX] {
        let (client, mut end) = victim.attack_linked();
        assert_eq!(end.write(&full).unwrap(), full.len());
        client.map.set(word::OUT_HEAD, capacity);
        assert_eq!(end.write(&full).unwrap(), full.len(), "in the next epoch");
        expect(end.write(b"more"), PipeErrorKind::TimedOut, "the reader has not seen it yet");
        client.map.set(word::OUT_HEAD, EPOCH + 100);
        assert_eq!(end.write(&full[..100]).unwrap(), 100);
        client.map.set(word::OUT_HEAD, head);
        client.ring();
        expect(end.drain(), PipeErrorKind::Corrupt, &format!("a head of {head:#x}"));
    }
    victim.expect_well();
}

/// Whatever is read is a length that can be, or the end of this connection.
fn changes_its_epoch_all_the_time() {
    for mode in [PipeMode::Byte, PipeMode::Message] {
        let victim = Victim::new(mode, QUOTA);
        for seed in 1..20_u64 {
            let (client, mut end) = victim.attack_linked();
            let map = &client.map;
            meanwhile(
                // Often one that can be true.
                |round| {
                    let (head, tail) = (map.get(word::IN_HEAD), map.get(word::OUT_TAIL));
                    map.set(word::IN_TAIL, (head & EPOCH ^ EPOCH) + seed * (round % 4));
                    map.set(word::OUT_HEAD, if round % 8 == 0 { tail ^ EPOCH } else { tail });
                },
                || survive(&client, &mut end),
            );
        }
        victim.expect_well();
    }
}

/// Only a server can throw out; any mark of a client is a close.
fn leaves_odd_marks() {
    let victim = Victim::new(PipeMode::Byte, QUOTA);
    for mark in [1, 2, 77, u64::MAX] {
        let (client, mut end) = victim.attack_linked();
        client.map.set(word::CLIENT_MARK, mark);
        client.publish(b"last", 4);
        let mut buf = [0; 8];
        assert_eq!(end.read(&mut buf).unwrap(), 4, "mark {mark}");
        assert_eq!(end.read(&mut buf).unwrap(), 0, "mark {mark}");
        expect(end.write(b"x"), PipeErrorKind::NoData, "nobody reads");
    }
    // The server's own mark, made by the client, means nothing to the server.
    let (client, mut end) = victim.attack_linked();
    client.map.set(word::SERVER_MARK, 2);
    client.publish(b"more", 4);
    assert_eq!(end.read(&mut [0; 8]).unwrap(), 4);
    victim.expect_well();
}

fn rings_odd_bells() {
    for mode in [PipeMode::Byte, PipeMode::Message] {
        let victim = Victim::new(mode, QUOTA);
        let (client, mut end) = victim.attack_linked();
        let noise: Vec<u8> = (0..=255).collect();
        send(&client.socket, &noise, &[]);
        expect(end.read(&mut [0; 8]), PipeErrorKind::TimedOut, "bells are no bytes");
        assert_eq!(end.write(b"still here").unwrap(), 10);
        victim.expect_well();
    }
}

/// Does something again and again on a thread of its own while `work` runs.
pub(crate) fn meanwhile(again: impl FnMut(u64) + Send, work: impl FnOnce()) {
    let (over, is_over) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let mut again = again;
        let hostile = scope.spawn(move || {
            let mut round = 0;
            while is_over.try_recv() == Err(mpsc::TryRecvError::Empty) {
                again(round);
                round += 1;
            }
        });
        work();
        drop(over);
        hostile.join().unwrap();
    });
}

/// Holes can be made in sealed memory: what is read there is zero, and nobody dies of it.
fn punches_holes() {
    let victim = Victim::new(PipeMode::Byte, QUOTA);
    let (client, mut end) = victim.attack_linked();
    let len = client.shape.memory_len() as u64;
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    meanwhile(
        |round| {
            // Once the payload, once everything.
            let from = if round % 2 == 0 { PAYLOAD as u64 } else { 0 };
            rustix::fs::fallocate(&client.fd, hole, from, len - from).unwrap();
        },
        || survive(&client, &mut end),
    );
    victim.expect_well();
}

/// Reads and writes: whatever comes, it is a length that can be, or an error of a kind.
fn survive(client: &Linked, end: &mut PipeStream) {
    let mut buf = [0; 5000];
    for round in 1..200 {
        client.map.set(word::IN_TAIL, round * 1000);
        for outcome in [end.read(&mut buf), end.write(&[1; 300])] {
            match outcome {
                Ok(len) => assert!(len <= buf.len()),
                Err(error) => {
                    let kind = PipeErrorKind::of(&error);
                    let over = [Some(PipeErrorKind::Corrupt), Some(PipeErrorKind::NoData)];
                    assert!(kind == Some(PipeErrorKind::TimedOut) || over.contains(&kind), "{error}");
                    if over.contains(&kind) {
                        return;
                    }
                }
            }
        }
    }
}

fn changes_what_is_read() {
    let victim = Victim::new(PipeMode::Byte, QUOTA);
    let (client, mut end) = victim.attack_linked();
    let map = &client.map;
    meanwhile(
        |round| map.fill(PAYLOAD, &[round.to_le_bytes()[0]; 8192]),
        || {
            let (mut buf, mut head) = ([0xEE; 3000], 0);
            for _ in 0..300 {
                map.set(word::IN_TAIL, head + 3000);
                let len = end.read(&mut buf).unwrap();
                assert!(len > 0 && len <= 3000);
                head += len as u64;
                assert_eq!(map.get(word::IN_HEAD), head, "what was taken is counted");
            }
        },
    );
    victim.expect_well();
}

/// A peer that hides that we sleep lets us sleep, but no longer than we said.
fn clears_the_waiting_words() {
    let victim = Victim::new(PipeMode::Byte, QUOTA);
    let (client, mut end) = victim.attack_linked();
    let map = &client.map;
    meanwhile(
        |_| map.set(word::SERVER_WAITING, 0),
        || {
            for _ in 0..3 {
                expect(end.read(&mut [0; 8]), PipeErrorKind::TimedOut, "nothing came");
            }
            assert_eq!(end.write(&[1; 8192]).unwrap(), 8192);
            expect(end.write(b"more"), PipeErrorKind::TimedOut, "nothing was read");
        },
    );
    // And one that says that it always sleeps gets bells that it does not need, never more than fit into a socket.
    meanwhile(
        |_| map.set(word::CLIENT_WAITING, u64::MAX),
        || {
            for round in 1..2000 {
                map.set(word::OUT_HEAD, round * 8);
                match end.write(&[1; 8]) {
                    Ok(len) => assert!(len <= 8),
                    Err(error) => {
                        expect::<usize>(
                            Err(error),
                            PipeErrorKind::Corrupt,
                            "it read what it can't have read",
                        );
                        return;
                    }
                }
            }
        },
    );
    victim.expect_well();
}

/// All words at once, at random.
fn changes_every_word() {
    for mode in [PipeMode::Byte, PipeMode::Message] {
        let victim = Victim::new(mode, QUOTA);
        for seed in 0..30_u64 {
            let (client, mut end) = victim.attack_linked();
            let map = &client.map;
            let mut state = seed * 7919 + 1;
            meanwhile(
                |_| {
                    state =
                        state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let place = usize::try_from(state >> 40).unwrap();
                    // Often something that could almost be true.
                    let value = if state & 64 == 0 { state >> 50 } else { state };
                    map.set(place % 120 * 8, value);
                    map.fill(PAYLOAD + place % 8000, &value.to_le_bytes());
                },
                || survive(&client, &mut end),
            );
        }
        victim.expect_well();
    }
}
