//! F1 to F4: waiting for the reader, throwing a client out, serving the next one, dropping.

use std::{
    io::{Read, Write},
    thread,
    time::Duration,
};

use pipework::{ClientOptions, NamedPipe, PipeErrorKind};

use super::{
    Case, SHORT, drained_in_time, every, expect, expect_alive, expect_refused, message_pair, pair, pair_with,
    plain,
};
use crate::{
    child::Other,
    harness::{blocked, let_sleep_deepen, unique},
    surface::{OpenSpec, Spec, Surface},
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        every("F1", f1_drain_waits_until_everything_was_read),
        every("F1", f1_drain_waits_for_empty_messages_too),
        every("F1", f1_drain_ends_when_empty_messages_are_skipped),
        every("F1", f1_drain_with_nothing_pending_returns_at_once),
        every("F1", f1_drain_is_broken_when_the_reader_goes_first),
        every("F1", f1_drain_is_broken_when_the_reader_has_gone),
        every("F1", f1_flush_of_an_instance_is_drain),
        plain("F1", f1_flush_of_a_stream_never_waits),
        plain("F1", f1_write_flush_disconnect_loses_nothing),
        every("F2", f2_disconnect_discards_unread_data),
        every("F2", f2_disconnect_ends_the_clients_waits),
        every("F2", f2_disconnect_of_a_client_that_never_spoke),
        every("F3", f3_the_next_client_sees_nothing_of_the_last),
        every("F3", f3_a_read_of_the_last_connection_does_not_take_the_next_ones_data),
        plain("F3", f3_clones_stay_with_their_connection),
        every("F3", f3_one_instance_serves_many_clients),
        every("F4", f4_drop_closes_and_keeps_what_was_written),
        every("F4", f4_drop_with_everything_pending_does_not_block),
        plain("F4", f4_the_end_closes_with_its_last_clone),
        plain("F4", f4_into_stream_keeps_the_connection),
        every("F4", f4_dropping_a_listener_keeps_its_connections),
    ]
}

/// F1: until the other end has read everything.
fn f1_drain_waits_until_everything_was_read(here: &dyn Surface) {
    let there = Other::spawn(here);
    let (server, client) = pair_with(here, &there, &Spec::new(&unique()));
    server.end().write_all(b"0123456789").unwrap();
    thread::scope(|scope| {
        let draining = blocked(scope, || server.end().drain());
        assert_eq!(client.read_exact(9).unwrap(), b"012345678");
        assert!(!draining.is_finished(), "a byte is unread");
        assert_eq!(client.read_exact(1).unwrap(), b"9");
        draining.join().unwrap().unwrap();
    });
    client.write_all(b"x").unwrap();
    thread::scope(|scope| {
        let draining = there.blocked(scope, || client.drain());
        assert_eq!(server.end().read_exact(1).unwrap(), b"x");
        draining.join().unwrap().unwrap();
    });
}

/// F1: messages of length zero included.
fn f1_drain_waits_for_empty_messages_too(here: &dyn Surface) {
    let there = Other::spawn(here);
    let (server, client) = message_pair(here, &there);
    server.end().write_message(b"").unwrap();
    server.end().set_write_timeout(Some(SHORT)).unwrap();
    expect(server.end().drain(), PipeErrorKind::TimedOut);
    assert_eq!(client.read_message(9).unwrap(), Some(Vec::new()));
    server.end().set_write_timeout(None).unwrap();
    server.end().drain().unwrap();
}

/// F1: a byte read that skips an empty message has read it, also if nothing else is there to return.
fn f1_drain_ends_when_empty_messages_are_skipped(here: &dyn Surface) {
    let there = Other::spawn(here);
    let name = unique();
    let server = here.create(&Spec::new(&name).messages()).unwrap();
    let client = there.open(&OpenSpec::new(&name)).unwrap();
    server.connect().unwrap();
    client.set_read_timeout(Some(SHORT)).unwrap();
    server.end().write_message(b"").unwrap();
    thread::scope(|scope| {
        let draining = blocked(scope, || server.end().drain());
        let_sleep_deepen();
        expect(client.read_some(9), PipeErrorKind::TimedOut);
        draining.join().unwrap().unwrap();
    });
    // A reader that waits already skips it as soon as it comes.
    client.set_read_timeout(None).unwrap();
    thread::scope(|scope| {
        let reading = there.blocked(scope, || client.read_some(9));
        server.end().write_message(b"").unwrap();
        server.end().drain().unwrap();
        server.end().write_message(b"x").unwrap();
        assert_eq!(reading.join().unwrap().unwrap(), b"x");
    });
}

