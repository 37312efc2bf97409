//! The two operations of a connection, one for each direction.

use crate::ring::Interest;

/// What an end does in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Read,
    Write,
}

impl Operation {
    /// What an operation of this direction waits for, as far as is known before its first attempt.
    pub(in crate::sys::unix) fn interest(self) -> Interest {
        match self {
            Operation::Read => Interest::Data,
            Operation::Write => Interest::Space,
        }
    }

    /// What the peer waits for that an operation of this direction publishes.
    pub(super) fn published(self) -> Interest {
        match self {
            Operation::Read => Interest::Space,
            Operation::Write => Interest::Data,
        }
    }
}
