//! The one descriptor that tells that a listener has a client, for foreign event loops.

use super::{
    super::Instance,
    client::Watch,
    os::{Alarm, Gathered},
    plain::PlainListener,
};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// How often to look for a free place where changes are not told.
const PAUSE_UNTOLD: Duration = Duration::from_millis(10);

/// Gathers the sockets at which a listener's instances listen, one after the other.
#[derive(Debug)]
pub(crate) struct Gate {
    gathered: Gathered,
    /// Tells of a free place, while the pipe has all of its instances.
    places: Mutex<Option<Places>>,
}

#[derive(Debug)]
enum Places {
    Told { _watch: Watch },
    Untold { _alarm: Alarm },
}

impl Gate {
    pub(crate) fn new() -> io::Result<Gate> {
        Ok(Gate { gathered: Gathered::new()?, places: Mutex::new(None) })
    }

    /// From now on this instance listens.
    pub(crate) fn follow(&self, instance: &Instance) -> io::Result<()> {
        // A socket leaves by itself when it is closed; so does the watch.
        *self.places.lock().unwrap_or_else(PoisonError::into_inner) = None;
        instance.with_listening(|socket| self.gathered.add(socket)).unwrap_or(Ok(()))
    }

    /// For as long as the process lives this socket listens.
    pub(crate) fn follow_plain(&self, listener: &PlainListener) -> io::Result<()> {
        self.gathered.add(listener.as_fd())
    }

    /// No instance listens until a place is free.
    pub(crate) fn follow_places(&self, watch: Watch) -> io::Result<()> {
        let places = match watch.fd() {
            Some(fd) => {
                self.gathered.add(fd)?;
                Places::Told { _watch: watch }
            }
            None => {
                let alarm = Alarm::new(PAUSE_UNTOLD)?;
                self.gathered.add(alarm.as_fd())?;
                Places::Untold { _alarm: alarm }
            }
        };
        *self.places.lock().unwrap_or_else(PoisonError::into_inner) = Some(places);
        Ok(())
    }

    /// Another process creates an instance; another look is due after a pause.
    pub(crate) fn follow_lock(&self, pause: Duration) -> io::Result<()> {
        let alarm = Alarm::new(pause)?;
        self.gathered.add(alarm.as_fd())?;
        *self.places.lock().unwrap_or_else(PoisonError::into_inner) = Some(Places::Untold { _alarm: alarm });
        Ok(())
    }

    /// Before the last look for a client: from now on the descriptor tells.
    pub(crate) fn arm(&self) {
        self.gathered.refresh();
    }
}

impl AsFd for Gate {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.gathered.as_fd()
    }
}
