//! What the system says of a pipe's handle.
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

/// What stays the same as long as a handle is open.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub(super) is_server: bool,
    pub(super) has_messages: bool,
    max_instances: u32,
    out_buffer_size: u32,
    in_buffer_size: u32,
}

/// The number that stands for no limit, `PIPE_UNLIMITED_INSTANCES`.
const UNLIMITED_INSTANCES: u32 = 255;

/// Where an end is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Disconnected,
    Listening,
    Connected,
    /// The other end has closed.
    Closing,
}

pub(super) fn facts(handle: BorrowedHandle<'_>) -> io::Result<Facts> {
    let (mut flags, mut outbound, mut inbound, mut max) = (0, 0, 0, 0);
    let handle = handle.as_raw_handle();
    // SAFETY: the handle is open while it is borrowed; all four are locals that the call writes.
    let answer = unsafe { GetNamedPipeInfo(handle, &mut flags, &mut outbound, &mut inbound, &mut max) };
    done(answer)?;
    Ok(Facts {
        is_server: flags & PIPE_SERVER_END != 0,
        has_messages: flags & PIPE_TYPE_MESSAGE != 0,
        // Some say that there is no limit by a larger number.
        max_instances: max.min(UNLIMITED_INSTANCES),
        out_buffer_size: outbound,
        in_buffer_size: inbound,
    })
}

/// The same, in public words.
pub(super) fn info(handle: BorrowedHandle<'_>) -> io::Result<PipeInfo> {
    let facts = facts(handle)?;
    Ok(PipeInfo {
        mode: if facts.has_messages { PipeMode::Message } else { PipeMode::Byte },
        end: if facts.is_server { PipeEnd::Server } else { PipeEnd::Client },
        max_instances: facts.max_instances,
        out_buffer_size: facts.out_buffer_size,
        in_buffer_size: facts.in_buffer_size,
    })
}

/// The bytes that may be unread of what this side writes.
pub(super) fn quota(handle: BorrowedHandle<'_>, side: PipeEnd) -> io::Result<u32> {
    let facts = facts(handle)?;
    Ok(if side == PipeEnd::Server { facts.out_buffer_size } else { facts.in_buffer_size })
}

/// Makes sure that a foreign handle can be used as ours are.
pub(super) fn check_adoptable(handle: BorrowedHandle<'_>) -> io::Result<Facts> {
    let facts = facts(handle)
        .map_err(|error| fail(PipeErrorKind::Invalid, format!("the handle is not one of a pipe: {error}")))?;
    if is_overlapped(handle)? {
        return Ok(facts);
    }
    Err(fail(
        PipeErrorKind::Invalid,
        "the handle was opened without FILE_FLAG_OVERLAPPED: its reads and writes would wait for each other",
    ))
}

/// How a handle reads.
pub(super) fn read_mode(handle: BorrowedHandle<'_>) -> io::Result<PipeMode> {
    let mut flags = 0;
    let (handle, none, no_name) = (handle.as_raw_handle(), ptr::null_mut(), ptr::null_mut());
    // SAFETY: the handle is open while it is borrowed; `flags` is a local that the call writes, null is not asked for.
    let answer = unsafe { GetNamedPipeHandleStateW(handle, &mut flags, none, none, none, no_name, 0) };
    done(answer)?;
    Ok(if flags & PIPE_READMODE_MESSAGE != 0 { PipeMode::Message } else { PipeMode::Byte })
}

/// Where an end is in its life now.
pub(super) fn state(handle: BorrowedHandle<'_>) -> io::Result<State> {
    // `FILE_PIPE_DISCONNECTED_STATE` to `FILE_PIPE_CLOSING_STATE`.
    Ok(match local(handle)?.NamedPipeState {
        1 => State::Disconnected,
        2 => State::Listening,
        4 => State::Closing,
        _ => State::Connected,
    })
}

/// How many bytes a write can have now without waiting; 0 may also mean that the system does not say.
pub(super) fn room(handle: BorrowedHandle<'_>) -> io::Result<u32> {
    local(handle).map(|facts| facts.WriteQuotaAvailable)
}

/// Whether a handle was opened for overlapped use: without it, reads and writes would wait for each other.
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

/// Asks for what the Win32 calls don't tell.
fn query<T: Answer>(handle: BorrowedHandle<'_>, class: i32, answer: &mut T) -> io::Result<()> {
    let len = u32::try_from(size_of::<T>()).map_err(io::Error::other)?;
    let mut status = IO_STATUS_BLOCK::default();
    let (handle, answer) = (handle.as_raw_handle(), ptr::from_mut(answer).cast());
    // SAFETY: the handle is open while it is borrowed. The length is that of `answer`, which is plain numbers, so that any
    // bytes are a value of it. The query is over when the call returns.
    let answered = unsafe { NtQueryInformationFile(handle, &mut status, answer, len, class) };
    if answered >= 0 {
        return Ok(());
    }
    // SAFETY: it maps a number to a number.
    Err(system_error(unsafe { RtlNtStatusToDosError(answered) }))
}

/// Structures of plain numbers that a query fills.
trait Answer {}
impl Answer for FILE_PIPE_LOCAL_INFORMATION {}
impl Answer for u32 {}
