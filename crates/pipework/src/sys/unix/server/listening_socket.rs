//! A listening instance: a socket under a name that is never used twice.

#[cfg(feature = "tokio")]
use super::super::asynchronous::shared_timer::Time;
use super::super::{
    claim,
    fork::Origin,
    name::{directory::Directory, permission::Permission},
    os, poll,
};
use crate::{
    error::context,
    model::{
        dir_format::{EntryName, Incarnation, Taking},
        hello::ADMITTED,
    },
};
use rustix::{
    event::PollFlags,
    io::Errno,
    net::{Shutdown, SocketType},
};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

/// How many clients of a queue that is not empty come before one that was quicker than the queue.
const QUEUED_IN_A_ROW: u32 = 64;
/// How many clients that met nobody come before a look whether some wait in the queue.
const UNQUEUED_IN_A_ROW: u32 = 8;

/// A socket that takes one client, or, renewed each time, one after the other; or the queue of those who wait for that.
#[derive(Debug)]
pub(crate) struct ListeningSocket {
    /// Shared with the reactors that it is registered with.
    pub(in crate::sys::unix) socket: Arc<OwnedFd>,
    /// Where the tasks of a runtime wait.
    #[cfg(feature = "tokio")]
    pub(super) reactor: super::super::asynchronous::Reactor,
    /// When the tasks that wait here look for its name: between two of them no other timer is made.
    #[cfg(feature = "tokio")]
    name_check: Mutex<Option<Arc<Time>>>,
    /// Its name; `None` once it is gone.
    leaf: Mutex<Option<EntryName>>,
    taking: Taking,
    directory: Arc<Directory>,
    ending: claim::Ending,
    /// Whether its client was taken since it got its name.
    is_used: AtomicBool,
    /// Where clients wait that found it full.
    queue: Option<Arc<ListeningSocket>>,
    turns: Turns,
    /// The process that made it: a forked child must not take its name away.
    origin: Origin,
}

/// Whose turn it is, of a client of the instance and one that waits in the queue: a look at an empty queue costs a system
/// call.
#[derive(Debug, Default)]
struct Turns {
    /// Whether a client was in the queue at the last look, or may have come since.
    is_crowded: AtomicBool,
    count: AtomicU32,
}

