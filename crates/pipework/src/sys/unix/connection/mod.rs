//! One end of one connection: its socket, its memory, and its waiters.
//!
//! The socket is doorbell, proof of life and channel for descriptors; the payload goes through the rings.

mod batch;
mod doorbell;
mod event_loop;
pub(super) mod fd_passing;
pub(super) mod handshake;
mod hangup_watch;
mod large;
#[cfg(feature = "tokio")]
#[cfg(test)]
mod large_tests;
#[cfg(feature = "tokio")]
#[cfg(test)]
mod mixed_tests;
mod operation;
mod operations;
mod parking;
mod read;
mod readiness;
pub(super) mod rings;
mod spin;
mod step;
#[cfg(feature = "tokio")]
#[cfg(test)]
mod sweep_tests;
#[cfg(feature = "tokio")]
pub(super) mod task;
#[cfg(feature = "tokio")]
pub(super) mod task_spin;
pub(super) mod thread;
mod write;

#[cfg(feature = "tokio")]
use super::asynchronous::sweep::SweepSeat;
use super::{
    super::{WaitLimit, errors::disconnected},
    end_options::EndOptions,
    fork::Origin,
    os,
    peer::Peer,
    poll,
};
use crate::{
    error::{PipeErrorKind, fail, fail_from},
    options::{PipeEnd, PipeInfo},
    ring::{CloseState, Corrupt, Interest, Side, Wake},
};
use doorbell::Socket;
use handshake::{ClientHandshake, ServerHandshake};
use hangup_watch::HangupMember;
use large::{LargeObject, LargeObjects};
use operation::Operation;
use parking::Parking;
use readiness::Readiness;
use rings::{Rings, Shape};
use rustix::{event::PollFlags, io::Errno, net::Shutdown};
use spin::Spin;
use std::{
    cell::OnceCell,
    fmt::Debug,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// How long to wait until a client that may speak for a remote client says so; our own clients say it at
/// once.
const IDENTITY_TIMEOUT: Duration = Duration::from_secs(2);

/// A reader that was seen alive within this time is taken to live: a killed one leaves nothing in the memory, and asking
/// the kernel at every write would cost more than the write.
const SEEN_ALIVE_FOR: Duration = Duration::from_micros(50);

/// How long at least a writer that does not rest keeps the memory of its bursts.
const RELEASE_PAUSE: Duration = Duration::from_secs(1);

/// For all connections of this process whose peer has not waited yet.
static SPIN_NEW_PEERS: Spin = Spin::new();

/// One end of one connection.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Shared with the reactors that it is registered with.
    socket: Arc<Socket>,
    /// Whether the socket can be waited at in the call that takes from it; each such call says whether it does. Few connections
    /// ever wait there, so it is made possible for the first that does.
    can_wait: OnceLock<bool>,
    pub(super) side: Side,
    pub(super) shape: Shape,
    /// What this end asked for; the pipe's directions limit it further.
    pub(super) may: Rights,
    pub(super) options: Arc<EndOptions>,
    pub(super) parking: Parking,
    pub(super) rings: OnceLock<Rings>,
    handshake: Mutex<ServerHandshake>,
    /// On a server, until when to wait for the hello of a client that may speak for a remote client.
    identity_deadline: Option<Instant>,
    large_objects: Mutex<LargeObjects>,
    outgoing_object: Mutex<Option<LargeObject>>,
    pub(super) state: Flags,
    failure: OnceLock<Failure>,
    /// Whether this end may spin at all.
    spins: AtomicBool,
    spin_for_data: Spin,
    spin_for_space: Spin,
    /// Whether this end wrote since it last waited for data: then what it waits for may be an answer.
    has_written: AtomicBool,
    made: Instant,
    /// When the peer was last seen alive, in nanoseconds since then. It wraps, which costs one look more or less.
    seen_alive: AtomicUsize,
    hangup_member: HangupMember,
    #[cfg(feature = "tokio")]
    sweep_seat: OnceLock<Arc<SweepSeat>>,
    /// When a writer of this end last released memory, in the same way.
    released: AtomicUsize,
    /// On a server, the instance's slot among those of the name, which the connection keeps.
    slot: Mutex<Option<Arc<dyn Debug + Send + Sync>>>,
    /// The process that made this end: a forked child must not end it.
    origin: Origin,
}

/// The rights of an end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rights {
    pub(crate) read: bool,
    pub(crate) write: bool,
}

/// Why this end has ended the connection.
#[derive(Debug)]
enum Failure {
    /// The peer broke the protocol.
    Corrupt(String),
    /// The kernel threw away a descriptor that the peer sent.
    DescriptorLost,
}

