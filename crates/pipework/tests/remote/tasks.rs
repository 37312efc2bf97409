//! The same, async.

use crate::{
    data::pattern,
    harness::{Case, Place, unique},
    server::{Client, Kind, Served},
};
use pipework::{MessageBatch, PipeErrorKind, PipeMode, tokio::NamedPipeClient};
use std::{
    future::{Future, poll_fn},
    io::{IoSlice, Write},
    net::{Ipv4Addr, TcpListener},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    thread,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, Interest},
    runtime::Builder,
    time::{sleep, timeout},
};

pub(crate) const CASES: &[Case] = &[
    ("tasks_carry_bytes_and_messages", |place| run(carry(place))),
    ("tasks_connect_in_time", |place| run(connect_in_time(place))),
    ("tasks_know_when_to_try", |place| run(know_when_to_try(place))),
    ("tasks_may_be_dropped_at_every_await", |place| run(dropped_at_every_await(place))),
    ("tasks_need_no_runtime_of_a_kind", need_no_runtime_of_a_kind),
];

/// For what must come, however slow the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

fn run(case: impl Future<Output = ()>) {
    Builder::new_current_thread().enable_all().build().unwrap().block_on(case);
}

async fn open(place: &Place, kind: Kind) -> (NamedPipeClient, Client) {
    let name = unique();
    let served = Served::new(&place.np, &name, kind);
    let accepting = tokio::task::spawn_blocking(move || served.accept());
    let mode = if kind == Kind::Messages { PipeMode::Message } else { PipeMode::Byte };
    let client = place.task_options().pipe_mode(mode).connect(place.address(&name)).await.unwrap();
    (client, accepting.await.unwrap())
}

async fn carry(place: &Place) {
    const LEN: usize = 8 << 20;
    let (client, mut server) = open(place, Kind::Bytes).await;
    let echo = thread::spawn(move || {
        let data = server.read_exactly(LEN);
        server.socket.write_all(&data).unwrap();
        server
    });
    let data = pattern(LEN, 1);
    let (mut reader, mut writer) = tokio::io::split(client);
    writer.write_all(&data).await.unwrap();
    writer.flush().await.unwrap();
    let mut read = vec![0; LEN];
    reader.read_exact(&mut read).await.unwrap();
    assert!(read == data);
    drop(echo.join().unwrap());
    assert_eq!(reader.read(&mut read).await.unwrap(), 0);
    let (client, server) = open(place, Kind::Messages).await;
    let echo = thread::spawn(move || server.echo_messages());
    for len in [1, 4096, 65_535] {
        let message = pattern(len, 2);
        assert!(client.transact(&message, len).await.unwrap() == message);
        client.write_message(&message).await.unwrap();
        assert!(client.read_message(len).await.unwrap().unwrap() == message);
    }
    let messages = [&b"one"[..], b"and", b"three"];
    let (slices, mut batch, mut received) =
        (messages.map(IoSlice::new), MessageBatch::new(2, 100), Vec::new());
    let mut rest = &slices[..];
    while !rest.is_empty() {
        rest = &rest[client.write_messages(rest).await.unwrap()..];
    }
    while received.len() < messages.len() {
        assert_ne!(client.read_messages(&mut batch).await.unwrap(), 0);
        received.extend(batch.iter().map(<[u8]>::to_vec));
    }
    assert_eq!(received, messages);
    for len in [0, 65_536] {
        let refused = client.write_message(&vec![0; len]).await.unwrap_err();
        assert!(refused == PipeErrorKind::Invalid, "{refused}");
    }
    assert!(client.drain().await.unwrap_err() == PipeErrorKind::Unsupported);
    assert!(client.peek(&mut []).unwrap_err() == PipeErrorKind::Unsupported);
    drop(client);
    echo.join().unwrap();
}

async fn connect_in_time(place: &Place) {
    let mut options = place.task_options();
    let open = options.open(place.address("x")).unwrap_err();
    assert!(open == PipeErrorKind::Unsupported && open.to_string().contains("connect"), "{open}");
    let absent = options.connect(place.address("x")).await.unwrap_err();
    assert!(absent == PipeErrorKind::Absent, "{absent}");
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut elsewhere = options.clone();
    elsewhere.remote_port(silent.local_addr().unwrap().port()).timeout(Duration::from_millis(50));
    let late = elsewhere.connect(place.address("x")).await.unwrap_err();
    assert!(late == PipeErrorKind::TimedOut && late.to_string().contains("reached"), "{late}");
    options.wait_absent(true).timeout(Duration::ZERO);
    assert!(options.connect(place.address("x")).await.unwrap_err() == PipeErrorKind::TimedOut);
    options.timeout(Duration::from_secs(60));
    let name = unique();
    let connecting = options.connect(place.address(&name));
    let serving = async {
        sleep(Duration::from_millis(50)).await;
        let served = Served::new(&place.np, &name, Kind::Bytes);
        tokio::task::spawn_blocking(move || served.accept()).await.unwrap()
    };
    let (client, server) = tokio::join!(connecting, serving);
    drop((client.unwrap(), server));
}

