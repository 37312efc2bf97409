//! Async ends and their runtimes: no worker is blocked, a runtime may end, readiness is reported as it should be.

use std::{
    future::{Future, poll_fn},
    io::{self, ErrorKind, IoSlice, IoSliceMut, Read},
    pin::{Pin, pin},
    process::Stdio,
    sync::Arc,
    task::{Context, Poll, Waker},
    thread,
};

use pipework::{
    Access, PipeErrorKind, PipeName,
    tokio::{
        AnonRead, AnonWrite, ClientOptions, Listener, NamedPipeClient, NamedPipeServer, PipeMode,
        ServerOptions, anonymous, connect,
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest},
    runtime::Builder,
    sync::oneshot,
    task::JoinSet,
};

#[cfg(unix)]
use super::super::SHORT;
use super::{
    super::{Case, expect, expect_same, pattern, plain},
    Woken, current_thread, message_pair, pair, poll_until_asleep, polled, unique, workers, would_block,
};
#[cfg(unix)]
use crate::harness::{Resources, creators_lock};
use crate::{child, harness::wait_until};
#[cfg(unix)]
use tokio::time::timeout;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        plain("tasks", tasks_that_wait_keep_no_thread),
        plain("tasks", tasks_that_wait_are_polled_for_news_only),
        plain("tasks", tasks_need_a_runtime_only_to_wait),
        plain("tasks", tasks_go_on_in_another_runtime),
        plain("tasks", tasks_of_a_runtime_that_ends_are_dropped),
        plain("tasks", tasks_of_one_end_share_it),
        plain("tasks", tasks_take_turns_with_a_transaction),
        plain("tasks", tasks_are_told_of_the_end),
        plain("tasks", tasks_read_and_write_several_buffers),
        plain("tasks", tasks_see_a_disconnect),
        plain("tasks", tasks_accept_by_polling),
        plain("tasks", tasks_shut_a_listener_down_and_finish),
        plain("tasks", tasks_accept_as_tokio_says),
        plain("tasks", tasks_wait_for_a_busy_pipe_as_tokio_says),
        plain("tasks", tasks_have_tokios_options),
        plain("tasks", tasks_let_others_run),
        plain("tasks", tasks_use_anonymous_pipes),
        plain("tasks", tasks_talk_to_a_child),
    ];
    #[cfg(feature = "futures")]
    cases.push(plain("tasks", stream::tasks_accept_from_a_stream));
    cases
}

/// The cases that only a system like this one has.
#[cfg(unix)]
pub(super) fn cases_of_this_system() -> Vec<Case> {
    vec![
        plain("tasks", tasks_wait_at_no_descriptor_of_their_own),
        plain("tasks", tasks_try_and_are_told_when_to_try_again),
        plain("tasks", tasks_are_told_of_room_for_what_they_tried),
        plain("tasks", tasks_accept_while_another_process_creates),
        plain("tasks", tasks_at_a_silent_client_are_polled_for_news_only),
    ]
}

/// The same for Windows.
#[cfg(windows)]
pub(super) fn cases_of_this_system() -> Vec<Case> {
    vec![
        plain("tasks", tasks_write_one_write_ahead),
        plain("tasks", tasks_that_are_gone_have_written),
        plain("tasks", tasks_that_are_gone_hold_nobody_up),
    ]
}

/// Whatever waits: the one thread goes on with other tasks. It needs no timers.
fn tasks_that_wait_keep_no_thread() {
    Builder::new_current_thread().enable_io().build().unwrap().block_on(async {
        let mut waiting = JoinSet::new();
        let name = unique();
        let (mut reader, _reader_peer) = pair(&ServerOptions::new());
        waiting.spawn(async move { drop(reader.read(&mut [0; 9]).await) });
        let (_writer_peer, mut writer) = pair(ServerOptions::new().in_buffer_size(9));
        waiting.spawn(async move { drop(writer.write_all(&[0; 99]).await) });
        let (_messages_peer, messages) = message_pair(9);
        waiting.spawn(async move { drop(messages.write_message(&[0; 9000]).await) });
        let (_asked, asker) = message_pair(9);
        waiting.spawn(async move { drop(asker.transact(b"?", 9).await) });
        let (_drainer_peer, drainer) = message_pair(9);
        drainer.try_write(b"unread").unwrap();
        waiting.spawn(async move { drop(drainer.drain().await) });
        let server = ServerOptions::new().max_instances(1).create(&name).unwrap();
        waiting.spawn({
            let name = name.clone();
            async move {
                let _taken = ClientOptions::new().open(&name).unwrap();
                drop(ClientOptions::new().connect(&name).await);
            }
        });
        waiting.spawn(async { drop(ClientOptions::new().wait_absent(true).connect(unique()).await) });
        let listener = Listener::bind(unique()).unwrap();
        waiting.spawn(async move { drop(listener.accept().await) });
        let full = ServerOptions::new().max_instances(1).listen(unique()).unwrap();
        waiting.spawn(async move {
            let _client = connect(full.name()).await.unwrap();
            let _server = full.accept().await.unwrap();
            drop(full.accept().await);
        });
        let other = ServerOptions::new().create(unique()).unwrap();
        waiting.spawn(async move { drop(other.connect().await) });
        // All of them have begun to wait, and a conversation goes on beside them.
        let (mut one, mut two) = pair(&ServerOptions::new());
        for _ in 0..200 {
            one.write_all(b"ping").await.unwrap();
            let mut data = [0; 4];
            two.read_exact(&mut data).await.unwrap();
            tokio::task::yield_now().await;
        }
        assert!(waiting.try_join_next().is_none(), "each of them still waits");
        drop(server);
        waiting.shutdown().await;
    });
}

