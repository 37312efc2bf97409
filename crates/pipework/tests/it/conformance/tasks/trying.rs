//! Trying, as `try_read` and `try_write` do, instead of waiting.

use std::{fmt, io};

use pipework::{
    PipeErrorKind,
    tokio::{ClientOptions, ServerOptions},
};

use super::{
    super::{Case, expect, plain},
    current_thread, pair, unique, would_block,
};
use crate::{
    asynchronous::TOKIO,
    child::Other,
    surface::{OpenSpec, Spec, Surface},
};

#[cfg(target_os = "linux")]
use super::super::{expect_same, pattern};
#[cfg(unix)]
use super::{message_pair, once_woken};
#[cfg(target_os = "linux")]
use crate::harness::{fill_new_socket, sockets};
#[cfg(unix)]
use pipework::tokio::PipeMode;
#[cfg(target_os = "linux")]
use std::{
    cell::Cell,
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

pub(super) fn cases() -> Vec<Case> {
    vec![plain("tasks", tasks_try_to_read_the_end_of_a_peer_that_has_gone)]
}

/// The cases that only a system like this one has.
#[cfg(unix)]
pub(super) fn cases_of_this_system() -> Vec<Case> {
    vec![
        plain("tasks", tasks_try_over_skipped_empty_messages),
        plain("tasks", tasks_try_without_a_quota),
        #[cfg(target_os = "linux")]
        plain("tasks", tasks_write_a_large_message_to_a_full_socket),
    ]
}

/// The same for Windows.
#[cfg(windows)]
pub(super) fn cases_of_this_system() -> Vec<Case> {
    Vec::new()
}

/// Tries, now and then, until there is something else than a wait.
async fn outcome<T: fmt::Debug>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => tokio::task::yield_now().await,
            outcome => return outcome,
        }
    }
}

/// Also by a task that only tries, and never waits for readiness: a peer that closed before it had read or written, and
/// one that was killed.
fn tasks_try_to_read_the_end_of_a_peer_that_has_gone() {
    current_thread().block_on(async {
        for takes_client in [false, true] {
            let name = unique();
            let server = ServerOptions::new().create(&name).unwrap();
            let client = ClientOptions::new().open(&name).unwrap();
            if takes_client {
                server.connect().await.unwrap();
            }
            would_block(client.try_read(&mut [0; 9]));
            drop(server);
            assert_eq!(outcome(|| client.try_read(&mut [0; 9])).await.unwrap(), 0);
            expect(outcome(|| client.try_write(b"x")).await, PipeErrorKind::NoData);
        }
        // A client says hello when it opens, so its end is seen behind its hello.
        let (server, client) = pair(&ServerOptions::new());
        drop(client);
        assert_eq!(outcome(|| server.try_read(&mut [0; 9])).await.unwrap(), 0);
    });
    // Killed, as a server and as a client.
    let there = Other::spawn(&TOKIO);
    let name = unique();
    let served = there.create(&Spec::new(name.as_ref().to_str().unwrap())).unwrap();
    let client = ClientOptions::new().open(&name).unwrap();
    let name = unique();
    let server = ServerOptions::new().create(&name).unwrap();
    let opened = there.open(&OpenSpec::new(name.as_ref().to_str().unwrap())).unwrap();
    would_block(server.try_read(&mut [0; 9]));
    served.end().write_all(b"last").unwrap();
    opened.write_all(b"last").unwrap();
    current_thread().block_on(async {
        assert_eq!(outcome(|| client.try_read(&mut [0; 9])).await.unwrap(), 4);
        assert_eq!(outcome(|| server.try_read(&mut [0; 9])).await.unwrap(), 4);
        would_block(client.try_read(&mut [0; 9]));
        would_block(server.try_read(&mut [0; 9]));
        there.kill();
        assert_eq!(outcome(|| client.try_read(&mut [0; 9])).await.unwrap(), 0);
        assert_eq!(outcome(|| server.try_read(&mut [0; 9])).await.unwrap(), 0);
    });
}

/// What skips empty messages has made room, also if it returns nothing: `drain` and writers go on.
#[cfg(unix)]
fn tasks_try_over_skipped_empty_messages() {
    current_thread().block_on(async {
        let (server, client) = message_pair(100);
        client.set_read_mode(PipeMode::Byte).unwrap();
        would_block(server.try_read(&mut [0; 9]));
        let skip = || would_block(client.try_read(&mut [0; 9]));
        server.write_message(b"").await.unwrap();
        once_woken(server.drain(), skip).await.unwrap();
        while server.try_write(b"").is_ok() {}
        once_woken(server.write_message(b""), skip).await.unwrap();
        while server.try_write(b"").is_ok() {}
        once_woken(server.writable(), skip).await.unwrap();
        assert_eq!(server.try_write(b"").unwrap(), 0);
    });
}

/// B2: one write goes ahead of its reader, and the next one only when that was read.
#[cfg(unix)]
fn tasks_try_without_a_quota() {
    current_thread().block_on(async {
        let (server, client) = pair(ServerOptions::new().in_buffer_size(0));
        would_block(server.try_read(&mut [0; 9]));
        for _ in 0..3 {
            assert_eq!(client.try_write(&[1; 10]).unwrap(), 10);
            would_block(client.try_write(&[2; 10]));
            assert_eq!(server.try_read(&mut [0; 4]).unwrap(), 4);
            would_block(client.try_write(&[3; 10]));
            let read = || assert_eq!(server.try_read(&mut [0; 9]).unwrap(), 6);
            once_woken(client.writable(), read).await.unwrap();
        }
    });
}

/// Its memory goes through the socket, which takes it when the peer has emptied it; readiness says so, and not before.
#[cfg(target_os = "linux")]
fn tasks_write_a_large_message_to_a_full_socket() {
    let (message, mut data) = (pattern(5, 100_000), vec![0; 100_000]);
    // Waits for readiness and tries again, or waits for the write.
    for tries in [false, true] {
        current_thread().block_on(async {
            let name = unique();
            let mut options = ServerOptions::new();
            options.pipe_mode(PipeMode::Message).in_buffer_size(1000).out_buffer_size(1000);
            let server = options.create(&name).unwrap();
            let client = ClientOptions::new().open(&name).unwrap();
            let sockets = sockets();
            server.connect().await.unwrap();
            would_block(server.try_read(&mut [0; 9]));
            fill_new_socket(&sockets);
            // Empties the socket, since a message may come from there.
            let has_room = Cell::new(false);
            let make_room = || {
                assert_eq!(client.peek(&mut []).unwrap().available, 0);
                has_room.set(true);
            };
            if tries {
                would_block(server.try_write(&message));
                once_woken(server.writable(), make_room).await.unwrap();
                assert_eq!(server.try_write(&message).unwrap(), message.len());
                assert_eq!(outcome(|| client.try_read(&mut data)).await.unwrap(), message.len());
            } else {
                let mut writing = pin!(once_woken(server.write_message(&message), make_room));
                let count = poll_fn(|cx| {
                    // Returns when it was read.
                    if let Poll::Ready(outcome) = writing.as_mut().poll(cx) {
                        panic!("nobody has read, and it returned {outcome:?}");
                    }
                    // A try to read empties the socket too.
                    if !has_room.get() {
                        return Poll::Pending;
                    }
                    match client.try_read(&mut data) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
                        outcome => Poll::Ready(outcome),
                    }
                });
                assert_eq!(count.await.unwrap(), message.len());
                writing.await.unwrap();
            }
            expect_same(&data, &message);
        });
    }
}
