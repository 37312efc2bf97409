//! Unix: the file system holds the names, sockets carry the connections, shared memory carries the payload.

mod accounts;
mod adopted;
pub(crate) mod anonymous;
#[cfg(feature = "tokio")]
pub(crate) mod asynchronous;
mod caller;
mod canceller;
mod client;
mod connection;
mod directory;
mod doorbell;
mod end;
mod event_loop;
mod fd_passing;
mod gate;
mod handshake;
mod instance;
mod link;
mod list;
mod listening;
mod mapping;
mod opening;
mod operations;
mod os;
mod peer;
mod permission;
mod plain;
mod plain_place;
mod poll;
mod readiness;
mod reading;
#[cfg(feature = "remote")]
mod remote;
#[cfg(not(feature = "remote"))]
mod remote_absent;
#[cfg(not(feature = "remote"))]
use remote_absent as remote;
mod roots;
mod search;
mod served;
mod spin;
mod step;
#[cfg(feature = "tokio")]
mod task;
mod thread;
mod waiting;
mod writing;

#[cfg(feature = "tokio")]
#[cfg(test)]
mod mixed_tests;

#[cfg(all(target_os = "linux", not(pipework_portable)))]
mod linux;
#[cfg(all(target_os = "linux", not(pipework_portable)))]
use linux::{claim, memory, watch};
#[cfg(not(all(target_os = "linux", not(pipework_portable))))]
mod portable;
#[cfg(not(all(target_os = "linux", not(pipework_portable))))]
use portable::{claim, memory, watch};

pub(crate) use adopted::inherited_listeners;
pub(crate) use canceller::{Event, cancel_event};
pub(crate) use client::Watch;
pub(super) use connection::Connection;
pub(crate) use end::End;
pub(crate) use gate::Gate;
pub(super) use instance::Backend;
pub(crate) use list::list;
pub(super) use listening::Listening;
pub(crate) use peer::Peer;
pub(crate) use plain::PlainListener;
pub(crate) use served::NameHold;

/// Without a kernel that knows pipes, every error of a pipe is built here.
pub(super) use crate::error::fail as pipe_error;

use super::{Limit, settings};
use crate::{
    error::{PipeErrorKind, fail},
    name::{PipeName, PipeNameKind},
    options::Request,
};
use std::{io, path::PathBuf, sync::Arc, time::Duration};

/// Opens now: busy and absent are errors.
pub(crate) fn open(request: &Request, limit: &Limit) -> io::Result<End> {
    check_identity(request)?;
    match request.name.kind() {
        PipeNameKind::Local(_) => Ok(End::Connection(Arc::new(client::open(request, limit)?))),
        PipeNameKind::Socket(path) => Ok(End::Plain(Arc::new(plain::open(request, path, limit)?))),
        PipeNameKind::Remote { .. } => remote::open(request, limit),
    }
}

/// Opens, waiting as the request says.
pub(crate) fn connect(request: &Request, limit: &Limit) -> io::Result<End> {
    check_identity(request)?;
    match request.name.kind() {
        PipeNameKind::Local(_) => Ok(End::Connection(Arc::new(client::connect(request, limit)?))),
        PipeNameKind::Socket(path) => Ok(End::Plain(Arc::new(plain::connect(request, path, limit)?))),
        PipeNameKind::Remote { .. } => remote::connect(request, limit),
    }
}

/// Whether the client is one that can be told to its server. The kernel tells who it is, whatever it asks for; acting as the
/// client can't be had.
fn check_identity(request: &Request) -> io::Result<()> {
    /// The bits of `SECURITY_ANONYMOUS` to `SECURITY_DELEGATION`; the first of them is none.
    const LEVEL: u32 = 3 << 16;
    if request.security_qos_flags & LEVEL == 0 {
        return Err(fail(PipeErrorKind::Unsupported, "a client can't be anonymous to its server here"));
    }
    match (&request.caller, request.name.kind()) {
        (None, _) => Ok(()),
        // Said before an instance is taken.
        (Some(caller), PipeNameKind::Local(_)) => caller::encode(caller).map(drop),
        (Some(_), _) => {
            let text = "nobody can be spoken for here: only the named pipes of this computer hear of callers";
            Err(fail(PipeErrorKind::Unsupported, text))
        }
    }
}

/// Waits until an instance listens; a timeout of zero is what the server chose.
pub(crate) fn wait(name: &PipeName, timeout: Option<Duration>) -> io::Result<()> {
    match name.kind() {
        PipeNameKind::Local(_) => client::wait(name, timeout),
        PipeNameKind::Socket(path) => plain::wait(name, path),
        PipeNameKind::Remote { .. } => {
            let text = format!(
                "{name} is on another computer, which does not tell when an instance listens: call `connect`"
            );
            Err(fail(PipeErrorKind::Unsupported, text))
        }
    }
}

/// Where a name lives, or would.
pub(crate) fn location(name: &PipeName) -> io::Result<PathBuf> {
    match name.kind() {
        PipeNameKind::Local(_) => client::location(name),
        PipeNameKind::Socket(path) => Ok(path.to_owned()),
        PipeNameKind::Remote { .. } => {
            Err(fail(PipeErrorKind::Unsupported, format!("{name} is on another computer")))
        }
    }
}

/// A name that only this user has: here names belong to users already.
pub(crate) fn per_user_name(name: &str) -> io::Result<String> {
    Ok(name.to_owned())
}

/// Waits for nothing, up to a limit; a canceller ends it sooner.
pub(crate) fn pause(limit: &Limit) -> io::Result<()> {
    poll::wait(&[], limit, None).map(|_| ())
}
