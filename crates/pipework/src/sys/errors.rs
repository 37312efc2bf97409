//! The errors that every backend and every kind of end reports in the same words.
//!
//! The kernel of Windows reports some of them itself. Those are built by `pipe_error` of the backend, so that there they are
//! bare numbers of the system, whether the kernel or this library reports them.

use super::system::pipe_error;
use crate::{
    error::{PipeErrorKind, fail},
    name::PipeName,
};
use std::{collections::TryReserveError, io, time::Duration};

/// The end may not read or write (rule C5).
pub(crate) fn denied(what: &str) -> io::Error {
    let text = format!("this end may not {what}: the pipe goes the other way, or it was not asked for");
    pipe_error(PipeErrorKind::AccessDenied, text)
}

/// A read or a transaction found the end of the pipe (rules B5, M4, M5).
pub(crate) fn broken() -> io::Error {
    pipe_error(PipeErrorKind::Broken, "the peer has closed the pipe, and all that it wrote was read")
}

/// A write found the end of the pipe (rule B5).
pub(crate) fn closed() -> io::Error {
    pipe_error(PipeErrorKind::NoData, "the peer has closed the pipe")
}

/// The reader went away before it had read everything (rule F1).
pub(crate) fn unread() -> io::Error {
    pipe_error(PipeErrorKind::Broken, "the peer closed the pipe before it had read everything")
}

/// The server has ended this connection (rule F2).
pub(crate) fn disconnected() -> io::Error {
    pipe_error(PipeErrorKind::NotConnected, "the server has disconnected this connection")
}

/// An instance that does not listen and has no client is used (rule C7).
pub(crate) fn not_connected() -> io::Error {
    pipe_error(PipeErrorKind::NotConnected, "the instance is disconnected; call `connect` first")
}

/// An instance is used before a client has opened the pipe (rule C6).
pub(crate) fn listening() -> io::Error {
    pipe_error(PipeErrorKind::Listening, "no client has opened the pipe yet")
}

/// A server waits for a client, and one came and has left (rule C2).
pub(crate) fn client_left() -> io::Error {
    let text = "a client came and has left; call `disconnect`, then `connect` again (what it wrote can be read before)";
    pipe_error(PipeErrorKind::NoData, text)
}

/// A message operation on a byte pipe (rules M1, M3).
pub(crate) fn no_messages(instead: &str) -> io::Error {
    fail(PipeErrorKind::BadPipe, format!("a byte pipe has no messages: call `{instead}`"))
}

/// A message is to be read by an end that reads bytes (rule M3).
pub(crate) fn reads_bytes() -> io::Error {
    let text = "this end reads bytes: switch it with `set_read_mode(PipeMode::Message)`, or call `read`";
    fail(PipeErrorKind::BadPipe, text)
}

/// The next message is longer than the caller allows (rule M2).
pub(crate) fn more_data(len: u64, len_max: usize) -> io::Error {
    let text = format!("the message has {len} bytes and the limit is {len_max}; it is still unread");
    fail(PipeErrorKind::MoreData, text)
}

/// A message that no pipe can carry (rule M1).
pub(crate) fn too_long(len: u64, len_max: u64) -> io::Error {
    fail(PipeErrorKind::Invalid, format!("a message has at most {len_max} bytes, not {len}"))
}

/// A transaction found something unread (rule M5).
pub(crate) fn unread_before_transaction() -> io::Error {
    fail(PipeErrorKind::Busy, "a transaction can't begin while something is unread")
}

/// One direction is to be ended by itself.
pub(crate) fn no_half_close() -> io::Error {
    let text = "one direction of a named pipe can't be ended by itself; \
                let the protocol say that nothing more comes";
    fail(PipeErrorKind::Unsupported, text)
}

/// A server end without a client is peeked at (rule M4).
pub(crate) fn nothing_to_peek_at() -> io::Error {
    fail(PipeErrorKind::BadPipe, "the instance has no client to peek at")
}

/// The failure of a transaction whose request found the end of the pipe: a transaction reads too, so it is broken.
pub(crate) fn of_transaction(error: io::Error) -> io::Error {
    if error == PipeErrorKind::NoData { broken() } else { error }
}

/// A message does not fit into the memory of this process.
pub(crate) fn out_of_memory(error: TryReserveError) -> io::Error {
    io::Error::new(io::ErrorKind::OutOfMemory, error)
}

/// The end of a wait by its timeout; `awaited` may be empty.
pub(crate) fn timed_out(timeout: Duration, awaited: &str) -> io::Error {
    let waiting = if awaited.is_empty() { String::new() } else { format!(" waiting for {awaited}") };
    // A caller that has a deadline passes what is left of its time, to the nanosecond.
    let shown = match u64::try_from(timeout.saturating_add(Duration::from_micros(500)).as_millis()) {
        Ok(milliseconds @ 1..) => Duration::from_millis(milliseconds),
        _ => timeout,
    };
    let text = match timeout {
        Duration::ZERO => format!("timed out{waiting}, since the timeout is zero"),
        _ => format!("timed out after {shown:?}{waiting}"),
    };
    fail(PipeErrorKind::TimedOut, text)
}

/// The end of a wait, with what was waited for.
pub(crate) fn ended(name: &PipeName, why: &str, error: io::Error) -> io::Error {
    match PipeErrorKind::of(&error) {
        Some(kind) => fail(kind, format!("{error}: {name} {why}")),
        None => error,
    }
}
