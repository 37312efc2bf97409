//! The handle of one end, and the calls on it. A *generation* is the number of a connection among those of one handle.
#![expect(unsafe_code, reason = "calls of the system")]

use super::{
    super::errors::{denied, disconnected},
    handle::{done, len_of},
    handle_info,
};
#[cfg(feature = "tokio")]
use std::sync::Mutex;
use std::{
    io,
    os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, OwnedHandle, RawHandle},
    ptr,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};
#[cfg(feature = "tokio")]
use windows_sys::Win32::System::IO::BindIoCompletionCallback;
use windows_sys::Win32::{
    Storage::FileSystem::{ReadFile, WriteFile},
    System::{
        IO::OVERLAPPED,
        Pipes::{
            DisconnectNamedPipe, PIPE_READMODE_BYTE, PIPE_READMODE_MESSAGE, PeekNamedPipe,
            SetNamedPipeHandleState,
        },
    },
};

/// A handle of a pipe's end, opened for overlapped use.
#[derive(Debug)]
pub(crate) struct Pipe {
    handle: OwnedHandle,
    /// How many clients were disconnected. Locked for reading while an operation is begun, which never blocks, and for
    /// writing while a client is disconnected. So an operation of one connection can't begin in the next one.
    generation: RwLock<u32>,
    rights: Rights,
    computer: PeerLocation,
    /// Whether the system has ever reported room for bytes; some systems never do.
    reports_room: AtomicBool,
    /// Whether a thread of the system's pool receives the completions of operations without an event.
    #[cfg(feature = "tokio")]
    reports_completions: Mutex<bool>,
}

/// The directions that a handle was opened for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rights {
    pub(super) read: bool,
    pub(super) write: bool,
}

/// Where the peer is.
#[derive(Debug, Default)]
pub(super) enum PeerLocation {
    /// On this machine.
    #[default]
    This,
    /// On any machine: the system reports it for each client.
    Any,
    /// On the remote server that was opened.
    Other(String),
}

impl Rights {
    /// For a handle of unknown rights: the system checks each call.
    pub(super) const ALL: Rights = Rights { read: true, write: true };
}

/// The result of a peek.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) copied: usize,
    pub(super) available: usize,
    /// Bytes of the first message that were not copied; 0 on a byte pipe.
    pub(super) left: usize,
}

impl Pipe {
    pub(super) fn new(handle: OwnedHandle, rights: Rights, computer: PeerLocation) -> Pipe {
        Pipe {
            handle,
            generation: RwLock::new(0),
            rights,
            computer,
            reports_room: AtomicBool::new(false),
            #[cfg(feature = "tokio")]
            reports_completions: Mutex::default(),
        }
    }

    /// The handle, for calls while `self` is borrowed.
    pub(super) fn raw(&self) -> RawHandle {
        self.handle.as_raw_handle()
    }

    /// Where the peer is.
    pub(super) fn computer(&self) -> &PeerLocation {
        &self.computer
    }

    /// Checks that this end may read (rule C5). Calls do this before any other check.
    pub(super) fn check_may_read(&self) -> io::Result<()> {
        if self.rights.read { Ok(()) } else { Err(denied("read")) }
    }

    /// Checks that this end may write.
    pub(super) fn check_may_write(&self) -> io::Result<()> {
        if self.rights.write { Ok(()) } else { Err(denied("write")) }
    }

    /// Gives the handle away; a duplicate of it if others still use it.
    pub(super) fn into_handle(self: Arc<Self>) -> io::Result<OwnedHandle> {
        Arc::try_unwrap(self).map_or_else(|pipe| pipe.handle.try_clone(), |pipe| Ok(pipe.handle))
    }

