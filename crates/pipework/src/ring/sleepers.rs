//! Who sleeps, told through the shared memory, so that a system call is made only for an end that waits.

use super::{
    Memory, Side,
    layout::Word,
    sync::{Ordering, fence},
};
use std::sync::Arc;

/// What a thread sleeps for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    /// For something to read.
    Data,
    /// For room to write, or for the reader to have read.
    Space,
}

impl Interest {
    fn bit(self) -> u64 {
        match self {
            Interest::Data => 1,
            Interest::Space => 2,
        }
    }
}

/// How an end has left the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// It has not.
    Open,
    /// It closed; what it wrote stays readable.
    Closed,
    /// The server disconnected; everything unread is gone.
    Disconnected,
}

/// The waiting words and marks of both ends, seen from one of them.
///
/// All of it is a hint, never a proof: a peer that clears our word, or does not look at it, lets us sleep until our
/// deadline, as a peer that is silent does.
#[derive(Debug)]
pub(crate) struct Sleepers {
    memory: Arc<Memory>,
    side: Side,
}

impl Sleepers {
    pub(crate) fn new(memory: Arc<Memory>, side: Side) -> Sleepers {
        Sleepers { memory, side }
    }

    /// Says that a thread of this end is about to sleep. The caller then looks once more, and only then sleeps.
    pub(crate) fn announce(&self, interest: Interest) {
        self.memory.set(Word::Waiting(self.side), interest.bit());
        // SYNC POINT sleep: pairs with the fence in `must_wake`.
        fence(Ordering::SeqCst);
    }

    /// Whether the peer sleeps for what this end has just published. It says so once for each announcement.
    pub(crate) fn must_wake(&self, interest: Interest) -> bool {
        // SYNC POINT sleep: pairs with the fence in `announce`.
        fence(Ordering::SeqCst);
        let word = Word::Waiting(self.side.other());
        self.memory.load(word, Ordering::Relaxed) & interest.bit() != 0
            && self.memory.clear(word, interest.bit()) != 0
    }

    /// Tells the peer on which processor a thread of this end begins to wait, and says whether the peer last waited on
    /// another one, or did not say.
    pub(crate) fn is_peer_elsewhere(&self, processor: Option<u64>) -> bool {
        let Some(processor) = processor else { return true };
        // Zero is what the memory begins with.
        let (mine, word) = (processor + 1, Word::Processor(self.side));
        if self.memory.load(word, Ordering::Relaxed) != mine {
            self.memory.store(word, mine, Ordering::Relaxed);
        }
        self.memory.load(Word::Processor(self.side.other()), Ordering::Relaxed) != mine
    }

    /// Leaves a mark for the peer.
    pub(crate) fn leave(&self, mark: Mark) {
        let value = match mark {
            Mark::Open => 0,
            Mark::Closed => 1,
            Mark::Disconnected => 2,
        };
        // Release, so that who sees the mark sees all that was written before it.
        self.memory.store(Word::Mark(self.side), value, Ordering::Release);
    }

    /// The mark that the peer left. Only a server can disconnect.
    pub(crate) fn peer_mark(&self) -> Mark {
        match (self.memory.load(Word::Mark(self.side.other()), Ordering::Acquire), self.side) {
            (0, _) => Mark::Open,
            (2, Side::Client) => Mark::Disconnected,
            _ => Mark::Closed,
        }
    }
}
