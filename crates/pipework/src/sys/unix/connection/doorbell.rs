//! The socket of a connection: doorbell, proof of life, and channel for descriptors.

use super::{
    super::os,
    Connection,
    fd_passing::{Received, receive_with},
    handshake::HelloOutcome,
};
use crate::ring::Side;
use rustix::{io::Errno, net::RecvFlags};
use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{MutexGuard, PoisonError, atomic::Ordering},
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

impl Connection {
    pub(super) fn ring(&self, byte: u8) {
        // A full socket has rung already, and a closed one has no peer to wake.
        rustix::io::retry_on_intr(|| rustix::net::send(&self.socket, &[byte], os::SEND_FLAGS)).ok();
    }

    /// Empties the doorbell: takes wake-ups, descriptors, the hello, and the news that the other end is gone.
    pub(in crate::sys::unix) fn empty_doorbell(&self) -> io::Result<()> {
        if self.rings.get().is_none() && self.side == Side::Server {
            self.take_hello()?;
            if self.rings.get().is_none() {
                return Ok(());
            }
        }
        if !self.shape.messages {
            // A reactor signals only new events, so nothing may be left behind.
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

    /// Whether one call can wait at the socket and receive what came.
    pub(super) fn can_receive_blocking(&self) -> bool {
        self.can_wait && !self.shape.messages
    }

    /// Takes what is in the doorbell of a byte pipe; waits for it or not, as the flags say. Says whether there may be
    /// more.
    pub(super) fn receive(&self, flags: RecvFlags) -> io::Result<bool> {
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

    /// Handles what came through the socket.
    fn take_notice(&self, bytes: &[u8], received: Received) -> io::Result<()> {
        match received {
            Received::Nothing => return Ok(()),
            Received::End => self.state.hung_up.store(true, Ordering::Release),
            Received::TooMany => return Err(self.corrupt("several descriptors at once")),
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
        Ok(())
    }

    fn take_hello(&self) -> io::Result<()> {
        let arrival = self.handshake().receive(self.socket.as_fd(), &self.shape)?;
        match arrival {
            HelloOutcome::Pending => {}
            HelloOutcome::Gone => self.state.hung_up.store(true, Ordering::Release),
            HelloOutcome::Rings(rings) => {
                // Only the leader drains, so no other thread has set it.
                self.rings.set(*rings).ok();
            }
            HelloOutcome::Corrupt(why) => return Err(self.corrupt(why)),
        }
        Ok(())
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
