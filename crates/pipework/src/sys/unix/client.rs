//! Opening a pipe, and waiting until it can be opened.

use super::{
    super::Limit,
    claim,
    connection::Connection,
    directory::Directory,
    poll, roots,
    search::{Attempt, Search},
    watch::{Change, Watch as DirectoryWatch},
};
use crate::{
    error::{PipeErrorKind, fail},
    name::PipeName,
    options::Request,
};
use std::{io, os::fd::BorrowedFd, path::PathBuf, time::Duration};

/// Waits until something about a name may have changed.
#[derive(Debug)]
pub(crate) struct Watch {
    directories: DirectoryWatch,
}

impl Watch {
    /// Begins to watch; the caller looks after this, not before.
    pub(crate) fn new(name: &PipeName) -> io::Result<Watch> {
        let mut watch = Some(DirectoryWatch::for_places());
        directories(name, &mut watch)?;
        Ok(Watch { directories: watch.unwrap_or_else(DirectoryWatch::for_places) })
    }

    /// Waits for a change, or a short time where the system can't tell.
    pub(crate) fn wait(&self, limit: &Limit) -> io::Result<()> {
        limit.check()?;
        self.directories.wait(limit).map(drop)
    }

    /// Readable after a change, where the system can tell.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.directories.fd()
    }
}

/// How long a client waits for one instance only. Most servers take theirs within a fraction of that; longer would leave
/// those of other servers unseen.
const QUEUE_TIME: Duration = Duration::from_millis(20);

/// When to look again before a watch is made: a server that takes its client makes its next instance within that.
pub(super) const LOOKS_SOON_MICROSECONDS: [u64; 4] = [50, 100, 200, 400];

/// Opens now: busy and absent are errors.
pub(crate) fn open(request: &Request, limit: &Limit) -> io::Result<Connection> {
    match Search::new(request, limit).everywhere(&mut None)? {
        Attempt::Open(connection) => Ok(*connection),
        Attempt::Busy => Err(busy(&request.name)),
        Attempt::Absent => Err(absent(&request.name)),
    }
}

/// Opens, waiting while the pipe is busy, or absent where that was asked for.
pub(crate) fn connect(request: &Request, limit: &Limit) -> io::Result<Connection> {
    let mut search = Search::new(request, limit);
    let mut watch = None;
    loop {
        let why = match search.everywhere(&mut watch)? {
            Attempt::Open(connection) => return Ok(*connection),
            Attempt::Absent if !request.wait_absent => return Err(absent(&request.name)),
            Attempt::Absent => "did not exist",
            Attempt::Busy => "was busy",
        };
        let Some(watch) = &watch else {
            limit.check().map_err(|error| ended(&request.name, why, error))?;
            if let Some(connection) = soon(&mut search, limit)? {
                return Ok(connection);
            }
            // Nothing was watched yet: look again before sleeping.
            watch = Some(DirectoryWatch::for_instances());
            continue;
        };
        // Of many that wait for the same name each new instance makes all try, so the try is quick.
        loop {
            limit.check().map_err(|error| ended(&request.name, why, error))?;
            let Change::Instances(leaves) = watch.wait(limit)? else { break };
            if let Some(connection) = search.among(&leaves)? {
                return Ok(connection);
            }
        }
    }
}

/// Waits for a short time without a watch, which takes milliseconds to be closed: first in the queue of one instance, if
/// only time can end the wait, then by looking again and again.
fn soon(search: &mut Search<'_>, limit: &Limit) -> io::Result<Option<Connection>> {
    if limit.canceller().is_none()
        && let time = limit.left().map_or(QUEUE_TIME, |left| left.min(QUEUE_TIME))
        && let Some(connection) = search.in_queue(time)?
    {
        return Ok(Some(connection));
    }
    for pause in LOOKS_SOON_MICROSECONDS {
        poll::wait(&[], limit, Some(Duration::from_micros(pause)))?;
        if limit.check().is_err() {
            break;
        }
        if let Attempt::Open(connection) = search.again()? {
            return Ok(Some(*connection));
        }
    }
    Ok(None)
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
                if leaf.is_listening(header.incarnation) && directory.is_alive(*leaf)? {
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
            Some(watch) => drop(watch.wait(limit)?),
            None => watch = Some(DirectoryWatch::for_instances()),
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
pub(super) fn directories(name: &PipeName, watch: &mut Option<DirectoryWatch>) -> io::Result<Vec<Directory>> {
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

/// The end of a wait, with what was waited for.
pub(super) fn ended(name: &PipeName, why: &str, error: io::Error) -> io::Error {
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

pub(super) fn absent(name: &PipeName) -> io::Error {
    let places = roots::existing().map(|(_, places)| places).unwrap_or_default();
    let places: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
    fail(PipeErrorKind::Absent, format!("there is no pipe {name} (looked in {})", places.join(", ")))
}
