//! Clients that lie about messages.

use crate::{
    by_clients::meanwhile,
    harness::Case,
    wire::{
        ATTACHED, EPOCH, INLINE, KEPT, Linked, PAYLOAD, SEALS, Victim, expect, is_typed, memory, record,
        send, word,
    },
};
use pipework::{MessageBatch, MessageRead, PipeErrorKind, PipeMode, PipeStream};
use rustix::fs::SealFlags;
use std::{
    io::Read,
    os::fd::{AsFd, OwnedFd},
};

pub(crate) const CASES: &[Case] = &[
    ("client_record_is_none", record_is_none),
    ("client_lies_of_the_epoch_of_its_messages", lies_of_its_epoch),
    ("client_lies_of_the_payload_read", lies_of_the_payload_read),
    ("client_changes_a_record_that_is_being_read", changes_a_record),
    ("client_shrinks_a_record_that_is_being_read", shrinks_a_record),
    ("client_changes_records_all_the_time", changes_records_all_the_time),
    ("client_announces_what_it_does_not_send", announces_what_it_does_not_send),
    ("client_sends_what_is_no_message", sends_what_is_no_message),
    ("client_sends_descriptors_that_nobody_wants", sends_many_descriptors),
    ("client_says_that_a_message_is_huge", says_huge),
    ("client_uses_a_memory_that_it_never_sent", uses_what_it_never_sent),
    ("client_never_fills_a_large_message", never_fills),
    ("client_lies_of_what_is_there_of_a_large_message", lies_of_what_is_there),
    ("client_empties_the_memory_of_a_large_message", empties_the_memory),
];

const QUOTA: u32 = 8192;
const CAPACITY: u64 = 16384;

type Call = fn(&mut PipeStream) -> std::io::Result<()>;

/// The calls that look at a message.
const CALLS: [(&str, Call); 6] = [
    ("read", |end| end.read(&mut [0; 64]).map(drop)),
    ("read_message", |end| end.read_message(1 << 20).map(drop)),
    ("read_message_into", |end| end.read_message_into(&mut [0; 64]).map(drop)),
    ("read_messages", |end| end.read_messages(&mut MessageBatch::new(9, 1 << 20)).map(drop)),
    ("peek", |end| end.peek(&mut [0; 64]).map(drop)),
    ("transact", |end| end.transact(b"request", 1 << 20).map(drop)),
];

fn record_is_none() {
    let lies: [(&str, Vec<u8>, u64); 9] = [
        ("zeroed memory", vec![0; 16], 16),
        ("noise", vec![0x5A; 16], 16),
        ("half a header", record(INLINE, 0), 8),
        ("a header without its message", record(INLINE, 100), 16),
        ("a message without its padding", record(INLINE, 1), 17),
        ("a message longer than published", record(INLINE, 100), 16 + 96),
        ("a message longer than the ring", record(INLINE, CAPACITY), CAPACITY),
        ("a message longer than any", record(INLINE, u64::MAX), CAPACITY),
        ("an attached one longer than any", record(ATTACHED, 1 << 32), 16),
    ];
    let victim = Victim::new(PipeMode::Message, QUOTA);
    for (about, bytes, tail) in &lies {
        for (call, run) in CALLS {
            let (client, mut end) = victim.attack_linked();
            client.publish(bytes, *tail);
            // The hello comes first, and a peek does not wait for it.
            let outcome = run(&mut end);
            expect(outcome, PipeErrorKind::Corrupt, &format!("{call}, {about}"));
        }
    }
    victim.expect_well();
}

