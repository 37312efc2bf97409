//! T2: a call can be ended from another thread, and what had been transferred is reported.

use std::{
    io::{IoSlice, Read, Write},
    thread,
};

use pipework::{
    Canceller, ClientOptions, Listener, MessageBatch, NamedPipe, NamedPipeBuilder, PipeErrorKind, PipeMode,
    PipeStream,
};

use super::{Case, HOUR, SHORT, expect, expect_same, pattern, plain};
use crate::{
    harness::{blocked, unique},
    surface::Fault,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        plain("T2", t2_reading_can_be_cancelled),
        plain("T2", t2_writing_can_be_cancelled_and_reports_what_was_written),
        plain("T2", t2_writing_a_message_can_be_cancelled),
        plain("T2", t2_a_batch_can_be_cancelled_and_reports_what_was_written),
        plain("T2", t2_draining_can_be_cancelled),
        plain("T2", t2_transact_can_be_cancelled),
        plain("T2", t2_connecting_an_instance_can_be_cancelled),
        plain("T2", t2_accepting_can_be_cancelled),
        plain("T2", t2_incoming_ends_once_cancelled),
        plain("T2", t2_opening_can_be_cancelled),
        plain("T2", t2_one_canceller_ends_every_wait),
        plain("T2", t2_a_used_canceller_stays_used),
        plain("T2", t2_what_need_not_wait_still_works),
        plain("T2", t2_accepted_streams_inherit_the_canceller),
        plain("T2", t2_a_canceller_can_be_taken_away),
        plain("T2", t2_aborted_is_never_retried_by_write_all),
    ]
}

fn stream_pair(builder: &mut NamedPipeBuilder, name: &str) -> (NamedPipe, PipeStream) {
    let server = builder.create().unwrap();
    let client = ClientOptions::new().open(name).unwrap();
    server.connect().unwrap();
    (server, client)
}

fn byte_pair() -> (NamedPipe, PipeStream) {
    let name = unique();
    stream_pair(NamedPipeBuilder::new(&name).in_buffer_size(100).out_buffer_size(100), &name)
}

fn message_pair() -> (NamedPipe, PipeStream) {
    let name = unique();
    let pair = stream_pair(
        NamedPipeBuilder::new(&name).pipe_mode(PipeMode::Message).in_buffer_size(100).out_buffer_size(100),
        &name,
    );
    pair.1.set_read_mode(PipeMode::Message).unwrap();
    pair
}

/// Runs a call that waits, uses the canceller, and returns what came of it.
fn cancelled<T: Send>(canceller: &Canceller, call: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let waiting = blocked(scope, call);
        canceller.cancel();
        waiting.join().unwrap()
    })
}

#[track_caller]
fn expect_aborted<T>(result: std::io::Result<T>) {
    let fault = expect(result.map(drop), PipeErrorKind::Aborted);
    assert_eq!(fault.io_kind, "ConnectionAborted");
}

/// T2: from either end, and the pipe stays usable without the canceller.
fn t2_reading_can_be_cancelled() {
    let (server, client) = byte_pair();
    for (one, other) in [(server.stream(), &client), (&client, server.stream())] {
        let canceller = Canceller::new().unwrap();
        one.set_canceller(Some(&canceller));
        expect_aborted(cancelled(&canceller, || (&mut &*one).read(&mut [0; 9])));
        one.set_canceller(None);
        (&mut &*other).write_all(b"x").unwrap();
        assert_eq!((&mut &*one).read(&mut [0; 9]).unwrap(), 1);
    }
    let (server, client) = message_pair();
    let canceller = Canceller::new().unwrap();
    client.set_canceller(Some(&canceller));
    expect_aborted(cancelled(&canceller, || client.read_message(9)));
    expect_aborted(client.read_message_into(&mut [0; 9]));
    server.stream().write_message(b"x").unwrap();
    assert_eq!(client.read_message(9).unwrap(), Some(b"x".to_vec()));
}

/// T2: bytes that had been transferred are reported, not lost.
fn t2_writing_can_be_cancelled_and_reports_what_was_written() {
    let (server, mut client) = byte_pair();
    let canceller = Canceller::new().unwrap();
    client.set_canceller(Some(&canceller));
    let data = pattern(1, 3 << 20);
    let written = match cancelled(&canceller, || client.write(&data)) {
        Ok(count) => count,
        Err(error) => {
            expect(Err::<(), _>(error), PipeErrorKind::Aborted);
            0
        }
    };
    drop(client);
    let mut arrived = Vec::new();
    (&server).read_to_end(&mut arrived).unwrap();
    expect_same(&arrived, &data[..written]);
}

