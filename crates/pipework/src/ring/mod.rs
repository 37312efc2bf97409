//! The shared-memory ring: one producer, one consumer, one direction of one connection.
//!
//! Pure code over a checked memory region. The two ends need not trust each other: **private indices are the
//! truth, shared ones are claims**. A claim is loaded once into a local, checked, and only then used; a claim that
//! can't be true is [`Corrupt`] and ends this connection and no other.
//!
//! The words of the synchronisation, used alike at both ends:
//! - SYNC POINT *data*: the producer's Release store of the tail pairs with the consumer's Acquire load of it; what
//!   was copied in before is seen by the copy out after.
//! - SYNC POINT *space*: the consumer's Release store of the head pairs with the producer's Acquire load of it; a
//!   place is written again only after it was read.
//! - SYNC POINT *sleep*: "announce, fence, look again" of a sleeper pairs with "publish, fence, look for sleepers"
//!   of its peer; at least one of the two sees the other ([`WaitWords`]).

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

pub(crate) use consumer::{Consumer, Front, MessageSink};
pub(crate) use layout::{Direction, Geometry, PIECE_LEN, Side};
pub(crate) use memory::{Mapping, Memory};
pub(crate) use producer::Producer;
pub(crate) use record::MESSAGE_LEN_MAX;
pub(crate) use wait_words::{CloseState, Interest, WaitKind, WaitWords, Wake};

/// The peer wrote something into the shared memory that can't be true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Corrupt(pub(crate) &'static str);
