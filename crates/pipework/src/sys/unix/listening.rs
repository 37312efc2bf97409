//! A listening instance: a socket under a name that is never used twice.

use super::{
    claim,
    directory::{self, Directory},
    os,
    permission::Permission,
};
use crate::{
    error::context,
    model::place::{Incarnation, Leaf},
};
use rustix::{io::Errno, net::SocketType};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

/// A socket that takes one client.
#[derive(Debug)]
pub(crate) struct Listening {
    socket: OwnedFd,
    leaf: Leaf,
    directory: Arc<Directory>,
    ending: claim::Ending,
    /// Who made it: a forked child must not take its name away.
    process: u32,
}

impl Listening {
    /// Binds, listens, and only then lets the name be seen.
    pub(crate) fn open(
        directory: &Arc<Directory>,
        incarnation: Incarnation,
        (inbound, outbound): (u32, u32),
        permission: &Permission,
    ) -> io::Result<Listening> {
        loop {
            let (id, ending) = (directory::new_id()?, claim::Ending::new()?);
            let leaf = Leaf::Instance { id, incarnation, inbound, outbound };
            let socket = bind_aside(directory, Leaf::Temporary(id), permission)?;
            // From here on the drop cleans up, whichever of the two names it has.
            let listening = Listening {
                socket,
                leaf,
                directory: Arc::clone(directory),
                ending,
                process: std::process::id(),
            };
            rustix::net::listen(&listening.socket, claim::BACKLOG)?;
            claim::prepare(directory, leaf)?;
            match directory.publish(Leaf::Temporary(id), leaf) {
                Ok(()) => return Ok(listening),
                // A cleaner saw the name between its making and the socket's, and took it for a dead one's.
                Err(Errno::NOENT) => {}
                Err(error) => return Err(context("publishing an instance", error)),
            }
        }
    }

    /// The client, if one is there: from then on the instance takes no other.
    pub(crate) fn accept(&self) -> io::Result<Option<OwnedFd>> {
        let ready = super::poll::now(self.socket.as_fd(), rustix::event::PollFlags::IN);
        if ready.is_empty() {
            return Ok(None);
        }
        claim::end_queue(self.socket.as_fd());
        match os::accept(self.socket.as_fd()) {
            Ok(client) => {
                // Now, since another thread may still wait at this socket and so keep it from being dropped.
                self.directory.unlink(&self.leaf.encode());
                claim::forget(&self.directory, self.leaf);
                self.ending.tell();
                Ok(Some(client))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(context("accepting a client", error)),
        }
    }
}

impl Listening {
    /// What to wait at beside the socket: other threads may take the client.
    pub(crate) fn ended(&self) -> Option<BorrowedFd<'_>> {
        self.ending.fd()
    }
}

impl AsFd for Listening {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if std::process::id() == self.process {
            self.directory.unlink(&self.leaf.encode());
            self.directory.unlink(&Leaf::Temporary(self.leaf.id()).encode());
            claim::forget(&self.directory, self.leaf);
        }
    }
}

/// Binds a stream socket under a name of its own, with its permission in force from the first moment.
pub(crate) fn bind_aside(directory: &Directory, leaf: Leaf, permission: &Permission) -> io::Result<OwnedFd> {
    let socket = os::new_socket(SocketType::STREAM).map_err(|error| context("making a socket", error))?;
    permission.prepare(&socket)?;
    rustix::net::bind(&socket, &directory.address(leaf)?)
        .map_err(|error| context(format!("making a socket in {}", directory.path.display()), error))?;
    match permission.apply(directory, leaf) {
        Ok(()) => Ok(socket),
        Err(error) => {
            directory.unlink(&leaf.encode());
            Err(error)
        }
    }
}
