//! A listening instance: a socket under a name that is never used twice.

use super::super::{
    claim,
    fork::Origin,
    name::{directory::Directory, permission::Permission},
    os, poll,
};
use crate::{
    error::context,
    model::dir_format::{EntryName, Incarnation, Taking},
};
use rustix::{event::PollFlags, io::Errno, net::SocketType};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A socket that takes one client, or, renewed each time, one after the other.
#[derive(Debug)]
pub(crate) struct ListeningSocket {
    /// Shared with the reactors that it is registered with.
    pub(in crate::sys::unix) socket: Arc<OwnedFd>,
    /// Where the tasks of a runtime wait.
    #[cfg(feature = "tokio")]
    pub(super) reactor: super::super::asynchronous::Reactor,
    /// Its name; `None` once it is gone.
    leaf: Mutex<Option<EntryName>>,
    taking: Taking,
    directory: Arc<Directory>,
    ending: claim::Ending,
    /// The process that made it: a forked child must not take its name away.
    origin: Origin,
}

impl ListeningSocket {
    /// Binds, listens, and only then lets the name be seen.
    pub(crate) fn open(
        directory: &Arc<Directory>,
        incarnation: Incarnation,
        (inbound, outbound): (u32, u32),
        taking: Taking,
        permission: &Permission,
    ) -> io::Result<ListeningSocket> {
        loop {
            let (id, ending) = (directory.new_id()?, claim::Ending::new()?);
            let leaf = EntryName::Instance { id, incarnation, inbound, outbound, taking };
            let socket = bind_aside(directory, EntryName::Temporary(id), permission)?;
            // From here on the drop cleans up what has the final name.
            let listening = ListeningSocket {
                socket: Arc::new(socket),
                #[cfg(feature = "tokio")]
                reactor: super::super::asynchronous::Reactor::default(),
                leaf: Mutex::new(Some(leaf)),
                taking,
                directory: Arc::clone(directory),
                ending,
                origin: Origin::current(),
            };
            let prepared = rustix::net::listen(&listening.socket, claim::BACKLOG)
                .map_err(io::Error::from)
                .and_then(|()| claim::prepare(directory, leaf));
            if let Err(error) = prepared {
                directory.unlink(&EntryName::Temporary(id).encode());
                return Err(error);
            }
            match directory.publish(EntryName::Temporary(id), leaf) {
                Ok(()) => return Ok(listening),
                // A cleaner saw the name between its making and the socket's, and took it for a dead one's.
                Err(Errno::NOENT) => {}
                Err(error) => {
                    directory.unlink(&EntryName::Temporary(id).encode());
                    return Err(context("publishing an instance", error));
                }
            }
        }
    }

    /// The client, if one is there: from then on the instance takes no other, unless it is renewed.
    pub(crate) fn accept(&self) -> io::Result<Option<OwnedFd>> {
        if self.is_renewed() {
            return self.accept_queued();
        }
        // Also where another process has ended its queue, which is an error then.
        if poll::now(self.socket.as_fd(), PollFlags::IN).is_empty() {
            return Ok(None);
        }
        claim::end_queue(self.socket.as_fd());
        let client = self.accept_queued()?;
        if client.is_some() {
            // Now, since another thread may still wait at this socket and so keep it from being dropped.
            self.remove_name();
            self.ending.signal();
        }
        Ok(client)
    }

    fn accept_queued(&self) -> io::Result<Option<OwnedFd>> {
        match os::accept(self.socket.as_fd()) {
            Ok(client) => {
                // Another task may wait for this one.
                #[cfg(feature = "tokio")]
                self.reactor.wake();
                Ok(Some(client))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(context("accepting a client", error)),
        }
    }
}

impl ListeningSocket {
    /// Whether its socket goes on to the instance that follows.
    pub(crate) fn is_renewed(&self) -> bool {
        self.taking == Taking::Next
    }

    /// Whether it has its name in this directory, or its client was taken.
    pub(super) fn is_named_in(&self, directory: &Directory) -> bool {
        // Held, so that it is not renamed meanwhile.
        let current = self.leaf();
        let Some(leaf) = *current else { return true };
        let names = [Some(leaf), leaf.full()];
        self.directory.identity == directory.identity
            && names.into_iter().flatten().any(|name| directory.may_have(&name.encode()))
    }

    /// Whether a client waits for the server to take it. A socket whose queue was ended is readable too.
    pub(super) fn has_client(&self) -> bool {
        let seen = poll::now(self.socket.as_fd(), PollFlags::IN | os::HANGUP);
        seen.contains(PollFlags::IN) && !seen.intersects(os::HANGUP | PollFlags::HUP)
    }

