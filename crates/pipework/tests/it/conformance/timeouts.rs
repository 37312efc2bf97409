//! T1: every call that waits has a form with a deadline, and after it the pipe is usable.

use std::{
    thread,
    time::{Duration, Instant},
};

use pipework::{NamedPipe, PipeErrorKind};

use super::{
    Case, HOUR, SHORT, every, expect, expect_alive, expect_refused, expect_same, long, message_pair, pair,
    pair_with, pattern, plain,
};
use crate::{
    child::Other,
    harness::{unique, wait_until},
    surface::{End, OpenSpec, Outcome, Spec, Surface},
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        every("T1", t1_accepting_times_out),
        every("T1", t1_connecting_an_instance_times_out),
        every("T1", t1_opening_times_out_while_busy),
        every("T1", t1_opening_times_out_while_absent),
        every("T1", t1_a_zero_timeout_is_one_attempt),
        every("T1", t1_reading_times_out),
        every("T1", t1_reading_messages_times_out),
        long(every("T1", t1_writing_times_out_with_exactly_what_was_written)),
        every("T1", t1_writing_a_message_times_out_with_nothing_written),
        every("T1", t1_draining_times_out),
        every("T1", t1_transact_times_out),
        every("T1", t1_transact_has_one_deadline),
        every("T1", t1_a_racing_reader_gets_exactly_what_timed_writes_say),
        every("T1", t1_a_timeout_of_zero_is_invalid),
        every("T1", t1_no_timeout_waits),
        plain("T1", t1_timeouts_can_be_read_and_are_shared_by_clones),
    ]
}

#[track_caller]
fn expect_timeout<T>(result: Outcome<T>) {
    let fault = expect_refused(result, PipeErrorKind::TimedOut);
    assert_eq!(fault.io_kind, "TimedOut");
}

/// T1: the listener goes on.
fn t1_accepting_times_out(here: &dyn Surface) {
    let name = unique();
    let listener = here.listen(&Spec::new(&name)).unwrap();
    expect_timeout(listener.accept_timeout(SHORT));
    let client = here.open(&OpenSpec::new(&name)).unwrap();
    let server = listener.accept_timeout(HOUR).unwrap();
    expect_alive(client.as_ref(), server.as_ref());
}

/// T1: the instance goes on listening.
fn t1_connecting_an_instance_times_out(here: &dyn Surface) {
    let name = unique();
    let server = here.create(&Spec::new(&name)).unwrap();
    expect_timeout(server.connect_timeout(SHORT));
    let client = here.open(&OpenSpec::new(&name)).unwrap();
    server.connect_timeout(Duration::MAX).unwrap();
    expect_alive(client.as_ref(), server.end());
}

/// T1: all attempts together.
fn t1_opening_times_out_while_busy(here: &dyn Surface) {
    let name = unique();
    let (server, client) = pair(here, &Spec::new(&name));
    expect_timeout(here.connect(&OpenSpec::new(&name).timeout(SHORT)));
    expect_alive(client.as_ref(), server.end());
}

/// T1: where waiting for a name was asked for.
fn t1_opening_times_out_while_absent(here: &dyn Surface) {
    expect_timeout(here.connect(&OpenSpec::new(&unique()).timeout(SHORT).wait_absent()));
}

/// T1: in connect and accept.
fn t1_a_zero_timeout_is_one_attempt(here: &dyn Surface) {
    let name = unique();
    let zero = OpenSpec::new(&name).timeout(Duration::ZERO);
    let server = here.create(&Spec::new(&name)).unwrap();
    expect_timeout(server.connect_timeout(Duration::ZERO));
    let _client = here.connect(&zero).unwrap();
    server.connect_timeout(Duration::ZERO).unwrap();
    expect_timeout(here.connect(&zero));
    expect_refused(here.connect(&OpenSpec::new(&unique()).timeout(Duration::ZERO)), PipeErrorKind::Absent);
    let name = unique();
    let listener = here.listen(&Spec::new(&name)).unwrap();
    expect_timeout(listener.accept_timeout(Duration::ZERO));
    let _client = here.open(&OpenSpec::new(&name)).unwrap();
    drop(listener.accept_timeout(Duration::ZERO).unwrap());
}

