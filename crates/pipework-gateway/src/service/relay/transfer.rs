//! What the two directions of a connection share.

use std::sync::atomic::{AtomicUsize, Ordering};

use pipework::tokio::NamedPipeClient;
use tokio::net::UnixStream;

use super::super::target::Target;

/// The longest message: its length has 16 bits in the exchange with smbd.
pub(super) const MESSAGE_LEN_MAX: usize = 65_535;

/// The two ends of a connection, and how many bytes it has moved.
#[derive(Clone, Copy, Debug)]
pub(super) struct Relay<'a> {
    /// The socket to smbd.
    pub(super) socket: &'a UnixStream,
    pub(super) pipe: &'a NamedPipeClient,
    pub(super) target: &'a Target,
    pub(super) counts: &'a ByteCounts,
}

/// How many bytes each direction has moved.
#[derive(Debug, Default)]
pub(super) struct ByteCounts {
    to_server: AtomicUsize,
    to_client: AtomicUsize,
}

impl ByteCounts {
    pub(super) fn to_server(&self) -> usize {
        self.to_server.load(Ordering::Relaxed)
    }

    pub(super) fn to_client(&self) -> usize {
        self.to_client.load(Ordering::Relaxed)
    }

    pub(super) fn add_to_server(&self, len: usize) {
        self.to_server.fetch_add(len, Ordering::Relaxed);
    }

    pub(super) fn add_to_client(&self, len: usize) {
        self.to_client.fetch_add(len, Ordering::Relaxed);
    }
}
