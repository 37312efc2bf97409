//! Readiness descriptors, for event loops that know nothing of pipes.

use std::{
    io::{self, Read, Write},
    os::fd::{AsRawFd, BorrowedFd},
    thread,
};

use pipework::{
    ClientOptions, Listener, NamedPipe, NamedPipeBuilder, PipeErrorKind, PipeMode, PipeStream,
    os::unix::{ListenerExt, PipeStreamExt},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use super::{Case, expect, expect_same, pattern, plain};
use crate::{
    child::Other,
    harness::{beside_pipes, blocked, unique},
    surface::{Blocking, OpenSpec, Surface as _},
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        plain("readiness", readiness_of_reading),
        plain("readiness", readiness_of_writing),
        plain("readiness", readiness_tells_of_the_end),
        plain("readiness", readiness_tells_of_a_kill),
        plain("readiness", readiness_of_accepting),
        plain("readiness", readiness_of_messages),
        plain("readiness", readiness_wakes_a_poll_that_waits),
        plain("readiness", readiness_moves_much_data),
        plain("readiness", readiness_of_a_plain_socket),
        plain("readiness", readiness_beside_blocking_calls),
    ]
}

fn pair(builder: &mut NamedPipeBuilder, name: &str) -> (PipeStream, PipeStream) {
    let server = builder.create().unwrap();
    let client = ClientOptions::new().open(name).unwrap();
    server.connect().unwrap();
    (server.into_stream(), client)
}

fn byte_pair() -> (PipeStream, PipeStream) {
    let name = unique();
    pair(NamedPipeBuilder::new(&name).in_buffer_size(1000).out_buffer_size(1000), &name)
}

fn is_ready(descriptor: BorrowedFd<'_>) -> bool {
    poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap()
        == 1
}

fn until_ready(descriptor: BorrowedFd<'_>) {
    while poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], None) == Err(Errno::INTR) {}
}

#[track_caller]
fn expect_would_block<T: std::fmt::Debug>(result: io::Result<T>) {
    assert_eq!(result.unwrap_err().kind(), io::ErrorKind::WouldBlock);
}

/// Not ready, ready, not ready again.
fn readiness_of_reading() {
    let (server, mut client) = byte_pair();
    let ready = server.read_ready_fd().unwrap();
    for _ in 0..3 {
        expect_would_block(server.try_read(&mut [0; 9]));
        assert!(!is_ready(ready));
        client.write_all(b"hello").unwrap();
        until_ready(ready);
        assert_eq!(server.try_read(&mut [0; 3]).unwrap(), 3);
        assert_eq!(server.try_read(&mut [0; 3]).unwrap(), 2);
        expect_would_block(server.try_read(&mut [0; 3]));
        assert!(!is_ready(ready));
        assert_eq!(server.read_ready_fd().unwrap().as_raw_fd(), ready.as_raw_fd());
    }
}

/// What fits goes, then it would block until the other end has read.
fn readiness_of_writing() {
    let (mut server, client) = byte_pair();
    let ready = client.write_ready_fd().unwrap();
    for _ in 0..3 {
        let mut sent = 0;
        let full = loop {
            match client.try_write(&[7; 300]) {
                Ok(count) => sent += count,
                Err(error) => break error,
            }
        };
        expect_would_block(Err::<(), _>(full));
        assert!(sent >= 1000, "the quota is 1000 bytes, and {sent} went");
        assert!(!is_ready(ready));
        server.read_exact(&mut vec![0; sent]).unwrap();
        until_ready(ready);
        assert!(client.try_write(b"x").unwrap() == 1);
        server.read_exact(&mut [0; 1]).unwrap();
    }
}

/// The end of the pipe is something to read, and for a writer an error.
fn readiness_tells_of_the_end() {
    let (server, client) = byte_pair();
    let ready = server.read_ready_fd().unwrap();
    expect_would_block(server.try_read(&mut [0; 9]));
    assert!(!is_ready(ready));
    drop(client);
    until_ready(ready);
    assert_eq!(server.try_read(&mut [0; 9]).unwrap(), 0);
    assert!(is_ready(server.read_ready_fd().unwrap()));
    assert!(is_ready(server.write_ready_fd().unwrap()));
    expect(server.try_write(b"x"), PipeErrorKind::NoData);
}

/// B6 for those who poll.
fn readiness_tells_of_a_kill() {
    let name = unique();
    let server = NamedPipe::new(&name).unwrap();
    let there = Other::spawn(&Blocking);
    let client = there.open(&OpenSpec::new(&name)).unwrap();
    server.connect().unwrap();
    expect(server.stream().read_ready_fd(), PipeErrorKind::Unsupported);
    let server = server.into_stream();
    client.write_all(b"last").unwrap();
    let ready = server.read_ready_fd().unwrap();
    until_ready(ready);
    there.kill();
    let mut data = [0; 9];
    assert_eq!(server.try_read(&mut data).unwrap(), 4);
    until_ready(ready);
    assert_eq!(server.try_read(&mut data).unwrap(), 0);
}

