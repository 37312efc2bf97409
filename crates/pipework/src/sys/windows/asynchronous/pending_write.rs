//! What async writes keep between polls: the write that waits for room.

use super::completion::Operation;
use std::sync::Arc;

/// The state of a connection's async writes.
#[derive(Debug, Default)]
pub(super) struct Writing {
    /// The write that waits for room.
    pub(super) pending: Option<Arc<Operation>>,
    /// The connection's generation.
    pub(super) generation: u32,
    /// How many bytes of a stream may wait for room, queried on first use.
    pub(super) len_max: Option<u32>,
}

impl Writing {
    /// Takes note of the end of the pending write. If it failed, the next write fails by itself.
    pub(super) fn notice_end(&mut self) {
        if self.pending.as_ref().is_some_and(|operation| operation.ended().is_some()) {
            self.pending = None;
        }
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.notice_end();
        if let Some(operation) = &self.pending {
            // If nothing can be read, the peer does not wait for this end to read either.
            operation.discard_meanwhile(self.generation).ok();
        }
    }
}