/// T1: reading bytes, from either end.
fn t1_reading_times_out(here: &dyn Surface) {
    let there = Other::spawn(here);
    let (server, client) = pair_with(here, &there, &Spec::new(&unique()));
    for (one, other) in [(server.end(), client.as_ref()), (client.as_ref(), server.end())] {
        one.set_read_timeout(Some(SHORT)).unwrap();
        expect_timeout(one.read_some(9));
        expect_timeout(one.read_some(9));
        other.write_all(b"x").unwrap();
        assert_eq!(one.read_some(9).unwrap(), b"x");
        one.set_read_timeout(None).unwrap();
    }
    expect_alive(client.as_ref(), server.end());
}

/// T1: reading messages.
fn t1_reading_messages_times_out(here: &dyn Surface) {
    let there = Other::spawn(here);
    let (server, client) = message_pair(here, &there);
    client.set_read_timeout(Some(SHORT)).unwrap();
    expect_timeout(client.read_message(9));
    expect_timeout(client.read_message_into(&mut [0; 9]));
    expect_timeout(client.read_some(9));
    server.end().write_message(b"x").unwrap();
    assert_eq!(client.read_message(9).unwrap(), Some(b"x".to_vec()));
}

/// T1: `Ok(n)` and exactly n bytes become readable, or an error and none.
fn t1_writing_times_out_with_exactly_what_was_written(here: &dyn Surface) {
    let there = Other::spawn(here);
    for (quota, len) in [(100, 50), (100, 150), (0, 10), (4096, 3 << 20)] {
        let (server, client) = pair_with(here, &there, &Spec::new(&unique()).quota(quota));
        let data = pattern(1, len);
        let mut sent = Vec::new();
        client.set_write_timeout(Some(SHORT)).unwrap();
        for _ in 0..3 {
            match client.write(&data) {
                Ok(count) => sent.extend_from_slice(&data[..count]),
                Err(fault) => assert!(fault == PipeErrorKind::TimedOut, "{fault}"),
            }
        }
        assert_eq!(server.end().peek(0).unwrap().available, sent.len());
        expect_same(&server.end().read_exact(sent.len()).unwrap(), &sent);
        server.end().set_read_timeout(Some(SHORT)).unwrap();
        expect_timeout(server.end().read_some(9));
        server.end().set_read_timeout(None).unwrap();
        if quota > 0 {
            expect_alive(client.as_ref(), server.end());
        }
    }
}

/// T1: a message is all or nothing, whatever its size.
fn t1_writing_a_message_times_out_with_nothing_written(here: &dyn Surface) {
    let there = Other::spawn(here);
    let spec = Spec::new(&unique()).messages().quota(1000);
    let (server, client) = pair_with(here, &there, &spec);
    client.set_write_timeout(Some(SHORT)).unwrap();
    let mut sent = Vec::new();
    for (seed, len) in (0..).zip([900, 900, 900, 5000, 3 << 20, 1]) {
        let message = pattern(seed, len);
        match client.write_message(&message) {
            Ok(()) => sent.push(message),
            Err(fault) => assert!(fault == PipeErrorKind::TimedOut, "{fault}"),
        }
    }
    assert!(sent.len() < 6, "at most one of them may be beyond the quota");
    for message in sent {
        expect_same(&server.end().read_message(message.len()).unwrap().unwrap(), &message);
    }
    assert_eq!(server.end().peek(9).unwrap().message_left, None);
    expect_alive(client.as_ref(), server.end());
}

/// T1: drain.
fn t1_draining_times_out(here: &dyn Surface) {
    let there = Other::spawn(here);
    let (server, client) = pair_with(here, &there, &Spec::new(&unique()));
    client.set_write_timeout(Some(SHORT)).unwrap();
    client.write_all(b"x").unwrap();
    expect_timeout(client.drain());
    assert_eq!(server.end().read_exact(1).unwrap(), b"x");
    client.set_write_timeout(None).unwrap();
    client.drain().unwrap();
    server.end().set_write_timeout(Some(SHORT)).unwrap();
    server.end().write_all(b"y").unwrap();
    expect_timeout(server.flush());
    assert_eq!(client.read_exact(1).unwrap(), b"y");
}

/// T1: the request was sent; its reply is read later.
fn t1_transact_times_out(here: &dyn Surface) {
    let there = Other::spawn(here);
    let (server, client) = message_pair(here, &there);
    client.set_read_timeout(Some(SHORT)).unwrap();
    expect_timeout(client.transact(b"question", 99));
    assert_eq!(server.end().read_message(99).unwrap(), Some(b"question".to_vec()));
    server.end().write_message(b"answer").unwrap();
    assert_eq!(client.read_message(99).unwrap(), Some(b"answer".to_vec()));
}

