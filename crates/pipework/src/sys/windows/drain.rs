//! Waiting until the peer has read everything.
//!
//! `FlushFileBuffers` waits for that and has no overlapped form: it blocks its thread. Without a limit it is called
//! directly. With a deadline or a canceller a thread is spawned for this one call. When the limit is reached first, the
//! call is cancelled by `CancelSynchronousIo` and the thread is joined, so it never outlives the call.
#![expect(unsafe_code, reason = "calls of the system")]

use super::{
    super::{WaitLimit, errors::unread},
    connection::Connection,
    handle::{code, done, wait},
    pipe::Pipe,
};
use std::{
    io,
    os::windows::io::{AsHandle, AsRawHandle},
    sync::Arc,
    thread,
    time::Duration,
};
use windows_sys::Win32::{
    Foundation::{ERROR_NO_DATA, ERROR_OPERATION_ABORTED},
    Storage::FileSystem::FlushFileBuffers,
    System::IO::CancelSynchronousIo,
};

/// The time between two cancellations of a thread, which may not have begun to wait at the first one.
const CANCEL_AGAIN: Duration = Duration::from_millis(1);

impl Connection {
    /// Waits until the peer has read everything that was written (rule F1).
    pub(super) fn drain(&self) -> io::Result<()> {
        self.pipe.check_may_write()?;
        self.check_usable()?;
        let limit = self.write_limit();
        let outcome = if limit.is_endless() { flush(&self.pipe) } else { flush_within(&self.pipe, &limit) };
        // If the client was disconnected meanwhile, the outcome may be that of the next client.
        self.check_usable()?;
        outcome
    }
}

fn flush_within(pipe: &Arc<Pipe>, limit: &WaitLimit) -> io::Result<()> {
    let flushed = Arc::clone(pipe);
    let flushing = thread::Builder::new().name("pipework drain".into()).spawn(move || flush(&flushed))?;
    let ended = wait(flushing.as_handle(), limit).err();
    if ended.is_some() {
        while wait(flushing.as_handle(), &WaitLimit::new(Some(CANCEL_AGAIN), None)).is_err() {
            // SAFETY: the handle of the thread is open while `flushing` lives. The call fails while nothing is pending.
            unsafe { CancelSynchronousIo(flushing.as_raw_handle()) };
        }
    }
    let outcome = flushing.join().unwrap_or_else(|_| Err(io::Error::other("draining failed")));
    match (outcome, ended) {
        (Err(error), Some(ended)) if code(&error) == Some(ERROR_OPERATION_ABORTED) => Err(ended),
        (outcome, _) => outcome,
    }
}

/// Waits without a limit, or until another thread cancels this thread's wait.
pub(super) fn flush(pipe: &Pipe) -> io::Result<()> {
    // SAFETY: the handle is open while `pipe` is borrowed.
    let outcome = done(unsafe { FlushFileBuffers(pipe.raw()) });
    // The kernel may report a closed pipe as writing does; rule F1 has one error for it.
    outcome.map_err(|error| if code(&error) == Some(ERROR_NO_DATA) { unread() } else { error })
}