/// An epoch that is a lie ends the connection, whatever call finds it, and one that is believed leads to no other memory: a
/// record that is not there is none.
fn lies_of_its_epoch() {
    let victim = Victim::new(PipeMode::Message, QUOTA);
    for (call, run) in CALLS {
        for tail in [EPOCH, EPOCH + CAPACITY + 1, u64::MAX] {
            let (client, mut end) = victim.attack_linked();
            client.publish(&record(INLINE, 16), 32);
            assert_eq!(end.read_message_into(&mut [0; 16]).unwrap(), MessageRead::Whole(16));
            client.publish(&record(INLINE, 16), tail);
            expect(run(&mut end), PipeErrorKind::Corrupt, &format!("{call}, a tail of {tail:#x} after 32"));
        }
        let (client, mut end) = victim.attack_linked();
        client.publish(&record(INLINE, 16), 32);
        assert_eq!(end.read_message_into(&mut [0; 16]).unwrap(), MessageRead::Whole(16));
        client.publish(&[0; 16], EPOCH + 32);
        expect(run(&mut end), PipeErrorKind::Corrupt, &format!("{call}, no record where the epoch begins"));
    }
    // A message that is taken in part keeps its place.
    let (client, end) = victim.attack_linked();
    client.publish(&record(INLINE, 16), 32);
    assert_eq!(end.read_message_into(&mut [0; 10]).unwrap(), MessageRead::Part(10));
    client.publish(&record(INLINE, 16), EPOCH + 32);
    expect(end.peek(&mut [0; 16]), PipeErrorKind::Corrupt, "the next epoch in the middle of a message");
    victim.expect_well();
}

fn lies_of_the_payload_read() {
    let victim = Victim::new(PipeMode::Message, QUOTA);
    for payload in [10_001, u64::MAX] {
        let (client, end) = victim.attack_linked();
        end.write_message(&[1; 8000]).unwrap();
        client.map.set(word::OUT_PAYLOAD, payload);
        client.ring();
        expect(
            end.write_message(&[2; 2000]),
            PipeErrorKind::Corrupt,
            &format!("{payload} bytes read of 8000"),
        );
    }
    let (client, end) = victim.attack_linked();
    end.write_message(&[1; 8000]).unwrap();
    client.map.set(word::OUT_PAYLOAD, 7000);
    end.write_message(&[2; 2000]).unwrap();
    client.map.set(word::OUT_PAYLOAD, 6999);
    expect(end.write_message(&[2; 8000]), PipeErrorKind::Corrupt, "it goes back");
    // All read, says the head; nothing, says the payload: the writer waits, and no longer than it said.
    let (client, end) = victim.attack_linked();
    end.write_message(&[1; 8000]).unwrap();
    client.map.set(word::OUT_HEAD, 16 + 8000);
    for _ in 0..3 {
        match end.write_message(&[1; 1000]) {
            Ok(()) => {}
            Err(error) => {
                expect::<()>(Err(error), PipeErrorKind::TimedOut, "a reader that contradicts itself")
            }
        }
    }
    victim.expect_well();
}

/// The header of a message is changed after a part of the message was read.
fn changes_a_record() {
    let victim = Victim::new(PipeMode::Message, QUOTA);
    let changes = [
        record(INLINE, 0),
        record(INLINE, 1),
        record(INLINE, 5000),
        record(ATTACHED, 3),
        record(ATTACHED, 1 << 31),
        record(KEPT, 3),
        record(KEPT, 1 << 31),
        vec![0; 16],
    ];
    for change in &changes {
        for (call, run) in CALLS {
            let (client, mut end) = victim.attack_linked();
            let mut bytes = record(INLINE, 100);
            bytes.extend([7; 112]);
            bytes.extend(record(INLINE, 3));
            bytes.extend([8; 16]);
            client.publish(&bytes, 16 + 112 + 32);
            let mut part = [0; 60];
            assert_eq!(end.read_message_into(&mut part).unwrap(), MessageRead::Part(60));
            client.map.fill(PAYLOAD, change);
            match run(&mut end) {
                Ok(()) => {}
                Err(error) => assert!(is_typed(&error), "{call}: {error}"),
            }
            // What it was when it was first looked at, it stays for the reader.
            match end.read_message_into(&mut [0; 200]) {
                Ok(MessageRead::Whole(len)) => assert!(len <= 100, "{call}: {len}"),
                Ok(other) => panic!("{call}: {other:?}"),
                Err(error) => assert!(is_typed(&error), "{call}: {error}"),
            }
        }
    }
    victim.expect_well();
}

