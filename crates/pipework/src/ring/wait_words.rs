//! Announcements of sleeping threads in shared memory, so that a system call is made only for an end that
//! waits.

use super::{
    Memory, Side,
    layout::Word,
    sync::{Ordering, fence},
};
use std::sync::{Arc, atomic::AtomicU32};

/// The event that a thread sleeps for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    /// For something to read.
    Data,
    /// For room to write, or for the reader to have read.
    Space,
}

/// How a thread sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitKind {
    /// At the waiting word itself: quick to fall into and to be woken from, but deaf to everything else, so it must
    /// be short.
    Futex,
    /// At something outside the memory, where the end of the peer and of the wait are heard too.
    Poll,
}

impl WaitKind {
    /// The bits of the waiting word that are of this kind.
    const fn bits(self) -> u64 {
        match self {
            WaitKind::Poll => 0b0011,
            WaitKind::Futex => 0b1100,
        }
    }
}

impl Interest {
    /// The bits of the waiting word that announce this interest, one for each kind of sleep.
    const fn bits(self) -> u64 {
        match self {
            Interest::Data => 0b0101,
            Interest::Space => 0b1010,
        }
    }
}

/// Where the peer's threads must be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) struct Wake {
    pub(crate) futex: bool,
    pub(crate) socket: bool,
}

/// How an end has left the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseState {
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
pub(crate) struct WaitWords {
    memory: Arc<Memory>,
    side: Side,
}

impl WaitWords {
    pub(crate) fn new(memory: Arc<Memory>, side: Side) -> WaitWords {
        WaitWords { memory, side }
    }

    /// Says that a thread of this end is about to sleep. The caller then looks once more, and only then sleeps; lightly
    /// only while the waiting word has the value that this gives.
    pub(crate) fn announce(&self, interest: Interest, sleep: WaitKind) -> u64 {
        let (word, bit) = (Word::Waiting(self.side), interest.bits() & sleep.bits());
        let value = self.memory.set(word, bit) | bit;
        // SYNC POINT sleep: pairs with the fence in `must_wake`.
        fence(Ordering::SeqCst);
        value
    }

    /// Withdraws what was announced: no thread of this end sleeps so any more.
    pub(crate) fn withdraw(&self, interest: Interest, sleep: WaitKind) {
        self.memory.clear(Word::Waiting(self.side), interest.bits() & sleep.bits());
    }

    /// Where the peer sleeps for what this end has just published. It says so once for each announcement.
    pub(crate) fn must_wake(&self, interest: Interest) -> Wake {
        self.take(interest.bits())
    }

    /// Where the peer sleeps, for whatever it does.
    pub(crate) fn must_wake_all(&self) -> Wake {
        self.take(Interest::Data.bits() | Interest::Space.bits())
    }

    fn take(&self, bits: u64) -> Wake {
        // SYNC POINT sleep: pairs with the fence in `announce`.
        fence(Ordering::SeqCst);
        let word = Word::Waiting(self.side.other());
        let is_any = self.memory.load(word, Ordering::Relaxed) & bits != 0;
        let taken = if is_any { self.memory.clear(word, bits) } else { 0 };
        Wake { futex: taken & WaitKind::Futex.bits() != 0, socket: taken & WaitKind::Poll.bits() != 0 }
    }

    /// The futex word at which threads of this end sleep.
    pub(crate) fn own_futex_word(&self) -> &AtomicU32 {
        self.memory.low_half(Word::Waiting(self.side))
    }

    /// The futex word at which threads of the peer sleep.
    pub(crate) fn peer_futex_word(&self) -> &AtomicU32 {
        self.memory.low_half(Word::Waiting(self.side.other()))
    }

    /// Announces to the peer on which processor a thread of this end begins to wait. Returns whether the peer
    /// last waited on another one, or did not announce any.
    pub(crate) fn is_peer_elsewhere(&self, processor: Option<u64>) -> bool {
        let Some(processor) = processor else { return true };
        // Zero is what the memory begins with.
        let (mine, word) = (processor + 1, Word::Processor(self.side));
        if self.memory.load(word, Ordering::Relaxed) != mine {
            self.memory.store(word, mine, Ordering::Relaxed);
        }
        self.memory.load(Word::Processor(self.side.other()), Ordering::Relaxed) != mine
    }

    /// Whether the peer has said where it waited.
    pub(crate) fn has_peer_waited(&self) -> bool {
        self.memory.load(Word::Processor(self.side.other()), Ordering::Relaxed) != 0
    }

    /// Leaves a mark for the peer.
    pub(crate) fn set_close_state(&self, state: CloseState) {
        let value = match state {
            CloseState::Open => 0,
            CloseState::Closed => 1,
            CloseState::Disconnected => 2,
        };
        // Release: a peer that sees the mark also sees all that was written before it.
        self.memory.store(Word::Mark(self.side), value, Ordering::Release);
    }

    /// The mark that the peer left. Only a server can disconnect.
    pub(crate) fn peer_close_state(&self) -> CloseState {
        match (self.memory.load(Word::Mark(self.side.other()), Ordering::Acquire), self.side) {
            (0, _) => CloseState::Open,
            (2, Side::Client) => CloseState::Disconnected,
            _ => CloseState::Closed,
        }
    }
}