/// T1: the request and the reply have it together. A server that reads late, and answers after the deadline, is too late;
/// one that never reads is no longer waited for.
fn t1_transact_has_one_deadline(here: &dyn Surface) {
    const LIMIT: Duration = Duration::from_millis(400);
    let there = Other::spawn(here);
    for reads in [true, false] {
        let spec = Spec::new(&unique()).messages().quota(100);
        let (server, client) = pair_with(here, &there, &spec);
        client.set_read_timeout(Some(LIMIT)).unwrap();
        // The request waits for the reader of this one.
        client.write_message(&[1; 90]).unwrap();
        thread::scope(|scope| {
            let asking = there.blocked(scope, || client.transact(&[2; 90], 99));
            let begun = Instant::now();
            if reads {
                wait_until(|| begun.elapsed() > LIMIT * 3 / 4);
                assert_eq!(server.end().read_message(99).unwrap(), Some(vec![1; 90]));
                wait_until(|| begun.elapsed() > LIMIT * 5 / 4);
                server.end().write_message(b"too late").unwrap();
            }
            expect_timeout(asking.join().unwrap());
        });
    }
}

/// T1: also while somebody reads at the same time: the sum of what the writes say is what arrives.
fn t1_a_racing_reader_gets_exactly_what_timed_writes_say(here: &dyn Surface) {
    let (server, client) = pair(here, &Spec::new(&unique()).quota(64));
    client.set_write_timeout(Some(Duration::from_micros(200))).unwrap();
    thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut data = Vec::new();
            // Now faster and now slower than the writer's limit.
            for pause in [0, 100, 1500, 30, 700, 0, 2500, 20].into_iter().cycle() {
                match server.end().read_some(37).unwrap() {
                    part if part.is_empty() => break,
                    part => data.extend(part),
                }
                let start = Instant::now();
                wait_until(|| start.elapsed() >= Duration::from_micros(pause));
            }
            data
        });
        let mut sent = Vec::new();
        for seed in 0..=255 {
            let data = pattern(seed, 1000);
            match client.write(&data) {
                Ok(count) => sent.extend_from_slice(&data[..count]),
                Err(fault) => assert!(fault == PipeErrorKind::TimedOut, "{fault}"),
            }
        }
        assert!(sent.len() < 256 * 1000, "the limit ended some of them");
        drop(client);
        expect_same(&reading.join().unwrap(), &sent);
    });
}

/// T1: as in std: a limit of zero would be no limit to some and none at all to others.
fn t1_a_timeout_of_zero_is_invalid(here: &dyn Surface) {
    let (server, client) = pair(here, &Spec::new(&unique()));
    expect(client.set_read_timeout(Some(Duration::ZERO)), PipeErrorKind::Invalid);
    let fault = expect(client.set_write_timeout(Some(Duration::ZERO)), PipeErrorKind::Invalid);
    assert_eq!(fault.io_kind, "InvalidInput");
    expect_alive(client.as_ref(), server.end());
}

/// T1: a limit that was taken away, or is beyond every clock, is none.
fn t1_no_timeout_waits(here: &dyn Surface) {
    let there = Other::spawn(here);
    let (server, client) = pair_with(here, &there, &Spec::new(&unique()));
    for timeout in [None, Some(Duration::MAX), Some(HOUR)] {
        client.set_read_timeout(Some(SHORT)).unwrap();
        client.set_read_timeout(timeout).unwrap();
        thread::scope(|scope| {
            let reading = there.blocked(scope, || client.read_exact(1).unwrap());
            server.end().write_all(b"x").unwrap();
            assert_eq!(reading.join().unwrap(), b"x");
        });
    }
}

/// T1: clones of an end share its limits.
fn t1_timeouts_can_be_read_and_are_shared_by_clones() {
    let name = unique();
    let server = NamedPipe::new(&name).unwrap();
    let client = pipework::connect(&name).unwrap();
    server.connect().unwrap();
    let clone = client.try_clone().unwrap();
    assert_eq!((client.read_timeout(), client.write_timeout()), (None, None));
    client.set_read_timeout(Some(SHORT)).unwrap();
    clone.set_write_timeout(Some(HOUR)).unwrap();
    assert_eq!((client.read_timeout(), client.write_timeout()), (Some(SHORT), Some(HOUR)));
    assert_eq!((clone.read_timeout(), clone.write_timeout()), (Some(SHORT), Some(HOUR)));
    expect(End::read(&clone, &mut [0; 9]), PipeErrorKind::TimedOut);
}