    pub(super) fn generation(&self) -> u32 {
        *self.generation.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `act`, which must not block, if the current connection has this generation.
    pub(super) fn within<T>(&self, generation: u32, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let current = self.generation.read().unwrap_or_else(PoisonError::into_inner);
        if *current == generation { act() } else { Err(disconnected()) }
    }

    /// Disconnects the client and discards all unread data. Pending operations end with an error.
    pub(super) fn disconnect(&self) -> io::Result<()> {
        let mut generation = self.generation.write().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the handle is open while `self` is borrowed.
        let answer = unsafe { DisconnectNamedPipe(self.raw()) };
        done(answer)?;
        *generation = generation.wrapping_add(1);
        Ok(())
    }

    /// Begins a read.
    ///
    /// # Safety
    /// `buf` and `overlapped` stay valid and unaliased until the operation has completed.
    pub(super) unsafe fn begin_read(&self, buf: &mut [u8], overlapped: *mut OVERLAPPED) -> io::Result<()> {
        // SAFETY: the length is that of the buffer; the caller keeps it and the `OVERLAPPED` until the completion.
        let answer =
            unsafe { ReadFile(self.raw(), buf.as_mut_ptr(), len_of(buf), ptr::null_mut(), overlapped) };
        done(answer)
    }

    /// Begins a write.
    ///
    /// # Safety
    /// `buf` and `overlapped` stay valid and unchanged until the operation has completed.
    pub(super) unsafe fn begin_write(&self, buf: &[u8], overlapped: *mut OVERLAPPED) -> io::Result<()> {
        // SAFETY: the length is that of the buffer; the caller keeps it and the `OVERLAPPED` until the completion.
        let answer = unsafe { WriteFile(self.raw(), buf.as_ptr(), len_of(buf), ptr::null_mut(), overlapped) };
        done(answer)
    }

    /// Copies unread data without consuming it.
    pub(super) fn peek(&self, buf: &mut [u8]) -> io::Result<Seen> {
        // On an overlapped handle this call does not wait for pending operations.
        peek(self.as_handle(), buf)
    }

    /// From now on a thread of the system's pool calls `ended` when an operation without an event completes. One handle
    /// always has the same function.
    #[cfg(feature = "tokio")]
    pub(super) fn report_completions_to(
        &self,
        ended: unsafe extern "system" fn(u32, u32, *mut OVERLAPPED),
    ) -> io::Result<()> {
        let mut reports_completions = self.reports_completions.lock().unwrap_or_else(PoisonError::into_inner);
        if !*reports_completions {
            // SAFETY: the handle is open while `self` is borrowed. The function gets only operations without an event, and
            // `completion.rs`, which alone begins those, keeps its contract.
            let answer = unsafe { BindIoCompletionCallback(self.raw(), Some(ended), 0) };
            done(answer)?;
            *reports_completions = true;
        }
        Ok(())
    }

    /// Switches the read mode of the handle.
    pub(super) fn set_read_mode(&self, messages: bool) -> io::Result<()> {
        let mode = if messages { PIPE_READMODE_MESSAGE } else { PIPE_READMODE_BYTE };
        // SAFETY: the mode is a local that the call only reads; null leaves the other settings unchanged.
        let answer = unsafe { SetNamedPipeHandleState(self.raw(), &mode, ptr::null(), ptr::null()) };
        done(answer)
    }

    /// How many bytes a write may have without waiting. 0 may also mean that the system does not report it.
    pub(super) fn room(&self) -> io::Result<u32> {
        let room = handle_info::room(self.as_handle())?;
        if room > 0 {
            // The flag only ever becomes true, and no other memory depends on it.
            self.reports_room.store(true, Ordering::Relaxed);
        }
        Ok(room)
    }

    /// Whether the system has reported room before, so that 0 means no room.
    pub(super) fn reports_room(&self) -> bool {
        self.reports_room.load(Ordering::Relaxed)
    }
}

impl AsHandle for Pipe {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.handle.as_handle()
    }
}

/// Copies unread data of any pipe without consuming it.
pub(super) fn peek(pipe: BorrowedHandle<'_>, buf: &mut [u8]) -> io::Result<Seen> {
    let (mut copied, mut available, mut left) = (0, 0, 0);
    let (pipe, bytes, len) = (pipe.as_raw_handle(), buf.as_mut_ptr().cast(), len_of(buf));
    // SAFETY: handle and buffer are borrowed for the call, which gets the buffer's length; the counts are locals.
    let answer = unsafe { PeekNamedPipe(pipe, bytes, len, &mut copied, &mut available, &mut left) };
    done(answer)?;
    let size = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
    Ok(Seen { copied: size(copied), available: size(available), left: size(left) })
}