/// A waiting end has its socket, and no more.
#[cfg(unix)]
fn tasks_wait_at_no_descriptor_of_their_own() {
    current_thread().block_on(async {
        let (server, client) = message_pair(100);
        let (first, listener) = (Listener::bind(unique()).unwrap(), Listener::bind(unique()).unwrap());
        // The server's half of the memory is mapped by its first look, and its client is taken.
        would_block(server.try_read(&mut [0; 9]));
        // All tasks that accept share one timer.
        let mut accepting = pin!(first.accept());
        assert!(poll_until_asleep(accepting.as_mut()).await.is_pending());
        let before = Resources::count();
        let (mut one, mut two) = (pin!(server.read_message(9)), pin!(client.readable()));
        let (mut three, mut four) = (pin!(client.read_message(9)), pin!(listener.accept()));
        assert!(poll_until_asleep(one.as_mut()).await.is_pending());
        assert!(poll_until_asleep(two.as_mut()).await.is_pending());
        assert!(poll_until_asleep(three.as_mut()).await.is_pending());
        assert!(poll_until_asleep(four.as_mut()).await.is_pending());
        assert_eq!(Resources::count().descriptors(), before.descriptors());
    });
}

/// Neither the news of other connections, nor time, nor an end that was seen.
fn tasks_that_wait_are_polled_for_news_only() {
    current_thread().block_on(async {
        let (mut idle, mut idle_peer) = pair(&ServerOptions::new());
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut buf = [0; 9];
        let mut reading = pin!(idle.read(&mut buf));
        assert!(poll_until_asleep(reading.as_mut()).await.is_pending());
        // What the reactor reports of the time before it was asked.
        tokio::task::yield_now().await;
        assert!(reading.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        let (mut server, mut client) = pair(&ServerOptions::new());
        for _ in 0..100 {
            let mut data = [0; 4];
            let (read, written) = tokio::join!(server.read_exact(&mut data), client.write_all(b"ping"));
            read.and(written.map(|()| 0)).unwrap();
            tokio::task::yield_now().await;
        }
        assert!(!woken.again());
        idle_peer.write_all(b"news").await.unwrap();
        while !woken.again() {
            tokio::task::yield_now().await;
        }
        assert!(reading.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
    });
}

/// A client that has sent nothing, or a part of its hello, is no reason to look again.
#[cfg(unix)]
fn tasks_at_a_silent_client_are_polled_for_news_only() {
    current_thread().block_on(async {
        let name = unique();
        let listener = Listener::bind(&name).unwrap();
        let mut silent = super::super::bad_input::unix::raw_connection(&name.to_string());
        let mut server = listener.accept().await.unwrap();
        let mut buf = [0; 9];
        let mut reading = pin!(server.read(&mut buf));
        for part in [&b""[..], &[1], &[2]] {
            std::io::Write::write_all(&mut silent, part).unwrap();
            assert!(poll_until_asleep(reading.as_mut()).await.is_pending());
            let woken = Arc::new(Woken::default());
            let waker = Waker::from(Arc::clone(&woken));
            // What the reactor reports of the time before is news once.
            for _ in 0..3 {
                tokio::task::yield_now().await;
                assert!(poll_until_asleep(reading.as_mut()).await.is_pending());
            }
            assert!(reading.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            assert!(!woken.again(), "nothing came");
        }
        drop(silent);
        assert_eq!(reading.await.unwrap(), 0);
    });
}

/// Making, opening and trying need none; waiting without one is an error, and no panic.
fn tasks_need_a_runtime_only_to_wait() {
    let (server, client) = pair(&ServerOptions::new());
    assert_eq!(client.try_write(b"x").unwrap(), 1);
    assert_eq!(server.try_read(&mut [0; 9]).unwrap(), 1);
    let listener = Listener::bind(unique()).unwrap();
    for outcome in [
        without_a_runtime(server.readable()).map_ok(drop),
        without_a_runtime(listener.accept()).map_ok(drop),
        without_a_runtime(ServerOptions::new().create(unique()).unwrap().connect()),
        without_a_runtime(ClientOptions::new().wait_absent(true).connect(unique())).map_ok(drop),
    ] {
        let Poll::Ready(Err(error)) = outcome else { panic!("{outcome:?}") };
        assert!(error.to_string().contains("runtime"), "{error}");
    }
    client.try_write(b"y").unwrap();
    current_thread().block_on(server.readable()).unwrap();
    assert_eq!(server.try_read(&mut [0; 9]).unwrap(), 1);
}

fn without_a_runtime<F: Future>(future: F) -> Poll<F::Output> {
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut future = pin!(future);
    loop {
        let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
        if polled.is_ready() || !woken.again() {
            return polled;
        }
    }
}

/// A runtime ends; the ends that waited in it wait in the next.
fn tasks_go_on_in_another_runtime() {
    let (mut server, mut client) = pair(ServerOptions::new().in_buffer_size(10));
    let listener = Listener::bind(unique()).unwrap();
    for runtime in [workers(), current_thread(), workers()] {
        runtime.block_on(async {
            assert!(polled(3, server.read(&mut [0; 9])).await.is_none());
            assert!(polled(3, listener.accept()).await.is_none());
            let mut data = [0; 30];
            let (read, written) = tokio::join!(server.read_exact(&mut data), client.write_all(&[7; 30]));
            read.and(written.map(|()| 0)).unwrap();
            assert_eq!(data, [7; 30]);
            let (client, server) = tokio::join!(connect(listener.name()), listener.accept());
            drop((client.unwrap(), server.unwrap()));
        });
    }
}

/// Their ends close with them, whenever that is; what was not in a task stays.
fn tasks_of_a_runtime_that_ends_are_dropped() {
    for runtime in [workers(), current_thread()] {
        let (mut server, mut client) = pair(&ServerOptions::new());
        let (kept, kept_client) = pair(&ServerOptions::new());
        let kept = Arc::new(kept);
        let (began, begun) = oneshot::channel();
        runtime.spawn({
            let kept = Arc::clone(&kept);
            async move {
                assert!(polled(1, server.read(&mut [0; 9])).await.is_none());
                began.send(()).unwrap();
                let mut buf = [0; 9];
                drop(tokio::join!(server.read(&mut buf), kept.readable()));
            }
        });
        runtime.block_on(begun).unwrap();
        drop(runtime);
        current_thread().block_on(async {
            assert_eq!(client.read(&mut [0; 9]).await.unwrap(), 0, "the end closed with its task");
            kept_client.try_write(b"x").unwrap();
            kept.readable().await.unwrap();
            assert_eq!(kept.try_read(&mut [0; 9]).unwrap(), 1);
        });
    }
}

/// Several tasks read, several write; each message goes to one of them.
fn tasks_of_one_end_share_it() {
    workers().block_on(async {
        let (server, client) = message_pair(50);
        let (server, client) = (Arc::new(server), Arc::new(client));
        let (mut readers, mut writers) = (JoinSet::new(), JoinSet::new());
        for _ in 0..4 {
            let server = Arc::clone(&server);
            readers.spawn(async move {
                let mut got = Vec::new();
                while let Some(message) = server.read_message(99).await.unwrap() {
                    got.push(message);
                }
                got
            });
        }
        for number in 0..4_u8 {
            let client = Arc::clone(&client);
            writers.spawn(async move {
                for count in 0..200_u8 {
                    client.write_message(&[number, count]).await.unwrap();
                }
            });
        }
        writers.join_all().await;
        drop(client);
        let mut got: Vec<Vec<u8>> = readers.join_all().await.into_iter().flatten().collect();
        got.sort_unstable();
        let wanted = (0..4).flat_map(|number| (0..200).map(move |count| vec![number, count]));
        assert!(got == Vec::from_iter(wanted), "{} messages", got.len());
    });
}

/// From the question to the reply nobody else reads: the replies of many tasks never change places.
fn tasks_take_turns_with_a_transaction() {
    workers().block_on(async {
        let (server, client) = message_pair(100);
        let client = Arc::new(client);
        let serving = tokio::spawn(async move {
            while let Some(question) = server.read_message(9).await.unwrap() {
                tokio::task::yield_now().await;
                server.write_message(&question).await.unwrap();
            }
        });
        let mut asking = JoinSet::new();
        for number in 0..6_u8 {
            let client = Arc::clone(&client);
            asking.spawn(async move {
                for count in 0..100_u8 {
                    assert_eq!(client.transact(&[number, count], 9).await.unwrap(), [number, count]);
                }
            });
        }
        asking.join_all().await;
        drop(client);
        serving.await.unwrap();
    });
}

/// Trying never waits: what has no room is begun, and while that waits nothing more is.
#[cfg(windows)]
fn tasks_write_one_write_ahead() {
    current_thread().block_on(async {
        let (server, client) = pair(ServerOptions::new().in_buffer_size(100));
        would_block(server.try_read(&mut [0; 9]));
        assert!(client.ready(Interest::WRITABLE).await.unwrap().is_writable());
        let mut written = client.try_write(&[1; 150]).unwrap();
        assert_eq!(written, 100, "what fits");
        written += client.try_write(&[2; 150]).unwrap();
        would_block(client.try_write(&[3; 50]));
        let mut waiting = pin!(client.writable());
        assert!(poll_until_asleep(waiting.as_mut()).await.is_pending());
        let mut got = vec![0; written];
        assert_eq!(server.try_read(&mut got[..60]).unwrap(), 60);
        let mut read = 60;
        while read < written {
            server.readable().await.unwrap();
            read += server.try_read(&mut got[read..]).unwrap();
        }
        waiting.await.unwrap();
        expect_same(&got, &[vec![1; 100], vec![2; written - 100]].concat());
        would_block(server.try_read(&mut [0; 9]));
        // The same with messages.
        let (server, client) = message_pair(100);
        for message in [[1; 80], [2; 80]] {
            assert_eq!(client.try_write(&message).unwrap(), 80);
        }
        would_block(client.try_write(&[3; 80]));
        assert_eq!(server.read_message(99).await.unwrap().unwrap(), [1; 80]);
        client.writable().await.unwrap();
        assert_eq!(client.try_write(&[3; 80]).unwrap(), 80);
        assert_eq!(server.read_message(99).await.unwrap().unwrap(), [2; 80]);
        assert_eq!(server.read_message(99).await.unwrap().unwrap(), [3; 80]);
    });
}

/// What was reported as written is written: also what waited for room when its end was dropped and its runtime ended.
#[cfg(windows)]
fn tasks_that_are_gone_have_written() {
    let (mut server, mut client) = pair(ServerOptions::new().in_buffer_size(100));
    let written = workers().block_on(async move {
        tokio::spawn(async move {
            let mut written = client.write(&[1; 100]).await.unwrap();
            written += client.write(&[1; 100]).await.unwrap();
            assert!(polled(2, client.write(&[1; 100])).await.is_none());
            written
        })
        .await
        .unwrap()
    });
    let mut got = Vec::new();
    current_thread().block_on(server.read_to_end(&mut got)).unwrap();
    expect_same(&got, &vec![1; written]);
    assert!(written > 100);
}

/// While the last write of an end that was dropped waits for its reader, that one can write, and then sees the end.
#[cfg(windows)]
fn tasks_that_are_gone_hold_nobody_up() {
    current_thread().block_on(async {
        for mode in [PipeMode::Byte, PipeMode::Message] {
            let mut options = ServerOptions::new();
            options.pipe_mode(mode).in_buffer_size(100).out_buffer_size(100);
            let (mut server, client) = pair(&options);
            let mut written = 0;
            while let Ok(count) = client.try_write(&[1; 90]) {
                written += count;
            }
            assert!(written > 100);
            drop(client);
            for _ in 0..50 {
                server.write_all(&[2; 1000]).await.unwrap();
            }
            server.set_read_mode(PipeMode::Byte).unwrap();
            let mut got = Vec::new();
            server.read_to_end(&mut got).await.unwrap();
            expect_same(&got, &vec![1; written]);
            expect(server.write(b"x").await, PipeErrorKind::NoData);
            // Both at once.
            let (server, client) = pair(&options);
            while server.try_write(&[1; 90]).is_ok() {}
            while client.try_write(&[1; 90]).is_ok() {}
        }
    });
}

/// Trying never waits, and waiting for readiness is not in vain.
#[cfg(unix)]
fn tasks_try_and_are_told_when_to_try_again() {
    current_thread().block_on(async {
        let (server, client) = pair(ServerOptions::new().in_buffer_size(100));
        would_block(server.try_read(&mut [0; 9]));
        let ready = client.ready(Interest::READABLE | Interest::WRITABLE).await.unwrap();
        assert!(ready.is_writable() && !ready.is_readable());
        let mut waiting = pin!(server.ready(Interest::READABLE));
        assert!(poll_until_asleep(waiting.as_mut()).await.is_pending());
        assert_eq!(client.try_write(&[1; 150]).unwrap(), 100, "what fits");
        would_block(client.try_write(&[1; 50]));
        assert!(waiting.await.unwrap().is_readable());
        let mut waiting = pin!(client.writable());
        assert!(poll_until_asleep(waiting.as_mut()).await.is_pending());
        assert_eq!(server.try_read(&mut [0; 60]).unwrap(), 60);
        waiting.await.unwrap();
        assert_eq!(client.try_write(&[1; 70]).unwrap(), 60);
        assert_eq!(server.try_read(&mut [0; 999]).unwrap(), 100);
        would_block(server.try_read(&mut [0; 9]));
        poll_fn(|cx| {
            assert!(server.poll_read_ready(cx).is_pending());
            client.poll_write_ready(cx)
        })
        .await
        .unwrap();
    });
}

/// A message that had no room is not tried in vain while there is less than it wants.
#[cfg(unix)]
fn tasks_are_told_of_room_for_what_they_tried() {
    current_thread().block_on(async {
        let (server, client) = message_pair(100);
        client.write_message(&[1; 40]).await.unwrap();
        client.write_message(&[2; 40]).await.unwrap();
        would_block(client.try_write(&[3; 50]));
        let mut waiting = pin!(client.writable());
        assert!(
            poll_until_asleep(waiting.as_mut()).await.is_pending(),
            "20 bytes are free, and 50 are wanted"
        );
        assert_eq!(server.read_message(99).await.unwrap().unwrap(), [1; 40]);
        waiting.await.unwrap();
        assert_eq!(client.try_write(&[3; 50]).unwrap(), 50);
        client.writable().await.unwrap();
    });
}

/// The end, errors of the connection, and a server without a client: nothing of that is waited for.
fn tasks_are_told_of_the_end() {
    current_thread().block_on(async {
        let (server, client) = pair(&ServerOptions::new());
        let mut waiting = pin!(server.readable());
        assert!(poll_until_asleep(waiting.as_mut()).await.is_pending());
        drop(client);
        waiting.await.unwrap();
        assert_eq!(server.try_read(&mut [0; 9]).unwrap(), 0);
        server.writable().await.unwrap();
        expect(server.try_write(b"x"), PipeErrorKind::NoData);
        let alone = ServerOptions::new().create(unique()).unwrap();
        alone.ready(Interest::READABLE).await.unwrap();
        expect(alone.try_read(&mut [0; 9]), PipeErrorKind::Listening);
        alone.writable().await.unwrap();
        expect(alone.try_write(b"x"), PipeErrorKind::Listening);
    });
}

/// As if they were one.
fn tasks_read_and_write_several_buffers() {
    current_thread().block_on(async {
        let (server, mut client) = pair(&ServerOptions::new());
        assert!(AsyncWrite::is_write_vectored(&client));
        let parts = [IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"cde")];
        assert_eq!(client.write_vectored(&parts).await.unwrap(), 5);
        assert_eq!(client.try_write_vectored(&parts).unwrap(), 5);
        let (mut one, mut two, mut three) = ([0; 3], [0; 0], [0; 9]);
        let mut bufs = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two), IoSliceMut::new(&mut three)];
        assert_eq!(server.try_read_vectored(&mut bufs).unwrap(), 10);
        assert_eq!((&one, &three[..7]), (b"abc", &b"deabcde"[..]));
        // One write is one message, and a read in message read mode ends where a message does.
        let (server, mut client) = message_pair(100);
        assert_eq!(client.write_vectored(&parts).await.unwrap(), 5);
        client.write_message(b"next").await.unwrap();
        let mut two = [0; 2];
        let mut bufs = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two), IoSliceMut::new(&mut three)];
        assert_eq!(server.try_read_vectored(&mut bufs).unwrap(), 5);
        assert_eq!((&one, &two), (b"abc", b"de"));
        client.write_message(b"four").await.unwrap();
        server.set_read_mode(PipeMode::Byte).unwrap();
        let mut bufs = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut three)];
        assert_eq!(server.try_read_vectored(&mut bufs).unwrap(), 8);
        assert_eq!((&one, &three[..5]), (b"nex", &b"tfour"[..]));
    });
}