/// F1: nothing pending, at once.
fn f1_drain_with_nothing_pending_returns_at_once(here: &dyn Surface) {
    let (server, client) = pair(here, &Spec::new(&unique()));
    server.end().drain().unwrap();
    client.drain().unwrap();
    client.write_all(b"x").unwrap();
    server.end().drain().unwrap();
}

/// F1: the other end goes away first.
fn f1_drain_is_broken_when_the_reader_goes_first(here: &dyn Surface) {
    let outcome = drained_in_time(|| {
        let there = Other::spawn(here);
        let (server, client) = pair_with(here, &there, &Spec::new(&unique()));
        server.end().write_all(b"unread").unwrap();
        thread::scope(|scope| {
            let draining = blocked(scope, || server.end().drain());
            drop(client);
            draining.join().unwrap()
        })
    });
    expect(outcome, PipeErrorKind::Broken);
}

/// F1: went away before.
fn f1_drain_is_broken_when_the_reader_has_gone(here: &dyn Surface) {
    let there = Other::spawn(here);
    let (server, client) = pair_with(here, &there, &Spec::new(&unique()));
    server.end().write_all(b"unread").unwrap();
    drop(client);
    expect(server.end().drain(), PipeErrorKind::Broken);
}

/// F1: flush of an instance waits too.
fn f1_flush_of_an_instance_is_drain(here: &dyn Surface) {
    let there = Other::spawn(here);
    let (server, client) = pair_with(here, &there, &Spec::new(&unique()));
    server.flush().unwrap();
    server.end().write_all(b"x").unwrap();
    thread::scope(|scope| {
        let flushing = blocked(scope, || server.flush());
        assert_eq!(client.read_exact(1).unwrap(), b"x");
        flushing.join().unwrap().unwrap();
    });
}

/// F1: flush of a stream does nothing by contract, or buffered writers would deadlock.
fn f1_flush_of_a_stream_never_waits() {
    let name = unique();
    let server = NamedPipe::new(&name).unwrap();
    let mut client = pipework::connect(&name).unwrap();
    server.connect().unwrap();
    client.write_all(b"unread").unwrap();
    client.flush().unwrap();
    server.stream().write_all(b"unread").unwrap();
    server.stream().flush().unwrap();
}

/// F1: the idiom of programs that serve one request after another.
fn f1_write_flush_disconnect_loses_nothing() {
    let name = unique();
    let mut server = NamedPipe::new(&name).unwrap();
    thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut client = pipework::connect(&name).unwrap();
            let mut data = vec![0; 200_000];
            client.read_exact(&mut data).unwrap();
            data
        });
        server.connect().unwrap();
        server.write_all(&[9; 200_000]).unwrap();
        server.flush().unwrap();
        server.disconnect().unwrap();
        assert_eq!(reading.join().unwrap(), vec![9; 200_000]);
    });
}

/// F2: later reads and writes of the client are not connected; what it had not read is gone.
fn f2_disconnect_discards_unread_data(here: &dyn Surface) {
    let there = Other::spawn(here);
    let (server, client) = message_pair(here, &there);
    expect_alive(client.as_ref(), server.end());
    server.end().write_message(b"never read").unwrap();
    server.disconnect().unwrap();
    for _ in 0..2 {
        expect(client.read_some(9), PipeErrorKind::NotConnected);
        expect(client.read_message(9), PipeErrorKind::NotConnected);
        expect(client.write(b"x"), PipeErrorKind::NotConnected);
    }
    expect(client.peek(9), PipeErrorKind::NotConnected);
    expect(client.drain(), PipeErrorKind::NotConnected);
    assert_eq!(PipeErrorKind::NotConnected.code(), 233);
}

