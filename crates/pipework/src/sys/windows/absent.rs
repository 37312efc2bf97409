//! What this system does not have, or has in a simpler form.

use super::{super::Limit, handle, instance::Instance};
use crate::{
    access::Access,
    error::{PipeErrorKind, fail},
    name::PipeName,
};
use std::{io, path::Path, time::Duration};

/// How often to look where the system does not tell of changes.
const PAUSE: Duration = Duration::from_millis(10);

/// Nothing but instances holds a name here: while a listener has none, because all places are taken, and the last of them
/// closes, the name is free until the next accept.
#[derive(Debug)]
pub(crate) struct NameHold;

/// There is no one handle that tells that a listener has a client, so nobody has one of these.
#[derive(Debug)]
pub(crate) enum Gate {}

impl Gate {
    pub(crate) fn follow(&self, _instance: &Instance) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn follow_places(&self, _watch: Watch) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn arm(&self) {
        match *self {}
    }
}

/// There are no plain sockets: no address names one.
#[derive(Debug)]
pub(crate) enum PlainListener {}

impl PlainListener {
    pub(crate) fn bind(path: &Path, _access: &Access) -> io::Result<PlainListener> {
        let text = format!("{} is the path of a socket, which this system has not", path.display());
        Err(fail(PipeErrorKind::Unsupported, text))
    }

    pub(crate) fn accept(&self, _limit: &Limit) -> io::Result<super::End> {
        match *self {}
    }
}

/// Waits until something about a name may have changed: the system does not tell when a place is free, so this is a
/// short time.
#[derive(Debug)]
pub(crate) struct Watch;

impl Watch {
    pub(crate) fn new(_name: &PipeName) -> io::Result<Watch> {
        Ok(Watch)
    }

    pub(crate) fn wait(&self, limit: &Limit) -> io::Result<()> {
        limit.check()?;
        nap(limit)
    }
}

/// A short pause; an error if the limit is reached first.
pub(super) fn nap(limit: &Limit) -> io::Result<()> {
    let time = limit.left().map_or(PAUSE, |left| left.min(PAUSE));
    match pause(&Limit::new(Some(time), limit.canceller().cloned())) {
        Err(error) if error == PipeErrorKind::TimedOut => Ok(()),
        outcome => outcome,
    }
}

/// Waits for nothing, up to the limit.
pub(super) fn pause(limit: &Limit) -> io::Result<()> {
    // An event that nobody sets.
    let never = handle::Event::lasting()?;
    handle::wait(std::os::windows::io::AsHandle::as_handle(&never), limit)
}
