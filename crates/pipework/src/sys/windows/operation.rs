//! Overlapped operations. The kernel writes to the buffer and to the `OVERLAPPED` until an operation has completed, so each
//! function here returns only after that: it cancels an operation that must end early *and waits for its completion*.
#![expect(unsafe_code, reason = "calls of the system")]

use super::{
    super::WaitLimit,
    handle::{Event, code, done, is_signalled, wait},
    pipe::Pipe,
};
use std::{
    cell::UnsafeCell,
    io,
    os::windows::io::{AsHandle, AsRawHandle, RawHandle},
    sync::Arc,
};
use windows_sys::Win32::{
    Foundation::{
        ERROR_IO_PENDING, ERROR_MORE_DATA, ERROR_NO_DATA, ERROR_OPERATION_ABORTED, ERROR_PIPE_CONNECTED,
    },
    System::{
        IO::{CancelIoEx, GetOverlappedResult, OVERLAPPED},
        Pipes::ConnectNamedPipe,
    },
};

/// The outcome of an operation.
#[derive(Debug)]
pub(super) struct Finished {
    /// How many bytes were transferred.
    pub(super) len: usize,
    /// The error, if there was one; `ERROR_MORE_DATA` counts as an error.
    pub(super) outcome: io::Result<()>,
}

impl Finished {
    /// The operation never began.
    fn refused(error: io::Error) -> Finished {
        Finished { len: 0, outcome: Err(error) }
    }
}

/// An `OVERLAPPED` whose completion sets this event and never goes to a completion port of the handle.
fn overlapped(event: &Event) -> OVERLAPPED {
    // The lowest bit of the event keeps the completion from the port. The kernel ignores it otherwise.
    let event = event.as_handle().as_raw_handle().map_addr(|address| address | 1);
    OVERLAPPED { hEvent: event, ..Default::default() }
}

/// Runs an operation: `start` begins it with the given `OVERLAPPED` and returns the outcome of the call. At the limit it is
/// cancelled; the result has the bytes transferred until then.
///
/// # Safety
/// `start` begins at most one operation, on `handle`. What the operation uses stays valid and unaliased while this runs.
pub(super) unsafe fn run(
    handle: RawHandle,
    event: &Event,
    limit: &WaitLimit,
    start: impl FnOnce(*mut OVERLAPPED) -> io::Result<()>,
) -> Finished {
    let overlapped = UnsafeCell::new(overlapped(event));
    let overlapped = overlapped.get();
    let ended = match start(overlapped) {
        Ok(()) => None,
        Err(error) => match code(&error) {
            Some(ERROR_IO_PENDING) => wait(event.as_handle(), limit).err(),
            // Completed already, with a part of a message.
            Some(ERROR_MORE_DATA) => None,
            _ => return Finished::refused(error),
        },
    };
    if ended.is_some() {
        // SAFETY: handle and `OVERLAPPED` are those of the operation. The call fails only if the operation has just completed.
        unsafe { CancelIoEx(handle, overlapped) };
    }
    let mut len = 0;
    // SAFETY: handle and `OVERLAPPED` are those of the operation; both live on, and `len` is written before it returns.
    let answer = unsafe { GetOverlappedResult(handle, overlapped, &mut len, 1) };
    let outcome = done(answer);
    Finished {
        len: usize::try_from(len).unwrap_or(usize::MAX),
        outcome: match (outcome, ended) {
            (Err(error), Some(ended)) if code(&error) == Some(ERROR_OPERATION_ABORTED) => Err(ended),
            // It completed before it was cancelled.
            (outcome, _) => outcome,
        },
    }
}

/// The outcome of listening.
#[derive(Debug)]
pub(super) enum Listened {
    /// No client yet.
    Pending(Connecting),
    /// A client is connected.
    Came,
    /// A client connected and closed.
    Left,
}

/// An instance that listens, with the operation that a client completes.
#[derive(Debug)]
pub(crate) struct Connecting {
    pipe: Arc<Pipe>,
    event: Arc<Event>,
    /// The kernel uses it until the event is set.
    overlapped: Box<UnsafeCell<OVERLAPPED>>,
}

// SAFETY: the pointers in `OVERLAPPED` belong to the kernel and are only passed back to it. Every call that takes it may
// come from any thread, and the kernel arbitrates between calls of several threads.
unsafe impl Send for Connecting {}
// SAFETY: as above; nothing in Rust reads or writes the `OVERLAPPED` while it is shared.
unsafe impl Sync for Connecting {}

/// Begins to listen, or returns what the instance has already.
pub(super) fn listen(pipe: &Arc<Pipe>) -> io::Result<Listened> {
    let event = Arc::new(Event::manual_reset()?);
    let overlapped = Box::new(UnsafeCell::new(overlapped(&event)));
    let connecting = Connecting { pipe: Arc::clone(pipe), event, overlapped };
    // SAFETY: the box does not move its content, and the drop of `connecting` waits for the completion.
    let answer = unsafe { ConnectNamedPipe(pipe.raw(), connecting.overlapped.get()) };
    match done(answer) {
        Err(error) => match code(&error) {
            Some(ERROR_IO_PENDING) => Ok(Listened::Pending(connecting)),
            other => {
                connecting.mark_completed();
                match other {
                    Some(ERROR_PIPE_CONNECTED) => Ok(Listened::Came),
                    Some(ERROR_NO_DATA) => Ok(Listened::Left),
                    _ => Err(error),
                }
            }
        },
        // An overlapped call never returns this. If one did, nothing would be pending.
        Ok(()) => {
            connecting.mark_completed();
            Ok(Listened::Came)
        }
    }
}

impl Connecting {
    /// The event to wait for.
    pub(super) fn event(&self) -> &Arc<Event> {
        &self.event
    }

    /// The outcome of listening, if it has completed.
    pub(super) fn outcome(&self) -> Option<io::Result<()>> {
        if !is_signalled(self.event.as_handle()) {
            return None;
        }
        Some(self.result(false))
    }

    fn result(&self, wait: bool) -> io::Result<()> {
        let mut len = 0;
        // SAFETY: handle and `OVERLAPPED` are those of the operation; both live on, and `len` is written before it returns.
        let answer =
            unsafe { GetOverlappedResult(self.pipe.raw(), self.overlapped.get(), &mut len, wait.into()) };
        done(answer)
    }

    /// Nothing is pending, so the drop has nothing to cancel.
    fn mark_completed(&self) {
        self.event.set();
    }
}

impl Drop for Connecting {
    fn drop(&mut self) {
        if is_signalled(self.event.as_handle()) {
            return;
        }
        // SAFETY: handle and `OVERLAPPED` are those of the operation. The call fails only if the operation has just completed.
        unsafe { CancelIoEx(self.pipe.raw(), self.overlapped.get()) };
        // The kernel uses the memory until then. The outcome no longer matters.
        self.result(true).ok();
    }
}
