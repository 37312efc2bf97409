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
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
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
    /// And the queue of those who wait, if there is one.
    Socket(Arc<OwnedFd>, Option<Arc<OwnedFd>>),
    Places(Watch),
}

impl Followed {
    fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let fds = match self {
            Followed::Socket(socket, queue) => [Some(socket.as_fd()), queue.as_ref().map(AsFd::as_fd)],
            Followed::Places(watch) => [watch.fd(), None],
        };
        fds.into_iter().flatten()
    }

    /// Whether it is the same socket with the same queue.
    fn is_same(&self, other: &Followed) -> bool {
        let number = |queue: &Option<Arc<OwnedFd>>| queue.as_ref().map(Arc::as_ptr);
        match (self, other) {
            (Followed::Socket(one, its), Followed::Socket(other, others)) => {
                Arc::ptr_eq(one, other) && number(its) == number(others)
            }
            _ => false,
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
        let followed = instance.listening().map(|listening| {
            let queue = listening.queue().map(|queue| Arc::clone(&queue.socket));
            Followed::Socket(Arc::clone(&listening.socket), queue)
        });
        self.replace(followed, None)
    }

    /// From now on this socket listens.
    pub(crate) fn follow_socket(&self, listener: &SocketListener) -> io::Result<()> {
        self.replace(Some(Followed::Socket(Arc::clone(&listener.socket), None)), None)
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
        if followed.as_ref().zip(next.as_ref()).is_some_and(|(old, new)| old.is_same(new)) {
            return Ok(());
        }
        for fd in next.iter().flat_map(Followed::fds) {
            self.poll_set.add(fd)?;
        }
        for fd in followed.iter().flat_map(Followed::fds) {
            // Two instances of a listener share its queue.
            let stays = next.iter().flat_map(Followed::fds).any(|other| other.as_raw_fd() == fd.as_raw_fd());
            if !stays {
                self.poll_set.remove(fd);
            }
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
