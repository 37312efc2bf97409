//! The outcome of one attempt of an operation, and the one place where the peer is woken.
//!
//! An operation of a connection is an *attempt*: a function that takes or publishes what it can and never waits. It sees
//! no clock and no waker. Three *drivers* repeat it: [`thread`](super::thread) blocks, [`event_loop`](super::event_loop)
//! reports `WouldBlock`, and [`task`](super::task) registers a waker. So a rule about reading or writing is written once,
//! and the drivers differ only in how they wait.

use super::{Connection, operation::Operation, parking::DirectionGuard, rings::Rings};
use crate::ring::{Front, Interest, Producer};
use std::io;

/// The outcome of one attempt.
///
/// The end of a pipe is a value of the operation, so it is `Done`. Nothing else can be mistaken for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Step<T> {
    /// The operation has ended with this.
    Done(T),
    /// The operation can go on once this has come.
    Blocked(On),
}

/// The event that a blocked operation waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum On {
    /// Something to read in the ring.
    Data,
    /// Progress of the reader.
    Space(Space),
    /// The client's hello, and with it the rings.
    Hello,
    /// More of the large message at the front than these bytes.
    Rest(u64),
    /// The memory object of a large message, which comes through the socket.
    Attachment,
    /// Room in the socket for the memory object of a large message.
    Socket,
    /// Fewer descriptors of this user in flight. The kernel signals no change of that.
    Descriptors,
}

/// How far the reader must have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Space {
    /// A stream has room for a byte.
    Byte,
    /// There is room for a message of this many bytes.
    Message(u64),
    /// No more than the quota is unread.
    Settled,
    /// Nothing is unread.
    Drained,
}

impl<T> Step<T> {
    pub(in crate::sys::unix) fn map<U>(self, convert: impl FnOnce(T) -> U) -> Step<U> {
        match self {
            Step::Done(value) => Step::Done(convert(value)),
            Step::Blocked(on) => Step::Blocked(on),
        }
    }
}

impl On {
    /// The interest that a blocked operation announces to the peer.
    pub(in crate::sys::unix) fn interest(self) -> Interest {
        match self {
            On::Data | On::Rest(_) | On::Hello | On::Attachment => Interest::Data,
            On::Space(_) | On::Socket | On::Descriptors => Interest::Space,
        }
    }
}

impl Connection {
    /// Runs one attempt, then wakes the peer if the attempt has published anything, whatever else came of it. Nothing else
    /// wakes the peer for data or space.
    ///
    /// An attempt that may publish runs under the lock of its direction.
    pub(super) fn step<T>(
        &self,
        lock: Option<&DirectionGuard<'_>>,
        attempt: &mut impl FnMut() -> io::Result<Step<T>>,
    ) -> io::Result<Step<T>> {
        if lock.is_some_and(|lock| lock.operation() == Operation::Write) {
            self.refresh_hangup();
        }
        self.step_again(lock, attempt)
    }

    /// The same a moment later, when the peer was seen alive.
    pub(super) fn step_again<T>(
        &self,
        lock: Option<&DirectionGuard<'_>>,
        attempt: &mut impl FnMut() -> io::Result<Step<T>>,
    ) -> io::Result<Step<T>> {
        let outcome = attempt();
        if let (Some(lock), Some(rings)) = (lock, self.rings_known())
            && rings.take_published(lock.operation())
        {
            self.wake_peer(rings, lock.operation());
        }
        outcome
    }

    /// Wakes the peer in the middle of an attempt: it copies a large message along.
    pub(super) fn wake_early(&self, rings: &Rings, producer: &mut Producer) {
        if producer.take_published() {
            self.wake_peer(rings, Operation::Write);
        }
    }

    /// Whether what a blocked operation needs has come, as far as the rings show. Never waits.
    pub(super) fn has_come(&self, rings: &Rings, on: On) -> io::Result<bool> {
        match on {
            On::Data => {
                let front = rings.consumer()?.front();
                Ok(self.checked(front)? != Front::Empty)
            }
            On::Space(space) => {
                let mut producer = rings.producer()?;
                let has_come = match space {
                    Space::Byte => producer.is_writable(),
                    Space::Message(len) => producer.has_room(len),
                    Space::Settled => producer.is_settled(),
                    Space::Drained => producer.is_drained(),
                };
                drop(producer);
                self.checked(has_come)
            }
            On::Rest(filled) => {
                let large = rings.consumer()?.large();
                Ok(self.checked(large)?.is_none_or(|large| large.filled > filled))
            }
            On::Attachment => Ok(self.large_objects().arrived.is_some()),
            On::Hello => Ok(true),
            // The rings show nothing of the socket.
            On::Socket | On::Descriptors => Ok(false),
        }
    }
}
