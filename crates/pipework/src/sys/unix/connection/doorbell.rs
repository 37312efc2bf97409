//! The socket of a connection: doorbell, proof of life, and channel for descriptors.

#[cfg(feature = "tokio")]
use super::super::poll;
use super::{
    super::os,
    Connection,
    fd_passing::{Received, receive_with},
    handshake::HelloOutcome,
};
use crate::ring::Side;
#[cfg(feature = "tokio")]
use crate::sys::WaitLimit;
use rustix::{io::Errno, net::RecvFlags};
#[cfg(feature = "tokio")]
use std::sync::Arc;
use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{MutexGuard, PoisonError, atomic::Ordering},
    time::Duration,
};

/// A wake-up, and nothing more.
pub(super) const BELL: u8 = b'.';
/// The server disconnected a client that has no memory in common with it yet.
pub(super) const DISCONNECTED_BY_SERVER: u8 = b'D';
/// With this byte comes the memory object of one message.
pub(super) const ATTACHMENT: u8 = b'F';

/// How many bytes are taken from the doorbell at a time; rarely is there more than one in it.
const DOORBELL_LEN: usize = 64;
/// How often the doorbell is emptied at most before its end looks at its own business again: a peer
/// that rings without end must not hold up a deadline.
const ROUNDS_MAX: usize = 32;

/// When to ring again after the kernel had no memory for it.
pub(super) const RING_AGAIN: Duration = Duration::from_millis(1);

/// Whether it rang, or need not ring: a full socket has rung already, and a closed one has no peer to wake.
fn ring(socket: &OwnedFd, byte: u8) -> bool {
    let rung = rustix::io::retry_on_intr(|| rustix::net::send(socket, &[byte], os::SEND_FLAGS));
    !matches!(rung, Err(Errno::NOBUFS | Errno::NOMEM))
}

/// Rings until the kernel has memory for it, on a thread that the runtime has for calls that block.
#[cfg(feature = "tokio")]
fn ring_later(socket: &Arc<OwnedFd>) {
    let Ok(runtime) = ::tokio::runtime::Handle::try_current() else { return };
    let socket = Arc::clone(socket);
    drop(runtime.spawn_blocking(move || {
        while !ring(&socket, BELL) {
            poll::wait(&[], &WaitLimit::default(), Some(RING_AGAIN)).ok();
        }
    }));
}

impl Connection {
    pub(super) fn ring(&self, byte: u8) {
        if ring(&self.socket, byte) {
            return;
        }
        // A thread rings again before it returns or sleeps, an event loop when it tries again, and a task leaves that to its
        // runtime.
        self.state.owes_ring.store(true, Ordering::Relaxed);
        self.readiness().try_again();
        #[cfg(feature = "tokio")]
        ring_later(&self.socket);
    }

    /// Rings again if the kernel had no memory for it; whether nothing is owed any more.
    pub(super) fn pay_ring(&self) -> bool {
        // A load, since something is owed hardly ever.
        if self.state.owes_ring.load(Ordering::Relaxed) && ring(&self.socket, BELL) {
            self.state.owes_ring.store(false, Ordering::Relaxed);
        }
        !self.state.owes_ring.load(Ordering::Relaxed)
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
        // A reactor signals only new events, so nothing may be left behind.
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
        self.can_wait && !self.shape.messages
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
}
