//! What only tasks have: futures that are dropped, runtimes that end, readiness, threads that must not be kept waiting.

mod crowd;
mod dropping;
mod running;
mod trying;

use std::{
    fmt,
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use pipework::{
    PipeName,
    tokio::{ClientOptions, NamedPipeClient, NamedPipeServer, PipeMode, ServerOptions},
};
use tokio::runtime::{Builder, Runtime};

use super::Case;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = dropping::cases();
    cases.extend(crowd::cases());
    cases.extend(running::cases());
    cases.extend(trying::cases());
    cases
}

/// The cases that only a system like this one has.
pub(super) fn cases_of_this_system() -> Vec<Case> {
    let mut cases = running::cases_of_this_system();
    #[cfg(unix)]
    cases.extend(trying::cases_of_this_system());
    cases
}

/// A runtime with threads of its own.
fn workers() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// A runtime that runs where it is waited for.
fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
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

#[track_caller]
fn would_block<T: fmt::Debug>(outcome: io::Result<T>) {
    assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::WouldBlock);
}

fn message_pair(quota: u32) -> (NamedPipeServer, NamedPipeClient) {
    let mut options = ServerOptions::new();
    options.pipe_mode(PipeMode::Message).in_buffer_size(quota).out_buffer_size(quota);
    let (server, client) = pair(&options);
    client.set_read_mode(PipeMode::Message).unwrap();
    (server, client)
}

/// Whether a task was woken.
#[derive(Debug, Default)]
struct Woken(AtomicBool);

impl Woken {
    /// Since the last time that this was asked.
    fn again(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Polls until the task would sleep: as long as the future asks for it, it is polled again. Gives what came instead.
async fn poll_until_asleep<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    loop {
        let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
        if polled.is_ready() || !woken.again() {
            return polled;
        }
        tokio::task::yield_now().await;
    }
}

/// Polls until the task would sleep, does something that must end its wait, and polls again only when it is woken.
#[cfg(unix)]
async fn once_woken<F: Future>(future: F, awaited: impl FnOnce()) -> F::Output {
    let mut future = pin!(future);
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut cx = Context::from_waker(&waker);
    loop {
        assert!(future.as_mut().poll(&mut cx).is_pending(), "it returned instead of waiting");
        if !woken.again() {
            break;
        }
        tokio::task::yield_now().await;
    }
    awaited();
    loop {
        while !woken.again() {
            tokio::task::yield_now().await;
        }
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
    }
}

/// Polls in so many steps, other tasks running in between, and drops the future if it is not done by then: the first is one
/// poll, the others go on until it sleeps.
async fn polled<F: Future>(steps: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    for step in 0..steps {
        let polled = if step == 0 {
            poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
        } else {
            poll_until_asleep(future.as_mut()).await
        };
        if let Poll::Ready(output) = polled {
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