#[derive(Debug, Default)]
pub(super) struct Flags {
    /// The other end is no more: its socket hung up.
    pub(super) hung_up: AtomicBool,
    /// The server disconnected this client.
    pub(super) disconnected_by_server: AtomicBool,
    /// This server end disconnected its client.
    disconnected: AtomicBool,
}

impl Connection {
    /// A client's end, whose hello was sent.
    pub(crate) fn client(
        socket: OwnedFd,
        handshake: ClientHandshake,
        may: Rights,
        options: Arc<EndOptions>,
    ) -> Connection {
        let connection = Connection::new(socket, Side::Client, *handshake.shape(), may, options);
        // No other thread has seen the connection yet, so the place is free.
        connection.rings.set(handshake.into_rings()).ok();
        connection
    }

    /// A server's end: the memory comes with the client's first record.
    pub(crate) fn server(
        socket: OwnedFd,
        shape: Shape,
        options: Arc<EndOptions>,
        slot: Arc<dyn Debug + Send + Sync>,
    ) -> Connection {
        let may = Rights { read: shape.inbound.is_some(), write: shape.outbound.is_some() };
        let mut connection = Connection::new(socket, Side::Server, shape, may, options);
        *connection.slot() = Some(slot);
        // Where the kernel does not report its user, it may be root.
        let is_not_root = || os::credentials(connection.as_fd()).is_ok_and(|(_, user, _)| user != 0);
        if shape.accept_remote && !is_not_root() {
            connection.identity_deadline = Some(Instant::now() + IDENTITY_TIMEOUT);
        }
        connection
    }

    fn new(socket: OwnedFd, side: Side, shape: Shape, may: Rights, options: Arc<EndOptions>) -> Connection {
        Connection {
            socket: Arc::new(Socket::new(socket)),
            can_wait: OnceLock::new(),
            side,
            shape,
            may,
            options,
            parking: Parking::default(),
            rings: OnceLock::new(),
            handshake: Mutex::new(ServerHandshake::new()),
            identity_deadline: None,
            large_objects: Mutex::default(),
            outgoing_object: Mutex::default(),
            state: Flags::default(),
            failure: OnceLock::new(),
            spins: AtomicBool::new(spin::is_wanted()),
            spin_for_data: Spin::default(),
            spin_for_space: Spin::default(),
            has_written: AtomicBool::default(),
            made: Instant::now(),
            seen_alive: AtomicUsize::new(0),
            hangup_member: HangupMember::default(),
            #[cfg(feature = "tokio")]
            sweep_seat: OnceLock::new(),
            released: AtomicUsize::new(0),
            slot: Mutex::default(),
            origin: Origin::current(),
        }
    }

    pub(crate) fn info(&self) -> PipeInfo {
        self.shape.info(if self.side == Side::Client { PipeEnd::Client } else { PipeEnd::Server })
    }

    pub(super) fn readiness(&self) -> &Readiness {
        self.parking.readiness()
    }

    // ---------------------------------------------------------------- the state of the connection

    /// Whether calls still mean something: not after a disconnect, nor after the other end broke the protocol.
    pub(super) fn check_usable(&self) -> io::Result<()> {
        if let Some(failure) = self.failure.get() {
            return Err(failure.error());
        }
        let disconnected_by_server = match self.side {
            Side::Server => self.state.disconnected.load(Ordering::Acquire),
            Side::Client => {
                self.state.disconnected_by_server.load(Ordering::Acquire)
                    || self
                        .rings
                        .get()
                        .is_some_and(|rings| rings.wait_words.peer_close_state() == CloseState::Disconnected)
            }
        };
        if disconnected_by_server {
            return Err(disconnected());
        }
        Ok(())
    }

    /// Whether the other end is known to be gone. What it wrote before may still be there to read.
    pub(super) fn is_closed(&self) -> bool {
        self.state.hung_up.load(Ordering::Acquire)
            || self.rings.get().is_some_and(|rings| rings.wait_words.peer_close_state() == CloseState::Closed)
    }

    /// Asks the kernel whether the other end is gone.
    pub(crate) fn poll_hangup(&self) -> bool {
        let seen = poll::now(self.socket.as_fd(), os::HANGUP);
        let has_hung_up = seen.intersects(os::HANGUP | PollFlags::HUP | PollFlags::ERR);
        if has_hung_up && !self.state.hung_up.load(Ordering::Acquire) {
            // Whether the server has disconnected this client, or just closed, is the last thing in the socket. What fails
            // here fails again when it is read.
            self.parking.drain_now(|| self.empty_doorbell()).ok();
            self.state.hung_up.store(true, Ordering::Release);
        }
        self.is_closed()
    }