/// Both sides, also where a task has only polled and holds nothing of the connection in between.
fn tasks_see_a_disconnect() {
    current_thread().block_on(async {
        let (server, mut client) = pair(&ServerOptions::new());
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        while server.poll_read_ready(&mut cx).is_pending() && woken.again() {}
        let mut buf = [0; 9];
        let mut reading = pin!(client.read(&mut buf));
        assert!(poll_until_asleep(reading.as_mut()).await.is_pending());
        assert!(!woken.again());
        server.disconnect().unwrap();
        // At once, but on Windows perhaps by the thread that completes the read that ended with the connection.
        wait_until(|| woken.again());
        assert!(server.poll_read_ready(&mut cx).is_ready());
        expect(server.try_read(&mut [0; 9]), PipeErrorKind::NotConnected);
        expect(reading.await, PipeErrorKind::NotConnected);
        expect(server.disconnect(), PipeErrorKind::NotConnected);
    });
}

/// In a future written by hand.
fn tasks_accept_by_polling() {
    current_thread().block_on(async {
        let listener = Listener::bind(unique()).unwrap();
        for _ in 0..3 {
            let mut accepting = pin!(poll_fn(|cx| listener.poll_accept(cx)));
            assert!(poll_until_asleep(accepting.as_mut()).await.is_pending());
            let mut client = connect(listener.name()).await.unwrap();
            let mut server = accepting.await.unwrap();
            client.write_all(b"x").await.unwrap();
            assert_eq!(server.read(&mut [0; 9]).await.unwrap(), 1);
        }
    });
}