/// As above, and the message itself looks like more records: then all that can be read is less than what was taken.
fn shrinks_a_record() {
    let victim = Victim::new(PipeMode::Message, QUOTA);
    for (call, run) in CALLS {
        let (client, mut end) = victim.attack_linked();
        let mut bytes = record(INLINE, 112);
        bytes.extend(record(INLINE, 0).repeat(7));
        client.publish(&bytes, 16 + 112);
        assert_eq!(end.read_message_into(&mut [0; 60]).unwrap(), MessageRead::Part(60));
        client.map.fill(PAYLOAD, &record(INLINE, 0));
        match run(&mut end) {
            Ok(()) => {}
            Err(error) => assert!(is_typed(&error), "{call}: {error}"),
        }
        match end.peek(&mut [0; 200]) {
            Ok(peek) => assert!(peek.copied <= 52 && peek.available <= 112, "{call}: {peek:?}"),
            Err(error) => assert!(is_typed(&error), "{call}: {error}"),
        }
    }
    victim.expect_well();
}

fn changes_records_all_the_time() {
    let victim = Victim::new(PipeMode::Message, QUOTA);
    for seed in 0..10_u64 {
        let (client, mut end) = victim.attack_linked();
        let map = &client.map;
        for index in 0..64 {
            map.fill(PAYLOAD + index * 128, &record(INLINE, 100));
        }
        let headers = [
            record(INLINE, 0),
            record(INLINE, 100),
            record(INLINE, 112),
            record(ATTACHED, 100),
            record(KEPT, 100),
        ];
        map.set(word::IN_TAIL, 64 * 128);
        meanwhile(
            |round| {
                let round = usize::try_from(round * 31 + seed).unwrap();
                map.fill(PAYLOAD + round % 64 * 128, &headers[round / 64 % headers.len()]);
            },
            || {
                for _ in 0..40 {
                    for (call, run) in CALLS {
                        if let Err(error) = run(&mut end) {
                            assert!(is_typed(&error), "{call}: {error}");
                            if error == PipeErrorKind::Corrupt || error == PipeErrorKind::TimedOut {
                                return;
                            }
                        }
                    }
                }
            },
        );
    }
    victim.expect_well();
}

/// Announces a large message as one that is whole.
fn announce(client: &Linked, len: u64) {
    client.map.set(word::IN_FILLED, len);
    client.publish(&record(ATTACHED, len), 16);
}

/// Announces the message behind the first large one.
fn announce_next(client: &Linked, tag: u64, len: u64, filled: u64) {
    client.map.set(word::IN_FILLED, filled);
    client.map.fill(PAYLOAD + 16, &record(tag, len));
    client.map.set(word::IN_TAIL, 32);
    client.ring();
}

/// A client that has sent a large message as it should.
fn with_a_memory(victim: &Victim, len: usize) -> (Linked, PipeStream, OwnedFd) {
    let (client, end) = victim.attack_linked();
    let memory = memory(len.next_power_of_two(), SEALS);
    rustix::io::pwrite(&memory, &vec![7; len], 0).unwrap();
    send(&client.socket, b"F", &[memory.as_fd()]);
    announce(&client, len as u64);
    assert!(end.read_message(len).unwrap().unwrap() == vec![7; len]);
    (client, end, memory)
}

fn announces_what_it_does_not_send() {
    let victim = Victim::new(PipeMode::Message, QUOTA);
    for (call, run) in CALLS {
        let (client, mut end) = victim.attack_linked();
        announce(&client, 100_000);
        match (call, run(&mut end)) {
            ("peek", outcome) => outcome.unwrap(),
            // Something is there, so a transaction can't begin.
            ("transact", outcome) => expect(outcome, PipeErrorKind::Busy, call),
            (_, outcome) => expect(outcome, PipeErrorKind::TimedOut, call),
        }
        drop(client);
        if call == "read_message" {
            expect(run(&mut end), PipeErrorKind::Corrupt, "it never came, and never will");
        }
    }
    victim.expect_well();
}

