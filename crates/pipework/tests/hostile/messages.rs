//! Clients that lie about messages.

use crate::{
    by_clients::meanwhile,
    harness::Case,
    wire::{
        ATTACHED, EPOCH, INLINE, Linked, PAYLOAD, SEALS, Victim, expect, is_typed, memory, record, send, word,
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
        let headers = [record(INLINE, 0), record(INLINE, 100), record(INLINE, 112), record(ATTACHED, 100)];
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

fn announce(client: &Linked, len: u64) {
    client.publish(&record(ATTACHED, len), 16);
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
        ("too small", memory(9_999, SEALS)),
        ("too large", memory(10_001, SEALS)),
        ("not sealed", memory(10_000, SealFlags::empty())),
        ("may shrink", memory(10_000, SealFlags::GROW | SealFlags::SEAL)),
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
    send(&client.socket, b"F", &[memory(10_000, SEALS).as_fd()]);
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
