//! Errors that more than one call returns. What the kernel has a number for keeps that number.

use super::handle::system_error;
use crate::error::{PipeErrorKind, fail};
use std::io;
use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_BROKEN_PIPE, ERROR_NO_DATA, ERROR_PIPE_LISTENING, ERROR_PIPE_NOT_CONNECTED,
};

/// The handle was not opened for this direction (rule C5).
pub(super) fn denied() -> io::Error {
    system_error(ERROR_ACCESS_DENIED)
}

/// The peer has closed the pipe, as reading and draining report it.
pub(super) fn broken() -> io::Error {
    system_error(ERROR_BROKEN_PIPE)
}

/// The peer has closed the pipe, as writing reports it (rule B5).
pub(super) fn closed() -> io::Error {
    system_error(ERROR_NO_DATA)
}

/// The server has disconnected its client (rule F2), or has not listened since.
pub(super) fn disconnected() -> io::Error {
    system_error(ERROR_PIPE_NOT_CONNECTED)
}

/// The instance has no client yet (rule C6).
pub(super) fn listening() -> io::Error {
    system_error(ERROR_PIPE_LISTENING)
}

/// A peek at an instance that has no client (rule M4).
pub(super) fn no_client() -> io::Error {
    fail(PipeErrorKind::BadPipe, "the instance has no client to peek at")
}

/// A message read on an end that reads bytes.
pub(super) fn reads_bytes(pipe_has_messages: bool) -> io::Error {
    let text = if pipe_has_messages {
        "this end reads bytes: switch it with `set_read_mode(PipeMode::Message)`, or call `read`"
    } else {
        "a byte pipe has no messages: call `read`"
    };
    fail(PipeErrorKind::BadPipe, text)
}

/// A message write on a byte pipe.
pub(super) fn no_messages() -> io::Error {
    fail(PipeErrorKind::BadPipe, "a byte pipe has no messages: call `write`")
}

/// A message read with a limit below the message's length (rule M2).
pub(super) fn more_data(len: usize, len_max: usize) -> io::Error {
    let text = format!("the message has {len} bytes, more than the limit of {len_max}; it was not read");
    fail(PipeErrorKind::MoreData, text)
}

/// A message beyond the longest that the kernel takes in one write.
pub(super) fn too_long(len: usize) -> io::Error {
    let text = format!("a message has at most {} bytes, not {len}", u32::MAX);
    fail(PipeErrorKind::Invalid, text)
}

/// A transaction on an end that has unread data (rule M5).
pub(super) fn unread() -> io::Error {
    fail(PipeErrorKind::Busy, "a transaction can't begin while data is unread")
}

/// A half-close, which only sockets have.
pub(super) fn no_half_close() -> io::Error {
    fail(
        PipeErrorKind::Unsupported,
        "a named pipe can't close one direction alone; mark the end of the data in the protocol",
    )
}

/// A failed allocation for a message.
pub(super) fn out_of_memory(error: std::collections::TryReserveError) -> io::Error {
    io::Error::new(io::ErrorKind::OutOfMemory, error)
}
