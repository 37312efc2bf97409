//! Queries about the handle of a pipe.
#![expect(unsafe_code, reason = "calls of the system")]

use super::handle::{done, system_error};
use crate::{
    error::{PipeErrorKind, fail},
    options::{PipeEnd, PipeInfo, PipeMode},
};
use std::{
    io,
    os::windows::io::{AsRawHandle, BorrowedHandle},
    ptr,
};
use windows_sys::{
    Wdk::Storage::FileSystem::{
        FILE_PIPE_LOCAL_INFORMATION, FileModeInformation, FilePipeLocalInformation, NtQueryInformationFile,
    },
    Win32::{
        Foundation::RtlNtStatusToDosError,
        System::{
            IO::IO_STATUS_BLOCK,
            Pipes::{
                GetNamedPipeHandleStateW, GetNamedPipeInfo, PIPE_READMODE_MESSAGE, PIPE_SERVER_END,
                PIPE_TYPE_MESSAGE,
            },
        },
    },
};

/// What does not change while a handle is open.
#[derive(Clone, Copy, Debug)]
pub(super) struct HandleInfo {
    pub(super) is_server: bool,
    pub(super) has_messages: bool,
    max_instances: u32,
    out_buffer_size: u32,
    in_buffer_size: u32,
}

/// `PIPE_UNLIMITED_INSTANCES`.
const UNLIMITED_INSTANCES: u32 = 255;

/// The state of an end, as the kernel reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Disconnected,
    Listening,
    Connected,
    /// The peer has closed.
    Closing,
}

pub(super) fn handle_info(handle: BorrowedHandle<'_>) -> io::Result<HandleInfo> {
    let (mut flags, mut outbound, mut inbound, mut max) = (0, 0, 0, 0);
    let handle = handle.as_raw_handle();
    // SAFETY: the handle is open while it is borrowed; all four are locals that the call writes.
    let answer = unsafe { GetNamedPipeInfo(handle, &mut flags, &mut outbound, &mut inbound, &mut max) };
    done(answer)?;
    Ok(HandleInfo {
        is_server: flags & PIPE_SERVER_END != 0,
        has_messages: flags & PIPE_TYPE_MESSAGE != 0,
        // Some systems use a larger number for no limit.
        max_instances: max.min(UNLIMITED_INSTANCES),
        out_buffer_size: outbound,
        in_buffer_size: inbound,
    })
}

/// The same as public type.
pub(super) fn info(handle: BorrowedHandle<'_>) -> io::Result<PipeInfo> {
    let facts = handle_info(handle)?;
    Ok(PipeInfo {
        mode: if facts.has_messages { PipeMode::Message } else { PipeMode::Byte },
        end: if facts.is_server { PipeEnd::Server } else { PipeEnd::Client },
        max_instances: facts.max_instances,
        out_buffer_size: facts.out_buffer_size,
        in_buffer_size: facts.in_buffer_size,
    })
}

/// The quota of what this side writes: how many bytes may be unread.
pub(super) fn quota(handle: BorrowedHandle<'_>, side: PipeEnd) -> io::Result<u32> {
    let facts = handle_info(handle)?;
    Ok(if side == PipeEnd::Server { facts.out_buffer_size } else { facts.in_buffer_size })
}

/// Checks that a handle of other code works as this library's own handles do.
pub(super) fn check_adoptable(handle: BorrowedHandle<'_>) -> io::Result<HandleInfo> {
    let facts = handle_info(handle).map_err(|error| {
        fail(PipeErrorKind::Invalid, format!("this is not the handle of a pipe: {error}"))
    })?;
    if is_overlapped(handle)? {
        return Ok(facts);
    }
    Err(fail(
        PipeErrorKind::Invalid,
        "the handle was opened without FILE_FLAG_OVERLAPPED: a read and a write would wait for each other",
    ))
}

/// The read mode of a handle.
pub(super) fn read_mode(handle: BorrowedHandle<'_>) -> io::Result<PipeMode> {
    let mut flags = 0;
    let (handle, none, no_name) = (handle.as_raw_handle(), ptr::null_mut(), ptr::null_mut());
    // SAFETY: the handle is open while it is borrowed; `flags` is a local that the call writes, null means that the rest is not needed.
    let answer = unsafe { GetNamedPipeHandleStateW(handle, &mut flags, none, none, none, no_name, 0) };
    done(answer)?;
    Ok(if flags & PIPE_READMODE_MESSAGE != 0 { PipeMode::Message } else { PipeMode::Byte })
}

/// The current state of an end.
pub(super) fn state(handle: BorrowedHandle<'_>) -> io::Result<State> {
    // `FILE_PIPE_DISCONNECTED_STATE` to `FILE_PIPE_CLOSING_STATE`.
    Ok(match local(handle)?.NamedPipeState {
        1 => State::Disconnected,
        2 => State::Listening,
        4 => State::Closing,
        _ => State::Connected,
    })
}

/// How many bytes a write may have without waiting. 0 may also mean that the system does not report it.
pub(super) fn room(handle: BorrowedHandle<'_>) -> io::Result<u32> {
    local(handle).map(|facts| facts.WriteQuotaAvailable)
}

/// Whether a handle was opened for overlapped use. Otherwise a read and a write would wait for each other.
fn is_overlapped(handle: BorrowedHandle<'_>) -> io::Result<bool> {
    /// `FILE_SYNCHRONOUS_IO_ALERT` and `FILE_SYNCHRONOUS_IO_NONALERT`.
    const SYNCHRONOUS: u32 = 0x30;
    let mut mode = 0_u32;
    query(handle, FileModeInformation, &mut mode)?;
    Ok(mode & SYNCHRONOUS == 0)
}

fn local(handle: BorrowedHandle<'_>) -> io::Result<FILE_PIPE_LOCAL_INFORMATION> {
    let mut facts = FILE_PIPE_LOCAL_INFORMATION::default();
    query(handle, FilePipeLocalInformation, &mut facts)?;
    Ok(facts)
}

/// Queries what no Win32 call returns.
fn query<T: Answer>(handle: BorrowedHandle<'_>, class: i32, answer: &mut T) -> io::Result<()> {
    let len = u32::try_from(size_of::<T>()).map_err(io::Error::other)?;
    let mut status = IO_STATUS_BLOCK::default();
    let (handle, answer) = (handle.as_raw_handle(), ptr::from_mut(answer).cast());
    // SAFETY: the handle is open while it is borrowed. The length is that of `answer`, which consists of plain
    // numbers, so any bytes are a valid value. The query has completed when the call returns.
    let answered = unsafe { NtQueryInformationFile(handle, &mut status, answer, len, class) };
    if answered >= 0 {
        return Ok(());
    }
    // SAFETY: the function maps a number to a number.
    Err(system_error(unsafe { RtlNtStatusToDosError(answered) }))
}

/// A structure of plain numbers that a query fills.
trait Answer {}
impl Answer for FILE_PIPE_LOCAL_INFORMATION {}
impl Answer for u32 {}