/// Accepting ends, the name goes with the last connection, and what was begun is finished.
fn tasks_shut_a_listener_down_and_finish() {
    workers().block_on(async {
        let listener = Listener::bind(unique()).unwrap();
        let name = listener.name().clone();
        let (stop, mut stopped) = oneshot::channel();
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let mut server = accepted.unwrap();
                        connections.spawn(async move {
                            let mut got = Vec::new();
                            server.read_to_end(&mut got).await.unwrap();
                            got
                        });
                    }
                    _ = &mut stopped => break,
                }
            }
            drop(listener);
            connections.join_all().await
        });
        let mut clients = Vec::new();
        for number in 0..5 {
            let mut client = connect(&name).await.unwrap();
            client.write_all(&[number]).await.unwrap();
            client.drain().await.unwrap();
            clients.push(client);
        }
        stop.send(()).unwrap();
        // Nobody else gets in.
        while let Ok(late) = ClientOptions::new().open(&name) {
            drop(late);
            tokio::task::yield_now().await;
        }
        for client in &mut clients {
            client.write_all(b"!").await.unwrap();
        }
        drop(clients);
        let mut got = serving.await.unwrap();
        got.sort_unstable();
        got.retain(|said| !said.is_empty());
        assert_eq!(got, (0..5).map(|number| vec![number, b'!']).collect::<Vec<_>>());
        expect(ClientOptions::new().open(&name).map(drop), PipeErrorKind::Absent);
    });
}

