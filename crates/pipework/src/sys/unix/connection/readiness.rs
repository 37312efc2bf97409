//! The waiters at an end beside its threads: descriptors for event loops, one for each direction, and the
//! tasks of a runtime. Each is made on first use.

use super::{
    super::os::{Event, PollSet, Timer},
    operation::Operation,
};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

/// The observers of an end.
#[derive(Debug, Default)]
pub(crate) struct Readiness {
    read: OnceLock<ReadyFd>,
    write: OnceLock<ReadyFd>,
    /// Where the tasks of a runtime wait.
    #[cfg(feature = "tokio")]
    pub(super) reactor: super::super::asynchronous::Reactor,
}

/// A descriptor that is readable when the socket is, or when another try is due for another reason.
#[derive(Debug)]
struct ReadyFd {
    poll_set: PollSet,
    again: Event,
    /// What the doorbell does not signal: the room that a writer needs, or when to ring again.
    blocked: Mutex<Option<Blocked>>,
}

/// A source of the set for one wait; it leaves the set when it is closed.
#[derive(Debug)]
enum Blocked {
    /// The socket, for when it is writable.
    Socket { _set: PollSet },
    /// A pause, where nothing is signalled.
    Delay { _timer: Timer },
}

impl Readiness {
    /// The descriptor for reading.
    pub(crate) fn read_fd(&self, socket: BorrowedFd<'_>) -> io::Result<BorrowedFd<'_>> {
        get_or_create(&self.read, socket)
    }

    /// The descriptor for writing.
    pub(crate) fn write_fd(&self, socket: BorrowedFd<'_>) -> io::Result<BorrowedFd<'_>> {
        get_or_create(&self.write, socket)
    }

    /// Before the last look of a try: from now on the descriptor signals. Whether there is one.
    pub(super) fn arm(&self, operation: Operation) -> bool {
        let ready = match operation {
            Operation::Read => self.read.get(),
            Operation::Write => self.write.get(),
        };
        let Some(ready) = ready else { return false };
        *ready.blocked() = None;
        ready.again.clear();
        ready.poll_set.refresh();
        true
    }

    /// Lets the descriptor for writing signal that the socket takes more.
    pub(super) fn arm_socket(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        let Some(ready) = self.write.get() else { return Ok(()) };
        // A set of its own, since the socket is already in the other one for reading.
        let set = PollSet::new()?;
        set.add_writable(socket)?;
        ready.poll_set.add(set.as_fd())?;
        *ready.blocked() = Some(Blocked::Socket { _set: set });
        Ok(())
    }

    /// Lets the descriptor for writing signal after a pause.
    pub(super) fn arm_timer(&self, pause: Duration) -> io::Result<()> {
        self.write.get().map_or(Ok(()), |ready| ready.arm_timer(pause))
    }

    /// Lets both descriptors signal after a pause: what is to be done then is no matter of a direction.
    pub(super) fn arm_timers(&self, pause: Duration) -> io::Result<()> {
        [&self.read, &self.write]
            .into_iter()
            .filter_map(OnceLock::get)
            .try_for_each(|ready| ready.arm_timer(pause))
    }

    /// The doorbell was emptied, or a direction was released: every event loop must try again.
    pub(super) fn try_again(&self) {
        for ready in [&self.read, &self.write].into_iter().filter_map(OnceLock::get) {
            ready.again.set();
        }
    }

    /// Wakes the tasks that wait in a reactor.
    pub(super) fn wake_tasks(&self) {
        #[cfg(feature = "tokio")]
        self.reactor.wake();
    }
}

impl ReadyFd {
    fn arm_timer(&self, pause: Duration) -> io::Result<()> {
        let timer = Timer::new(pause)?;
        self.poll_set.add(timer.as_fd())?;
        *self.blocked() = Some(Blocked::Delay { _timer: timer });
        Ok(())
    }

    fn blocked(&self) -> MutexGuard<'_, Option<Blocked>> {
        // It is replaced as a whole.
        self.blocked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn get_or_create<'a>(ready: &'a OnceLock<ReadyFd>, socket: BorrowedFd<'_>) -> io::Result<BorrowedFd<'a>> {
    if ready.get().is_none() {
        let (poll_set, again) = (PollSet::new()?, Event::new()?);
        poll_set.add(socket)?;
        poll_set.add(again.as_fd())?;
        // Ready at first, so that nothing that came before is missed.
        again.set();
        // Another thread may have been quicker; then its descriptor serves.
        ready.set(ReadyFd { poll_set, again, blocked: Mutex::default() }).ok();
    }
    ready
        .get()
        .map(|ready| ready.poll_set.as_fd())
        .ok_or_else(|| io::Error::other("the descriptor was not made"))
}
