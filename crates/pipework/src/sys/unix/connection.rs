//! One end of one connection: its socket, its memory, and who waits at it.
//!
//! The socket is doorbell, proof of life and channel for descriptors; the payload goes through the rings.

use super::{
    super::Limit,
    link::{Arrival, Link, Offer, Received, Shape, Welcome, receive_with},
    os,
    peer::Peer,
    poll,
    readiness::Readiness,
    served::Place,
    settings::Settings,
    spin::{self, Spin},
    waiting::{Sleeper, Waiting},
};
use crate::{
    error::{PipeErrorKind, fail},
    network::NetworkCaller,
    options::{PipeEnd, PipeInfo},
    ring::{Corrupt, Interest, Mark, Side, Sleep, Wake},
};
use rustix::{
    event::PollFlags,
    io::Errno,
    net::{RecvFlags, Shutdown},
};
use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// A wake-up, and nothing more.
const BELL: u8 = b'.';
/// The server disconnected a client that has no memory in common with it yet.
const THROWN_OUT: u8 = b'D';
/// With this byte comes the memory of one message.
pub(super) const ATTACHMENT: u8 = b'F';

/// How long a thread sleeps at a word of the memory before it goes to the socket, and so how late it may hear that its
/// peer was killed or its canceller used. Most answers of a program at work come sooner.
const LIGHT_SLEEP: Duration = Duration::from_millis(10);

/// How long a client that may speak for somebody else is waited for to say so; ours say it at once.
const GREETING_TIME: Duration = Duration::from_secs(2);

/// How much is taken from the doorbell at a time; rarely is there more than one byte in it.
const DOORBELL_LEN: usize = 64;
/// How often the doorbell is emptied at most before its end looks at its own business again: a peer
/// that rings without end must not hold up a deadline.
const ROUNDS_MAX: usize = 32;

/// For all connections of this process whose peer has not waited yet.
static SPIN_FOR_STRANGERS: Spin = Spin::new();

/// One end of one connection.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Shared with the reactors that it is registered with.
    pub(super) socket: Arc<OwnedFd>,
    /// Whether the socket can be waited at in the call that takes from it; each such call says whether it does.
    can_wait: bool,
    side: Side,
    pub(super) shape: Shape,
    /// What this end asked for; the pipe's directions limit it further.
    pub(super) may: Rights,
    pub(super) settings: Arc<Settings>,
    pub(super) waiting: Waiting,
    link: OnceLock<Link>,
    welcome: Mutex<Welcome>,
    /// On a server, until when its client may let it wait for the hello, if it may be one that speaks for somebody else.
    greeted_by: Option<Instant>,
    /// Memories of messages that were announced, or will be.
    attachments: Mutex<VecDeque<OwnedFd>>,
    state: Flags,
    corrupt: OnceLock<String>,
    /// Whether this end may spin at all.
    spins: AtomicBool,
    spin_for_data: Spin,
    spin_for_space: Spin,
    /// Whether this end wrote since it last waited for data: then what it waits for may be an answer.
    has_written: AtomicBool,
    readiness: Readiness,
    /// On a server, the instance's place among those of the name.
    place: Mutex<Option<Arc<Place>>>,
    /// Who made this end: a forked child must not end it.
    process: u32,
}

/// What an end may do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rights {
    pub(crate) read: bool,
    pub(crate) write: bool,
}

#[derive(Debug, Default)]
struct Flags {
    /// The other end is no more: its socket hung up.
    hung_up: AtomicBool,
    /// The server disconnected this client.
    thrown_out: AtomicBool,
    /// This server end disconnected its client.
    disconnected: AtomicBool,
}

impl Connection {
    /// A client's end: the memory is offered right away.
    pub(crate) fn client(
        socket: OwnedFd,
        offer: Offer,
        may: Rights,
        settings: Arc<Settings>,
        caller: Option<&NetworkCaller>,
        limit: &Limit,
    ) -> io::Result<Connection> {
        let shape = *offer.shape();
        let link = offer.send(socket.as_fd(), caller, limit)?;
        let connection = Connection::new(socket, Side::Client, shape, may, settings);
        // Nobody else has seen the connection yet, so the place is free.
        connection.link.set(link).ok();
        Ok(connection)
    }