/// Creators take turns, and one that is stopped keeps its turn: whoever has to wait for it keeps no thread.
#[cfg(unix)]
fn tasks_accept_while_another_process_creates() {
    current_thread().block_on(async {
        let listener = ServerOptions::new().max_instances(1).listen(unique()).unwrap();
        let client = connect(listener.name()).await.unwrap();
        drop((listener.accept().await.unwrap(), client));
        let lock = creators_lock();
        let mut accepting = pin!(listener.accept());
        for _ in 0..3 {
            assert!(timeout(SHORT, accepting.as_mut()).await.is_err(), "there can be no instance now");
        }
        expect(ClientOptions::new().open(listener.name()).map(drop), PipeErrorKind::Busy);
        drop(lock);
        let mut connecting = pin!(connect(listener.name()));
        let (accepted, connected) = tokio::join!(accepting, connecting.as_mut());
        let (mut server, mut client) = (accepted.unwrap(), connected.unwrap());
        client.write_all(b"x").await.unwrap();
        assert_eq!(server.read(&mut [0; 9]).await.unwrap(), 1);
    });
}

/// The loop of tokio's documentation: the next instance is made before the one with a client is handed out.
fn tasks_accept_as_tokio_says() {
    async fn serve(name: &PipeName, mut left: usize) -> io::Result<()> {
        let mut tasks = JoinSet::new();
        let mut server = ServerOptions::new().first_pipe_instance(true).create(name)?;
        while left > 0 {
            left -= 1;
            server.connect().await?;
            let connected = server;
            server = ServerOptions::new().create(name)?;
            tasks.spawn(async move {
                let (mut read, mut write) = tokio::io::split(connected);
                tokio::io::copy(&mut read, &mut write).await
            });
        }
        drop(tasks.join_all().await);
        Ok(())
    }
    workers().block_on(async {
        let name = unique();
        let serving = tokio::spawn({
            let name = name.clone();
            async move { serve(&name, 5).await }
        });
        let mut clients = JoinSet::new();
        for seed in 0..5 {
            let name = name.clone();
            clients.spawn(async move {
                let mut client = ClientOptions::new().wait_absent(true).connect(&name).await.unwrap();
                let data = pattern(seed, 200_000);
                let mut echo = vec![0; data.len()];
                let (mut read, mut write) = tokio::io::split(&mut client);
                let (written, got) = tokio::join!(write.write_all(&data), read.read_exact(&mut echo));
                written.and(got.map(drop)).unwrap();
                expect_same(&echo, &data);
            });
        }
        clients.join_all().await;
        serving.await.unwrap().unwrap();
    });
}

