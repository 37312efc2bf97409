//! Looking for an instance that takes this client.

use super::super::{
    claim::{self, Claim},
    connection::{Connection, Rights, handshake::ClientHandshake, rings::Shape},
    delegation,
    end_options::EndOptions,
    name::{directory::Directory, lookup::directories},
    os, peer,
    watch::Watch,
};
use crate::{
    error::{PipeErrorKind, context, fail, fail_from},
    model::dir_format::{EntryName, Header, Id},
    name::PipeName,
    options::{PipeMode, Request},
    sys::WaitLimit,
};
use rustix::{io::Errno, net::SocketType};
use std::{
    collections::HashSet,
    io,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    time::{Duration, Instant},
};

/// The outcome of an attempt to open, but for errors.
pub(super) enum Attempt {
    Open(Box<Connection>),
    /// The name exists, and no instance listens.
    Busy,
    Absent,
}

/// A search for an instance; keeps what serves every attempt.
pub(super) struct Search<'a> {
    request: &'a Request,
    limit: &'a WaitLimit,
    /// Where the name was found the last time.
    found: Vec<Found>,
    /// Not connected yet; a lost claim leaves it as it was.
    socket: Option<OwnedFd>,
    /// Memory for the next claim, made before it so that a refusal costs no instance.
    handshake: Option<ClientHandshake>,
    /// The instance whose client this is, and that waits for the hello.
    claimed: Option<Claimed>,
}

/// A claim of an instance, before the hello.
struct Claimed {
    socket: OwnedFd,
    handshake: ClientHandshake,
    may: Rights,
}

/// A pipe of the name.
struct Found {
    directory: Directory,
    header: Header,
}

impl<'a> Search<'a> {
    pub(super) fn new(request: &'a Request, limit: &'a WaitLimit) -> Search<'a> {
        Search { request, limit, found: Vec::new(), socket: None, handshake: None, claimed: None }
    }

    /// Looks everywhere, from before which `watch` watches.
    pub(super) fn search_all(&mut self, watch: &mut Option<Watch>) -> io::Result<Attempt> {
        self.found.clear();
        for directory in directories(&self.request.name, watch)? {
            let Some(header) = directory.header()? else { continue };
            if PipeName::from_local(&header.name).ok().as_ref() != Some(&self.request.name) {
                let text = format!("{} is of another name", directory.path.display());
                return Err(fail(PipeErrorKind::Corrupt, text));
            }
            self.found.push(Found { directory, header });
        }
        self.search_again()
    }

    /// Looks again where the name was found.
    pub(super) fn search_again(&mut self) -> io::Result<Attempt> {
        let (found, mut outcome) = (std::mem::take(&mut self.found), Ok(Attempt::Absent));
        for pipe in &found {
            match self.in_pipe(pipe) {
                Ok(Attempt::Absent) => {}
                Ok(Attempt::Busy) => outcome = Ok(Attempt::Busy),
                // Whether it lives can't be seen from here. Another one of the name may be in reach.
                Err(error) if error == PipeErrorKind::Unsupported => {
                    outcome = outcome.and_then(|so_far| match so_far {
                        Attempt::Absent => Err(error),
                        other => Ok(other),
                    });
                }
                open_or_error => return open_or_error,
            }
        }
        self.found = found;
        outcome
    }

    /// Tries these instances, which have just begun to listen where the name was found.
    pub(super) fn try_listed(&mut self, leaves: &[EntryName]) -> io::Result<Option<Connection>> {
        let found = std::mem::take(&mut self.found);
        for leaf in leaves {
            for pipe in &found {
                if let Some(connection) = self.claim(pipe, *leaf)? {
                    return Ok(Some(connection));
                }
            }
        }
        self.found = found;
        Ok(None)
    }

    /// Waits for at most so long at the newest instance that another follows on the same socket, if there is one.
    pub(super) fn in_queue(&mut self, time: Duration) -> io::Result<Option<Connection>> {
        let found = std::mem::take(&mut self.found);
        let begun = Instant::now();
        for pipe in &found {
            // One that was tried, and did not take its time, is gone.
            let mut tried: HashSet<Id> = HashSet::new();
            while let Some(left) = time.checked_sub(begun.elapsed()) {
                let listing = pipe.directory.listing()?;
                let newest = listing.instances.iter().rev().find(|leaf| leaf.full().is_some());
                let Some(newest) = newest.filter(|newest| tried.insert(newest.id())) else { break };
                if let Some(connection) = self.claim_within(pipe, *newest, Some(left))? {
                    return Ok(Some(connection));
                }
            }
        }
        self.found = found;
        Ok(None)
    }

    /// Says hello to the instance that was claimed, if one was. An error leaves it claimed where the hello can be said later.
    pub(super) fn say_hello(&mut self) -> io::Result<Option<Connection>> {
        let Some(claimed) = self.claimed.take() else { return Ok(None) };
        let hello = || format!("saying hello to {}", self.request.name);
        let remote_client = self.request.remote_client.as_deref();
        let sent = claimed.handshake.send(claimed.socket.as_fd(), remote_client);
        if let Some(shortage) = sent.map_err(|error| context(hello(), error))? {
            self.claimed = Some(claimed);
            let text = match shortage {
                Errno::TOOMANYREFS => format!(
                    "{}; this user has too many descriptors in flight, which were sent and not received yet",
                    hello()
                ),
                _ => hello(),
            };
            return Err(context(text, shortage));
        }
        let Claimed { socket, handshake, may } = claimed;
        let options = EndOptions::new(self.request.read_mode, self.limit.canceller().cloned());
        Ok(Some(Connection::client(socket, handshake, may, Arc::new(options))))
    }

    /// Whether an instance was claimed, and its hello is still to be said.
    pub(super) fn has_claimed(&self) -> bool {
        self.claimed.is_some()
    }

    /// Tries every listening instance once, and looks again until a listing shows nothing untried: an instance that is
    /// full never becomes free again, only a new name does.
    fn in_pipe(&mut self, pipe: &Found) -> io::Result<Attempt> {
        let Found { directory, header } = pipe;
        if let Err(error) = self.admit(pipe) {
            // The header of a dead server does not matter.
            let is_served = directory.is_served(&directory.listing()?, header.incarnation)?;
            return if is_served { Err(error) } else { Ok(Attempt::Absent) };
        }
        let mut tried: HashSet<Id> = HashSet::new();
        loop {
            let listing = directory.listing()?;
            let mut found_new = false;
            for leaf in &listing.instances {
                if tried.insert(leaf.id()) {
                    found_new = true;
                    if let Some(connection) = self.claim(pipe, *leaf)? {
                        return Ok(Attempt::Open(Box::new(connection)));
                    }
                }
            }
            if !found_new {
                let is_served = directory.is_served(&listing, header.incarnation);
                let is_served = is_served.map_err(|error| refused(self.request, directory, error))?;
                return Ok(if is_served { Attempt::Busy } else { Attempt::Absent });
            }
        }
    }

    /// The rights of this client. Fails if the pipe does not admit the remote client that it speaks for.
    fn admit(&self, pipe: &Found) -> io::Result<Rights> {
        delegation::check_access(self.request, &pipe.directory, &pipe.header)?;
        rights(&pipe.header, self.request)
    }

    /// Tries to become the client of one instance.
    fn claim(&mut self, pipe: &Found, leaf: EntryName) -> io::Result<Option<Connection>> {
        self.claim_within(pipe, leaf, None)
    }

    /// The same, waiting for the client before us where there is a time for it.
    fn claim_within(
        &mut self,
        pipe: &Found,
        leaf: EntryName,
        time: Option<Duration>,
    ) -> io::Result<Option<Connection>> {
        let Found { directory, header } = pipe;
        let EntryName::Instance { incarnation, inbound, outbound, .. } = leaf else { return Ok(None) };
        if incarnation != header.incarnation {
            return Ok(None);
        }
        let may = self.admit(pipe)?;
        let shape = Shape {
            incarnation: incarnation.number(),
            messages: header.messages,
            inbound: header.inbound.then_some(inbound),
            outbound: header.outbound.then_some(outbound),
            max_instances: header.max_instances,
            accept_remote: header.accept_remote,
        };
        let handshake = match self.handshake.take() {
            Some(handshake) if handshake.fits(&shape) => handshake,
            _ => ClientHandshake::new(shape)?,
        };
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => new_socket(self.request)?,
        };
        let claim = match time {
            None => claim::claim(directory, leaf, &socket),
            Some(time) => claim::queue(directory, leaf, &socket, time),
        };
        match claim {
            Ok(Claim::Taken) => {
                check_server(directory, self.request, &socket)?;
                self.claimed = Some(Claimed { socket, handshake, may });
                self.say_hello()
            }
            Ok(Claim::Lost) => {
                (self.handshake, self.socket) = (Some(handshake), Some(socket));
                Ok(None)
            }
            Err(error) => Err(refused(self.request, directory, error)),
        }
    }
}

