//! Opening a pipe, and waiting until it can be opened.

use super::{
    super::Limit,
    claim::{self, Claim},
    connection::{Connection, Rights},
    directory::Directory,
    link::{Offer, Shape},
    os, peer, roots,
    settings::Settings,
    watch::Watch as DirectoryWatch,
};
use crate::{
    error::{PipeErrorKind, context, fail, fail_from},
    model::place::{Header, Leaf},
    name::PipeName,
    options::{PipeMode, Request},
};
use rustix::{io::Errno, net::SocketType};
use std::{
    collections::HashSet,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

/// What an attempt to open came to, but for errors.
enum Attempt {
    Open(Box<Connection>),
    /// The name exists, and no instance listens.
    Busy,
    Absent,
}

/// Waits until something about a name may have changed.
#[derive(Debug)]
pub(crate) struct Watch {
    directories: DirectoryWatch,
}

impl Watch {
    /// Begins to watch; the caller looks after this, not before.
    pub(crate) fn new(name: &PipeName) -> io::Result<Watch> {
        let mut watch = Some(DirectoryWatch::new());
        directories(name, &mut watch)?;
        Ok(Watch { directories: watch.unwrap_or_else(DirectoryWatch::new) })
    }

    /// Waits for a change, or a short time where the system can't tell.
    pub(crate) fn wait(&self, limit: &Limit) -> io::Result<()> {
        limit.check()?;
        self.directories.wait(limit)
    }

    /// Readable after a change, where the system can tell.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.directories.fd()
    }
}

/// Opens now: busy and absent are errors.
pub(crate) fn open(request: &Request, limit: &Limit) -> io::Result<Connection> {
    let mut watch = None;
    match attempt(request, limit, &mut watch)? {
        Attempt::Open(connection) => Ok(*connection),
        Attempt::Busy => Err(busy(&request.name)),
        Attempt::Absent => Err(absent(&request.name)),
    }
}

/// Opens, waiting while the pipe is busy, or absent where that was asked for.
pub(crate) fn connect(request: &Request, limit: &Limit) -> io::Result<Connection> {
    let mut watch = None;
    loop {
        match attempt(request, limit, &mut watch)? {
            Attempt::Open(connection) => return Ok(*connection),
            Attempt::Absent if !request.wait_absent => return Err(absent(&request.name)),
            Attempt::Busy => limit.check().map_err(|error| ended(&request.name, "was busy", error))?,
            Attempt::Absent => limit.check().map_err(|error| ended(&request.name, "did not exist", error))?,
        }
        // The first time round nothing was watched yet: look again before sleeping.
        match &watch {
            Some(watch) => watch.wait(limit)?,
            None => watch = Some(DirectoryWatch::new()),
        }
    }
}

/// Waits until an instance listens (rule C4); reserves nothing.
pub(crate) fn wait(name: &PipeName, timeout: Option<Duration>) -> io::Result<()> {
    let mut limit: Option<Limit> = None;
    let mut watch: Option<DirectoryWatch> = None;
    loop {
        let (mut is_there, mut default_timeout) = (false, Duration::ZERO);
        for directory in directories(name, &mut watch)? {
            let Some(header) = directory.header()? else { continue };
            let listing = directory.listing()?;
            for leaf in &listing.instances {
                if matches!(leaf, Leaf::Instance { incarnation, .. } if *incarnation == header.incarnation)
                    && directory.is_alive(*leaf)?
                {
                    return Ok(());
                }
            }
            if !is_there && directory.is_served(&listing, header.incarnation)? {
                is_there = true;
                default_timeout = Duration::from_millis(header.default_timeout_ms.into());
            }
        }
        if !is_there {
            return Err(absent(name));
        }
        let limit = limit.get_or_insert_with(|| {
            let is_default = timeout == Some(Duration::ZERO);
            Limit::new(if is_default { Some(default_timeout) } else { timeout }, None)
        });
        limit.check().map_err(|error| ended(name, "was busy", error))?;
        match &watch {
            Some(watch) => watch.wait(limit)?,
            None => watch = Some(DirectoryWatch::new()),
        }
    }
}

/// Where the pipe is, or would be made.
pub(crate) fn location(name: &PipeName) -> io::Result<PathBuf> {
    if let Some(directory) = directories(name, &mut None)?.into_iter().next() {
        return Ok(directory.path);
    }
    let root = roots::private_path()
        .ok_or_else(|| fail(PipeErrorKind::Absent, "there is no directory in which pipes could live"))?;
    Ok(root.join(crate::model::place::directory_name(name.folded(), claim::DIRECTORY_NAME_LEN_MAX)))
}

/// The directories of this name in all trusted roots, watched from before they are looked at.
fn directories(name: &PipeName, watch: &mut Option<DirectoryWatch>) -> io::Result<Vec<Directory>> {
    let (roots, places) = roots::existing()?;
    if let Some(watch) = watch {
        // A root that does not exist yet shows in its parent.
        for place in places {
            if roots.iter().any(|root| root.path == place) {
                watch.add(&place);
            } else if let Some(parent) = place.parent() {
                watch.add(parent);
            }
        }
    }
    let mut directories = Vec::new();
    for root in roots {
        if let Some(directory) = root.directory(name.folded())? {
            if let Some(watch) = watch {
                watch.add(&directory.path);
            }
            directories.push(directory);
        }
    }
    Ok(directories)
}