    /// A server's end: the memory comes with the client's first record.
    pub(crate) fn server(
        socket: OwnedFd,
        shape: Shape,
        settings: Arc<Settings>,
        place: Arc<Place>,
    ) -> Connection {
        let may = Rights { read: shape.inbound.is_some(), write: shape.outbound.is_some() };
        let mut connection = Connection::new(socket, Side::Server, shape, may, settings);
        *connection.place() = Some(place);
        // Where the kernel does not tell who it is, it may be root.
        let is_not_root = || os::credentials(connection.as_fd()).is_ok_and(|(_, user, _)| user != 0);
        if shape.accept_remote && !is_not_root() {
            connection.greeted_by = Some(Instant::now() + GREETING_TIME);
        }
        connection
    }

    fn new(socket: OwnedFd, side: Side, shape: Shape, may: Rights, settings: Arc<Settings>) -> Connection {
        let can_wait = rustix::io::ioctl_fionbio(&socket, false).is_ok();
        Connection {
            socket: Arc::new(socket),
            can_wait,
            side,
            shape,
            may,
            settings,
            waiting: Waiting::default(),
            link: OnceLock::new(),
            welcome: Mutex::new(Welcome::new()),
            greeted_by: None,
            attachments: Mutex::default(),
            state: Flags::default(),
            corrupt: OnceLock::new(),
            spins: AtomicBool::new(spin::is_wanted()),
            spin_for_data: Spin::default(),
            spin_for_space: Spin::default(),
            has_written: AtomicBool::default(),
            readiness: Readiness::default(),
            place: Mutex::default(),
            process: std::process::id(),
        }
    }

    pub(crate) fn info(&self) -> PipeInfo {
        self.shape.info(if self.side == Side::Client { PipeEnd::Client } else { PipeEnd::Server })
    }

    pub(super) fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    // ---------------------------------------------------------------- the state of the connection

    /// Whether calls still mean something: not after a disconnect, nor after the other end broke the protocol.
    pub(super) fn check_usable(&self) -> io::Result<()> {
        if let Some(why) = self.corrupt.get() {
            return Err(corrupt_error(why));
        }
        let thrown_out = match self.side {
            Side::Server => self.state.disconnected.load(Ordering::Acquire),
            Side::Client => {
                self.state.thrown_out.load(Ordering::Acquire)
                    || self.link.get().is_some_and(|link| link.sleepers.peer_mark() == Mark::Disconnected)
            }
        };
        if thrown_out {
            return Err(fail(PipeErrorKind::NotConnected, "the server has disconnected this connection"));
        }
        Ok(())
    }

    /// Whether the other end is known to be gone. What it wrote before may still be there to read.
    pub(super) fn is_closed(&self) -> bool {
        self.state.hung_up.load(Ordering::Acquire)
            || self.link.get().is_some_and(|link| link.sleepers.peer_mark() == Mark::Closed)
    }

    /// Asks the kernel whether the other end is gone.
    pub(crate) fn look_whether_closed(&self) -> bool {
        let seen = poll::now(self.socket.as_fd(), os::HANGUP);
        if seen.intersects(os::HANGUP | PollFlags::HUP | PollFlags::ERR) {
            self.state.hung_up.store(true, Ordering::Release);
        }
        self.is_closed()
    }

    /// The other end broke the protocol: the end of this connection, and of no other.
    pub(super) fn corrupt(&self, why: impl Into<String>) -> io::Error {
        let why = self.corrupt.get_or_init(|| why.into());
        self.shut_down();
        corrupt_error(why)
    }

    pub(super) fn checked<T>(&self, outcome: Result<T, Corrupt>) -> io::Result<T> {
        outcome.map_err(|Corrupt(why)| self.corrupt(why))
    }

    /// The rings, once the hello has come; `None` when the other end went away without one.
    pub(super) fn link(&self, limit: &mut LazyLimit<'_>) -> io::Result<Option<&Link>> {
        loop {
            // A hello that is there is taken without a wait, as a used canceller demands.
            if let Some(link) = self.link_now()? {
                return Ok(Some(link));
            }
            self.check_usable()?;
            if self.is_closed() {
                return Ok(None);
            }
            let mut sleeper =
                Waiter { connection: self, link: None, interest: Interest::Data, is_ready: || Ok(false) };
            self.waiting.sleep(&mut sleeper, limit.get())?;
        }
    }

    /// The rings, if the hello has come by now.
    pub(super) fn link_now(&self) -> io::Result<Option<&Link>> {
        if self.link.get().is_none() {
            self.waiting.drain_now(|| self.drain())?;
        }
        Ok(self.link.get())
    }

    // ---------------------------------------------------------------- who the other end is

