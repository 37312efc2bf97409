//! The one descriptor that signals that a listener has a client, for foreign event loops.

use super::super::{
    name::{check::NAME_CHECK_PERIOD, lookup::Watch},
    os::{PollSet, Timer},
    unix_socket::SocketListener,
};
use crate::sys::Instance;
use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How often to look for a free slot at least: the system does not report a killed process.
const PAUSE_WATCHED: Duration = Duration::from_millis(200);
/// How often to look for a free slot where the system reports no changes.
const PAUSE_UNWATCHED: Duration = Duration::from_millis(10);

/// Gathers the sockets at which a listener's instances listen, one after the other.
#[derive(Debug)]
pub(crate) struct AcceptReadiness {
    poll_set: PollSet,
    /// Signals a free slot, while the pipe has all of its instances.
    places: Mutex<Option<Places>>,
    /// Signals that it is time to look whether the name is still there, and since when it counts.
    name_check: Mutex<(Timer, Instant)>,
}

#[derive(Debug)]
enum Places {
    Signalled { _watch: Watch, _timer: Timer },
    Idle { _timer: Timer },
}

impl AcceptReadiness {
    pub(crate) fn new() -> io::Result<AcceptReadiness> {
        let (poll_set, name_check) = (PollSet::new()?, Timer::new(NAME_CHECK_PERIOD)?);
        poll_set.add(name_check.as_fd())?;
        let name_check = Mutex::new((name_check, Instant::now()));
        Ok(AcceptReadiness { poll_set, places: Mutex::new(None), name_check })
    }

    /// From now on this instance listens.
    pub(crate) fn follow(&self, instance: &Instance) -> io::Result<()> {
        // A socket leaves by itself when it is closed; so does the watch.
        *self.places.lock().unwrap_or_else(PoisonError::into_inner) = None;
        instance.with_listening(|socket| self.poll_set.add(socket)).unwrap_or(Ok(()))
    }

    /// For as long as the process lives this socket listens.
    pub(crate) fn follow_socket(&self, listener: &SocketListener) -> io::Result<()> {
        self.poll_set.add(listener.as_fd())
    }

    /// No instance listens until a place is free.
    pub(crate) fn follow_places(&self, watch: Watch) -> io::Result<()> {
        let places = match watch.fd() {
            Some(fd) => {
                self.poll_set.add(fd)?;
                // A killed process changes nothing in the directory.
                let timer = Timer::new(PAUSE_WATCHED)?;
                self.poll_set.add(timer.as_fd())?;
                Places::Signalled { _watch: watch, _timer: timer }
            }
            None => {
                let timer = Timer::new(PAUSE_UNWATCHED)?;
                self.poll_set.add(timer.as_fd())?;
                Places::Idle { _timer: timer }
            }
        };
        *self.places.lock().unwrap_or_else(PoisonError::into_inner) = Some(places);
        Ok(())
    }

    /// Another process creates an instance; another look is due after a pause.
    pub(crate) fn follow_lock(&self, pause: Duration) -> io::Result<()> {
        let timer = Timer::new(pause)?;
        self.poll_set.add(timer.as_fd())?;
        *self.places.lock().unwrap_or_else(PoisonError::into_inner) = Some(Places::Idle { _timer: timer });
        Ok(())
    }

    /// Before the last look for a client: from now on the descriptor signals.
    pub(crate) fn arm(&self) -> io::Result<()> {
        let mut name_check = self.name_check.lock().unwrap_or_else(PoisonError::into_inner);
        if name_check.1.elapsed() >= NAME_CHECK_PERIOD {
            let timer = Timer::new(NAME_CHECK_PERIOD)?;
            self.poll_set.add(timer.as_fd())?;
            *name_check = (timer, Instant::now());
        }
        self.poll_set.refresh();
        Ok(())
    }
}

impl AsFd for AcceptReadiness {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poll_set.as_fd()
    }
}