/// T2: all of a message or nothing.
fn t2_writing_a_message_can_be_cancelled() {
    let (server, client) = message_pair();
    let canceller = Canceller::new().unwrap();
    client.set_canceller(Some(&canceller));
    let message = pattern(2, 5000);
    let result = cancelled(&canceller, || client.write_message(&message));
    drop(client);
    match result {
        Ok(()) => expect_same(&server.stream().read_message(5000).unwrap().unwrap(), &message),
        Err(error) => expect_aborted(Err::<(), _>(error)),
    }
    assert_eq!(server.stream().read_message(5000).unwrap(), None);
}

/// T2: the messages before the one that waits are reported.
fn t2_a_batch_can_be_cancelled_and_reports_what_was_written() {
    let (server, client) = message_pair();
    let canceller = Canceller::new().unwrap();
    client.set_canceller(Some(&canceller));
    let messages = [[b'm'; 40]; 5];
    let slices = messages.each_ref().map(|message| IoSlice::new(message));
    assert_eq!(cancelled(&canceller, || client.write_messages(&slices)).unwrap(), 2);
    expect_aborted(client.write_messages(&slices));
    let mut batch = MessageBatch::new(9, 999);
    expect_aborted(client.read_messages(&mut batch));
    server.stream().set_read_timeout(Some(SHORT)).unwrap();
    assert_eq!(server.stream().read_messages(&mut batch).unwrap(), 2);
    expect(server.stream().read_messages(&mut batch), PipeErrorKind::TimedOut);
    assert!(batch.is_empty());
    server.stream().write_messages(&slices[..1]).unwrap();
    assert_eq!(client.read_messages(&mut batch).unwrap(), 1);
}

/// T2: drain, and flush of an instance.
fn t2_draining_can_be_cancelled() {
    let (mut server, mut client) = byte_pair();
    let canceller = Canceller::new().unwrap();
    server.stream().set_canceller(Some(&canceller));
    server.write_all(b"unread").unwrap();
    expect_aborted(cancelled(&canceller, || server.stream().drain()));
    expect_aborted(server.flush());
    client.read_exact(&mut [0; 6]).unwrap();
    server.flush().unwrap();
}

/// T2: the request was sent.
fn t2_transact_can_be_cancelled() {
    let (server, client) = message_pair();
    let canceller = Canceller::new().unwrap();
    client.set_canceller(Some(&canceller));
    expect_aborted(cancelled(&canceller, || client.transact(b"question", 9)));
    assert_eq!(server.stream().read_message(9).unwrap(), Some(b"question".to_vec()));
}

/// T2: the instance goes on listening.
fn t2_connecting_an_instance_can_be_cancelled() {
    let name = unique();
    let server = NamedPipe::new(&name).unwrap();
    let canceller = Canceller::new().unwrap();
    server.stream().set_canceller(Some(&canceller));
    expect_aborted(cancelled(&canceller, || server.connect()));
    expect_aborted(server.connect_timeout(HOUR));
    let _client = ClientOptions::new().open(&name).unwrap();
    server.connect().unwrap();
}

/// T2: several threads that accept end together, and the listener goes on without the canceller.
fn t2_accepting_can_be_cancelled() {
    let name = unique();
    let listener = Listener::bind(&name).unwrap();
    let canceller = Canceller::new().unwrap();
    listener.set_canceller(Some(&canceller));
    thread::scope(|scope| {
        let accepting = [
            blocked(scope, || listener.accept()),
            blocked(scope, || listener.accept_timeout(HOUR)),
            blocked(scope, || listener.accept()),
        ];
        canceller.cancel();
        for thread in accepting {
            expect_aborted(thread.join().unwrap());
        }
    });
    listener.set_canceller(None);
    let _client = ClientOptions::new().open(&name).unwrap();
    listener.accept().unwrap();
}

/// T2: `None`, and again `None`.
fn t2_incoming_ends_once_cancelled() {
    let name = unique();
    let listener = Listener::bind(&name).unwrap();
    let canceller = Canceller::new().unwrap();
    listener.set_canceller(Some(&canceller));
    let mut incoming = listener.incoming();
    let client = ClientOptions::new().open(&name).unwrap();
    drop(incoming.next().unwrap().unwrap());
    drop(client);
    assert!(cancelled(&canceller, || incoming.next()).is_none());
    assert!(incoming.next().is_none());
    assert_eq!((&listener).into_iter().count(), 0, "nor does a new one begin");
}

