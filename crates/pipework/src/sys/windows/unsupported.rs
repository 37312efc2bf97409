//! What this system lacks, or has in a simpler form.

use super::{
    super::{Instance, WaitLimit},
    handle,
};
use crate::{
    access::Access,
    error::{PipeErrorKind, fail},
    name::PipeName,
};
use std::{io, path::Path, time::Duration};

/// The polling interval where the system does not report changes.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Only instances hold a name here. A listener at its maximum has no instance of its own, so the name is free between the
/// close of the last one and the next accept.
#[derive(Debug)]
pub(crate) struct NameHold;

impl NameHold {
    /// Nothing can remove a name here.
    #[expect(clippy::unused_self, reason = "as on other systems")]
    /// Nothing is inherited: there are no forks.
    pub(crate) fn is_here(&self) -> bool {
        true
    }

    pub(crate) fn restorations(&self) -> u64 {
        0
    }
}

/// No single handle signals that a listener has a client, so there is no value of this type.
#[derive(Debug)]
pub(crate) enum AcceptReadiness {}

impl AcceptReadiness {
    pub(crate) fn follow(&self, _instance: &Instance) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn follow_places(&self, _watch: Watch) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn follow_socket(&self, _listener: &SocketListener) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn follow_pause(&self, _pause: Duration) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn arm(&self) -> io::Result<()> {
        match *self {}
    }
}

/// There are no sockets by path: no address names one.
#[derive(Debug)]
pub(crate) enum SocketListener {}

impl SocketListener {
    pub(crate) fn bind(path: &Path, _access: &Access) -> io::Result<SocketListener> {
        let text = format!("{} is the path of a socket; this system has no sockets by path", path.display());
        Err(fail(PipeErrorKind::Unsupported, text))
    }

    pub(crate) fn try_accept(&self) -> io::Result<Option<super::End>> {
        match *self {}
    }

    pub(crate) fn is_lost(&self) -> bool {
        match *self {}
    }

    pub(crate) fn restore(&self, _access: &Access) -> io::Result<SocketListener> {
        match *self {}
    }

    pub(crate) fn restorations(&self) -> u64 {
        match *self {}
    }

    pub(crate) fn wait(&self, _limit: &WaitLimit) -> io::Result<()> {
        match *self {}
    }
}

/// Waits until something about a name may have changed. The system does not signal a free instance, so this is a short
/// pause.
#[derive(Debug)]
pub(crate) struct Watch;

impl Watch {
    pub(crate) fn new(_name: &PipeName) -> io::Result<Watch> {
        Ok(Watch)
    }

    pub(crate) fn wait(&self, limit: &WaitLimit) -> io::Result<()> {
        limit.check()?;
        pause_briefly(limit)
    }
}

/// Pauses for one polling interval, or for what is left of the limit; a canceller ends it with an error.
pub(super) fn pause_briefly(limit: &WaitLimit) -> io::Result<()> {
    let time = limit.left().map_or(POLL_INTERVAL, |left| left.min(POLL_INTERVAL));
    match pause(&WaitLimit::new(Some(time), limit.canceller().cloned())) {
        Err(error) if error == PipeErrorKind::TimedOut => Ok(()),
        outcome => outcome,
    }
}

/// Sleeps up to the limit; a canceller ends it sooner.
pub(super) fn pause(limit: &WaitLimit) -> io::Result<()> {
    // This event is never set.
    let never = handle::Event::manual_reset()?;
    handle::wait(std::os::windows::io::AsHandle::as_handle(&never), limit)
}