    /// The same, unless the peer was seen alive a moment ago.
    pub(super) fn refresh_hangup(&self) {
        let now = Instant::now();
        let since_made = now.duration_since(self.made).as_nanos() as usize;
        if !is_recent(since_made, &self.seen_alive, SEEN_ALIVE_FOR) {
            self.look_after_peer(now, since_made);
        }
    }

    #[cold]
    #[inline(never)]
    fn look_after_peer(&self, now: Instant, since_made: usize) {
        self.hangup_member.is_alive(self.as_fd(), now, || {
            let is_alive = !self.poll_hangup();
            if is_alive {
                self.seen_alive.store(since_made, Ordering::Relaxed);
            }
            is_alive
        });
        // The reader had time to read all.
        let releases = !is_recent(since_made, &self.released, RELEASE_PAUSE);
        if releases && self.rings.get().is_some_and(Rings::release_unused) {
            self.released.store(since_made, Ordering::Relaxed);
        }
        self.release_large();
    }

    /// The other end broke the protocol: the end of this connection, and of no other.
    pub(super) fn corrupt(&self, why: impl Into<String>) -> io::Error {
        self.fail(|| Failure::Corrupt(why.into()))
    }

    /// The kernel threw away a descriptor that the peer sent. What it was for can't come any more, so this is the end of the
    /// connection, for both ends.
    pub(super) fn descriptor_lost(&self) -> io::Error {
        self.fail(|| Failure::DescriptorLost)
    }

    fn fail(&self, failure: impl FnOnce() -> Failure) -> io::Error {
        let failure = self.failure.get_or_init(failure);
        self.shut_down();
        failure.error()
    }

    pub(super) fn checked<T>(&self, outcome: Result<T, Corrupt>) -> io::Result<T> {
        outcome.map_err(|Corrupt(why)| self.corrupt(why))
    }

    /// The rings, if the hello was received before.
    pub(super) fn rings_known(&self) -> Option<&Rings> {
        self.rings.get()
    }

    /// The rings, if the hello has come by now.
    pub(super) fn rings_now(&self) -> io::Result<Option<&Rings>> {
        if self.rings.get().is_none() {
            self.parking.drain_now(|| self.empty_doorbell())?;
        }
        Ok(self.rings.get())
    }

    // ---------------------------------------------------------------- the identity of the peer

    /// Whether the client may still name a remote client, so that its identity is not known yet.
    pub(super) fn identity_is_pending(&self) -> bool {
        let may_speak =
            self.identity_deadline.is_some() && self.rings_now().is_ok_and(|rings| rings.is_none());
        // A client that left without a hello speaks for no remote client, and a dead end has no more to
        // learn.
        may_speak && self.check_usable().is_ok() && !self.poll_hangup()
    }

    /// Until when to wait for an unknown client, if that is still to come.
    pub(super) fn identity_time_left(&self) -> Option<Duration> {
        let left = self.identity_deadline?.checked_duration_since(Instant::now())?;
        self.identity_is_pending().then_some(left)
    }

    /// Waits until the client is known, or the time for that is over, or the limit reached.
    pub(super) fn await_identity(&self, limit: &WaitLimit) -> io::Result<()> {
        let Some(left) = self.identity_time_left() else { return Ok(()) };
        let make = || limit.at_most(left);
        match self.await_hello(&mut LazyWaitLimit::new(&make)) {
            Err(error) if error == PipeErrorKind::Aborted => Err(error),
            Err(error) if error == PipeErrorKind::TimedOut && self.identity_time_left().is_some() => {
                Err(error)
            }
            // The first read or write of the connection reports its failure.
            _ => Ok(()),
        }
    }

    /// The identity of the other end, if it is known by now.
    pub(crate) fn peer(&self) -> io::Result<Peer> {
        if self.identity_is_pending() {
            let text =
                "the client, a process of root, has not said yet whether it speaks for a remote client";
            return Err(fail(PipeErrorKind::TimedOut, text));
        }
        let handshake = self.handshake();
        handshake
            .remote_client
            .as_deref()
            .map_or_else(|| Peer::of(self.as_fd()), |remote_client| Ok(Peer::of_remote_client(remote_client)))
    }

    pub(super) fn handshake(&self) -> MutexGuard<'_, ServerHandshake> {
        self.handshake.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // ---------------------------------------------------------------- waiting and waking

