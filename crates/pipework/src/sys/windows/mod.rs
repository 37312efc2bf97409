//! Windows: the system's own named pipes. The kernel implements names, instances, quotas and messages. This backend adds
//! a deadline and a canceller to every call, and isolates a connection from the earlier ones of its handle.
//!
//! Every handle is opened for overlapped use, so that a read and a write never wait for each other. A call begins an
//! operation and waits for it and for its limit. When the limit is reached first, the call cancels the operation and *waits
//! for its completion*: the kernel never uses a buffer after the call has returned.

pub(crate) mod anonymous;
#[cfg(feature = "tokio")]
pub(crate) mod asynchronous;
mod canceller;
mod client;
mod connection;
mod descriptor;
mod direction;
mod drain;
mod end;
mod end_handle;
mod handle;
mod handle_info;
mod impersonate;
mod instance;
pub(super) mod list;
mod operation;
mod overlapped;
mod peer;
mod pipe;
mod pipe_end;
mod reading;
mod sid;
mod thread_token;
mod token;
mod unsupported;
mod writing;

pub(crate) use canceller::{Event, cancel_event};
pub(super) use connection::Connection;
pub(crate) use end::End;
pub(crate) use handle::handle_from_raw;
pub(super) use handle::pipe_error;
pub(super) use instance::Backend;
pub(crate) use list::list;
pub(super) use operation::Connecting as ListeningSocket;
pub(crate) use peer::Peer;
pub(crate) use unsupported::{AcceptReadiness, NameHold, SocketListener, Watch};

use super::WaitLimit;
use crate::{
    error::{PipeErrorKind, fail},
    name::{PipeName, PipeNameKind},
    options::Request,
};
use std::{io, path::PathBuf, sync::Arc, time::Duration};

/// Opens without waiting: busy and absent are errors.
pub(crate) fn open(request: &Request, limit: &WaitLimit) -> io::Result<End> {
    client::open(request, limit).map(|connection| End::Connection(Arc::new(connection)))
}

/// Opens, and waits as the request says.
pub(crate) fn connect(request: &Request, limit: &WaitLimit) -> io::Result<End> {
    client::connect(request, limit).map(|connection| End::Connection(Arc::new(connection)))
}

/// Waits until an instance listens; a timeout of zero means the server's default.
pub(crate) fn wait(name: &PipeName, timeout: Option<Duration>) -> io::Result<()> {
    client::wait(name, timeout)
}

/// Nobody passes listening sockets to a process here.
pub(crate) fn inherited_listeners() -> io::Result<Vec<(PathBuf, SocketListener)>> {
    Ok(Vec::new())
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

/// Sleeps up to the limit; a canceller ends it sooner.
pub(crate) fn pause(limit: &WaitLimit) -> io::Result<()> {
    unsupported::pause(limit)
}
