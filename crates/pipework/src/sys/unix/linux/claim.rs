//! Claiming an instance: a backlog of zero queues exactly one client.

use super::super::directory::Directory;
use crate::{error::context, model::place::Leaf};
use rustix::{
    io::Errno,
    net::{Shutdown, SocketAddrUnix},
};
use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::Path,
};

/// A directory's name may take what the file system allows, less some for decency.
pub(in crate::sys::unix) const DIRECTORY_NAME_LEN_MAX: usize = 200;
/// Exactly one client is queued; the next one is told to come again.
pub(in crate::sys::unix) const BACKLOG: i32 = 0;
/// Whether other users may be let in: sealed memory can do no harm.
pub(in crate::sys::unix) const SERVES_OTHERS: bool = true;

/// What came of an attempt to claim an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sys::unix) enum Claim {
    /// The socket is connected to it.
    Taken,
    /// Somebody else has it, or it is no more.
    Lost,
}

/// The address of a socket in a directory of any depth, by way of the directory's descriptor.
pub(in crate::sys::unix) fn address(dir: &OwnedFd, _: &Path, leaf: &str) -> io::Result<SocketAddrUnix> {
    let path = format!("/proc/self/fd/{}/{leaf}", dir.as_raw_fd());
    SocketAddrUnix::new(path.as_str()).map_err(|error| context(path, error))
}

/// Makes what clients need to claim the instance; here, nothing.
pub(in crate::sys::unix) fn prepare(_: &Directory, _: Leaf) -> io::Result<()> {
    Ok(())
}

/// Tries to become the client of an instance. The outcome is final: a full instance never becomes free again.
pub(in crate::sys::unix) fn claim(directory: &Directory, leaf: Leaf, socket: &OwnedFd) -> io::Result<Claim> {
    let claim = match rustix::net::connect(socket, &directory.address(leaf)?) {
        Ok(()) => Claim::Taken,
        Err(Errno::AGAIN | Errno::CONNREFUSED | Errno::NOENT) => return Ok(Claim::Lost),
        Err(error) => return Err(error.into()),
    };
    // Where we may, so that nobody else tries it; else the server does it when it accepts.
    directory.unlink(&leaf.encode());
    Ok(claim)
}

/// Ends the queue of a listening socket: newcomers are refused, who is in it can still be accepted.
pub(in crate::sys::unix) fn end_queue(listening: BorrowedFd<'_>) {
    // It fails only on what is not a listening socket.
    rustix::net::shutdown(listening.as_fd(), Shutdown::Read).ok();
}

/// Tells all who wait at a listening socket that its client was taken, which `end_queue` has done here.
#[derive(Debug)]
pub(in crate::sys::unix) struct Ending;

impl Ending {
    pub(in crate::sys::unix) fn new() -> io::Result<Ending> {
        Ok(Ending)
    }

    pub(in crate::sys::unix) fn tell(&self) {}

    /// What to wait at beside the socket; nothing.
    pub(in crate::sys::unix) fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// Removes what `prepare` made; here, nothing.
pub(in crate::sys::unix) fn forget(_: &Directory, _: Leaf) {}
