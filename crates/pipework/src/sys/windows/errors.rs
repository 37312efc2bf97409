//! The errors of the kernel that more than one call returns: they keep its number. The others are those of every backend.

use super::handle::system_error;
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

/// A failed allocation for a message.
pub(super) fn out_of_memory(error: std::collections::TryReserveError) -> io::Error {
    io::Error::new(io::ErrorKind::OutOfMemory, error)
}