async fn know_when_to_try(place: &Place) {
    let (client, mut server) = open(place, Kind::Bytes).await;
    client.writable().await.unwrap();
    assert!(timeout(Duration::from_millis(50), client.readable()).await.is_err());
    server.socket.write_all(b"x").unwrap();
    assert!(client.ready(Interest::READABLE).await.unwrap().is_readable());
    assert_eq!(client.try_read(&mut [0; 9]).unwrap(), 1);
    let data = vec![7; 4 << 20];
    let mut written = 0;
    while timeout(Duration::from_millis(300), client.writable()).await.is_ok() {
        written += client.try_write(&data).unwrap_or(0);
    }
    assert!(written > 0);
    tokio::task::spawn_blocking(move || assert_eq!(server.read_exactly(written).len(), written))
        .await
        .unwrap();
    client.readable().await.unwrap();
    assert_eq!(client.try_read(&mut [0; 9]).unwrap(), 0);
}

/// Polls a future so often, as long as it asks for it, and drops it.
async fn poll_and_drop<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..polls {
        let polled = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
        if let Poll::Ready(output) = polled {
            return Some(output);
        }
        sleep(Duration::from_micros(300)).await;
    }
    None
}

async fn dropped_at_every_await(place: &Place) {
    // Reading: each message is got by somebody, once and in order.
    let (client, mut server) = open(place, Kind::Messages).await;
    let writing = thread::spawn(move || {
        for round in 0..200_u32 {
            server.write_message(&round.to_le_bytes());
        }
        server
    });
    let (mut next, mut polls) = (0_u32, 0);
    while next < 200 {
        polls = (polls + 1) % 4;
        if let Some(message) = poll_and_drop(client.read_message(4), polls).await {
            assert_eq!(message.unwrap().unwrap(), next.to_le_bytes());
            next += 1;
        }
    }
    write_and_drop(client, writing.join().unwrap()).await;
    // What was handed over is waited for by shutting down, which reports its failure; and it may be dropped.
    let (mut client, mut server) = open(place, Kind::Bytes).await;
    client.write_all(b"handed over").await.unwrap();
    client.shutdown().await.unwrap();
    let full = timeout(Duration::from_millis(300), client.write_all(&vec![0; 16 << 20])).await;
    assert!(full.is_err());
    for polls in 1..4 {
        assert!(poll_and_drop(client.shutdown(), polls).await.is_none());
    }
    server = tokio::task::spawn_blocking(move || {
        assert_eq!(server.read_exactly(11), b"handed over");
        server
    })
    .await
    .unwrap();
    drop(server);
    let gone = client.shutdown().await.unwrap_err();
    assert!(gone == PipeErrorKind::NoData, "{gone}");
    // Asking, draining, connecting: what was left does no harm.
    let (client, server) = open(place, Kind::Messages).await;
    let echo = thread::spawn(move || server.echo_messages());
    for polls in 0..6 {
        poll_and_drop(client.transact(b"question", 9), polls).await;
        poll_and_drop(client.drain(), polls).await;
        while let Ok(Ok(Some(late))) = timeout(Duration::from_millis(20), client.read_message(9)).await {
            assert_eq!(late, b"question");
        }
        assert_eq!(client.transact(b"answered", 9).await.unwrap(), b"answered");
        poll_and_drop(place.task_options().connect(place.address("x")), polls).await;
    }
    drop(client);
    echo.join().unwrap();
}

/// Writing: a message comes whole or not at all, and never twice.
async fn write_and_drop(client: NamedPipeClient, mut server: Client) {
    let count = Arc::new(AtomicUsize::new(0));
    let reading = thread::spawn({
        let count = Arc::clone(&count);
        move || {
            let messages = std::iter::from_fn(|| server.read_message());
            messages.inspect(|_| _ = count.fetch_add(1, Ordering::Relaxed)).collect::<Vec<_>>()
        }
    });
    // How many are handed over before they are dropped, the server's pace decides. So it goes on until they are many.
    let (begun, mut round) = (Instant::now(), 0_u32);
    while round < 200 || count.load(Ordering::Relaxed) < 100 {
        assert!(begun.elapsed() < PATIENCE, "of {round} messages the server got {count:?}");
        let polls = usize::try_from(round % 4).unwrap();
        let message = [round.to_le_bytes().as_slice(), &[0; 5000]].concat();
        poll_and_drop(client.write_message(&message), polls).await.transpose().unwrap();
        round += 1;
    }
    client.write_message(b"last").await.unwrap();
    drop(client);
    let messages = reading.join().unwrap();
    assert_eq!(messages.last().unwrap(), b"last");
    let numbers: Vec<u32> = messages[..messages.len() - 1]
        .iter()
        .map(|message| {
            assert_eq!(message.len(), 5004);
            u32::from_le_bytes(message[..4].try_into().unwrap())
        })
        .collect();
    assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
    assert!(numbers.len() >= 100, "{}", numbers.len());
}

fn need_no_runtime_of_a_kind(place: &Place) {
    let bare = Builder::new_current_thread().build().unwrap();
    let many = Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let name = unique();
    let served = Served::new(&place.np, &name, Kind::Messages);
    let serving = thread::spawn(move || served.accept().echo_messages());
    let connecting = async {
        place.task_options().pipe_mode(PipeMode::Message).connect(place.address(&name)).await.unwrap()
    };
    let client = bare.block_on(connecting);
    drop(bare);
    for _ in 0..2 {
        assert_eq!(many.block_on(client.transact(b"elsewhere", 9)).unwrap(), b"elsewhere");
    }
    drop(client);
    serving.join().unwrap();
}