impl Turns {
    fn is_of_the_queue(&self) -> bool {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let is_crowded = self.is_crowded.load(Ordering::Relaxed);
        if !is_crowded && count.is_multiple_of(UNQUEUED_IN_A_ROW) {
            // The next one begins with the queue.
            self.is_crowded.store(true, Ordering::Relaxed);
        }
        is_crowded && !count.is_multiple_of(QUEUED_IN_A_ROW)
    }
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
                #[cfg(feature = "tokio")]
                name_check: Mutex::default(),
                leaf: Mutex::new(Some(leaf)),
                taking,
                directory: Arc::clone(directory),
                ending,
                is_used: AtomicBool::default(),
                queue: None,
                turns: Turns::default(),
                origin: Origin::current(),
            };
            // Of a queue the system allows a part.
            let backlog = if taking == Taking::Queue { i32::MAX } else { claim::BACKLOG };
            let prepared = rustix::net::listen(&listening.socket, backlog)
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

    /// The same with a queue, whose clients it takes too.
    pub(in crate::sys::unix) fn with_queue(mut self, queue: Option<Arc<ListeningSocket>>) -> ListeningSocket {
        self.queue = queue;
        self
    }

    /// The next client, if one is there: from then on the instance takes no other, unless it is renewed.
    pub(crate) fn accept(&self) -> io::Result<Option<OwnedFd>> {
        let Some(queue) = &self.queue else { return self.accept_claimed() };
        // Where the instance is for one client only, a client that has claimed it is first.
        let is_turn_of_queue = self.is_renewed() && self.turns.is_of_the_queue();
        if is_turn_of_queue && let Some(client) = self.admit_from(queue)? {
            return Ok(Some(client));
        }
        match self.accept_claimed()? {
            None if !is_turn_of_queue => self.admit_from(queue),
            claimed => Ok(claimed),
        }
    }

    /// The client that has waited longest, if one waits: it learns that it has the instance.
    fn admit_from(&self, queue: &ListeningSocket) -> io::Result<Option<OwnedFd>> {
        let next = queue.accept_queued()?;
        self.turns.is_crowded.store(next.is_some(), Ordering::Relaxed);
        let Some(client) = next else { return Ok(None) };
        if !self.is_renewed() {
            // From here on no other client can claim the instance. If one just did, the other has to look again.
            claim::end_queue(self.socket.as_fd());
            let claimed = self.accept_queued()?;
            self.end_instance();
            if claimed.is_some() {
                return Ok(claimed);
            }
        }
        let sent = rustix::io::retry_on_intr(|| rustix::net::send(&client, &[ADMITTED], os::SEND_FLAGS));
        if sent.is_err() {
            // It has given up, or looks again: a client that came and left.
            rustix::net::shutdown(&client, Shutdown::Both).ok();
        }
        Ok(Some(client))
    }

    /// The client that has claimed the instance, if one has.
    fn accept_claimed(&self) -> io::Result<Option<OwnedFd>> {
        if self.is_renewed() {
            let client = self.accept_queued()?;
            if client.is_some() {
                self.is_used.store(true, Ordering::Relaxed);
            }
            return Ok(client);
        }
        // Also where another process has ended its queue, which is an error then.
        if poll::now(self.socket.as_fd(), PollFlags::IN).is_empty() {
            return Ok(None);
        }
        claim::end_queue(self.socket.as_fd());
        let client = self.accept_queued()?;
        if client.is_some() {
            self.end_instance();
        }
        Ok(client)
    }

    /// The instance has its client: its name goes now, since another thread may still wait at this socket and so keep it from
    /// being dropped.
    fn end_instance(&self) {
        self.remove_name();
        self.ending.signal();
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

    /// The queue of those who wait for an instance, if it has one.
    pub(in crate::sys::unix) fn queue(&self) -> Option<&Arc<ListeningSocket>> {
        self.queue.as_ref()
    }

    /// Whether it and its queue have their names in this directory, or its client was taken.
    pub(super) fn is_named_in(&self, directory: &Directory) -> bool {
        self.has_name_in(directory) && self.queue.as_ref().is_none_or(|queue| queue.has_name_in(directory))
    }

    /// Whether it has its name in this directory, or its client was taken.
    pub(super) fn has_name_in(&self, directory: &Directory) -> bool {
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
            #[cfg(feature = "tokio")]
            name_check: Mutex::default(),
            leaf: Mutex::new(leaf),
            taking: self.taking,
            directory: Arc::clone(&self.directory),
            ending,
            is_used: AtomicBool::default(),
            queue: None,
            turns: Turns::default(),
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

    /// Gives the socket, whose client was taken, the name of the next instance. It keeps its name where the client came by
    /// the queue.
    pub(crate) fn renew(&self) -> io::Result<()> {
        let is_used = self.is_used.swap(false, Ordering::Relaxed);
        if self.queue.is_some() && !is_used && self.has_name_in(&self.directory) {
            return Ok(());
        }
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
        // Its client has marked it, or does so between the first two tries.
        let publish = |from| self.directory.publish(from, new);
        let mut published = publish(full);
        for from in [old, full] {
            if published == Err(Errno::NOENT) {
                published = publish(from);
            }
        }
        published?;
        // A client that came since, by the old name, could not mark the new one.
        if self.has_client()
            && let Some(full) = new.full()
        {
            self.directory.publish(new, full).ok();
        }
        Ok(new)
    }

    #[cfg(feature = "tokio")]
    pub(super) fn keep_name_check(&self, time: Option<&Arc<Time>>) {
        let mut name_check = self.name_check.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *name_check, time.cloned());
        drop(name_check);
        // Not under the lock: with it, tasks may be dropped.
        drop(before);
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