fn sends_what_is_no_message() {
    let victim = Victim::new(PipeMode::Message, QUOTA);
    let (pipe, _) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let memories: [(&str, OwnedFd); 5] = [
        ("a pipe", pipe),
        ("too small", memory(16_383, SEALS)),
        ("too large", memory(16_385, SEALS)),
        ("not sealed", memory(16_384, SealFlags::empty())),
        ("may shrink", memory(16_384, SealFlags::GROW | SealFlags::SEAL)),
    ];
    for (about, memory) in &memories {
        for (call, run) in CALLS {
            let (client, mut end) = victim.attack_linked();
            send(&client.socket, b"F", &[memory.as_fd()]);
            announce(&client, 10_000);
            match (call, run(&mut end)) {
                ("transact", outcome) => expect(outcome, PipeErrorKind::Busy, call),
                (_, outcome) => expect(outcome, PipeErrorKind::Corrupt, &format!("{call}, {about}")),
            }
        }
    }
    // A good one, to know that the others failed for what they were.
    let (client, end) = victim.attack_linked();
    send(&client.socket, b"F", &[memory(16_384, SEALS).as_fd()]);
    announce(&client, 10_000);
    assert_eq!(end.read_message(10_000).unwrap().unwrap(), vec![0; 10_000]);
    victim.expect_well();
}

fn sends_many_descriptors() {
    for mode in [PipeMode::Byte, PipeMode::Message] {
        let victim = Victim::new(mode, QUOTA);
        let memory = memory(10_000, SEALS);
        // One by one, and many at once.
        for (messages, at_once) in [(200, 1), (4, 250)] {
            let (client, mut end) = victim.attack_linked();
            let descriptors = vec![memory.as_fd(); at_once];
            for _ in 0..messages {
                send(&client.socket, b"F", &descriptors);
            }
            match end.read(&mut [0; 8]) {
                Ok(len) => panic!("{len} bytes of nothing"),
                Err(error) => assert!(is_typed(&error), "{error}"),
            }
            victim.expect_well();
        }
        // Before the hello, too.
        let (raw, mut end) = victim.attack();
        send(&raw.socket, b"F", &vec![memory.as_fd(); 250]);
        drop(raw);
        expect(end.read(&mut [0; 8]), PipeErrorKind::Corrupt, "several descriptors");
    }
}

/// The reader's cap decides what is allocated, not the writer's word.
fn says_huge() {
    let victim = Victim::new(PipeMode::Message, QUOTA);
    let (client, mut end) = victim.attack_linked();
    announce(&client, u64::from(u32::MAX));
    expect(end.read_message(1 << 20), PipeErrorKind::MoreData, "4 GiB");
    expect(end.read(&mut [0; 64]), PipeErrorKind::TimedOut, "its memory never came");
    victim.expect_well();
}

/// The calls that take a message, or a part of one.
fn takes(call: &str) -> bool {
    !matches!(call, "peek" | "transact")
}

fn uses_what_it_never_sent() {
    let victim = Victim::new(PipeMode::Message, QUOTA);
    for (call, run) in CALLS {
        let (client, mut end) = victim.attack_linked();
        client.map.set(word::IN_FILLED, 100_000);
        client.publish(&record(KEPT, 100_000), 16);
        let kind = if call == "transact" { PipeErrorKind::Busy } else { PipeErrorKind::Corrupt };
        expect(run(&mut end), kind, &format!("{call}, no memory at all"));
    }
    for len in [131_073, 1 << 20, u64::from(u32::MAX)] {
        for (call, run) in CALLS.into_iter().filter(|(call, _)| takes(call)) {
            let (client, mut end, _memory) = with_a_memory(&victim, 100_000);
            announce_next(&client, KEPT, len, len);
            // The limit of the reader comes first.
            let kind = if matches!(call, "read_message" | "read_messages") && len > 1 << 20 {
                PipeErrorKind::MoreData
            } else {
                PipeErrorKind::Corrupt
            };
            expect(run(&mut end), kind, &format!("{call}, {len} bytes in a memory of 131,072"));
        }
    }
    // A good one, to know that the others failed for what they were.
    let (client, end, memory) = with_a_memory(&victim, 100_000);
    rustix::io::pwrite(&memory, &[8; 131_072], 0).unwrap();
    announce_next(&client, KEPT, 131_072, 131_072);
    assert!(end.read_message(131_072).unwrap().unwrap() == [8; 131_072]);
    // Another memory, of the same size, though the first would have done.
    let (client, end, _memory) = with_a_memory(&victim, 100_000);
    send(&client.socket, b"F", &[self::memory(131_072, SEALS).as_fd()]);
    announce_next(&client, ATTACHED, 70_000, 70_000);
    assert!(end.read_message(131_072).unwrap().unwrap() == [0; 70_000]);
    victim.expect_well();
}

