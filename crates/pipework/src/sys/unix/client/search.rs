//! Looking for an instance that takes this client.

use super::super::{
    claim::{self, Claim},
    connection::{Connection, Rights, handshake::ClientHandshake, rings::Shape},
    delegation,
    end_options::EndOptions,
    name::{
        directory::{Directory, Listing},
        lookup::directories,
    },
    os, peer,
    watch::Watch,
};
use crate::{
    error::{PipeErrorKind, context, fail, fail_from},
    model::{
        dir_format::{EntryName, Header, Id},
        hello::ADMITTED,
    },
    name::PipeName,
    options::{PipeMode, Request},
    sys::WaitLimit,
};
use rustix::{io::Errno, net::SocketType};
use std::{
    collections::HashSet,
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Which of several queues the next client enters.
static NEXT_QUEUE: AtomicUsize = AtomicUsize::new(0);

/// The outcome of an attempt to open, but for errors.
pub(super) enum Attempt {
    Open(Box<Connection>),
    /// The name exists, and no instance listens.
    Busy,
    Absent,
}

/// What has become of a place in a queue.
pub(super) enum Admission {
    /// An instance was claimed for it.
    Granted,
    Pending,
    Lost,
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
    /// The place in the queue of a listener.
    queued: Option<Claimed>,
    /// Whether to take one.
    queues: bool,
}

/// A claim of an instance, before the hello.
struct Claimed {
    /// Shared with the reactor in which a task waits for its turn.
    socket: Arc<OwnedFd>,
    handshake: ClientHandshake,
    may: Rights,
}

/// A pipe of the name.
struct Found {
    directory: Directory,
    header: Header,
    /// Whether its directory was read by the descriptor that was opened for this search.
    is_listed: bool,
}

impl Found {
    fn listing(&mut self) -> io::Result<Listing> {
        let is_listed = std::mem::replace(&mut self.is_listed, true);
        if is_listed { self.directory.listing() } else { self.directory.first_listing() }
    }
}

impl<'a> Search<'a> {
    pub(super) fn new(request: &'a Request, limit: &'a WaitLimit) -> Search<'a> {
        Search {
            request,
            limit,
            found: Vec::new(),
            socket: None,
            handshake: None,
            claimed: None,
            queued: None,
            queues: false,
        }
    }

    /// Looks everywhere, from before which `watch` watches.
    pub(super) fn search_all(&mut self, watch: &mut Option<Watch>) -> io::Result<Attempt> {
        self.find(watch)?;
        self.search_again()
    }

    /// Finds the pipes of the name.
    fn find(&mut self, watch: &mut Option<Watch>) -> io::Result<()> {
        self.found.clear();
        for directory in directories(&self.request.name, watch)? {
            let Some(header) = directory.header()? else { continue };
            if PipeName::from_local(&header.name).ok().as_ref() != Some(&self.request.name) {
                let text = format!("{} is of another name", directory.path.display());
                return Err(fail(PipeErrorKind::Corrupt, text));
            }
            self.found.push(Found { directory, header, is_listed: false });
        }
        Ok(())
    }

    /// Looks for an instance of another server than the one in whose queue this client waits.
    pub(super) fn search_elsewhere(&mut self) -> io::Result<Attempt> {
        self.find(&mut None)?;
        let mut servers = 0;
        for pipe in &mut self.found {
            servers += pipe.listing()?.servers.len();
        }
        // A free instance of the one server would only take the client out of turn.
        if servers < 2 { Ok(Attempt::Busy) } else { self.search_again() }
    }

    /// Looks again where the name was found.
    pub(super) fn search_again(&mut self) -> io::Result<Attempt> {
        let (mut found, mut outcome) = (std::mem::take(&mut self.found), Ok(Attempt::Absent));
        for pipe in &mut found {
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

    /// The same, and takes a place in the queue of a listener where no instance is free.
    pub(super) fn search_all_or_queue(&mut self) -> io::Result<Attempt> {
        self.queues = true;
        let outcome = self.search_all(&mut None);
        self.queues = false;
        outcome
    }

    /// Takes the last place in one of these queues. Listeners of several processes each get some of many clients.
    fn enter_queue(&mut self, pipe: &Found, instances: &[EntryName]) -> io::Result<bool> {
        let mut queues: Vec<_> =
            instances.iter().filter(|leaf| leaf.is_queue(pipe.header.incarnation)).collect();
        let first = NEXT_QUEUE.fetch_add(1, Ordering::Relaxed) % queues.len().max(1);
        queues.rotate_left(first);
        for leaf in queues {
            if let Some(place) = self.connect_to(pipe, *leaf)? {
                self.queued = Some(place);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the place in the queue has become an instance, whose hello is still to be said.
    pub(super) fn take_admission(&mut self) -> io::Result<Admission> {
        let Some(queued) = &self.queued else { return Ok(Admission::Lost) };
        let mut byte = [0];
        match rustix::net::recv(&queued.socket, &mut byte, os::RECEIVE_FLAGS) {
            Ok((1.., _)) if byte == [ADMITTED] => {
                self.claimed = self.queued.take();
                Ok(Admission::Granted)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(Admission::Pending),
            // The listener or its process is gone.
            Ok((0, _)) | Err(Errno::CONNRESET) => {
                self.queued = None;
                Ok(Admission::Lost)
            }
            Ok(_) => {
                let text = format!("the server of {} broke the protocol", self.request.name);
                Err(fail(PipeErrorKind::Corrupt, text))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether there is a place in a queue that has become an instance.
    fn is_admitted(&mut self) -> io::Result<bool> {
        Ok(self.queued.is_some() && matches!(self.take_admission()?, Admission::Granted))
    }

    /// The socket by which the queue says that it is the turn of this client.
    pub(super) fn queued(&self) -> Option<&Arc<OwnedFd>> {
        self.queued.as_ref().map(|queued| &queued.socket)
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
        let socket = Arc::try_unwrap(socket).or_else(|shared| shared.try_clone())?;
        let options = EndOptions::new(self.request.read_mode, self.limit.canceller().cloned());
        Ok(Some(Connection::client(socket, handshake, may, Arc::new(options))))
    }

    /// Whether an instance was claimed, and its hello is still to be said.
    pub(super) fn has_claimed(&self) -> bool {
        self.claimed.is_some()
    }

    /// Tries every listening instance once, and looks again until a listing shows nothing untried: an instance that is
    /// full never becomes free again, only a new name does.
    fn in_pipe(&mut self, pipe: &mut Found) -> io::Result<Attempt> {
        if let Err(error) = self.admit(pipe) {
            // The header of a dead server does not matter.
            let listing = pipe.listing()?;
            let is_served = pipe.directory.is_served(&listing, pipe.header.incarnation)?;
            return if is_served { Err(error) } else { Ok(Attempt::Absent) };
        }
        let mut tried: HashSet<Id> = HashSet::new();
        loop {
            let listing = pipe.listing()?;
            let Found { directory, header, .. } = &*pipe;
            let mut found_new = false;
            for leaf in &listing.instances {
                // What is full never becomes free again under this name, and queues are for those who wait.
                if leaf.is_listening(header.incarnation) && tried.insert(leaf.id()) {
                    found_new = true;
                    if let Some(connection) = self.claim(pipe, *leaf)? {
                        return Ok(Attempt::Open(Box::new(connection)));
                    }
                }
            }
            if !found_new {
                // A queue that takes this client lives.
                if self.queues && self.queued.is_none() && self.enter_queue(pipe, &listing.instances)? {
                    return Ok(Attempt::Busy);
                }
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
        if self.is_admitted()? {
            return self.say_hello();
        }
        let Some(claimed) = self.connect_to(pipe, leaf)? else { return Ok(None) };
        // A server that has admitted the client has handed it out. The other one sees a client that came and left.
        if !self.is_admitted()? {
            self.queued = None;
            self.claimed = Some(claimed);
        }
        self.say_hello()
    }

    /// Connects to an instance as its client, or to a queue as the last that waits in it.
    fn connect_to(&mut self, pipe: &Found, leaf: EntryName) -> io::Result<Option<Claimed>> {
        let Found { directory, header, .. } = pipe;
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
        let claim = if leaf.is_queue(header.incarnation) { claim::queue } else { claim::claim };
        match claim(directory, leaf, &socket) {
            Ok(Claim::Taken) => {
                check_server(directory, self.request, &socket)?;
                Ok(Some(Claimed { socket: Arc::new(socket), handshake, may }))
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
