//! Windows: the system's own pipes. Names, instances, quotas and messages are the kernel's; what is added here is a
//! deadline and a canceller for every call, and connections that nothing of an earlier one can reach.
//!
//! Every handle is opened for overlapped use, so that a read and a write never wait for each other. An operation is
//! begun, waited for together with the limit, and where the limit comes first cancelled and *waited for*: the kernel
//! never has a buffer after its call has returned.

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
mod extras;
mod facts;
mod handle;
mod instance;
mod list;
mod operation;
mod peer;
mod pipe;
mod reading;
mod sid;
mod token;
mod turn;
mod writing;

pub(crate) use absent::{Gate, NameHold, PlainListener, Watch};
pub(crate) use canceller::{Event, cancel_event};
pub(crate) use end::End;
pub(crate) use extras::handle_from_raw;
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
use windows_sys::Win32::Foundation::ERROR_PIPE_NOT_CONNECTED;

/// Opens now: busy and absent are errors.
pub(crate) fn open(request: &Request, limit: &Limit) -> io::Result<End> {
    client::open(request, limit).map(|connection| End::Connection(Arc::new(connection)))
}

/// Opens, waiting as the request says.
pub(crate) fn connect(request: &Request, limit: &Limit) -> io::Result<End> {
    client::connect(request, limit).map(|connection| End::Connection(Arc::new(connection)))
}

/// Waits until an instance listens; a timeout of zero is what the server chose.
pub(crate) fn wait(name: &PipeName, timeout: Option<Duration>) -> io::Result<()> {
    client::wait(name, timeout)
}

/// Nobody passes listening sockets to a process here.
pub(crate) fn inherited_listeners() -> io::Result<Vec<(PathBuf, PlainListener)>> {
    Ok(Vec::new())
}

/// Where a name lives.
pub(crate) fn location(name: &PipeName) -> io::Result<PathBuf> {
    match name.kind() {
        PipeNameKind::Local(_) => Ok(PathBuf::from(name.to_string())),
        _ => Err(fail(PipeErrorKind::Unsupported, format!("{name} is on another computer"))),
    }
}

/// A name that only this user has: names belong to the whole computer, so the user's SID is put into it.
pub(crate) fn per_user_name(name: &str) -> io::Result<String> {
    Ok(format!("{name}-{}", token::my_user()?.to_text()?))
}

/// Waits for nothing, up to a limit; a canceller ends it sooner.
pub(crate) fn pause(limit: &Limit) -> io::Result<()> {
    absent::pause(limit)
}

/// A connection that its server has ended, as its other calls say it.
fn thrown_out() -> io::Error {
    handle::system_error(ERROR_PIPE_NOT_CONNECTED)
}
