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
//! - SYNC POINT *base*: the word lies between two others of its writer, and *data* and *space* order it too (below).
//! - SYNC POINT *sleep*: "announce, fence, look again" of a sleeper pairs with "publish, fence, look for sleepers"
//!   of its peer; at least one of the two sees the other ([`WaitWords`]).
//!
//! # Where the ring begins
//!
//! Indices count for ever, and the byte `index` lies at `(index - base) % capacity`. If the base were always 0, the payload
//! would walk through the whole ring and touch all of its memory, however little is under way. So the producer *rebases*:
//! when its consumer has read all, it may set the base to its tail, and goes on at the beginning of the ring. Both ends must
//! place each byte alike. They do, for these reasons:
//!
//! 1. *The base changes only at the consumer's own head.* The producer changes it to its tail `t`, and only after it has
//!    acquired a head equal to `t`. No tail beyond `t` is published then, so until the next tail the consumer's head
//!    stays `t`.
//! 2. *Between two looks it changes once at most.* The consumer looks when it has read all that it knew of (its head
//!    is the tail `t` that it knew) and acquires a tail beyond `t`. A change since the look before was made at a head that the
//!    consumer had published by then, so not beyond `t`; and it was made at the tail of the producer, which was `t` at
//!    least, since that was published before. So it was made at `t`, and it gave the base the value `t`.
//! 3. *The look sees that change and no later one.* It comes before the producer's Release of the tail that the
//!    consumer acquired, so it is seen. A later one comes after the producer has acquired a head beyond `t`, which
//!    the consumer releases after it has looked. So an honest base is the one of the look before, or the consumer's own
//!    head; anything else is [`Corrupt`].
//! 4. *While something is unread nothing changes.* By 1, all that is unread, with each part of a message that was taken in
//!    part, was placed by the base of the last look. So looks ahead, counts and further tails need no look at the base.
//! 5. *Headers stay aligned.* On a message pipe tails are multiples of a header's length, so bases are too, and no header
//!    wraps around the end of the ring.
//!
//! A lie does no more than any other: the places of both bases that are believed lie in the ring, as every place does.
//!
//! When the ring is empty the producer may also *release* the memory beyond the front of the ring, after it has rebased. By then
//! the consumer has copied out all that was there, before it released its head (*space*). Whatever it reads next was
//! written after that, since it is read only after the next tail was acquired (*data*).

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

pub(crate) use consumer::{Consumer, Front};
pub(crate) use layout::{Direction, Geometry, PIECE_LEN, Side};
pub(crate) use memory::{Mapping, Memory};
pub(crate) use producer::Producer;
pub(crate) use record::MESSAGE_LEN_MAX;
pub(crate) use wait_words::{CloseState, Interest, WaitKind, WaitWords, Wake};

/// The peer wrote something into the shared memory that can't be true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Corrupt(pub(crate) &'static str);
