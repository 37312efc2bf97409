//! Windows: the system's own named pipes. The kernel implements names, instances, quotas and messages. This backend adds
//! a deadline and a canceller to every call, and isolates a connection from the earlier ones of its handle.
//!
//! Every handle is opened for overlapped use, so that a read and a write never wait for each other. A call begins an
//! operation and waits for it and for its limit. When the limit is reached first, the call cancels the operation and *waits
//! for its completion*: the kernel never uses a buffer after the call has returned.

mod absent;
pub(crate) mod anonymous;
#[cfg(feature = "tokio")]
pub(crate) mod asynchronous;
mod canceller;
mod client;
mod connection;
mod descriptor;
mod drain;
mod end;
mod end_handle;
mod errors;
mod facts;
mod handle;
mod impersonate;
mod instance;
mod list;
mod operation;
mod overlapped;
mod peer;
mod pipe;
mod pipe_end;
mod reading;
mod sid;
mod token;
mod turn;
mod writing;

pub(crate) use absent::{Gate, NameHold, PlainListener, Watch};
pub(crate) use canceller::{Event, cancel_event};
pub(crate) use end::End;
pub(crate) use handle::handle_from_raw;
pub(crate) use instance::Instance;
pub(crate) use list::list;
pub(crate) use peer::Peer;

use super::Limit;
use crate::{
    error::{PipeErrorKind, fail},
    name::{PipeName, PipeNameKind},
    options::Request,
};
use std::{io, path::PathBuf, sync::Arc, time::Duration};
use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_BAD_PIPE, ERROR_BROKEN_PIPE, ERROR_FILE_NOT_FOUND, ERROR_INVALID_NAME,
    ERROR_INVALID_PARAMETER, ERROR_MORE_DATA, ERROR_NO_DATA, ERROR_NOT_SUPPORTED, ERROR_OPERATION_ABORTED,
    ERROR_PIPE_BUSY, ERROR_PIPE_LISTENING, ERROR_PIPE_NOT_CONNECTED, ERROR_SEM_TIMEOUT,
};

/// Opens without waiting: busy and absent are errors.
pub(crate) fn open(request: &Request, limit: &Limit) -> io::Result<End> {
    client::open(request, limit).map(|connection| End::Connection(Arc::new(connection)))
}

/// Opens, and waits as the request says.
pub(crate) fn connect(request: &Request, limit: &Limit) -> io::Result<End> {
    client::connect(request, limit).map(|connection| End::Connection(Arc::new(connection)))
}

/// Waits until an instance listens; a timeout of zero means the server's default.
pub(crate) fn wait(name: &PipeName, timeout: Option<Duration>) -> io::Result<()> {
    client::wait(name, timeout)
}

/// The location of a name.
pub(crate) fn location(name: &PipeName) -> io::Result<PathBuf> {
    match name.kind() {
        PipeNameKind::Local(_) => Ok(PathBuf::from(name.to_string())),
        _ => Err(fail(PipeErrorKind::Unsupported, format!("{name} is a remote pipe"))),
    }
}

/// A name of this user alone: names are global to the machine, so it contains the user's SID.
pub(crate) fn per_user_name(name: &str) -> io::Result<String> {
    Ok(format!("{name}-{}", token::my_user()?.to_text()?))
}

/// Whether an absolute path is the address of a socket.
pub(crate) fn socket_paths() -> bool {
    false
}

/// The kind of a system error.
pub(crate) fn kind_of_code(code: i32) -> Option<PipeErrorKind> {
    Some(match u32::try_from(code).ok()? {
        ERROR_FILE_NOT_FOUND => PipeErrorKind::Absent,
        ERROR_ACCESS_DENIED => PipeErrorKind::AccessDenied,
        ERROR_NOT_SUPPORTED => PipeErrorKind::Unsupported,
        ERROR_INVALID_PARAMETER | ERROR_INVALID_NAME => PipeErrorKind::Invalid,
        ERROR_BROKEN_PIPE => PipeErrorKind::Broken,
        ERROR_SEM_TIMEOUT => PipeErrorKind::TimedOut,
        ERROR_BAD_PIPE => PipeErrorKind::BadPipe,
        ERROR_PIPE_BUSY => PipeErrorKind::Busy,
        ERROR_NO_DATA => PipeErrorKind::NoData,
        ERROR_PIPE_NOT_CONNECTED => PipeErrorKind::NotConnected,
        ERROR_MORE_DATA => PipeErrorKind::MoreData,
        ERROR_PIPE_LISTENING => PipeErrorKind::Listening,
        ERROR_OPERATION_ABORTED => PipeErrorKind::Aborted,
        _ => return None,
    })
}

/// Sleeps up to the limit; a canceller ends it sooner.
pub(crate) fn pause(limit: &Limit) -> io::Result<()> {
    absent::pause(limit)
}