fn attempt(request: &Request, limit: &Limit, watch: &mut Option<DirectoryWatch>) -> io::Result<Attempt> {
    let mut outcome = Attempt::Absent;
    for directory in directories(&request.name, watch)? {
        let Some(header) = directory.header()? else { continue };
        if PipeName::from_local(&header.name).ok().as_ref() != Some(&request.name) {
            return Err(fail(
                PipeErrorKind::Corrupt,
                format!("{} is of another name", directory.path.display()),
            ));
        }
        match attempt_in(&directory, &header, request, limit)? {
            Attempt::Open(connection) => return Ok(Attempt::Open(connection)),
            Attempt::Busy => outcome = Attempt::Busy,
            Attempt::Absent => {}
        }
    }
    Ok(outcome)
}

/// Tries every listening instance once, and looks again until a listing shows nothing untried: an instance that is
/// full never becomes free again, only a new name does.
fn attempt_in(
    directory: &Directory,
    header: &Header,
    request: &Request,
    limit: &Limit,
) -> io::Result<Attempt> {
    let may = rights(header, request)?;
    let mut tried = HashSet::new();
    let mut offer: Option<Offer> = None;
    let socket = new_socket(request)?;
    loop {
        let listing = directory.listing()?;
        let mut found_new = false;
        for leaf in &listing.instances {
            let Leaf::Instance { id, incarnation, inbound, outbound } = *leaf else { continue };
            if incarnation != header.incarnation || !tried.insert(id) {
                continue;
            }
            found_new = true;
            let shape = Shape {
                incarnation: incarnation.number(),
                messages: header.messages,
                inbound: header.inbound.then_some(inbound),
                outbound: header.outbound.then_some(outbound),
                max_instances: header.max_instances,
            };
            let offered = match offer.take() {
                Some(offer) if offer.fits(&shape) => offer,
                _ => Offer::new(shape)?,
            };
            match claim::claim(directory, *leaf, &socket) {
                Ok(Claim::Taken) => {
                    return open_claimed(directory, request, limit, socket, offered, may)
                        .map(Box::new)
                        .map(Attempt::Open);
                }
                Ok(Claim::Lost) => offer = Some(offered),
                Err(error) => return Err(refused(request, directory, error)),
            }
        }
        if !found_new {
            let is_served = directory.is_served(&listing, header.incarnation);
            let is_served = is_served.map_err(|error| refused(request, directory, error))?;
            return Ok(if is_served { Attempt::Busy } else { Attempt::Absent });
        }
    }
}

/// The socket is connected: makes sure of the server, and says hello.
fn open_claimed(
    directory: &Directory,
    request: &Request,
    limit: &Limit,
    socket: OwnedFd,
    offer: Offer,
    may: Rights,
) -> io::Result<Connection> {
    if !peer::accepts(&request.server, socket.as_fd(), directory.owner)? {
        let (_, user, _) = os::credentials(socket.as_fd())?;
        let text = format!("{} is served by user {user}, which is not who was asked for", request.name);
        return Err(fail(PipeErrorKind::AccessDenied, text));
    }
    let settings = Settings::new(request.read_mode, limit.canceller().cloned());
    Connection::client(socket, offer, may, Arc::new(settings), limit)
        .map_err(|error| context(format!("saying hello to {}", request.name), error))
}

/// What the client may do, of what it asked for (rule C5).
fn rights(header: &Header, request: &Request) -> io::Result<Rights> {
    if request.read_mode == PipeMode::Message && !header.messages {
        let text = format!("{} is a byte pipe: it can't be read in messages", request.name);
        return Err(fail(PipeErrorKind::Invalid, text));
    }
    let asked = Rights { read: request.read, write: request.write };
    let there = Rights { read: asked.read && header.outbound, write: asked.write && header.inbound };
    let is_all = there.read == asked.read && there.write == asked.write;
    if is_all || (request.one_way_will_do && (there.read || there.write)) {
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

/// The end of a wait, with what was waited for.
fn ended(name: &PipeName, why: &str, error: io::Error) -> io::Error {
    match PipeErrorKind::of(&error) {
        Some(kind) => fail(kind, format!("{name} {why} until the wait was over: {error}")),
        None => error,
    }
}

fn busy(name: &PipeName) -> io::Error {
    let text =
        format!("{name} is busy: no instance of it listens now; wait with `connect` or `NamedPipe::wait`");
    fail(PipeErrorKind::Busy, text)
}

fn absent(name: &PipeName) -> io::Error {
    let places = roots::existing().map(|(_, places)| places).unwrap_or_default();
    let places: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
    fail(PipeErrorKind::Absent, format!("there is no pipe {name} (looked in {})", places.join(", ")))
}
