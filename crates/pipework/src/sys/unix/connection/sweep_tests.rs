//! Many connections that are busy at the same time.

use super::Connection;
use crate::sys::{End, asynchronous::AsyncEnd};
use crate::{ClientOptions, NamedPipeBuilder, PipeName};
use ::tokio::{
    runtime::{Builder, Runtime},
    time::timeout,
};
use std::{
    future::poll_fn,
    io::{self, IoSlice, IoSliceMut},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

const CONNECTIONS: usize = 32;
/// Of each connection.
const REQUESTS: usize = 64;
/// For what must come, however slow the machine is.
const LONG: Duration = Duration::from_secs(60);

fn worker() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// An async end, and its connection.
fn end(end: End) -> (Arc<AsyncEnd>, Arc<Connection>) {
    let End::Connection(connection) = &end else { panic!("no end of one connection: {end:?}") };
    let connection = Arc::clone(connection);
    (Arc::new(AsyncEnd::new(end)), connection)
}

async fn read(end: &AsyncEnd) -> io::Result<usize> {
    poll_fn(|cx| end.poll_read(cx, &mut [IoSliceMut::new(&mut [0])])).await
}

async fn write(end: &AsyncEnd) -> io::Result<usize> {
    poll_fn(|cx| end.poll_write(cx, &[IoSlice::new(b"r")])).await
}

async fn respond(end: Arc<AsyncEnd>) {
    while read(&end).await.is_ok_and(|len| len > 0) {
        write(&end).await.ok();
    }
}

async fn request(end: Arc<AsyncEnd>) {
    for _ in 0..REQUESTS {
        write(&end).await.unwrap();
        assert_eq!(read(&end).await.unwrap(), 1);
    }
}

/// Each client makes all its requests, on a runtime that knows nothing of earlier ones. How often a doorbell rang. Both ends are
/// tasks of one thread, so that no other process comes between them.
fn rings_of_all_requests() -> usize {
    let runtime = worker();
    let (mut clients, mut connections) = (Vec::new(), Vec::new());
    for _ in 0..CONNECTIONS {
        let name = PipeName::unique("sweep").unwrap();
        let server = NamedPipeBuilder::new(&name).create().unwrap();
        let (client, at_client) = end(ClientOptions::new().open(&name).unwrap().end().clone());
        let (server, at_server) = end(server.into_stream().into_end());
        runtime.spawn(respond(server));
        clients.push(client);
        connections.extend([at_client, at_server]);
    }
    let tasks: Vec<_> = clients.iter().map(|client| runtime.spawn(request(Arc::clone(client)))).collect();
    for task in tasks {
        runtime.block_on(async { timeout(LONG, task).await }).expect("each has its turn").unwrap();
    }
    connections.iter().map(|at| at.socket.rang.load(Ordering::Relaxed)).sum()
}

#[test]
fn many_busy_connections_ring_few_doorbells_and_none_starves() {
    const MESSAGES: usize = 2 * CONNECTIONS * REQUESTS;
    let begin = Instant::now();
    loop {
        let rings = rings_of_all_requests();
        if rings <= MESSAGES / 4 {
            break;
        }
        // On a machine that stops one of the workers often, the other one has nothing to find.
        assert!(begin.elapsed() < LONG, "{rings} rings for {MESSAGES} messages");
    }
}
