//! The one thread that this library keeps: it runs the SMB sessions of the process, from the first pipe on another computer
//! until the process ends. An answer of the network has to be taken when it comes, and whoever asked may be gone by then.

use crate::error::{PipeErrorKind, context, fail};
use ::tokio::{
    runtime::{Builder, Handle},
    task::{AbortHandle, JoinHandle},
};
use nix::sys::signal::{SigSet, SigmaskHow};
use std::{
    future, io,
    pin::Pin,
    sync::{Mutex, OnceLock, PoisonError},
    task::{Context, Poll},
    thread,
};

/// The name of the thread: the longest that Linux keeps.
const NAME: &str = "pipework-remote";

/// The thread and its runtime.
#[derive(Debug)]
pub(super) struct Background {
    /// The process that has the thread. A forked child has this memory and no such thread.
    process: u32,
    runtime: Handle,
}

static BACKGROUND: OnceLock<Background> = OnceLock::new();
static STARTING: Mutex<()> = Mutex::new(());

/// The thread, started if it is not there; an error in a forked child.
pub(super) fn background() -> io::Result<&'static Background> {
    if let Some(background) = BACKGROUND.get() {
        return background.checked();
    }
    let _starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(background) = BACKGROUND.get() {
        return background.checked();
    }
    let started =
        Background::start().map_err(|error| context("starting the thread for the network", error))?;
    Ok(BACKGROUND.get_or_init(|| started))
}

impl Background {
    fn start() -> io::Result<Background> {
        let runtime = Builder::new_current_thread().enable_io().enable_time().thread_name(NAME).build()?;
        let handle = runtime.handle().clone();
        // Signals are for the program's own threads: a new thread begins with the mask of the one that starts it.
        let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
        let started = thread::Builder::new()
            .name(NAME.to_owned())
            .spawn(move || runtime.block_on(future::pending::<()>()));
        before.thread_set_mask()?;
        started?;
        Ok(Background { process: std::process::id(), runtime: handle })
    }

    fn checked(&self) -> io::Result<&Background> {
        if self.process == std::process::id() {
            return Ok(self);
        }
        let text = "this process was forked from one with pipes on other computers, and has nothing that runs them: \
                    open such pipes after `exec`";
        Err(fail(PipeErrorKind::Unsupported, text))
    }

    /// Runs something there to its end, whoever waits for it.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        self.runtime.spawn(work).abort_handle()
    }

    /// Runs something there for as long as somebody waits for it.
    pub(super) fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Running<T> {
        Running(self.runtime.spawn(work))
    }
}

/// Something that runs, and ends when it is dropped.
#[derive(Debug)]
pub(super) struct Running<T>(JoinHandle<T>);

impl<T> Future for Running<T> {
    type Output = io::Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        Pin::new(&mut self.0).poll(cx).map_err(io::Error::from)
    }
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