/// 4 GiB of which a little or nothing ever comes: nobody waits longer than it said, and no memory is taken for it.
fn never_fills() {
    let victim = Victim::new(PipeMode::Message, QUOTA);
    let read: Call = |end| end.read_message(usize::MAX).map(drop);
    let read_to: Call = |end| end.read_message_to(&mut Vec::new(), usize::MAX).map(drop);
    for filled in [0, 1, 65_537] {
        for (call, run) in
            CALLS.into_iter().chain([("read_message, any", read), ("read_message_to", read_to)])
        {
            let (client, mut end) = victim.attack_linked();
            send(&client.socket, b"F", &[memory(1 << 32, SEALS).as_fd()]);
            client.map.set(word::IN_FILLED, filled);
            client.publish(&record(ATTACHED, u64::from(u32::MAX)), 16);
            match (call, run(&mut end)) {
                ("peek", outcome) => outcome.unwrap(),
                (_, outcome) => expect(outcome, PipeErrorKind::TimedOut, &format!("{call}, {filled}")),
            }
            let seen = end.peek(&mut [0; 9]).unwrap();
            assert_eq!((seen.copied, seen.available, seen.message_left), (0, 0, None), "it is not there");
            // A writer that dies in the middle leaves the end of the pipe.
            drop(client);
            end.set_read_timeout(None).unwrap();
            assert_eq!(end.read_message(9).unwrap(), None, "{call}, {filled}");
        }
    }
    victim.expect_well();
}

fn lies_of_what_is_there() {
    let victim = Victim::new(PipeMode::Message, QUOTA);
    for (first, then) in [(100_001, 0), (u64::MAX, 0), (50_000, 49_999), (50_000, 1 << 40)] {
        for (call, run) in CALLS.into_iter().filter(|(call, _)| *call != "transact") {
            let (client, mut end, _memory) = with_a_memory(&victim, 100_000);
            announce_next(&client, KEPT, 100_000, first);
            let mut outcome = run(&mut end);
            if first == 50_000 {
                match (call, outcome) {
                    ("peek", outcome) => outcome.unwrap(),
                    (_, outcome) => expect(outcome, PipeErrorKind::TimedOut, call),
                }
                client.map.set(word::IN_FILLED, then);
                outcome = run(&mut end);
            }
            expect(outcome, PipeErrorKind::Corrupt, &format!("{call}, {first}, then {then}"));
        }
    }
    // Up and down while it is read.
    let (client, end, _memory) = with_a_memory(&victim, 100_000);
    announce_next(&client, KEPT, 100_000, 0);
    meanwhile(
        |round| client.map.set(word::IN_FILLED, round * 7919 % 100_000),
        || match end.read_message(1 << 20) {
            Ok(read) => panic!("{:?} bytes that never were", read.map(|message| message.len())),
            Err(error) => assert!(is_typed(&error), "{error}"),
        },
    );
    victim.expect_well();
}

/// What is read of a hole is zero, and nobody dies of it.
fn empties_the_memory() {
    let victim = Victim::new(PipeMode::Message, QUOTA);
    let (client, end, memory) = with_a_memory(&victim, 100_000);
    let hole = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
    rustix::fs::fallocate(&memory, hole, 0, 131_072).unwrap();
    announce_next(&client, KEPT, 131_072, 131_072);
    assert!(end.read_message(131_072).unwrap().unwrap() == [0; 131_072]);
    // Its pages are not the reader's once the reader has gone.
    drop(end);
    assert_eq!(rustix::fs::fstat(&memory).unwrap().st_blocks, 0, "the reader gave back what it took");
    victim.expect_well();
}