    /// The statistics of how long such waits take.
    pub(super) fn spin_for(&self, interest: Interest) -> &Spin {
        match interest {
            // A new connection knows nothing of its peer, and a short one never will: it uses what earlier
            // ones learned.
            _ if !self.rings.get().is_some_and(|rings| rings.wait_words.has_peer_waited()) => &SPIN_NEW_PEERS,
            Interest::Data => &self.spin_for_data,
            Interest::Space => &self.spin_for_space,
        }
    }

    /// Whether a wait that begins now is for the next part of a stream: for data, which can be no answer.
    pub(super) fn is_stream(&self, interest: Interest) -> bool {
        interest == Interest::Data && !self.has_written.swap(false, Ordering::Relaxed)
    }

    /// Whether to spin at all: on the processor where the other end waits too, it would only keep that from running.
    pub(super) fn may_spin(&self, rings: &Rings) -> bool {
        self.spins.load(Ordering::Relaxed) && rings.wait_words.is_peer_elsewhere(os::processor())
    }

    /// Lets the threads and tasks of this end spin before they sleep, or not.
    pub(super) fn set_spin(&self, spins: bool) {
        self.spins.store(spins, Ordering::Relaxed);
    }

    /// Whether nothing more can come.
    pub(super) fn is_over(&self) -> bool {
        self.is_closed() || self.check_usable().is_err()
    }

    /// Wakes the peer if it sleeps for what an operation of this direction has published.
    pub(super) fn wake_peer(&self, rings: &Rings, operation: Operation) {
        if operation == Operation::Write && !self.has_written.load(Ordering::Relaxed) {
            self.has_written.store(true, Ordering::Relaxed);
        }
        self.wake_at(rings, rings.wait_words.must_wake(operation.published()));
    }

    fn wake_at(&self, rings: &Rings, wake: Wake) {
        if wake.futex {
            os::futex_wake(rings.wait_words.peer_futex_word());
        }
        if wake.socket {
            self.ring();
        }
    }

    // ---------------------------------------------------------------- the end

    /// Disconnects the client and discards all that is unread. Wakes this end's own waiters too.
    pub(crate) fn disconnect(&self) {
        self.state.disconnected.store(true, Ordering::Release);
        // A hello that waits is taken first, for the mark lies in its memory. A failure leaves it without one.
        let rings = self.rings_now().ok().flatten();
        match rings {
            Some(rings) => {
                rings.wait_words.set_close_state(CloseState::Disconnected);
                // This end's own sleepers at the socket hear of the shutdown.
                os::futex_wake(rings.wait_words.own_futex_word());
            }
            None => self.ring_disconnected(),
        }
        self.shut_down();
        drop(self.slot().take());
    }

    fn shut_down(&self) {
        // It fails only when the other end is gone already.
        rustix::net::shutdown(&self.socket, Shutdown::Both).ok();
    }

    fn slot(&self) -> MutexGuard<'_, Option<Arc<dyn Debug + Send + Sync>>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // In a forked child the connection is still the parent's.
        if !self.origin.is_here() {
            return;
        }
        if let Some(rings) = self.rings.get()
            && !self.state.disconnected.load(Ordering::Relaxed)
        {
            rings.wait_words.set_close_state(CloseState::Closed);
            self.wake_at(rings, Wake { socket: false, ..rings.wait_words.must_wake_all() });
        }
        self.shut_down();
        self.drop_large();
    }
}

/// Whether a time is no longer ago than `limit`; both in nanoseconds since the same moment.
fn is_recent(now: usize, time: &AtomicUsize, limit: Duration) -> bool {
    now.wrapping_sub(time.load(Ordering::Relaxed)) as u128 <= limit.as_nanos()
}

/// A limit that begins when the first wait does: a call that need not wait never looks at the clock.
pub(super) struct LazyWaitLimit<'a> {
    make: &'a dyn Fn() -> WaitLimit,
    made: OnceCell<WaitLimit>,
}

impl<'a> LazyWaitLimit<'a> {
    pub(super) fn new(make: &'a dyn Fn() -> WaitLimit) -> LazyWaitLimit<'a> {
        LazyWaitLimit { make, made: OnceCell::new() }
    }

    pub(super) fn get(&self) -> &WaitLimit {
        self.made.get_or_init(self.make)
    }
}

impl Failure {
    fn error(&self) -> io::Error {
        match self {
            Failure::Corrupt(why) => fail(
                PipeErrorKind::Corrupt,
                format!("the other end broke the protocol ({why}); the connection is over"),
            ),
            Failure::DescriptorLost => fail_from(
                PipeErrorKind::Broken,
                "the connection is over: this process had no number left for a descriptor that the peer sent",
                Errno::MFILE,
            ),
        }
    }
}
