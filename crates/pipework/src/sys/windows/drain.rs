//! Waiting until the other end has read everything.
//!
//! `FlushFileBuffers` does that and has no overlapped form: it blocks its thread. Without a limit it is called as it is.
//! With a deadline or a canceller a thread is made for this one call, and where the limit comes first that thread is told
//! by `CancelSynchronousIo` and waited for, so that it never outlives the call.
#![expect(unsafe_code, reason = "calls of the system")]

use super::{
    super::Limit,
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
    Foundation::ERROR_OPERATION_ABORTED, Storage::FileSystem::FlushFileBuffers,
    System::IO::CancelSynchronousIo,
};

/// How long to wait for a thread that was told to stop, before it is told again: it may not have begun to wait.
const TELL_AGAIN: Duration = Duration::from_millis(1);

impl Connection {
    /// Waits until the other end has read everything that was written.
    pub(crate) fn drain_written(&self) -> io::Result<()> {
        self.pipe.check_may_write()?;
        self.check_usable()?;
        let limit = self.write_limit();
        let outcome = if limit.is_endless() { flush(&self.pipe) } else { flush_within(&self.pipe, &limit) };
        // A client that was thrown out meanwhile may have made room for the next one, of whom this call says nothing.
        self.check_usable()?;
        outcome
    }
}

fn flush_within(pipe: &Arc<Pipe>, limit: &Limit) -> io::Result<()> {
    let flushed = Arc::clone(pipe);
    let flushing = thread::Builder::new().name("pipework drain".into()).spawn(move || flush(&flushed))?;
    let ended = wait(flushing.as_handle(), limit).err();
    if ended.is_some() {
        while wait(flushing.as_handle(), &Limit::new(Some(TELL_AGAIN), None)).is_err() {
            // SAFETY: the handle of the thread is open while `flushing` lives. It fails while there is nothing to end.
            unsafe { CancelSynchronousIo(flushing.as_raw_handle()) };
        }
    }
    let outcome = flushing.join().unwrap_or_else(|_| Err(io::Error::other("draining failed")));
    match (outcome, ended) {
        (Err(error), Some(ended)) if code(&error) == Some(ERROR_OPERATION_ABORTED) => Err(ended),
        (outcome, _) => outcome,
    }
}

/// Waits for ever, or until somebody ends what this thread waits for.
pub(super) fn flush(pipe: &Pipe) -> io::Result<()> {
    // SAFETY: the handle is open while `pipe` is borrowed.
    done(unsafe { FlushFileBuffers(pipe.raw()) })
}