    /// Whether the client may still say for whom it speaks, and so is not known yet.
    pub(super) fn is_unknown(&self) -> bool {
        let may_speak = self.greeted_by.is_some() && self.link_now().is_ok_and(|link| link.is_none());
        // Who went away without a word speaks for nobody, and an end that is over has no more to learn.
        may_speak && self.check_usable().is_ok() && !self.look_whether_closed()
    }

    /// Until when to wait for an unknown client, if that is still to come.
    pub(super) fn greeting_left(&self) -> Option<Duration> {
        let left = self.greeted_by?.checked_duration_since(Instant::now())?;
        self.is_unknown().then_some(left)
    }

    /// Waits until the client is known, or the time for that is over, or the limit reached.
    pub(super) fn greet(&self, limit: &Limit) -> io::Result<()> {
        let Some(left) = self.greeting_left() else { return Ok(()) };
        let make = || limit.at_most(left);
        match self.link(&mut LazyLimit::new(&make)) {
            Err(error) if error == PipeErrorKind::Aborted => Err(error),
            Err(error) if error == PipeErrorKind::TimedOut && self.greeting_left().is_some() => Err(error),
            // What is wrong with the connection is for its first read or write to say.
            _ => Ok(()),
        }
    }

    /// Who the other end is, if that is known by now.
    pub(crate) fn peer(&self) -> io::Result<Peer> {
        if self.is_unknown() {
            let text =
                "the client, a process of root's, has not said yet whether it speaks for somebody else";
            return Err(fail(PipeErrorKind::TimedOut, text));
        }
        let welcome = self.welcome();
        welcome.caller.as_deref().map_or_else(|| Peer::of(self.as_fd()), |caller| Ok(Peer::of_caller(caller)))
    }

    // ---------------------------------------------------------------- waiting and waking

    /// Waits until `is_ready`, or until nothing more can come, or the limit is reached.
    pub(super) fn wait(
        &self,
        link: &Link,
        interest: Interest,
        limit: &mut LazyLimit<'_>,
        mut is_ready: impl FnMut() -> io::Result<bool>,
    ) -> io::Result<()> {
        let spin = self.spin_for(interest);
        let may_spin = self.may_spin(link);
        let is_stream = self.is_stream(interest);
        if may_spin && spin.until(is_stream, || Ok(self.is_over() || is_ready()?))? {
            return Ok(());
        }
        let begun = may_spin.then(Instant::now);
        let slept = self
            .waiting
            .sleep(&mut Waiter { connection: self, link: Some(link), interest, is_ready }, limit.get());
        if let Some(begun) = begun {
            spin.learn(begun.elapsed());
        }
        slept
    }

    /// What is known of how long such waits take.
    pub(super) fn spin_for(&self, interest: Interest) -> &Spin {
        match interest {
            // A new connection knows nothing of its peer, and one that is short never will: earlier ones tell.
            _ if !self.link.get().is_some_and(|link| link.sleepers.has_peer_waited()) => &SPIN_FOR_STRANGERS,
            Interest::Data => &self.spin_for_data,
            Interest::Space => &self.spin_for_space,
        }
    }

    /// Whether a wait that begins now is for the next part of a stream: for data, which can be no answer.
    pub(super) fn is_stream(&self, interest: Interest) -> bool {
        interest == Interest::Data && !self.has_written.swap(false, Ordering::Relaxed)
    }

    /// Whether to spin at all: on the processor where the other end waits too, it would only keep that from running.
    pub(super) fn may_spin(&self, link: &Link) -> bool {
        self.spins.load(Ordering::Relaxed) && link.sleepers.is_peer_elsewhere(os::processor())
    }

