//! What the demo and its peer processes have in common.

use std::time::Duration;

/// The size of a write: a chunk of the file, and in message mode a message.
pub(super) const CHUNK_LEN: usize = 64 * 1024;

/// The size of the pipes' buffers, in each direction.
pub(super) const BUFFER_LEN: u32 = 1 << 20;

/// The demo fails when a peer process makes no progress for this long.
pub(super) const STALL_TIMEOUT: Duration = Duration::from_secs(30);