    /// In a forked child: the same socket, under a name that is not the parent's to remove.
    pub(super) fn adopt(&self) -> io::Result<ListeningSocket> {
        let ending = claim::Ending::new()?;
        let inherited = self.leaf().map_or(Ok(None), |old| self.rename_for_child(old));
        let leaf = inherited.map_err(|error| context("publishing an inherited instance", error))?;
        Ok(ListeningSocket {
            socket: Arc::clone(&self.socket),
            #[cfg(feature = "tokio")]
            reactor: super::super::asynchronous::Reactor::default(),
            leaf: Mutex::new(leaf),
            taking: self.taking,
            directory: Arc::clone(&self.directory),
            ending,
            origin: Origin::current(),
        })
    }

    /// The new name; `None` where a client has come, so that the instance needs none any more.
    fn rename_for_child(&self, old: EntryName) -> io::Result<Option<EntryName>> {
        if self.is_renewed() {
            return self.rename(old).map(Some);
        }
        let EntryName::Instance { incarnation, inbound, outbound, taking, .. } = old else {
            return Err(Errno::NOENT.into());
        };
        let new =
            EntryName::Instance { id: self.directory.new_id()?, incarnation, inbound, outbound, taking };
        claim::prepare(&self.directory, new)?;
        let is_renamed = self.directory.publish(old, new).is_ok();
        let has_client = self.has_client();
        if is_renamed || has_client {
            self.directory.unlink_claim(old);
        }
        if is_renamed && !has_client {
            return Ok(Some(new));
        }
        self.directory.unlink(&new.encode());
        self.directory.unlink_claim(new);
        if has_client { Ok(None) } else { Err(Errno::NOENT.into()) }
    }

    /// Takes no client any more, though others may still wait at it: they have to look elsewhere for the next one.
    pub(crate) fn end(&self) {
        claim::end_queue(self.socket.as_fd());
        self.remove_name();
        #[cfg(feature = "tokio")]
        self.reactor.wake();
    }

    /// Gives the socket, whose client was taken, the name of the next instance.
    pub(crate) fn renew(&self) -> io::Result<()> {
        let mut leaf = self.leaf();
        let renewed = leaf.map_or(Err(Errno::NOENT.into()), |old| self.rename(old));
        match renewed {
            Ok(new) => {
                *leaf = Some(new);
                Ok(())
            }
            Err(error) => Err(context("publishing an instance", error)),
        }
    }

    fn rename(&self, old: EntryName) -> io::Result<EntryName> {
        let (EntryName::Instance { incarnation, inbound, outbound, .. }, Some(full)) = (old, old.full())
        else {
            return Err(Errno::NOENT.into());
        };
        let new = EntryName::Instance {
            id: self.directory.new_id()?,
            incarnation,
            inbound,
            outbound,
            taking: Taking::Next,
        };
        match self.directory.publish(old, new) {
            // Its client has marked it.
            Err(Errno::NOENT) => self.directory.publish(full, new)?,
            outcome => outcome?,
        }
        // A client that came since, by the old name, could not mark the new one.
        if self.has_client()
            && let Some(full) = new.full()
        {
            self.directory.publish(new, full).ok();
        }
        Ok(new)
    }

    fn leaf(&self) -> MutexGuard<'_, Option<EntryName>> {
        // It is replaced as a whole.
        self.leaf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remove_name(&self) {
        if let Some(leaf) = self.leaf().take() {
            for name in [Some(leaf), leaf.full()].into_iter().flatten() {
                self.directory.unlink(&name.encode());
            }
            self.directory.unlink_claim(leaf);
        }
    }

    /// The descriptor to wait at beside the socket: other threads may take the client.
    pub(crate) fn ended(&self) -> Option<BorrowedFd<'_>> {
        self.ending.fd()
    }
}

impl AsFd for ListeningSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for ListeningSocket {
    fn drop(&mut self) {
        if self.origin.is_here() {
            self.remove_name();
        }
    }
}

/// Binds a stream socket under a name of its own, with its permission in force from the first moment.
pub(crate) fn bind_aside(
    directory: &Directory,
    leaf: EntryName,
    permission: &Permission,
) -> io::Result<OwnedFd> {
    let socket = os::new_socket(SocketType::STREAM).map_err(|error| context("making a socket", error))?;
    permission.prepare(&socket)?;
    directory
        .bind(&socket, leaf)?
        .map_err(|error| context(format!("making a socket in {}", directory.path.display()), error))?;
    match permission.apply(directory, leaf) {
        Ok(()) => Ok(socket),
        Err(error) => {
            directory.unlink(&leaf.encode());
            Err(error)
        }
    }
}