    /// Lets the threads of this end spin before they sleep, or not.
    pub(super) fn set_spin(&self, spins: bool) {
        self.spins.store(spins, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.is_closed() || self.check_usable().is_err()
    }

    /// Wakes the other end if it sleeps for what this end has just published.
    pub(super) fn wake(&self, link: &Link, interest: Interest) {
        if interest == Interest::Data && !self.has_written.load(Ordering::Relaxed) {
            self.has_written.store(true, Ordering::Relaxed);
        }
        self.wake_at(link, link.sleepers.must_wake(interest));
    }

    fn wake_at(&self, link: &Link, wake: Wake) {
        if wake.light {
            os::wake_at(link.sleepers.peers_bed());
        }
        if wake.deep {
            self.ring(BELL);
        }
    }

    fn ring(&self, byte: u8) {
        // A full socket has rung already, and one that is closed has nobody to wake.
        rustix::io::retry_on_intr(|| rustix::net::send(&self.socket, &[byte], os::SEND_FLAGS)).ok();
    }

    /// Empties the doorbell: takes wake-ups, descriptors, the hello, and the news that the other end is gone.
    pub(super) fn drain(&self) -> io::Result<()> {
        if self.link.get().is_none() && self.side == Side::Server {
            self.take_hello()?;
            if self.link.get().is_none() {
                return Ok(());
            }
        }
        if !self.shape.messages {
            // A reactor tells only of what is new, so nothing may be left behind.
            for _ in 0..ROUNDS_MAX {
                if !self.receive(os::RECEIVE_FLAGS)? {
                    break;
                }
            }
            return Ok(());
        }
        let mut bytes = [0; DOORBELL_LEN];
        for _ in 0..ROUNDS_MAX {
            let received = receive_with(self.socket.as_fd(), &mut bytes)?;
            let is_last = !matches!(received, Received::Bytes(..));
            self.take_notice(&bytes, received)?;
            if is_last {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Takes what is in the doorbell of a byte pipe; waits for it or not, as the flags say. Says whether there may be
    /// more.
    fn receive(&self, flags: RecvFlags) -> io::Result<bool> {
        let mut bytes = [0; DOORBELL_LEN];
        let received = match rustix::net::recv(&self.socket, &mut bytes, flags) {
            Ok((0, _)) | Err(Errno::CONNRESET) => Received::End,
            Ok((len, _)) => Received::Bytes(len, None),
            // A signal: the caller looks at everything again.
            Err(Errno::AGAIN | Errno::INTR) => Received::Nothing,
            Err(error) => return Err(error.into()),
        };
        let is_full = matches!(received, Received::Bytes(DOORBELL_LEN, _));
        self.take_notice(&bytes, received).map(|()| is_full)
    }

    /// What came through the socket, and what that means.
    fn take_notice(&self, bytes: &[u8], received: Received) -> io::Result<()> {
        match received {
            Received::Nothing => return Ok(()),
            Received::End => self.state.hung_up.store(true, Ordering::Release),
            Received::TooMany => return Err(self.corrupt("several descriptors at once")),
            Received::Bytes(len, attachment) => {
                let is_thrown_out = bytes.iter().take(len).any(|byte| *byte == THROWN_OUT);
                if is_thrown_out && self.side == Side::Client {
                    self.state.thrown_out.store(true, Ordering::Release);
                }
                if let Some(attachment) = attachment {
                    self.keep(attachment)?;
                }
            }
        }
        // Who polls from outside may have been waiting for what was just taken.
        self.readiness.look_again();
        Ok(())
    }

    fn take_hello(&self) -> io::Result<()> {
        let arrival = self.welcome().receive(self.socket.as_fd(), &self.shape)?;
        match arrival {
            Arrival::Pending => {}
            Arrival::Gone => self.state.hung_up.store(true, Ordering::Release),
            Arrival::Link(link) => {
                // Only the leader drains, so nobody else has set it.
                self.link.set(link).ok();
            }
            Arrival::Corrupt(why) => return Err(self.corrupt(why)),
        }
        Ok(())
    }

    fn welcome(&self) -> MutexGuard<'_, Welcome> {
        self.welcome.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // ---------------------------------------------------------------- messages that lie elsewhere

    /// The memories that came and were not read yet.
    pub(super) fn attachments(&self) -> MutexGuard<'_, VecDeque<OwnedFd>> {
        self.attachments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, attachment: OwnedFd) -> io::Result<()> {
        let mut attachments = self.attachments();
        // One can be under way while another is being read.
        if attachments.len() >= 2 {
            drop(attachments);
            return Err(self.corrupt("more memories of messages than can be under way"));
        }
        attachments.push_back(attachment);
        Ok(())
    }

    /// Sends the memory of a message, waiting while the socket is full.
    pub(super) fn send_attachment(&self, memory: &OwnedFd, limit: &mut LazyLimit<'_>) -> io::Result<()> {
        loop {
            match super::link::send_with(self.socket.as_fd(), &[ATTACHMENT], memory.as_fd()) {
                Ok(()) => return Ok(()),
                Err(Errno::AGAIN) => {
                    limit.get().check()?;
                    poll::wait(&[(self.socket.as_fd(), PollFlags::OUT)], limit.get(), None)?;
                }
                // Too many descriptors of this user are under way: others will take theirs.
                Err(Errno::TOOMANYREFS) => {
                    limit.get().check()?;
                    poll::wait(&[], limit.get(), Some(std::time::Duration::from_millis(2)))?;
                }
                Err(Errno::PIPE | Errno::CONNRESET) => return Err(nobody_reads()),
                Err(error) => return Err(error.into()),
            }
            self.check_usable()?;
        }
    }

    // ---------------------------------------------------------------- the end

    /// Throws the client out, with all that is unread. Wakes this end's own waiters too.
    pub(crate) fn disconnect(&self) {
        self.state.disconnected.store(true, Ordering::Release);
        // A hello that waits is taken first, for the mark lies in its memory. A failure leaves it without one.
        let link = self.link_now().ok().flatten();
        match link {
            Some(link) => {
                link.sleepers.leave(Mark::Disconnected);
                // This end's own sleepers at the socket hear of the shutdown.
                os::wake_at(link.sleepers.own_bed());
            }
            None => self.ring(THROWN_OUT),
        }
        self.shut_down();
        drop(self.place().take());
    }

    fn shut_down(&self) {
        // It fails only when the other end is gone already.
        rustix::net::shutdown(&self.socket, Shutdown::Both).ok();
    }

    fn place(&self) -> MutexGuard<'_, Option<Arc<Place>>> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
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
        if std::process::id() != self.process {
            return;
        }
        if let Some(link) = self.link.get()
            && !self.state.disconnected.load(Ordering::Relaxed)
        {
            link.sleepers.leave(Mark::Closed);
            self.wake_at(link, Wake { deep: false, ..link.sleepers.must_wake_all() });
        }
        self.shut_down();
    }
}

/// A limit that begins when the first wait does: a call that need not wait never looks at the clock.
pub(super) struct LazyLimit<'a> {
    make: &'a dyn Fn() -> Limit,
    made: Option<Limit>,
}

impl<'a> LazyLimit<'a> {
    pub(super) fn new(make: &'a dyn Fn() -> Limit) -> LazyLimit<'a> {
        LazyLimit { make, made: None }
    }

    pub(super) fn get(&mut self) -> &Limit {
        self.made.get_or_insert_with(self.make)
    }
}

/// A thread that waits at a connection.
struct Waiter<'a, F> {
    connection: &'a Connection,
    link: Option<&'a Link>,
    interest: Interest,
    is_ready: F,
}

impl<F: FnMut() -> io::Result<bool>> Sleeper for Waiter<'_, F> {
    fn first_sleep(&self) -> Sleep {
        if self.link.is_some() && os::CAN_SLEEP_AT_WORDS { Sleep::Light } else { Sleep::Deep }
    }

