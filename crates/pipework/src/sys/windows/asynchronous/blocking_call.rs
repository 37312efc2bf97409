//! System calls that have only a blocking form. They run on the runtime's threads for blocking calls, and are cancelled
//! when the task that waits for them is dropped.
#![expect(unsafe_code, reason = "calls of the system")]

use super::{super::unsupported::pause, lock::lock, runtime::check_runtime};
use crate::sys::WaitLimit;
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

/// How often to cancel a thread's wait without a pause: the thread may not have begun to wait.
const CANCELS_WITHOUT_PAUSE: u32 = 100;
/// The pause between two cancellations from then on.
const CANCEL_AGAIN: Duration = Duration::from_millis(1);

/// A call under way on another thread. The drop cancels the call and waits until it has returned, which is soon.
pub(super) struct BlockingCall<T: Send + 'static> {
    stage: Arc<Mutex<Stage<T>>>,
    running: JoinHandle<io::Result<T>>,
    /// The handle whose operations the drop cancels, if it may be opened for overlapped use.
    handle: Option<Arc<PipeReader>>,
}

type Call<T> = Box<dyn FnOnce() -> io::Result<T> + Send>;

enum Stage<T> {
    /// Not begun.
    Queued(Call<T>),
    /// Under way on this thread.
    Running(OwnedHandle),
    Over,
}

impl<T: Send + 'static> fmt::Debug for BlockingCall<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingCall").field("handle", &self.handle).finish_non_exhaustive()
    }
}

impl<T: Send + 'static> BlockingCall<T> {
    /// Begins the call. With a handle, a drop also cancels the operations on that handle.
    pub(super) fn begin(
        handle: Option<Arc<PipeReader>>,
        call: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<BlockingCall<T>> {
        check_runtime()?;
        let stage = Arc::new(Mutex::new(Stage::Queued(Box::new(call))));
        let ran = Arc::clone(&stage);
        let running = spawn_blocking(move || run(&ran));
        Ok(BlockingCall { stage, running, handle })
    }

    /// Ready with the outcome when the call has returned. Must not be polled after that.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let ended = ready!(Pin::new(&mut self.running).poll(cx));
        Poll::Ready(ended.unwrap_or_else(|error| Err(io::Error::other(error))))
    }
}

impl<T: Send + 'static> Future for BlockingCall<T> {
    type Output = io::Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        BlockingCall::poll(&mut self, cx)
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

/// A handle with which other threads can cancel this thread's waits.
fn this_thread() -> io::Result<OwnedHandle> {
    // SAFETY: it returns a constant.
    let thread: RawHandle = unsafe { GetCurrentThread() };
    // SAFETY: the constant means the thread that uses it and is never closed.
    unsafe { BorrowedHandle::borrow_raw(thread) }.try_clone_to_owned()
}

impl<T: Send + 'static> Drop for BlockingCall<T> {
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
                    Stage::Running(thread) => cancel(thread, self.handle.as_deref()),
                }
            }
            if count < CANCELS_WITHOUT_PAUSE {
                thread::yield_now();
            } else {
                // The only limit is the time, so the error carries no information.
                pause(&WaitLimit::new(Some(CANCEL_AGAIN), None)).ok();
            }
        }
    }
}

/// Cancels what a thread waits for, if it waits.
fn cancel(thread: &OwnedHandle, handle: Option<&PipeReader>) {
    // SAFETY: the handle of the thread is open while it is borrowed. The call fails while nothing is pending.
    unsafe { CancelSynchronousIo(thread.as_raw_handle()) };
    if let Some(handle) = handle {
        // SAFETY: the handle is open while it is borrowed; null means all of its operations.
        unsafe { CancelIoEx(handle.as_raw_handle(), std::ptr::null()) };
    }
}