/// The socket is connected: makes sure of the server.
fn check_server(directory: &Directory, request: &Request, socket: &OwnedFd) -> io::Result<()> {
    if peer::accepts(&request.server, socket.as_fd(), directory.owner)? {
        return Ok(());
    }
    let (_, user, _) = os::credentials(socket.as_fd())?;
    let text = format!("{} is served by user {user}, who is not the requested one", request.name);
    Err(fail(PipeErrorKind::AccessDenied, text))
}

/// The rights that the client gets of those that it asked for (rule C5).
fn rights(header: &Header, request: &Request) -> io::Result<Rights> {
    if request.read_mode == PipeMode::Message && !header.messages {
        let text = format!("{} is a byte pipe: it can't be read in messages", request.name);
        return Err(fail(PipeErrorKind::Invalid, text));
    }
    let asked = Rights { read: request.read, write: request.write };
    let there = Rights { read: asked.read && header.outbound, write: asked.write && header.inbound };
    let is_all = there.read == asked.read && there.write == asked.write;
    if is_all || (request.allow_one_way && (there.read || there.write)) {
        return Ok(there);
    }
    let way = if header.inbound { "written" } else { "read" };
    Err(fail(PipeErrorKind::AccessDenied, format!("{} can only be {way} by a client", request.name)))
}

fn new_socket(request: &Request) -> io::Result<OwnedFd> {
    os::new_socket(SocketType::STREAM).map_err(|error| context(format!("opening {}", request.name), error))
}

fn refused(request: &Request, directory: &Directory, error: io::Error) -> io::Error {
    let denied = [Errno::ACCESS, Errno::PERM].map(|errno| Some(errno.raw_os_error()));
    if denied.contains(&error.raw_os_error()) {
        let text = format!("{} in {} does not let this user in", request.name, directory.path.display());
        return fail_from(PipeErrorKind::AccessDenied, text, error);
    }
    context(format!("opening {}", request.name), error)
}
