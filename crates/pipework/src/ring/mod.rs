//! The shared-memory ring: one producer, one consumer, one direction of one connection.
//!
//! Pure code over a checked memory region. The two ends need not trust each other: **private indices are the
//! truth, shared ones are claims**. A claim is loaded once into a local, checked, and only then used; a claim that
//! can't be true is [`Corrupt`] and ends this connection and no other.
//!
//! The words of the synchronisation, used alike at both ends:
//! - SYNC POINT *data*: the producer's Release store of the tail pairs with the consumer's Acquire load of it; what
//!   was copied in before is seen by the copy out after.
//! - SYNC POINT *filling*: the producer's Release store of how much of a large message lies in its memory object pairs
//!   with the consumer's Acquire load of it; what was copied into the object before is seen by the copy out after.
//! - SYNC POINT *space*: the consumer's Release store of the head pairs with the producer's Acquire load of it; a
//!   place is written again only after it was read.
//! - SYNC POINT *sleep*: "announce, fence, look again" of a sleeper pairs with "publish, fence, look for sleepers"
//!   of its peer; at least one of the two sees the other ([`WaitWords`]).
//!
//! # Epochs
//!
//! If indices just counted, the payload would walk through the whole ring and touch all of its memory, however little is
//! under way. So a producer that finds its ring *empty* may begin the next *epoch*: it goes on at the beginning of the ring.
//! The highest bit of an index says in which of two alternating epochs it counts, and the other bits count ring bytes since
//! the beginning of that epoch, which lies at the beginning of the ring. No word of its own says where an epoch begins: the
//! next tail has the other bit. Both ends agree on what each index means, for these reasons:
//!
//! 1. *An epoch ends only where the consumer stands.* The producer ends it at its own tail `t`, after it has acquired a
//!    head equal to `t`. So all of the epoch was read, and the consumer stays at `t` until it sees a tail of the next epoch.
//! 2. *Between two looks of the consumer one epoch begins at most.* To end the next epoch too, the producer must have
//!    acquired a head in it, and the consumer releases none before it has acquired a tail in it. So a bit is enough.
//! 3. *A consumer that knows of unread bytes sees no other epoch.* It has not released a head at the end of this one. So
//!    a tail of the other epoch is [`Corrupt`] then, and what is unread, a message taken in part included, keeps its place.
//! 4. *A producer may see the head of the epoch before.* That is where it ended the epoch, it means that nothing of this
//!    one was read, and it is believed only until a head of this epoch was seen.
//! 5. *Headers stay aligned.* On a message pipe an epoch begins with a record, at the beginning of the ring, and
//!    indices stay multiples of a header's length, so no header wraps around the end of the ring.
//!
//! A lie does no more than any other: each index, of either epoch, lies in the ring.
//!
//! When the ring is empty the producer may also *release* the memory beyond the front of the ring, after it has begun the next
//! epoch. By then the consumer has copied out all that was there, before it released its head (*space*). Whatever it reads
//! next was written after that, since it is read only after the next tail was acquired (*data*).

mod consumer;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod layout;
mod memory;
mod producer;
mod record;
mod sync;
mod wait_words;

#[cfg(test)]
mod tests;

#[cfg(feature = "tokio")]
pub(crate) use consumer::TailWatch;
pub(crate) use consumer::{Consumer, Front, Large, MessageSink};
pub(crate) use layout::{Direction, Geometry, PIECE_LEN, Side};
pub(crate) use memory::{Mapping, Memory};
pub(crate) use producer::Producer;
pub(crate) use record::{MESSAGE_LEN_MAX, Storage};
pub(crate) use wait_words::{CloseState, Interest, WaitKind, WaitWords, Wake};

/// The peer wrote something into the shared memory that can't be true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Corrupt(pub(crate) &'static str);
