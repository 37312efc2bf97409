//! The one thread that this library keeps, from the first remote pipe until the process ends: a response of
//! the server has to be taken when it comes, and the thread or task that asked may be gone by then.
//!
//! A thread that waits for the network runs the runtime itself meanwhile, which saves waking another thread twice for each
//! answer. The kept thread stays away while such threads come and go, and takes over when none has come for a
//! moment.

use super::super::fork::Origin;
use crate::error::{PipeErrorKind, context, fail};
use ::tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::Notify,
    task::{AbortHandle, JoinHandle},
};
use nix::sys::signal::{SigSet, SigmaskHow};
use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    thread,
    time::Duration,
};

/// The name of the thread: the longest that Linux keeps.
const NAME: &str = "pipework-remote";
/// For how long no thread must have come before the kept thread takes over.
const GRACE: Duration = Duration::from_millis(1);

/// The thread and its runtime.
#[derive(Debug)]
pub(super) struct Background {
    /// The process that has the thread. A forked child has this memory and no such thread.
    origin: Origin,
    runtime: Runtime,
    shift: Mutex<Shift>,
    changed: Condvar,
    /// Makes the kept thread leave the runtime to another thread.
    leave: Notify,
    /// Whether tasks of other runtimes wait for the network: then the kept thread never stays away.
    serves_tasks: AtomicBool,
}

/// The threads that run the runtime.
#[derive(Debug, Default)]
struct Shift {
    /// How many threads run it while they wait, or would, and how many have come in all.
    guests: usize,
    arrivals: u64,
    /// Whether the kept thread runs it.
    is_kept: bool,
    /// Whether the kept thread has to be woken when the last guest leaves.
    is_parked: bool,
}

static BACKGROUND: OnceLock<Arc<Background>> = OnceLock::new();
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
    fn start() -> io::Result<Arc<Background>> {
        let runtime = Builder::new_current_thread().enable_io().enable_time().thread_name(NAME).build()?;
        let background = Arc::new(Background {
            origin: Origin::current(),
            runtime,
            shift: Mutex::default(),
            changed: Condvar::new(),
            leave: Notify::new(),
            serves_tasks: AtomicBool::new(false),
        });
        let kept = Arc::clone(&background);
        // Signals are for the program's own threads: a new thread begins with the mask of the one that starts it.
        let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
        let started = thread::Builder::new().name(NAME.to_owned()).spawn(move || kept.keep());
        before.thread_set_mask()?;
        started.map(|_thread| background)
    }

    /// Runs the runtime whenever no other thread does.
    fn keep(&self) {
        loop {
            self.until_nobody_comes();
            self.runtime.block_on(self.leave.notified());
            self.lock().is_kept = false;
        }
    }

    fn until_nobody_comes(&self) {
        let mut shift = self.lock();
        while !self.serves_tasks.load(Ordering::Relaxed) {
            let arrivals = shift.arrivals;
            shift = self.changed.wait_timeout(shift, GRACE).unwrap_or_else(PoisonError::into_inner).0;
            if shift.arrivals != arrivals {
                continue;
            }
            if shift.guests == 0 {
                break;
            }
            // A guest waits for long. The last guest that leaves wakes this thread.
            shift.is_parked = true;
            shift = self.changed.wait(shift).unwrap_or_else(PoisonError::into_inner);
            shift.is_parked = false;
        }
        shift.is_kept = true;
    }

    /// Runs something on the calling thread, and all else that is to be run meanwhile.
    pub(super) fn run_here<T>(&self, work: impl Future<Output = T>) -> T {
        let _guest = Guest::arrive(self);
        self.runtime.block_on(work)
    }

    /// Whether a thread may run the runtime while it waits: not within another runtime, which can't be had, and not where
    /// tasks would wait for the kept thread to come back.
    pub(super) fn lets_guests_in(&self) -> bool {
        !self.serves_tasks.load(Ordering::Relaxed) && Handle::try_current().is_err()
    }

    /// From now on the kept thread runs the runtime.
    pub(super) fn serve_tasks(&self) {
        if !self.serves_tasks.swap(true, Ordering::Relaxed) {
            let _shift = self.lock();
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shift> {
        // Numbers and flags, each of which is whole at every step.
        self.shift.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn checked(&self) -> io::Result<&Background> {
        if self.origin.is_here() {
            return Ok(self);
        }
        let text = "this process was forked from one with remote pipes, and lacks the thread that runs them: \
                    open such pipes after `exec`";
        Err(fail(PipeErrorKind::Unsupported, text))
    }

    /// Runs something there to its end, whether or not anything waits for it.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        self.runtime.spawn(work).abort_handle()
    }

    /// Runs something there for as long as the returned future is waited for.
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

/// A thread that runs the runtime while it waits, or waits for its turn to.
struct Guest<'a>(&'a Background);

impl Guest<'_> {
    fn arrive(background: &Background) -> Guest<'_> {
        let mut shift = background.lock();
        shift.guests += 1;
        shift.arrivals += 1;
        if shift.is_kept {
            background.leave.notify_one();
        }
        Guest(background)
    }
}

impl Drop for Guest<'_> {
    fn drop(&mut self) {
        let mut shift = self.0.lock();
        shift.guests -= 1;
        if shift.guests == 0 && shift.is_parked {
            self.0.changed.notify_all();
        }
    }
}
