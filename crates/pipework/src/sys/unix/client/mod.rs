//! Opening a pipe, and waiting until it can be opened.

#[cfg(feature = "tokio")]
pub(super) mod connecting;
mod opening;
mod search;

use super::{
    super::WaitLimit,
    claim,
    connection::Connection,
    name::{directory::Directory, namespace},
    poll,
    watch::Watch as DirectoryWatch,
};
use crate::{
    error::{PipeErrorKind, fail},
    name::PipeName,
    options::Request,
};
use opening::{OpenOn, OpenStep, Opening};
use search::{Attempt, Search};
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

    /// Waits for a change, or a short time where the system can't report changes.
    pub(crate) fn wait(&self, limit: &WaitLimit) -> io::Result<()> {
        limit.check()?;
        self.directories.wait(limit).map(drop)
    }

    /// Readable after a change, where the system can report changes.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.directories.fd()
    }
}

/// Opens now: busy and absent are errors.
pub(crate) fn open(request: &Request, limit: &WaitLimit) -> io::Result<Connection> {
    match Search::new(request, limit).search_all(&mut None)? {
        Attempt::Open(connection) => Ok(*connection),
        Attempt::Busy => Err(busy(&request.name)),
        Attempt::Absent => Err(absent(&request.name)),
    }
}

/// Opens, waiting while the pipe is busy, or absent where that was asked for.
pub(crate) fn connect(request: &Request, limit: &WaitLimit) -> io::Result<Connection> {
    let mut opening = Opening::new(request, Search::new(request, limit));
    let mut watch = None;
    loop {
        let on = match opening.step(&mut watch)? {
            OpenStep::Open(connection) => return Ok(*connection),
            OpenStep::Blocked(on) => on,
        };
        limit.check().map_err(|error| opening.ended(error))?;
        match (on, &watch) {
            // A queue hears no canceller.
            (OpenOn::Queue(time), _) if limit.canceller().is_none() => {
                let time = limit.left().map_or(time, |left| left.min(time));
                if let Some(connection) = opening.wait_in_queue(time)? {
                    return Ok(connection);
                }
            }
            (OpenOn::Pause(time), _) => drop(poll::wait(&[], limit, Some(time))?),
            (OpenOn::Change, Some(watch)) => opening.changed(watch.wait(limit)?),
            (OpenOn::Queue(_), _) | (OpenOn::Change, None) => {}
        }
    }
}

/// Waits until an instance listens (rule C4); reserves nothing.
pub(crate) fn wait(name: &PipeName, timeout: Option<Duration>) -> io::Result<()> {
    let mut limit: Option<WaitLimit> = None;
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
            WaitLimit::new(if is_default { Some(default_timeout) } else { timeout }, None)
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
    let name_dir = namespace::private_path()
        .ok_or_else(|| fail(PipeErrorKind::Absent, "there is no directory in which pipes could live"))?;
    Ok(name_dir.join(crate::model::dir_format::directory_name(name.folded(), claim::DIRECTORY_NAME_LEN_MAX)))
}

/// The directories of this name in all trusted roots, watched from before they are looked at.
pub(super) fn directories(name: &PipeName, watch: &mut Option<DirectoryWatch>) -> io::Result<Vec<Directory>> {
    let (name_dirs, places) = namespace::existing()?;
    if let Some(watch) = watch {
        // A root that does not exist yet shows in its parent.
        for place in places {
            if name_dirs.iter().any(|name_dir| name_dir.path == place) {
                watch.add(&place);
            } else if let Some(parent) = place.parent() {
                watch.add(parent);
            }
        }
    }
    let mut directories = Vec::new();
    for name_dir in name_dirs {
        if let Some(directory) = name_dir.directory(name.folded())? {
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
    let places = namespace::existing().map(|(_, places)| places).unwrap_or_default();
    let places: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
    fail(PipeErrorKind::Absent, format!("there is no pipe {name} (looked in {})", places.join(", ")))
}