/// The other loop of its documentation: busy is a number.
fn tasks_wait_for_a_busy_pipe_as_tokio_says() {
    const ERROR_PIPE_BUSY: i32 = 231;
    workers().block_on(async {
        let name = unique();
        let server = ServerOptions::new().max_instances(1).create(&name).unwrap();
        let first = ClientOptions::new().open(&name).unwrap();
        let opening = tokio::spawn({
            let name = name.clone();
            async move {
                let mut busy = 0;
                loop {
                    match ClientOptions::new().open(&name) {
                        Ok(client) => return (client, busy),
                        Err(error) if error.raw_os_error() == Some(ERROR_PIPE_BUSY) => busy += 1,
                        Err(error) => panic!("{error}"),
                    }
                    tokio::task::yield_now().await;
                }
            }
        });
        let error = ServerOptions::new().create(&name).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(ERROR_PIPE_BUSY));
        assert!(error == PipeErrorKind::Busy);
        drop(first);
        server.disconnect().unwrap();
        server.connect().await.unwrap();
        let (client, busy) = opening.await.unwrap();
        assert!(client.info().is_ok());
        let _at_least_once_on_a_quiet_machine: usize = busy;
        let gone = ClientOptions::new().open(unique()).unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::NotFound);
    });
}

/// What they say, and what they say no to instead of panicking.
fn tasks_have_tokios_options() {
    let name = unique();
    for count in [0, 256, usize::MAX] {
        expect(ServerOptions::new().max_instances(count).create(&name).map(drop), PipeErrorKind::Invalid);
    }
    let server = ServerOptions::default()
        .first_pipe_instance(true)
        .max_instances(254)
        .pipe_mode(PipeMode::Message)
        .access_outbound(false)
        .reject_remote_clients(true)
        .access(Access::owner())
        .in_buffer_size(123)
        .out_buffer_size(321)
        .create(&name)
        .unwrap();
    let info = server.info().unwrap();
    assert_eq!((info.mode, info.max_instances, info.in_buffer_size), (PipeMode::Message, 254, 123));
    expect(ClientOptions::new().open(&name).map(drop), PipeErrorKind::AccessDenied);
    let client = ClientOptions::default().read(false).open(&name).unwrap();
    expect(client.try_read(&mut [0; 9]), PipeErrorKind::AccessDenied);
    assert!(client.peer().unwrap().is_same_user());
    // As tokio: a later instance joins unless it says otherwise.
    expect(ServerOptions::new().first_pipe_instance(true).create(&name).map(drop), PipeErrorKind::NameTaken);
    let mut listening = ServerOptions::new();
    listening.pipe_mode(PipeMode::Message).access_outbound(false);
    expect(listening.listen(&name).map(drop), PipeErrorKind::NameTaken);
    listening.first_pipe_instance(false).listen(&name).unwrap();
    #[cfg(unix)]
    {
        let refused = [
            ServerOptions::new().write_dac(true).create(unique()),
            ServerOptions::new().write_owner(true).create(unique()),
            ServerOptions::new().access_system_security(true).create(unique()),
        ];
        for outcome in refused {
            expect(outcome.map(drop), PipeErrorKind::Unsupported);
        }
        let anonymous = ClientOptions::new().security_qos_flags(0).open(&name);
        expect(anonymous.map(drop), PipeErrorKind::Unsupported);
    }
}

