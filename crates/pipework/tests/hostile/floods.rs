//! Clients that do too much of something: the other end's time limits hold all the same.

use crate::{
    by_clients::meanwhile,
    harness::Case,
    wire::{INLINE, PAYLOAD, SHORT, Victim, expect, record, send, try_send, word},
};
use pipework::{PipeErrorKind, PipeMode};
use rustix::net::SendFlags;
use std::{
    io::{Read, Write},
    time::{Duration, Instant},
};

pub(crate) const CASES: &[Case] = &[
    ("client_floods_the_doorbell_of_a_byte_pipe", || floods_the_doorbell(PipeMode::Byte)),
    ("client_floods_the_doorbell_of_a_message_pipe", || floods_the_doorbell(PipeMode::Message)),
    ("client_floods_before_its_hello", floods_before_its_hello),
    ("client_floods_with_empty_messages", floods_with_empty_messages),
    ("client_sends_urgent_bytes", sends_urgent_bytes),
    ("clients_come_and_go", clients_come_and_go),
];

const QUOTA: u32 = 8192;

fn floods_the_doorbell(mode: PipeMode) {
    let victim = Victim::new(mode, QUOTA);
    let (client, mut end) = victim.attack_linked();
    // As fast as the socket takes it, from two threads.
    let flood = |_| {
        // A full socket, and one that was shut down, are both fine.
        let _full = try_send(&client.socket, &[b'.'; 30_000], &[], SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    };
    meanwhile(flood, || {
        meanwhile(flood, || {
            let begun = Instant::now();
            for _ in 0..3 {
                expect(end.read(&mut [0; 8]), PipeErrorKind::TimedOut, "bells are no bytes");
            }
            // A time limit that holds only when the flood ends is none; a busy machine is a few times slower.
            assert!(begun.elapsed() < SHORT * 50, "three reads took {:?}", begun.elapsed());
            assert_eq!(end.write(&[1; 100]).unwrap(), 100);
            expect(end.drain(), PipeErrorKind::TimedOut, "nothing was read");
            victim.expect_well();
        });
    });
}

fn floods_before_its_hello() {
    let victim = Victim::new(PipeMode::Byte, QUOTA);
    let (raw, mut end) = victim.attack();
    let flood = |_| {
        let _full = try_send(&raw.socket, &[b'.'; 30_000], &[], SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    };
    meanwhile(flood, || {
        let error = end.read(&mut [0; 8]).unwrap_err();
        assert!(error == PipeErrorKind::Corrupt || error == PipeErrorKind::TimedOut, "{error}");
        victim.expect_well();
    });
}

/// Empty messages are no bytes: a read of bytes that skips them keeps to its time.
fn floods_with_empty_messages() {
    let victim = Victim::new(PipeMode::Message, QUOTA);
    let (client, mut end) = victim.attack_linked();
    let map = &client.map;
    let capacity = client.shape.capacity(QUOTA);
    for index in 0..capacity / 16 {
        map.fill(PAYLOAD + index * 16, &record(INLINE, 0));
    }
    meanwhile(
        |_| {
            // Always full, and the reader is never let sleep.
            for _ in 0..1000 {
                map.set(word::IN_TAIL, map.get(word::IN_HEAD) + capacity as u64);
            }
        },
        || expect(end.read(&mut [0; 8]), PipeErrorKind::TimedOut, "there is not one byte"),
    );
    victim.expect_well();
}

/// Urgent bytes lie beside the stream: they must not keep a waiting end busy.
fn sends_urgent_bytes() {
    for mode in [PipeMode::Byte, PipeMode::Message] {
        let victim = Victim::new(mode, QUOTA);
        let (client, mut end) = victim.attack_linked();
        expect(end.read(&mut [0; 8]), PipeErrorKind::TimedOut, "the hello, and nothing else");
        if try_send(&client.socket, b"!", &[], SendFlags::OOB | SendFlags::NOSIGNAL).is_err() {
            // A kernel without urgent bytes on such sockets.
            continue;
        }
        let wait = Duration::from_millis(600);
        end.set_read_timeout(Some(wait)).unwrap();
        let before = processor_time();
        expect(end.read(&mut [0; 8]), PipeErrorKind::TimedOut, "no byte of the pipe");
        let busy = processor_time() - before;
        assert!(busy < wait / 8, "{mode:?}: {busy:?} of processor time in a wait of {wait:?}");
        client.publish(&if mode == PipeMode::Byte { vec![1; 16] } else { record(INLINE, 0) }, 16);
        send(&client.socket, b".", &[]);
        victim.expect_well();
    }
}

fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap()
}

/// Silent clients take one instance each, and none from anybody else.
fn clients_come_and_go() {
    let victim = Victim::new(PipeMode::Byte, QUOTA);
    let mut silent = Vec::new();
    for round in 0..60 {
        silent.push(victim.attack());
        if round % 2 == 0 {
            drop(victim.connect());
            // It left nothing, so it is nobody.
            expect(
                victim.listener.accept_timeout(Duration::ZERO),
                PipeErrorKind::TimedOut,
                "nobody is there",
            );
        }
    }
    victim.expect_well();
    for (_raw, mut end) in silent {
        end.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        expect(end.read(&mut [0; 8]), PipeErrorKind::TimedOut, "it says nothing");
    }
}