    fn announce(&self, sleep: Sleep) -> u64 {
        self.link.map_or(0, |link| link.sleepers.announce(self.interest, sleep))
    }

    fn is_ready(&mut self) -> io::Result<bool> {
        let has_come = self.link.is_none() && self.connection.link.get().is_some();
        Ok(has_come || self.connection.is_over() || (self.is_ready)()?)
    }

    fn sleep_lightly(&self, value: u64, limit: &Limit) -> Sleep {
        let Some(link) = self.link else { return Sleep::Deep };
        let time = limit.left().unwrap_or(LIGHT_SLEEP).min(LIGHT_SLEEP);
        #[expect(clippy::cast_possible_truncation, reason = "the kernel compares the half with the bits")]
        let is_over = os::sleep_at(link.sleepers.own_bed(), value as u32, time);
        if is_over { Sleep::Deep } else { Sleep::Light }
    }

    fn sleep_deeply(&self, limit: &Limit) -> io::Result<()> {
        let connection = self.connection;
        let is_plain = self.link.is_some() && !connection.shape.messages;
        if is_plain && connection.can_wait && limit.is_endless() {
            // One call waits and takes: nothing but the socket can end this wait.
            return connection.receive(RecvFlags::empty()).map(drop);
        }
        poll::wait(&[(connection.socket.as_fd(), PollFlags::IN)], limit, None)?;
        connection.drain()
    }
}

fn corrupt_error(why: &str) -> io::Error {
    fail(PipeErrorKind::Corrupt, format!("the other end broke the protocol ({why}); the connection is over"))
}

/// Nobody will read what is written (rule B5).
pub(super) fn nobody_reads() -> io::Error {
    fail(PipeErrorKind::NoData, "the other end has closed: nobody will read this")
}
