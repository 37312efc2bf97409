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
#[cfg(target_os = "linux")]
use crate::harness::{fill_new_socket, sockets};
use crate::{
    child::Other,
    harness::{beside_pipes, blocked, let_sleep_deepen, unique},
    surface::{Blocking, OpenSpec, Spec, Surface as _},
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
        plain("readiness", readiness_of_a_large_message_before_the_end),
        plain("readiness", readiness_of_skipped_empty_messages),
        plain("readiness", readiness_without_a_quota),
        plain("readiness", readiness_of_a_place_that_a_killed_process_leaves),
        plain("readiness", readiness_of_the_end_before_the_hello),
        plain("readiness", readiness_rests_while_a_thread_has_the_direction),
        #[cfg(target_os = "linux")]
        plain("readiness", readiness_of_a_large_message_and_a_full_socket),
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

/// A message pipe whose server has taken the hello of its client.
fn message_pair(quota: u32) -> (PipeStream, PipeStream) {
    let name = unique();
    let mut builder = NamedPipeBuilder::new(&name);
    builder.pipe_mode(PipeMode::Message).in_buffer_size(quota).out_buffer_size(quota);
    let (server, client) = pair(&mut builder, &name);
    expect_would_block(server.try_read(&mut [0; 9]));
    (server, client)
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

/// A killed process changes nothing in the directory of the pipe, and frees its instances all the same.
fn readiness_of_a_place_that_a_killed_process_leaves() {
    let spec = Spec { max_instances: 2, ..Spec::new(&unique()) };
    let other = Other::spawn(&Blocking);
    let theirs = other.create(&spec).unwrap();
    let _client = ClientOptions::new().open(&spec.name).unwrap();
    theirs.connect().unwrap();
    let listener = NamedPipeBuilder::new(&spec.name).first(false).max_instances(2).listen().unwrap();
    let ready = listener.ready_fd().unwrap();
    let _second = ClientOptions::new().open(&spec.name).unwrap();
    until_ready(ready);
    let _server = listener.try_accept().unwrap();
    // All instances have their clients. From here on the descriptor signals at most that it is time to look again.
    expect_would_block(listener.try_accept());
    other.kill();
    let third = thread::scope(|scope| {
        let third = scope.spawn(|| ClientOptions::new().connect(&spec.name).unwrap());
        let server = loop {
            until_ready(ready);
            match listener.try_accept() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                accepted => break accepted.unwrap(),
            }
        };
        (server, third.join().unwrap())
    });
    drop((third, theirs));
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

/// B5 and B6: a message with a memory of its own is read before the end, whatever has become of its writer.
fn readiness_of_a_large_message_before_the_end() {
    let message = pattern(3, 100_000);
    let read_all = |client: &PipeStream| {
        let (mut arrived, mut part) = (Vec::new(), vec![0; 70_000]);
        loop {
            match client.try_read(&mut part) {
                Ok(0) => break expect_same(&arrived, &message),
                Ok(count) => arrived.extend_from_slice(&part[..count]),
                Err(_) => until_ready(client.read_ready_fd().unwrap()),
            }
        }
    };
    for read_mode in [PipeMode::Byte, PipeMode::Message] {
        let (server, client) = message_pair(1000);
        client.set_read_mode(read_mode).unwrap();
        assert_eq!(server.try_write(&message).unwrap(), message.len());
        drop(server);
        read_all(&client);
        let (server, client) = message_pair(1000);
        client.set_read_mode(read_mode).unwrap();
        expect_would_block(client.try_read(&mut [0; 9]));
        server.set_write_timeout(Some(super::SHORT)).unwrap();
        server.write_message(&message).unwrap();
        drop(server);
        read_all(&client);
    }
    let there = Other::spawn(&Blocking);
    let name = unique();
    let server = there.create(&Spec::new(&name).messages().quota(1000)).unwrap();
    let client = ClientOptions::new().open(&name).unwrap();
    server.connect().unwrap();
    server.end().set_write_timeout(Some(super::SHORT)).unwrap();
    server.end().write_message(&message).unwrap();
    there.kill();
    read_all(&client);
}

/// A try to read that skips empty messages has made room, also if it returns nothing: `drain` and writers go on.
fn readiness_of_skipped_empty_messages() {
    let (server, client) = message_pair(100);
    server.write_message(b"").unwrap();
    thread::scope(|scope| {
        let draining = blocked(scope, || server.drain().unwrap());
        let_sleep_deepen();
        expect_would_block(client.try_read(&mut [0; 9]));
        draining.join().unwrap();
    });
    // A writer that waits for the descriptor, whatever reads.
    let ready = server.write_ready_fd().unwrap();
    client.set_read_timeout(Some(super::SHORT)).unwrap();
    let by_trying = || expect_would_block(client.try_read(&mut [0; 9]));
    let by_waiting = || drop(expect((&client).read(&mut [0; 9]), PipeErrorKind::TimedOut));
    for read in [&by_trying as &dyn Fn(), &by_waiting] {
        while server.try_write(b"").is_ok() {}
        assert!(!is_ready(ready));
        read();
        until_ready(ready);
        assert_eq!(server.try_write(b"").unwrap(), 0);
    }
}

/// B2: where there is no buffer, one write goes ahead of its reader, and the next one only when that was read.
fn readiness_without_a_quota() {
    let name = unique();
    let mut builder = NamedPipeBuilder::new(&name);
    let (mut server, client) = pair(builder.in_buffer_size(0).out_buffer_size(0), &name);
    let ready = client.write_ready_fd().unwrap();
    for _ in 0..3 {
        assert_eq!(client.try_write(&[1; 10]).unwrap(), 10);
        expect_would_block(client.try_write(&[2; 10]));
        assert!(!is_ready(ready));
        server.read_exact(&mut [0; 4]).unwrap();
        expect_would_block(client.try_write(&[3; 10]));
        server.read_exact(&mut [0; 6]).unwrap();
        until_ready(ready);
    }
    let (server, client) = message_pair(0);
    let ready = client.write_ready_fd().unwrap();
    for _ in 0..3 {
        assert_eq!(client.try_write(&[1; 10]).unwrap(), 10);
        expect_would_block(client.try_write(&[2; 10]));
        assert!(!is_ready(ready));
        assert_eq!(server.read_message(10).unwrap(), Some(vec![1; 10]));
        until_ready(ready);
    }
}

/// The peer closed before it had read or written anything.
fn readiness_of_the_end_before_the_hello() {
    for takes_client in [false, true] {
        let name = unique();
        let server = NamedPipe::new(&name).unwrap();
        let client = ClientOptions::new().open(&name).unwrap();
        if takes_client {
            server.connect().unwrap();
        }
        let ready = client.read_ready_fd().unwrap();
        expect_would_block(client.try_read(&mut [0; 9]));
        assert!(!is_ready(ready));
        drop(server);
        until_ready(ready);
        assert_eq!(client.try_read(&mut [0; 9]).unwrap(), 0);
        expect(client.try_write(b"x"), PipeErrorKind::NoData);
        expect(client.peek(&mut []), PipeErrorKind::Broken);
    }
}

/// A loop that finds the direction taken is not woken again and again, and is woken by the release.
fn readiness_rests_while_a_thread_has_the_direction() {
    let (server, client) = byte_pair();
    let ready = client.read_ready_fd().unwrap();
    thread::scope(|scope| {
        let reading = blocked(scope, || (&client).read(&mut [0; 1]).unwrap());
        // What was there before may still be signalled.
        for _ in 0..2 {
            expect_would_block(client.try_read(&mut [0; 9]));
        }
        assert!(!is_ready(ready), "nothing has happened");
        (&server).write_all(b"ab").unwrap();
        assert_eq!(reading.join().unwrap(), 1);
        until_ready(ready);
        assert_eq!(client.try_read(&mut [0; 9]).unwrap(), 1);
    });
}

/// The memory of a large message goes through the socket. One that is full takes it when the peer has emptied it, and the
/// descriptor is not ready before.
#[cfg(target_os = "linux")]
fn readiness_of_a_large_message_and_a_full_socket() {
    let name = unique();
    let mut builder = NamedPipeBuilder::new(&name);
    builder.pipe_mode(PipeMode::Message).in_buffer_size(1000).out_buffer_size(1000);
    let server = builder.create().unwrap();
    let client = ClientOptions::new().open(&name).unwrap();
    let sockets = sockets();
    server.connect().unwrap();
    let server = server.into_stream();
    expect_would_block(server.try_read(&mut [0; 9]));
    fill_new_socket(&sockets);
    let message = pattern(4, 100_000);
    let ready = server.write_ready_fd().unwrap();
    for _ in 0..3 {
        expect_would_block(server.try_write(&message));
        assert!(!is_ready(ready), "nothing has changed");
    }
    // A message that needs no memory of its own needs no room there.
    assert_eq!(server.try_write(b"small").unwrap(), 5);
    let mut data = vec![0; message.len()];
    assert_eq!(client.try_read(&mut data).unwrap(), 5);
    expect_would_block(server.try_write(&message));
    // Looks at the socket, since nothing is in the ring.
    expect_would_block(client.try_read(&mut data));
    until_ready(ready);
    assert_eq!(server.try_write(&message).unwrap(), message.len());
    until_ready(client.read_ready_fd().unwrap());
    assert_eq!(client.try_read(&mut data).unwrap(), message.len());
    expect_same(&data, &message);
}
