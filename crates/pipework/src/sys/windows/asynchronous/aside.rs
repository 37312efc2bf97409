//! Calls of the system that have only a blocking form: made on a thread that the runtime has for such calls, and ended when
//! the task that waits for them goes away.
#![expect(unsafe_code, reason = "calls of the system")]

use super::{super::absent::pause, check_runtime, lock};
use crate::sys::Limit;
use ::tokio::task::{JoinHandle, spawn_blocking};
use std::{
    fmt,
    future::Future,
    io::{self, PipeReader},
    os::windows::io::{AsRawHandle, BorrowedHandle, OwnedHandle, RawHandle},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
    thread,
    time::Duration,
};
use windows_sys::Win32::System::{
    IO::{CancelIoEx, CancelSynchronousIo},
    Threading::GetCurrentThread,
};

/// How often to tell a thread to stop before pausing in between: it may not have begun to wait.
const TELL_QUICKLY: u32 = 100;
/// How long to pause from then on.
const TELL_AGAIN: Duration = Duration::from_millis(1);

/// A call under way on another thread. Dropping it ends the call, and waits for the end, which comes at once.
pub(super) struct Aside<T: Send + 'static> {
    stage: Arc<Mutex<Stage<T>>>,
    running: JoinHandle<io::Result<T>>,
    /// The handle that is waited at, where that is not opened for synchronous use.
    handle: Option<Arc<PipeReader>>,
}

type Call<T> = Box<dyn FnOnce() -> io::Result<T> + Send>;

enum Stage<T> {
    /// Not begun.
    Queued(Call<T>),
    /// On this thread.
    Running(OwnedHandle),
    Over,
}

impl<T: Send + 'static> fmt::Debug for Aside<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aside").field("handle", &self.handle).finish_non_exhaustive()
    }
}

impl<T: Send + 'static> Aside<T> {
    /// Begins the call. With a handle, also what waits at that is ended by a drop.
    pub(super) fn begin(
        handle: Option<Arc<PipeReader>>,
        call: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<Aside<T>> {
        check_runtime()?;
        let stage = Arc::new(Mutex::new(Stage::Queued(Box::new(call))));
        let ran = Arc::clone(&stage);
        let running = spawn_blocking(move || run(&ran));
        Ok(Aside { stage, running, handle })
    }

    /// Whether the call has returned, and what; once.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let ended = ready!(Pin::new(&mut self.running).poll(cx));
        Poll::Ready(ended.unwrap_or_else(|error| Err(io::Error::other(error))))
    }
}

impl<T: Send + 'static> Future for Aside<T> {
    type Output = io::Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        Aside::poll(&mut self, cx)
    }
}

fn run<T>(stage: &Mutex<Stage<T>>) -> io::Result<T> {
    let call = {
        let mut stage = lock(stage);
        let thread = this_thread()?;
        match std::mem::replace(&mut *stage, Stage::Running(thread)) {
            Stage::Queued(call) => call,
            Stage::Running(_) | Stage::Over => {
                *stage = Stage::Over;
                return Err(io::ErrorKind::Interrupted.into());
            }
        }
    };
    let outcome = call();
    *lock(stage) = Stage::Over;
    outcome
}

/// A handle by which other threads can end what this one waits for.
fn this_thread() -> io::Result<OwnedHandle> {
    // SAFETY: it returns a constant.
    let thread: RawHandle = unsafe { GetCurrentThread() };
    // SAFETY: the constant means this thread wherever it is used, so it is never closed.
    unsafe { BorrowedHandle::borrow_raw(thread) }.try_clone_to_owned()
}

impl<T: Send + 'static> Drop for Aside<T> {
    fn drop(&mut self) {
        for count in 0_u32.. {
            {
                let mut stage = lock(&self.stage);
                match &*stage {
                    Stage::Over => return,
                    Stage::Queued(_) => {
                        let call = std::mem::replace(&mut *stage, Stage::Over);
                        drop(stage);
                        drop(call);
                        return;
                    }
                    Stage::Running(thread) => end(thread, self.handle.as_deref()),
                }
            }
            if count < TELL_QUICKLY {
                thread::yield_now();
            } else {
                // Nothing else is waited for, so it ends by its time.
                pause(&Limit::new(Some(TELL_AGAIN), None)).ok();
            }
        }
    }
}

/// Ends what a thread waits for, if it does.
fn end(thread: &OwnedHandle, handle: Option<&PipeReader>) {
    // SAFETY: the handle of the thread is open while it is borrowed. It fails while there is nothing to end.
    unsafe { CancelSynchronousIo(thread.as_raw_handle()) };
    if let Some(handle) = handle {
        // SAFETY: the handle is open while it is borrowed; null stands for all of its operations.
        unsafe { CancelIoEx(handle.as_raw_handle(), std::ptr::null()) };
    }
}
