//! What only tasks have: futures that are dropped, runtimes that end, readiness, threads that must not be kept waiting.

mod dropping;
mod running;

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::Poll,
};

use pipework::{
    PipeName,
    tokio::{ClientOptions, NamedPipeClient, NamedPipeServer, PipeMode, ServerOptions},
};
use tokio::runtime::{Builder, Runtime};

use super::Case;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = dropping::cases();
    cases.extend(running::cases());
    cases
}

/// A runtime with threads of its own.
fn workers() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// A runtime that runs where it is waited for, without timers: the pipes need none.
fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_io().build().unwrap()
}

fn unique() -> PipeName {
    PipeName::unique("it").unwrap()
}

/// An instance and its client, connected.
fn pair(options: &ServerOptions) -> (NamedPipeServer, NamedPipeClient) {
    let name = unique();
    let server = options.create(&name).unwrap();
    let client = ClientOptions::new().open(&name).unwrap();
    (server, client)
}

fn message_pair(quota: u32) -> (NamedPipeServer, NamedPipeClient) {
    let mut options = ServerOptions::new();
    options.pipe_mode(PipeMode::Message).in_buffer_size(quota).out_buffer_size(quota);
    let (server, client) = pair(&options);
    client.set_read_mode(PipeMode::Message).unwrap();
    (server, client)
}

/// Polls once; the task goes on.
async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

/// Polls so often, other tasks running in between, and drops the future if it is not done by then.
async fn polled<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..polls {
        if let Poll::Ready(output) = poll_once(future.as_mut()).await {
            return Some(output);
        }
        tokio::task::yield_now().await;
    }
    None
}

/// Numbers with no short period, for how often to poll and how much to write.
struct Dice(u32);

impl Dice {
    fn below(&mut self, bound: u32) -> usize {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        usize::try_from((self.0 >> 8) % bound).unwrap()
    }
}
