//! The one descriptor that signals that a listener has a client, for foreign event loops.

use super::super::{
    fork::Origin,
    name::{check_clock::NAME_CHECK_PERIOD, lookup::Watch},
    os::{PollSet, Timer},
    unix_socket::SocketListener,
};
use crate::sys::Instance;
use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How often to look for a free slot at least: the system does not report a killed process.
const PAUSE_WATCHED: Duration = Duration::from_millis(200);
/// How often to look for a free slot where the system reports no changes.
const PAUSE_UNWATCHED: Duration = Duration::from_millis(10);

/// Gathers the sockets at which a listener's instances listen, one after the other.
///
/// Whatever leaves the set is taken out, since closing is not enough: a forked child may have a copy. Such a child changes
/// nothing, as the set is its parent's too.
#[derive(Debug)]
pub(crate) struct AcceptReadiness {
    poll_set: PollSet,
    followed: Mutex<Option<Followed>>,
    /// Signals that it is time for another look, while none listens.
    pause: Timer,
    /// Signals that it is time to look whether the name is still there, and since when it counts.
    name_check: Timer,
    checked: Mutex<Instant>,
    origin: Origin,
}

/// What signals a client, or that there can be an instance.
#[derive(Debug)]
enum Followed {
    Socket(Arc<OwnedFd>),
    Places(Watch),
}

impl Followed {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Followed::Socket(socket) => Some(socket.as_fd()),
            Followed::Places(watch) => watch.fd(),
        }
    }
}

impl AcceptReadiness {
    pub(crate) fn new() -> io::Result<AcceptReadiness> {
        let (poll_set, pause, name_check) =
            (PollSet::new()?, Timer::new(PAUSE_WATCHED)?, Timer::new(NAME_CHECK_PERIOD)?);
        pause.restart(None)?;
        poll_set.add(pause.as_fd())?;
        poll_set.add(name_check.as_fd())?;
        let (followed, checked) = (Mutex::new(None), Mutex::new(Instant::now()));
        Ok(AcceptReadiness { poll_set, followed, pause, name_check, checked, origin: Origin::current() })
    }

    /// From now on this instance listens.
    pub(crate) fn follow(&self, instance: &Instance) -> io::Result<()> {
        let socket = instance.listening().map(|listening| Arc::clone(&listening.socket));
        self.replace(socket.map(Followed::Socket), None)
    }

    /// From now on this socket listens.
    pub(crate) fn follow_socket(&self, listener: &SocketListener) -> io::Result<()> {
        self.replace(Some(Followed::Socket(Arc::clone(&listener.socket))), None)
    }

    /// No instance listens until a place is free.
    pub(crate) fn follow_places(&self, watch: Watch) -> io::Result<()> {
        // A killed process changes nothing in the directory.
        let pause = if watch.fd().is_some() { PAUSE_WATCHED } else { PAUSE_UNWATCHED };
        self.replace(Some(Followed::Places(watch)), Some(pause))
    }

    /// No instance listens, and another look is due after a pause.
    pub(crate) fn follow_pause(&self, pause: Duration) -> io::Result<()> {
        self.replace(None, Some(pause))
    }

    /// Follows this instead of what was followed, and signals after the pause.
    fn replace(&self, next: Option<Followed>, pause: Option<Duration>) -> io::Result<()> {
        if !self.origin.is_here() {
            return Ok(());
        }
        let mut followed = lock(&self.followed);
        if let (Some(Followed::Socket(old)), Some(Followed::Socket(new))) = (&*followed, &next)
            && Arc::ptr_eq(old, new)
        {
            return Ok(());
        }
        if let Some(fd) = next.as_ref().and_then(Followed::fd) {
            self.poll_set.add(fd)?;
        }
        if let Some(fd) = followed.as_ref().and_then(Followed::fd) {
            self.poll_set.remove(fd);
        }
        *followed = next;
        self.pause.restart(pause)
    }

    /// Before the last look for a client: from now on the descriptor signals.
    pub(crate) fn arm(&self) -> io::Result<()> {
        if !self.origin.is_here() {
            return Ok(());
        }
        let mut checked = lock(&self.checked);
        if checked.elapsed() >= NAME_CHECK_PERIOD {
            self.name_check.restart(Some(NAME_CHECK_PERIOD))?;
            *checked = Instant::now();
        }
        self.poll_set.refresh();
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each is replaced as a whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl AsFd for AcceptReadiness {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poll_set.as_fd()
    }
}