/// F2: pending ones too.
fn f2_disconnect_ends_the_clients_waits(here: &dyn Surface) {
    let there = Other::spawn(here);
    let (server, client) = pair_with(here, &there, &Spec::new(&unique()).quota(10));
    expect_alive(client.as_ref(), server.end());
    thread::scope(|scope| {
        let reading = there.blocked(scope, || client.read_some(1));
        let writing = there.blocked(scope, || client.write_all(&[0; 3 << 20]));
        server.disconnect().unwrap();
        expect(reading.join().unwrap(), PipeErrorKind::NotConnected);
        expect(writing.join().unwrap(), PipeErrorKind::NotConnected);
    });
}

/// F2: also before the first byte went either way.
fn f2_disconnect_of_a_client_that_never_spoke(here: &dyn Surface) {
    let there = Other::spawn(here);
    let (server, client) = pair_with(here, &there, &Spec::new(&unique()));
    server.disconnect().unwrap();
    expect(client.read_some(1), PipeErrorKind::NotConnected);
    expect(client.write(b"x"), PipeErrorKind::NotConnected);
}

/// F3: neither its data nor its errors.
fn f3_the_next_client_sees_nothing_of_the_last(here: &dyn Surface) {
    let name = unique();
    let there = Other::spawn(here);
    let (server, first) = pair_with(here, &there, &Spec::new(&name));
    first.write_all(b"from the first").unwrap();
    server.end().write_all(b"to the first").unwrap();
    assert_eq!(server.end().read_exact(4).unwrap(), b"from");
    server.disconnect().unwrap();
    expect(server.connect_timeout(Duration::ZERO), PipeErrorKind::TimedOut);
    let second = there.open(&OpenSpec::new(&name)).unwrap();
    server.connect().unwrap();
    assert_eq!(server.end().peek(99).unwrap().available, 0);
    assert_eq!(second.peek(99).unwrap().available, 0);
    expect_alive(second.as_ref(), server.end());
    expect(first.read_some(1), PipeErrorKind::NotConnected);
    drop(first);
    expect_alive(second.as_ref(), server.end());
}

/// F3: a completion of the earlier connection is not one of the next.
fn f3_a_read_of_the_last_connection_does_not_take_the_next_ones_data(here: &dyn Surface) {
    let name = unique();
    let (server, _first) = pair(here, &Spec::new(&name));
    thread::scope(|scope| {
        let reading = blocked(scope, || server.end().read_some(9));
        server.disconnect().unwrap();
        expect(server.connect_timeout(Duration::ZERO), PipeErrorKind::TimedOut);
        let second = here.open(&OpenSpec::new(&name)).unwrap();
        second.write_all(b"mine").unwrap();
        server.connect().unwrap();
        let fault = reading.join().unwrap().unwrap_err();
        assert!(fault == PipeErrorKind::NotConnected || fault == PipeErrorKind::Broken, "{fault}");
        assert_eq!(server.end().read_exact(4).unwrap(), b"mine");
    });
}

/// F3: a clone made of the stream belongs to the connection it was made in.
fn f3_clones_stay_with_their_connection() {
    let name = unique();
    let server = NamedPipe::new(&name).unwrap();
    let first = pipework::connect(&name).unwrap();
    server.connect().unwrap();
    let mut old = server.stream().try_clone().unwrap();
    server.disconnect().unwrap();
    expect(server.connect_timeout(Duration::ZERO), PipeErrorKind::TimedOut);
    let mut second = ClientOptions::new().open(&name).unwrap();
    server.connect().unwrap();
    second.write_all(b"new").unwrap();
    expect(old.read(&mut [0; 9]), PipeErrorKind::NotConnected);
    expect(old.write(b"old"), PipeErrorKind::NotConnected);
    drop((old, first));
    let mut data = [0; 3];
    (&server).read_exact(&mut data).unwrap();
    assert_eq!(&data, b"new");
}