/// T2: while busy and while absent.
fn t2_opening_can_be_cancelled() {
    let name = unique();
    let server = NamedPipe::new(&name).unwrap();
    let first = ClientOptions::new().open(&name).unwrap();
    server.connect().unwrap();
    for (address, absent) in [(name, false), (unique(), true)] {
        let canceller = Canceller::new().unwrap();
        let mut options = ClientOptions::new();
        options.timeout(HOUR).wait_absent(absent).canceller(&canceller);
        expect_aborted(cancelled(&canceller, || options.connect(&address)));
        expect_aborted(options.connect(&address));
    }
    drop(first);
}

/// T2: one for Ctrl-C.
fn t2_one_canceller_ends_every_wait() {
    let canceller = Canceller::new().unwrap();
    let pairs: Vec<_> = (0..5).map(|_| byte_pair()).collect();
    let listener = Listener::bind(unique()).unwrap();
    listener.set_canceller(Some(&canceller));
    for (server, client) in &pairs {
        server.stream().set_canceller(Some(&canceller));
        client.set_canceller(Some(&canceller.clone()));
    }
    thread::scope(|scope| {
        let accepting = blocked(scope, || listener.accept());
        let ends = pairs.iter().flat_map(|(server, client)| [server.stream(), client]);
        let reading: Vec<_> =
            ends.map(|end| blocked(scope, move || (&mut &*end).read(&mut [0; 9]))).collect();
        assert!(!canceller.is_cancelled());
        canceller.cancel();
        expect_aborted(accepting.join().unwrap());
        for thread in reading {
            expect_aborted(thread.join().unwrap());
        }
    });
}

/// T2: a call that would wait is aborted at once, as is one on an end that gets the canceller later.
fn t2_a_used_canceller_stays_used() {
    let canceller = Canceller::new().unwrap();
    canceller.cancel();
    canceller.cancel();
    assert!(canceller.is_cancelled() && canceller.clone().is_cancelled());
    let (_server, mut client) = byte_pair();
    client.set_canceller(Some(&canceller));
    for _ in 0..3 {
        expect_aborted(client.read(&mut [0; 9]));
    }
    assert!(!Canceller::new().unwrap().is_cancelled());
}

/// T2: a call that need not wait still works.
fn t2_what_need_not_wait_still_works() {
    let name = unique();
    let canceller = Canceller::new().unwrap();
    canceller.cancel();
    let listener = Listener::bind(&name).unwrap();
    listener.set_canceller(Some(&canceller));
    let mut client = ClientOptions::new().canceller(&canceller).connect(&name).unwrap();
    client.write_all(b"there").unwrap();
    let mut server = listener.accept().unwrap();
    let mut data = [0; 9];
    assert_eq!(server.read(&mut data).unwrap(), 5);
    client.drain().unwrap();
    expect_aborted(server.read(&mut data));
    drop(client);
    assert_eq!(server.read(&mut data).unwrap(), 0);
}

/// T2: and so do streams opened with it.
fn t2_accepted_streams_inherit_the_canceller() {
    let name = unique();
    let canceller = Canceller::new().unwrap();
    let listener = Listener::bind(&name).unwrap();
    listener.set_canceller(Some(&canceller));
    let mut client = ClientOptions::new().canceller(&canceller).connect(&name).unwrap();
    let mut server = listener.accept().unwrap();
    thread::scope(|scope| {
        let at_client = blocked(scope, || client.read(&mut [0; 9]));
        let at_server = blocked(scope, || server.read(&mut [0; 9]));
        canceller.cancel();
        expect_aborted(at_client.join().unwrap());
        expect_aborted(at_server.join().unwrap());
    });
}

/// T2: clones share the canceller, and `None` takes it away from all of them.
fn t2_a_canceller_can_be_taken_away() {
    let (server, mut client) = byte_pair();
    let mut clone = client.try_clone().unwrap();
    let canceller = Canceller::new().unwrap();
    canceller.cancel();
    client.set_canceller(Some(&canceller));
    expect_aborted(clone.read(&mut [0; 9]));
    clone.set_canceller(None);
    thread::scope(|scope| {
        let reading = blocked(scope, || client.read(&mut [0; 9]));
        (&server).write_all(b"x").unwrap();
        assert_eq!(reading.join().unwrap().unwrap(), 1);
    });
}

/// T2: aborted is not `Interrupted`, which `write_all` and `read_exact` would retry for ever.
fn t2_aborted_is_never_retried_by_write_all() {
    let (_server, mut client) = byte_pair();
    let canceller = Canceller::new().unwrap();
    client.set_canceller(Some(&canceller));
    let result = cancelled(&canceller, || client.write_all(&pattern(3, 3 << 20)));
    expect_aborted(result);
    let fault = Fault::from(client.read_exact(&mut [0; 9]).unwrap_err());
    assert!(fault == PipeErrorKind::Aborted, "{fault}");
}