/// One descriptor for the listener's life.
fn readiness_of_accepting() {
    let name = unique();
    let listener = Listener::bind(&name).unwrap();
    let ready = listener.ready_fd().unwrap();
    let mut kept = Vec::new();
    for _ in 0..5 {
        expect_would_block(listener.try_accept());
        assert!(!is_ready(ready));
        let client = ClientOptions::new().open(&name).unwrap();
        until_ready(ready);
        kept.push((listener.try_accept().unwrap(), client));
        assert_eq!(listener.ready_fd().unwrap().as_raw_fd(), ready.as_raw_fd());
    }
}

/// A message goes whole or not at all.
fn readiness_of_messages() {
    let name = unique();
    let (server, client) =
        pair(NamedPipeBuilder::new(&name).pipe_mode(PipeMode::Message).in_buffer_size(1000), &name);
    let message = pattern(1, 400);
    let ready = client.write_ready_fd().unwrap();
    let mut sent = 0;
    while client.try_write(&message).map(|count| assert_eq!(count, 400)).is_ok() {
        sent += 1;
    }
    assert!(sent >= 2 && !is_ready(ready), "{sent} went");
    for _ in 0..sent {
        assert_eq!(server.read_message(400).unwrap(), Some(message.clone()));
    }
    until_ready(ready);
    assert_eq!(client.try_write(&message).unwrap(), 400);
}

/// In both directions, for a poll that began before.
fn readiness_wakes_a_poll_that_waits() {
    let (mut server, client) = byte_pair();
    let (readable, writable) = (client.read_ready_fd().unwrap(), client.write_ready_fd().unwrap());
    thread::scope(|scope| {
        expect_would_block(client.try_read(&mut [0; 9]));
        let polling = blocked(scope, || until_ready(readable));
        server.write_all(b"x").unwrap();
        polling.join().unwrap();
        assert_eq!(client.try_read(&mut [0; 9]).unwrap(), 1);
    });
    while client.try_write(&[1; 100]).is_ok() {}
    thread::scope(|scope| {
        let polling = blocked(scope, || until_ready(writable));
        server.set_read_timeout(Some(super::SHORT)).unwrap();
        while server.read(&mut [0; 100]).is_ok() {}
        polling.join().unwrap();
        assert!(client.try_write(b"x").is_ok());
    });
}

/// No wake-up is lost.
fn readiness_moves_much_data() {
    let (server, client) = byte_pair();
    let data = pattern(2, 1 << 20);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut rest = data.as_slice();
            while !rest.is_empty() {
                match client.try_write(rest) {
                    Ok(count) => rest = &rest[count..],
                    Err(_) => until_ready(client.write_ready_fd().unwrap()),
                }
            }
        });
        let (mut arrived, mut part) = (Vec::new(), [0; 700]);
        while arrived.len() < data.len() {
            match server.try_read(&mut part) {
                Ok(count) => arrived.extend_from_slice(&part[..count]),
                Err(_) => until_ready(server.read_ready_fd().unwrap()),
            }
        }
        expect_same(&arrived, &data);
    });
}

/// The same calls.
fn readiness_of_a_plain_socket() {
    let listener = Listener::bind(beside_pipes("ready.sock")).unwrap();
    let ready = listener.ready_fd().unwrap();
    expect_would_block(listener.try_accept());
    assert!(!is_ready(ready));
    let mut client = pipework::connect(beside_pipes("ready.sock")).unwrap();
    until_ready(ready);
    let server = listener.try_accept().unwrap();
    expect_would_block(server.try_read(&mut [0; 9]));
    assert!(!is_ready(server.read_ready_fd().unwrap()));
    client.write_all(b"x").unwrap();
    until_ready(server.read_ready_fd().unwrap());
    assert_eq!(server.try_read(&mut [0; 9]).unwrap(), 1);
    assert_eq!(server.try_write(b"y").unwrap(), 1);
    client.read_exact(&mut [0; 1]).unwrap();
}

/// An end that was polled once can still be used by calls that wait.
fn readiness_beside_blocking_calls() {
    let (mut server, mut client) = byte_pair();
    assert!(server.read_ready_fd().is_ok());
    expect_would_block(server.try_read(&mut [0; 9]));
    assert!(!is_ready(server.read_ready_fd().unwrap()));
    thread::scope(|scope| {
        let reading = blocked(scope, || server.read(&mut [0; 9]).unwrap());
        client.write_all(b"x").unwrap();
        assert_eq!(reading.join().unwrap(), 1);
    });
    expect_would_block(server.try_read(&mut [0; 9]));
    client.write_all(b"y").unwrap();
    until_ready(server.read_ready_fd().unwrap());
    assert_eq!(server.try_read(&mut [0; 9]).unwrap(), 1);
}
