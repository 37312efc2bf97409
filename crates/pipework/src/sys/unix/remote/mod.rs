//! Remote pipes over SMB 2 and 3: the client's side of what Windows calls the server service.
//!
//! All pipes of one identity on one host share a session: one TCP connection, signed in. All network I/O runs
//! on one thread of this process, which starts with the first such pipe. A thread or a task that reads or
//! writes sends it a request and waits. The crate `smb2` implements the protocol.

mod background;
mod blocking;
mod end;
mod login;
mod opening;
mod pipe;
mod queue;
mod session;
mod target;
mod tickets;
mod transport;
mod wire;

pub(crate) use end::RemoteEnd;

use super::End;
use crate::{options::Request, sys::WaitLimit};
use std::{io, sync::Arc, time::Duration};

/// Opens now: busy and absent are errors.
pub(crate) fn open(request: &Request, limit: &WaitLimit) -> io::Result<End> {
    opening::open(request, limit).map(|end| End::Remote(Arc::new(end)))
}

/// Opens, waiting as the request says.
pub(crate) fn connect(request: &Request, limit: &WaitLimit) -> io::Result<End> {
    opening::connect(request, limit).map(|end| End::Remote(Arc::new(end)))
}

/// The same for a task, waiting at most so long.
pub(crate) async fn connect_in_task(request: &Request, timeout: Duration) -> io::Result<End> {
    opening::connect_in_task(request, timeout).await.map(|end| End::Remote(Arc::new(end)))
}
