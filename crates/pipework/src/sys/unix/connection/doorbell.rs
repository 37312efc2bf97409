//! The socket of a connection: doorbell, proof of life, and channel for descriptors.

#[cfg(feature = "tokio")]
use super::super::asynchronous::{Delay, reactor::Descriptor};
use super::{
    super::{os, poll},
    Connection, LazyWaitLimit,
    fd_passing::{Received, receive_with},
    handshake::HelloOutcome,
};
use crate::{ring::Side, sys::WaitLimit};
use rustix::{io::Errno, net::RecvFlags};
#[cfg(feature = "tokio")]
use std::{
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

/// A wake-up, and nothing more.
const BELL: u8 = b'.';
/// The server disconnected a client that has no memory in common with it yet.
const DISCONNECTED_BY_SERVER: u8 = b'D';
/// With this byte comes the memory object of a large message.
pub(super) const ATTACHMENT: u8 = b'F';

/// How many bytes are taken from the doorbell at a time; rarely is there more than one in it.
const DOORBELL_LEN: usize = 64;
/// How often the doorbell is emptied at most before its end looks at its own business again: a peer
/// that rings without end must not hold up a deadline.
const ROUNDS_MAX: usize = 32;

/// How many rings a task leaves unread in the socket. Each announced sleep brings one at most, and the smallest buffer that a
/// kernel gives a socket has room for six: so it never fills, and each ring is one more event of the reactor.
#[cfg(feature = "tokio")]
pub(super) const UNREAD_RINGS_MAX: usize = 4;

/// When to ring again after the kernel had no memory for it.
pub(super) const RING_AGAIN: Duration = Duration::from_millis(1);

/// How long a thread rings again at least, whatever the limit of its call is: the wake-up is owed to the peer, which has no
/// part in that limit.
const RING_AGAIN_FOR: Duration = Duration::from_secs(1);

/// The socket of an end, and the wake-ups of the peer that the end owes: the kernel had no memory for them.
#[derive(Debug)]
pub(super) struct Socket {
    fd: OwnedFd,
    /// How many came to be owed, ever.
    owed: AtomicUsize,
    /// How many of these were rung later. It is behind until they have rung, so that no thread takes a ring that may fail yet
    /// for one that has rung.
    paid: AtomicUsize,
    /// How many sleeps of tasks were announced since the doorbell was last emptied: each lets the peer ring once.
    #[cfg(feature = "tokio")]
    announced: AtomicUsize,
    /// How often it rang, or tried to.
    #[cfg(test)]
    pub(super) rang: AtomicUsize,
    /// The task that pays, while there is one.
    #[cfg(feature = "tokio")]
    payer: Mutex<Option<::tokio::task::AbortHandle>>,
}

impl Socket {
    pub(super) fn new(fd: OwnedFd) -> Socket {
        Socket {
            fd,
            owed: AtomicUsize::new(0),
            paid: AtomicUsize::new(0),
            #[cfg(feature = "tokio")]
            announced: AtomicUsize::new(0),
            #[cfg(test)]
            rang: AtomicUsize::new(0),
            #[cfg(feature = "tokio")]
            payer: Mutex::default(),
        }
    }

    /// Whether it rang, or need not ring: a full socket has rung already, and a closed one has no peer to wake.
    fn send(&self, byte: u8) -> bool {
        #[cfg(test)]
        self.rang.fetch_add(1, Ordering::Relaxed);
        let rung = rustix::io::retry_on_intr(|| rustix::net::send(&self.fd, &[byte], os::SEND_FLAGS));
        !matches!(rung, Err(Errno::NOBUFS | Errno::NOMEM))
    }

    /// Rings if something is owed; whether nothing is owed any more.
    fn pay(&self) -> bool {
        // Loads, since something is owed hardly ever. One ring pays all that was owed before it.
        let owed = self.owed.load(Ordering::Acquire);
        if owed == self.paid.load(Ordering::Relaxed) {
            return true;
        }
        let is_paid = self.send(BELL);
        if is_paid {
            self.paid.fetch_max(owed, Ordering::Relaxed);
        }
        is_paid
    }

    /// Counts a sleep that a task is about to announce, after which the peer may ring once more. Whether the doorbell is to be
    /// emptied first.
    #[cfg(feature = "tokio")]
    pub(super) fn count_sleep(&self) -> bool {
        // Relaxed: tasks that sleep while another one empties the doorbell may leave a ring more.
        self.announced.fetch_add(1, Ordering::Relaxed) >= UNREAD_RINGS_MAX
    }

    /// Starts a task that pays, in the runtime of the caller if there is one.
    #[cfg(feature = "tokio")]
    fn pay_in_task(self: &Arc<Socket>) {
        let Ok(runtime) = ::tokio::runtime::Handle::try_current() else { return };
        let mut payer = self.payer();
        // It ends with the runtime too.
        if payer.as_ref().is_some_and(|payer| !payer.is_finished()) {
            return;
        }
        let socket = Arc::downgrade(self);
        let paying = async move {
            while let Ok(pause) = Delay::new(RING_AGAIN) {
                if poll_fn(|cx| pause.poll(cx)).await.is_err() {
                    return;
                }
                // The end of the connection wakes the peer.
                let Some(socket) = socket.upgrade() else { return };
                let mut payer = socket.payer();
                if socket.pay() {
                    // Under the lock: what comes to be owed from here on starts another one.
                    *payer = None;
                    return;
                }
            }
        };
        *payer = Some(runtime.spawn(paying).abort_handle());
    }

    #[cfg(feature = "tokio")]
    fn payer(&self) -> MutexGuard<'_, Option<::tokio::task::AbortHandle>> {
        self.payer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(feature = "tokio")]
impl Descriptor for Socket {}

/// Repeats `ring` until it has rung; gives up once the limit of the call is over, but not within a moment.
fn insist(mut ring: impl FnMut() -> bool, mut is_limit_over: impl FnMut() -> bool) -> bool {
    if ring() {
        return true;
    }
    let at_least = WaitLimit::new(Some(RING_AGAIN_FOR), None);
    while poll::wait(&[], &WaitLimit::default(), Some(RING_AGAIN)).is_ok() {
        if ring() {
            return true;
        }
        if at_least.check().is_err() && is_limit_over() {
            break;
        }
    }
    false
}

impl Connection {
    /// Wakes the peer. What the kernel has no memory for is owed, and the driver of the call sees to it.
    pub(super) fn ring(&self) {
        if !self.socket.send(BELL) {
            self.socket.owed.fetch_add(1, Ordering::Release);
        }
    }

    /// Rings again if something is owed; whether nothing is owed any more.
    pub(super) fn pay_ring(&self) -> bool {
        self.socket.pay()
    }

    /// Rings what is owed, before a call of a thread returns.
    pub(super) fn pay_ring_within(&self, limit: &mut LazyWaitLimit<'_>) {
        if !insist(|| self.pay_ring(), || limit.get().check().is_err()) {
            // An event loop at this end can go on with it.
            self.readiness().try_again();
        }
    }

    /// Rings what is owed, or leaves it to the runtime: the task may do nothing more.
    #[cfg(feature = "tokio")]
    pub(super) fn pay_ring_in_task(&self) {
        if !self.pay_ring() {
            self.socket.pay_in_task();
        }
    }

    /// Says that the server has disconnected the client: a plain wake-up later would not.
    pub(super) fn ring_disconnected(&self) {
        insist(|| self.socket.send(DISCONNECTED_BY_SERVER), || true);
    }

    /// Empties the doorbell: takes wake-ups, descriptors, the hello, and the news that the other end is gone. Whether
    /// anything came.
    pub(in crate::sys::unix) fn empty_doorbell(&self) -> io::Result<bool> {
        let mut is_news = false;
        if self.rings.get().is_none() && self.side == Side::Server {
            is_news |= self.take_hello()?;
            if self.rings.get().is_none() {
                return Ok(is_news);
            }
        }
        #[cfg(feature = "tokio")]
        self.socket.announced.store(0, Ordering::Relaxed);
        let mut bytes = [0; DOORBELL_LEN];
        for _ in 0..ROUNDS_MAX {
            let received = if self.shape.messages {
                receive_with(self.socket.as_fd(), &mut bytes)?
            } else {
                self.receive_bytes(&mut bytes, os::RECEIVE_FLAGS)?
            };
            let is_last = match received {
                // Without messages a part of the buffer is all there was.
                Received::Bytes(len, _) => !self.shape.messages && len < DOORBELL_LEN,
                _ => true,
            };
            is_news |= self.take_notice(&bytes, received)?;
            if is_last {
                break;
            }
        }
        Ok(is_news)
    }

    /// Whether one call can wait at the socket and receive what came.
    pub(super) fn can_receive_blocking(&self) -> bool {
        let can_wait =
            || *self.can_wait.get_or_init(|| rustix::io::ioctl_fionbio(&self.socket, false).is_ok());
        !self.shape.messages && can_wait()
    }

    /// Waits for what comes through the socket of a byte pipe, and takes it.
    pub(super) fn receive_blocking(&self) -> io::Result<()> {
        let mut bytes = [0; DOORBELL_LEN];
        let received = self.receive_bytes(&mut bytes, RecvFlags::empty())?;
        self.take_notice(&bytes, received).map(drop)
    }

    fn receive_bytes(&self, bytes: &mut [u8], flags: RecvFlags) -> io::Result<Received> {
        match rustix::net::recv(&self.socket, bytes, flags) {
            Ok((0, _)) | Err(Errno::CONNRESET) => Ok(Received::End),
            Ok((len, _)) => Ok(Received::Bytes(len, None)),
            // A signal: the caller looks at everything again.
            Err(Errno::AGAIN | Errno::INTR) => Ok(Received::Nothing),
            Err(error) => Err(error.into()),
        }
    }

    /// Handles what came through the socket, and says whether it is news.
    fn take_notice(&self, bytes: &[u8], received: Received) -> io::Result<bool> {
        match received {
            Received::Nothing => return Ok(false),
            // The end is there again and again, and news once.
            Received::End if self.state.hung_up.swap(true, Ordering::AcqRel) => return Ok(false),
            Received::End => {}
            Received::TooMany => return Err(self.corrupt("several descriptors at once")),
            Received::Lost => return Err(self.descriptor_lost()),
            Received::Bytes(len, attachment) => {
                let is_disconnected_by_server =
                    bytes.iter().take(len).any(|byte| *byte == DISCONNECTED_BY_SERVER);
                if is_disconnected_by_server && self.side == Side::Client {
                    self.state.disconnected_by_server.store(true, Ordering::Release);
                }
                if let Some(attachment) = attachment {
                    self.keep(attachment)?;
                }
            }
        }
        // A foreign event loop may have been waiting for what was just taken.
        self.readiness().try_again();
        Ok(true)
    }

    /// Receives the hello, as far as it has come, and says whether it is whole or will not come.
    fn take_hello(&self) -> io::Result<bool> {
        let arrival = self.handshake().receive(self.socket.as_fd(), &self.shape)?;
        match arrival {
            HelloOutcome::Pending => return Ok(false),
            HelloOutcome::Gone if self.state.hung_up.swap(true, Ordering::AcqRel) => return Ok(false),
            HelloOutcome::Gone => {}
            HelloOutcome::Rings(rings) => {
                // Only the leader drains, so no other thread has set it.
                self.rings.set(*rings).ok();
            }
            HelloOutcome::Corrupt(why) => return Err(self.corrupt(why)),
            HelloOutcome::Lost => return Err(self.descriptor_lost()),
        }
        // An event loop that tried before has announced nothing in the memory, which was not there.
        self.readiness().try_again();
        Ok(true)
    }

    /// Keeps the memory object of a large message until that is looked at.
    fn keep(&self, attachment: OwnedFd) -> io::Result<()> {
        // The writer sends the next one when the message of this one was read.
        if self.large_objects().arrived.replace(attachment).is_some() {
            return Err(self.corrupt("more memory objects of messages than can be under way"));
        }
        Ok(())
    }
}
