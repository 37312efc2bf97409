//! The two operations of a connection, one for each direction.

use crate::ring::Interest;

/// An operation of an end, in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Read,
    Write,
}

impl Operation {
    /// The event that an operation of this direction waits for, as far as it is known before its first attempt.
    pub(in crate::sys::unix) fn interest(self) -> Interest {
        match self {
            Operation::Read => Interest::Data,
            Operation::Write => Interest::Space,
        }
    }

    /// The interest of the peer that an operation of this direction satisfies.
    pub(super) fn published(self) -> Interest {
        match self {
            Operation::Read => Interest::Space,
            Operation::Write => Interest::Data,
        }
    }
}