/// A task that always finds something to do gives way now and then.
fn tasks_let_others_run() {
    current_thread().block_on(async {
        let (mut server, mut client) = pair(&ServerOptions::new());
        let (stop, mut stopped) = oneshot::channel();
        tokio::spawn(async move { stop.send(()).unwrap() });
        let mut rounds = 0_usize;
        // Nothing here ever waits: all of it is there at once.
        while stopped.try_recv().is_err() {
            client.write_all(b"ping").await.unwrap();
            server.read_exact(&mut [0; 4]).await.unwrap();
            rounds += 1;
            assert!(rounds < 100_000, "the other task never had its turn");
        }
    });
}

/// Both ends, in tasks.
fn tasks_use_anonymous_pipes() {
    current_thread().block_on(async {
        let (mut read, mut write) = anonymous(0).unwrap();
        assert!(polled(2, read.read(&mut [0; 9])).await.is_none());
        let data = pattern(9, 3 << 20);
        let writing = tokio::spawn({
            let data = data.clone();
            async move {
                write.write_all(&data).await.unwrap();
                write.flush().await.unwrap();
            }
        });
        let mut got = Vec::new();
        read.read_to_end(&mut got).await.unwrap();
        writing.await.unwrap();
        expect_same(&got, &data);
        let (read, mut write) = anonymous(0).unwrap();
        drop(read);
        expect(write.write(b"x").await, PipeErrorKind::NoData);
        // There and back again.
        let (read, write) = anonymous(0).unwrap();
        let (mut read, mut write) = (read.into_blocking().unwrap(), write.into_blocking().unwrap());
        let reader = thread::spawn(move || {
            let mut text = String::new();
            read.read_to_string(&mut text).map(|_| text)
        });
        io::Write::write_all(&mut write, b"blocking").unwrap();
        drop(write);
        assert_eq!(reader.join().unwrap().unwrap(), "blocking");
    });
}

