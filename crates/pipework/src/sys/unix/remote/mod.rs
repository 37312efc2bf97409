//! Pipes on other computers, over SMB 2 and 3: the client's side of what Windows calls the server service.
//!
//! A session (one TCP connection, signed in) is shared by all pipes of one identity on one computer. Everything that talks to
//! the network runs on one thread of this process, which begins with the first such pipe; who reads or writes asks it and
//! waits, as a thread or as a task. The protocol itself is the business of the crate `smb2`.

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
