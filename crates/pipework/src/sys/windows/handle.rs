//! Events, waiting for them, and the conversions that every system call needs.
#![expect(unsafe_code, reason = "calls of the system")]

use super::super::WaitLimit;
use crate::error::PipeErrorKind;
use std::{
    borrow::Cow,
    ffi::OsStr,
    io,
    os::windows::{
        ffi::OsStrExt,
        io::{
            AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, HandleOrInvalid, HandleOrNull, OwnedHandle,
            RawHandle,
        },
    },
    ptr,
    sync::OnceLock,
    time::Duration,
};
use windows_sys::Win32::{
    Foundation::{WAIT_FAILED, WAIT_OBJECT_0},
    System::Threading::{CreateEventW, INFINITE, SetEvent, WaitForMultipleObjects},
};

/// The longest wait of one call in milliseconds; a longer wait takes several calls.
const WAIT_MAX_MS: u32 = 1 << 30;

/// The outcome of a call that returns a `BOOL`. Must directly follow the call.
pub(super) fn done(answer: i32) -> io::Result<()> {
    if answer == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The number of a system error.
pub(super) fn code(error: &io::Error) -> Option<u32> {
    error.raw_os_error().and_then(|code| u32::try_from(code).ok())
}

/// The system error with this number.
pub(super) fn system_error(code: u32) -> io::Error {
    io::Error::from_raw_os_error(i32::try_from(code).unwrap_or(i32::MAX))
}

/// The text as UTF-16 with a NUL at its end.
pub(super) fn wide(text: impl AsRef<OsStr>) -> Vec<u16> {
    text.as_ref().encode_wide().chain([0]).collect()
}

/// The length of a buffer for a system call; the next call continues behind it.
pub(super) fn len_of(buf: &[u8]) -> u32 {
    u32::try_from(buf.len()).unwrap_or(u32::MAX)
}

/// Takes ownership of the handle that a call has just created; null means that the call failed.
///
/// # Safety
/// `handle` is open and nothing else owns it, or it is null.
pub(super) unsafe fn own_or_null(handle: RawHandle) -> io::Result<OwnedHandle> {
    // SAFETY: the caller promises what the type asks: an owned handle, or null.
    let handle = unsafe { HandleOrNull::from_raw_handle(handle) };
    OwnedHandle::try_from(handle).map_err(|_| io::Error::last_os_error())
}

/// The same for calls that return `INVALID_HANDLE_VALUE` when they fail.
///
/// # Safety
/// `handle` is open and nothing else owns it, or it is `INVALID_HANDLE_VALUE`.
pub(super) unsafe fn own_or_invalid(handle: RawHandle) -> io::Result<OwnedHandle> {
    // SAFETY: the caller promises what the type asks: an owned handle, or the value of a failure.
    let handle = unsafe { HandleOrInvalid::from_raw_handle(handle) };
    OwnedHandle::try_from(handle).map_err(|_| io::Error::last_os_error())
}

/// Takes ownership of a raw handle that other code gives away.
///
/// # Safety
/// `handle` is open and the caller owns it; nothing else closes it.
pub(crate) unsafe fn handle_from_raw(handle: RawHandle) -> OwnedHandle {
    // SAFETY: the caller promises exactly what `OwnedHandle` asks: an open handle, owned, not closed elsewhere.
    unsafe { OwnedHandle::from_raw_handle(handle) }
}

/// A Win32 event.
#[derive(Debug)]
pub(crate) struct Event(OwnedHandle);

impl Event {
    /// A manual-reset event: it stays set until the next operation begins.
    pub(super) fn manual_reset() -> io::Result<Event> {
        Event::new(true)
    }

    /// An auto-reset event: one waiter wakes and resets it.
    pub(super) fn auto_reset() -> io::Result<Event> {
        Event::new(false)
    }

    fn new(is_manual_reset: bool) -> io::Result<Event> {
        // SAFETY: null means default attributes and no name.
        let handle = unsafe { CreateEventW(ptr::null(), is_manual_reset.into(), 0, ptr::null()) };
        // SAFETY: the call has just created the handle for this caller, or it is null.
        unsafe { own_or_null(handle) }.map(Event)
    }

    pub(crate) fn set(&self) {
        // SAFETY: the handle is open while `self` is borrowed. This process created the event with all rights, so the call can't fail.
        unsafe { SetEvent(self.0.as_raw_handle()) };
    }
}

impl AsHandle for Event {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.0.as_handle()
    }
}

/// The event in `cell`, created on first use.
pub(super) fn event_in(
    cell: &OnceLock<Event>,
    create: impl FnOnce() -> io::Result<Event>,
) -> io::Result<&Event> {
    if let Some(event) = cell.get() {
        return Ok(event);
    }
    let event = create()?;
    // If another thread was faster, its event is used.
    Ok(cell.get_or_init(|| event))
}

/// Waits until the object is signalled. The object wins over a limit that is reached at the same time.
pub(super) fn wait(object: BorrowedHandle<'_>, limit: &WaitLimit) -> io::Result<()> {
    let object = object.as_raw_handle();
    // The object comes first: of several signalled objects the call reports the first.
    let (handles, count) = match limit.canceller() {
        Some(canceller) => ([object, canceller.as_handle().as_raw_handle()], 2),
        None => ([object, object], 1),
    };
    loop {
        let time = limit.left().map_or(INFINITE, milliseconds);
        // SAFETY: the array has at least `count` handles, which are open while object and limit are borrowed.
        match unsafe { WaitForMultipleObjects(count, handles.as_ptr(), 0, time) } {
            WAIT_OBJECT_0 => return Ok(()),
            WAIT_FAILED => return Err(io::Error::last_os_error()),
            _ => limit.check()?,
        }
    }
}

/// Whether the object is signalled now.
pub(super) fn is_signalled(object: BorrowedHandle<'_>) -> bool {
    let handles = [object.as_raw_handle()];
    // SAFETY: the array has one handle, which is open while the object is borrowed.
    let answer = unsafe { WaitForMultipleObjects(1, handles.as_ptr(), 0, 0) };
    answer == WAIT_OBJECT_0
}

/// A duration for a system call, rounded up, so that a wait does not end before its deadline.
pub(super) fn milliseconds(time: Duration) -> u32 {
    let milliseconds = u32::try_from(time.as_micros().div_ceil(1000)).unwrap_or(WAIT_MAX_MS);
    milliseconds.min(WAIT_MAX_MS)
}

/// An error that the kernel reports too: its number, and so the text of the system.
pub(in crate::sys) fn pipe_error(kind: PipeErrorKind, _text: impl Into<Cow<'static, str>>) -> io::Error {
    system_error(kind.code())
}
