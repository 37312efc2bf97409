//! Opening a pipe, and waiting until it can be opened.

#[cfg(feature = "tokio")]
mod line;
mod opening;
mod search;
#[cfg(feature = "tokio")]
pub(super) mod task;

use super::{
    super::{WaitLimit, errors::ended},
    connection::Connection,
    name::lookup::{absent, directories},
    poll,
    watch::Watch as DirectoryWatch,
};
use crate::{
    error::{PipeErrorKind, fail},
    name::PipeName,
    options::Request,
};
use opening::{OpenOn, OpenStep, Opening, QUEUE_PERIOD};
use rustix::event::PollFlags;
use search::{Attempt, Search};
use std::{io, os::fd::AsFd, time::Duration};

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
            (OpenOn::Queue, _) => {
                let Some(socket) = opening.queued() else { continue };
                let is_due = !poll::wait(&[(socket.as_fd(), PollFlags::IN)], limit, Some(QUEUE_PERIOD))?;
                if is_due && let Some(connection) = opening.look_elsewhere()? {
                    return Ok(connection);
                }
            }
            (OpenOn::Pause(time) | OpenOn::Retry(time), _) => drop(poll::wait(&[], limit, Some(time))?),
            (OpenOn::Change, Some(watch)) => opening.changed(watch.wait(limit)?),
            (OpenOn::Change, None) => {}
        }
    }
}

/// Waits until an instance listens (rule C4); reserves nothing.
pub(crate) fn wait(name: &PipeName, timeout: Option<Duration>) -> io::Result<()> {
    let mut limit: Option<WaitLimit> = None;
    let mut watch: Option<DirectoryWatch> = None;
    loop {
        let (mut is_there, mut default_timeout, mut unknown) = (false, Duration::ZERO, None);
        for directory in directories(name, &mut watch)? {
            let Some(header) = directory.header()? else { continue };
            let listing = directory.listing()?;
            for leaf in &listing.instances {
                if leaf.is_listening(header.incarnation) && directory.is_alive(*leaf)? {
                    return Ok(());
                }
            }
            match directory.is_served(&listing, header.incarnation) {
                Ok(true) if !is_there => {
                    is_there = true;
                    default_timeout = Duration::from_millis(header.default_timeout_ms.into());
                }
                Ok(_) => {}
                Err(error) => unknown = Some(error),
            }
        }
        if !is_there {
            return Err(unknown.unwrap_or_else(|| absent(name)));
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

fn busy(name: &PipeName) -> io::Error {
    let text =
        format!("{name} is busy: no instance of it listens now; wait with `connect` or `NamedPipe::wait`");
    fail(PipeErrorKind::Busy, text)
}
