//! Unix: the file system holds the names, sockets carry the connections, shared memory carries the payload.

mod accounts;
mod adopted;
pub(crate) mod anonymous;
#[cfg(feature = "tokio")]
pub(crate) mod asynchronous;
mod canceller;
mod claim;
mod client;
mod connection;
mod delegation;
mod end;
mod fork;
mod mapping;
mod name;
mod os;
mod peer;
mod poll;
#[cfg(feature = "remote")]
mod remote;
#[cfg(not(feature = "remote"))]
mod remote_absent;
mod server;
mod unix_socket;
#[cfg(not(feature = "remote"))]
use remote_absent as remote;

#[cfg(all(target_os = "linux", not(pipework_portable)))]
mod linux;
#[cfg(all(target_os = "linux", not(pipework_portable)))]
use linux::{address, memory, watch};
#[cfg(not(all(target_os = "linux", not(pipework_portable))))]
mod portable;
#[cfg(not(all(target_os = "linux", not(pipework_portable))))]
use portable::{address, memory, watch};

pub(crate) use adopted::inherited_listeners;
pub(crate) use canceller::{Event, cancel_event};
pub(super) use connection::Connection;
pub(crate) use end::End;
pub(crate) use name::{list::list, lookup::Watch};
pub(crate) use peer::Peer;
pub(crate) use server::accept_readiness::AcceptReadiness;
pub(super) use server::instance::Backend;
pub(super) use server::listening_socket::ListeningSocket;
pub(crate) use server::registry::NameHold;
pub(crate) use unix_socket::SocketListener;

/// Without a kernel that knows pipes, every error of a pipe is built here.
pub(super) use crate::error::fail as pipe_error;

use super::{WaitLimit, end_options};
use crate::{
    error::{PipeErrorKind, fail},
    name::{PipeName, PipeNameKind},
    options::Request,
};
use std::{io, path::PathBuf, sync::Arc, time::Duration};

/// Opens now: busy and absent are errors.
pub(crate) fn open(request: &Request, limit: &WaitLimit) -> io::Result<End> {
    check_identity(request)?;
    match request.name.kind() {
        PipeNameKind::Local(_) => Ok(End::Connection(Arc::new(client::open(request, limit)?))),
        PipeNameKind::Socket(path) => Ok(End::Socket(Arc::new(unix_socket::open(request, path, limit)?))),
        PipeNameKind::Remote { .. } => remote::open(request, limit),
    }
}

/// Opens, waiting as the request says.
pub(crate) fn connect(request: &Request, limit: &WaitLimit) -> io::Result<End> {
    check_identity(request)?;
    match request.name.kind() {
        PipeNameKind::Local(_) => Ok(End::Connection(Arc::new(client::connect(request, limit)?))),
        PipeNameKind::Socket(path) => Ok(End::Socket(Arc::new(unix_socket::connect(request, path, limit)?))),
        PipeNameKind::Remote { .. } => remote::connect(request, limit),
    }
}

/// Whether the server can learn the identity that the request asks for. The kernel always reports the process
/// and its user, so a client can't be anonymous; impersonation does not exist here.
fn check_identity(request: &Request) -> io::Result<()> {
    /// The bits of `SECURITY_ANONYMOUS` to `SECURITY_DELEGATION`; the first of them is none.
    const LEVEL: u32 = 3 << 16;
    if request.security_qos_flags & LEVEL == 0 {
        return Err(fail(PipeErrorKind::Unsupported, "a client can't be anonymous to its server here"));
    }
    match (&request.remote_client, request.name.kind()) {
        (None, _) => Ok(()),
        // Said before an instance is taken.
        (Some(remote_client), PipeNameKind::Local(_)) => delegation::encode(remote_client).map(drop),
        (Some(_), _) => {
            let text = "a client can speak for a remote client only on a local named pipe";
            Err(fail(PipeErrorKind::Unsupported, text))
        }
    }
}

/// Waits until an instance listens; a timeout of zero is what the server chose.
pub(crate) fn wait(name: &PipeName, timeout: Option<Duration>) -> io::Result<()> {
    match name.kind() {
        PipeNameKind::Local(_) => client::wait(name, timeout),
        PipeNameKind::Socket(path) => unix_socket::wait(path),
        PipeNameKind::Remote { .. } => {
            let text = format!(
                "{name} is a remote pipe: SMB does not report when an instance listens, call `connect`"
            );
            Err(fail(PipeErrorKind::Unsupported, text))
        }
    }
}

/// Where a name lives, or would.
pub(crate) fn location(name: &PipeName) -> io::Result<PathBuf> {
    match name.kind() {
        PipeNameKind::Local(_) => name::lookup::location(name),
        PipeNameKind::Socket(path) => Ok(path.to_owned()),
        PipeNameKind::Remote { .. } => {
            Err(fail(PipeErrorKind::Unsupported, format!("{name} is a remote pipe")))
        }
    }
}

/// A name that only this user has: here names belong to users already.
pub(crate) fn per_user_name(name: &str) -> io::Result<String> {
    Ok(name.to_owned())
}

/// Waits for nothing, up to a limit; a canceller ends it sooner.
pub(crate) fn pause(limit: &WaitLimit) -> io::Result<()> {
    poll::wait(&[], limit, None).map(|_| ())
}