/// F3: again and again.
fn f3_one_instance_serves_many_clients(here: &dyn Surface) {
    let name = unique();
    let there = Other::spawn(here);
    let server = here.create(&Spec::new(&name).max(1)).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..50_u8 {
                let client = there.connect(&OpenSpec::new(&name)).unwrap();
                client.write_all(&[number]).unwrap();
                assert_eq!(client.read_exact(1).unwrap(), [number + 100]);
            }
        });
        for number in 0..50_u8 {
            server.connect().unwrap();
            assert_eq!(server.end().read_exact(1).unwrap(), [number]);
            server.end().write_all(&[number + 100]).unwrap();
            assert_eq!(server.end().read_some(1).unwrap(), b"", "the client has left");
            server.disconnect().unwrap();
        }
    });
}

/// F4: a drop closes, it does not disconnect.
fn f4_drop_closes_and_keeps_what_was_written(here: &dyn Surface) {
    let there = Other::spawn(here);
    let (server, client) = message_pair(here, &there);
    server.end().write_message(b"kept").unwrap();
    drop(server);
    assert_eq!(client.read_message(9).unwrap(), Some(b"kept".to_vec()));
    assert_eq!(client.read_message(9).unwrap(), None);
}

/// F4: unread data at both ends, a listening instance, a client that nobody has accepted.
fn f4_drop_with_everything_pending_does_not_block(here: &dyn Surface) {
    let there = Other::spawn(here);
    let (server, client) = pair_with(here, &there, &Spec::new(&unique()));
    server.end().write_all(&[1; 65_536]).unwrap();
    client.write_all(&[2; 65_536]).unwrap();
    drop(server);
    drop(client);
    let name = unique();
    let listening = here.create(&Spec::new(&name)).unwrap();
    let waiting = there.open(&OpenSpec::new(&name)).unwrap();
    waiting.write_all(b"never read").unwrap();
    drop(listening);
    expect(waiting.write(b"x"), PipeErrorKind::NoData);
    assert_eq!(waiting.read_some(1).unwrap(), b"");
    expect_refused(here.open(&OpenSpec::new(&name)), PipeErrorKind::Absent);
}

/// F4: the end closes with its last handle, in whatever thread.
fn f4_the_end_closes_with_its_last_clone() {
    let name = unique();
    let server = NamedPipe::new(&name).unwrap();
    let mut client = pipework::connect(&name).unwrap();
    server.connect().unwrap();
    let mut clone = client.try_clone().unwrap();
    client.write_all(b"1").unwrap();
    drop(client);
    clone.write_all(b"2").unwrap();
    let mut text = String::new();
    thread::scope(|scope| {
        let reading = blocked(scope, || (&server).read_to_string(&mut text).unwrap());
        drop(clone);
        assert_eq!(reading.join().unwrap(), 2);
    });
    assert_eq!(text, "12");
}

/// F4: giving up reuse keeps the connected end; the name goes with the instance.
fn f4_into_stream_keeps_the_connection() {
    let name = unique();
    let server = NamedPipe::new(&name).unwrap();
    let mut client = pipework::connect(&name).unwrap();
    server.connect().unwrap();
    let mut stream = server.into_stream();
    client.write_all(b"x").unwrap();
    stream.read_exact(&mut [0; 1]).unwrap();
    expect(ClientOptions::new().open(&name), PipeErrorKind::Busy);
    drop(stream);
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
    expect(ClientOptions::new().open(&name), PipeErrorKind::Absent);
}

/// F4: accepted ends live on, and keep the name.
fn f4_dropping_a_listener_keeps_its_connections(here: &dyn Surface) {
    let name = unique();
    let there = Other::spawn(here);
    let listener = here.listen(&Spec::new(&name)).unwrap();
    let client = there.open(&OpenSpec::new(&name)).unwrap();
    let server = listener.accept().unwrap();
    drop(listener);
    expect_alive(client.as_ref(), server.as_ref());
    expect_refused(there.open(&OpenSpec::new(&name)), PipeErrorKind::Busy);
    drop(server);
    expect_refused(there.open(&OpenSpec::new(&name)), PipeErrorKind::Absent);
}
