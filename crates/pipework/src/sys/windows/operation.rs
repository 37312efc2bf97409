//! Overlapped operations. The kernel writes into buffer and `OVERLAPPED` until an operation is over, so each function
//! here returns only after that: an operation that is to end early is cancelled *and waited for*.
#![expect(unsafe_code, reason = "calls of the system")]

use super::{
    super::Limit,
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

/// What an operation came to.
#[derive(Debug)]
pub(super) struct Finished {
    /// Bytes that moved.
    pub(super) len: usize,
    /// Why it ended; `ERROR_MORE_DATA` is one of these.
    pub(super) outcome: io::Result<()>,
}

impl Finished {
    /// It never began.
    fn refused(error: io::Error) -> Finished {
        Finished { len: 0, outcome: Err(error) }
    }
}

/// An `OVERLAPPED` that tells its end by this event, and never a completion port that the handle may belong to.
fn overlapped(event: &Event) -> OVERLAPPED {
    // An event whose lowest bit is set keeps the completion from the port; the kernel ignores the bit otherwise.
    let event = event.as_handle().as_raw_handle().map_addr(|address| address | 1);
    OVERLAPPED { hEvent: event, ..Default::default() }
}

/// Runs an operation: `start` begins it with the given `OVERLAPPED` and says what the call said. Over the limit it is
/// cancelled; what moved until then is told.
///
/// # Safety
/// `start` begins at most one operation, on `handle`, and what that uses stays valid and unaliased while this runs.
pub(super) unsafe fn run(
    handle: RawHandle,
    event: &Event,
    limit: &Limit,
    start: impl FnOnce(*mut OVERLAPPED) -> io::Result<()>,
) -> Finished {
    let overlapped = UnsafeCell::new(overlapped(event));
    let overlapped = overlapped.get();
    let ended = match start(overlapped) {
        Ok(()) => None,
        Err(error) => match code(&error) {
            Some(ERROR_IO_PENDING) => wait(event.as_handle(), limit).err(),
            // Over at once, with less than all of a message.
            Some(ERROR_MORE_DATA) => None,
            _ => return Finished::refused(error),
        },
    };
    if ended.is_some() {
        // SAFETY: handle and `OVERLAPPED` are those of the operation. It fails only if that has just ended by itself.
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
            // It was quicker than its end.
            (outcome, _) => outcome,
        },
    }
}

/// What a server's listening came to.
#[derive(Debug)]
pub(super) enum Listened {
    /// Nobody has come yet.
    Pending(Connecting),
    /// A client is there.
    Came,
    /// A client came and has left.
    Left,
}

/// An instance that listens, with the operation that tells of its client.
#[derive(Debug)]
pub(super) struct Connecting {
    pipe: Arc<Pipe>,
    event: Arc<Event>,
    /// The kernel's, until the event is set.
    overlapped: Box<UnsafeCell<OVERLAPPED>>,
}

// SAFETY: the pointers in `OVERLAPPED` are the kernel's and are only passed back to it; every call that takes it may come
// from any thread, and none of them comes from two threads in a way that the kernel does not arbitrate.
unsafe impl Send for Connecting {}
// SAFETY: as above; nothing in Rust reads or writes the `OVERLAPPED` while it is shared.
unsafe impl Sync for Connecting {}

/// Begins to listen, or tells what the instance has already.
pub(super) fn listen(pipe: &Arc<Pipe>) -> io::Result<Listened> {
    let event = Arc::new(Event::lasting()?);
    let overlapped = Box::new(UnsafeCell::new(overlapped(&event)));
    let connecting = Connecting { pipe: Arc::clone(pipe), event, overlapped };
    // SAFETY: the box stays where it is, and the drop of `connecting` waits for the end of the operation.
    let answer = unsafe { ConnectNamedPipe(pipe.raw(), connecting.overlapped.get()) };
    match done(answer) {
        Err(error) => match code(&error) {
            Some(ERROR_IO_PENDING) => Ok(Listened::Pending(connecting)),
            other => {
                connecting.forget();
                match other {
                    Some(ERROR_PIPE_CONNECTED) => Ok(Listened::Came),
                    Some(ERROR_NO_DATA) => Ok(Listened::Left),
                    _ => Err(error),
                }
            }
        },
        // An overlapped call does not say so, but if one did, nothing would be pending.
        Ok(()) => {
            connecting.forget();
            Ok(Listened::Came)
        }
    }
}

impl Connecting {
    /// What to wait at.
    pub(super) fn event(&self) -> &Arc<Event> {
        &self.event
    }

    /// How listening ended, if it did.
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

    /// The operation never began, or is over: nothing is to be cancelled.
    fn forget(&self) {
        self.event.set();
    }
}

impl Drop for Connecting {
    fn drop(&mut self) {
        if is_signalled(self.event.as_handle()) {
            return;
        }
        // SAFETY: handle and `OVERLAPPED` are those of the operation. It fails only if that has just ended by itself.
        unsafe { CancelIoEx(self.pipe.raw(), self.overlapped.get()) };
        // Only then is the memory ours again. How it ended is of no interest to anybody any more.
        self.result(true).ok();
    }
}