/// A child's streams.
fn tasks_talk_to_a_child() {
    current_thread().block_on(async {
        let (stdin, input) = pipework::anonymous(0).unwrap();
        let mut command = child::echo();
        let mut process = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(command);
        let mut input = AnonWrite::try_from(input).unwrap();
        let output = pipework::AnonRead::from(process.stdout.take().unwrap());
        let errors = pipework::AnonRead::from(process.stderr.take().unwrap());
        let (mut output, mut errors) =
            (AnonRead::try_from(output).unwrap(), AnonRead::try_from(errors).unwrap());
        let data = pattern(8, 500_000);
        let (mut echoed, mut said) = (Vec::new(), String::new());
        let feeding = async {
            input.write_all(&data).await.unwrap();
            drop(input);
        };
        let (echo, error, ()) =
            tokio::join!(output.read_to_end(&mut echoed), errors.read_to_string(&mut said), feeding);
        echo.and(error).unwrap();
        expect_same(&echoed, &data);
        assert_eq!(said, "end of input");
        assert!(process.wait().unwrap().success());
    });
}

#[cfg(feature = "futures")]
mod stream {
    use super::{
        AsyncReadExt, AsyncWriteExt, Listener, Pin, connect, current_thread, pin, poll_fn, poll_until_asleep,
        unique,
    };
    use futures_core::Stream;

    /// It never ends.
    pub(super) fn tasks_accept_from_a_stream() {
        current_thread().block_on(async {
            let mut listener = Listener::bind(unique()).unwrap();
            let name = listener.name().clone();
            for _ in 0..3 {
                let mut next = pin!(poll_fn(|cx| Pin::new(&mut listener).poll_next(cx)));
                assert!(poll_until_asleep(next.as_mut()).await.is_pending());
                let mut client = connect(&name).await.unwrap();
                let mut server = next.await.unwrap().unwrap();
                client.write_all(b"x").await.unwrap();
                assert_eq!(server.read(&mut [0; 9]).await.unwrap(), 1);
            }
        });
    }
}

/// Every future can go to another thread, and every type can be shared.
const _: () = {
    const fn shared<T: Send + Sync + Unpin + 'static>() {}
    const fn sent<T: Send>(_: &T) {}
    shared::<NamedPipeServer>();
    shared::<NamedPipeClient>();
    shared::<Listener>();
    shared::<ServerOptions>();
    shared::<ClientOptions>();
    shared::<AnonRead>();
    shared::<AnonWrite>();
    #[expect(dead_code, reason = "only its types matter")]
    fn futures(server: &NamedPipeServer, listener: &Listener, options: &ClientOptions) {
        sent(&server.connect());
        sent(&server.ready(Interest::READABLE));
        sent(&server.read_message(0));
        sent(&server.read_message_into(&mut []));
        sent(&server.write_message(b""));
        sent(&server.transact(b"", 0));
        sent(&server.drain());
        sent(&listener.accept());
        sent(&options.connect(""));
        sent(&connect(""));
    }
};
