//! Who the other end is.

use crate::{network::NetworkPeer, sys};
use std::io;

/// Who the other end is, as the kernel or the SMB server says; never what it says of itself.
///
/// A service that lets callers of the network in, such as `pipework-gateway`, speaks for them: then all of this is about the
/// caller, not about the service. Only a process of the system's own user (root) is believed in that.
///
/// Corresponds to `GetNamedPipeClientProcessId`, `GetNamedPipeServerProcessId` and the token of the client.
#[derive(Clone, Debug)]
pub struct Peer {
    pub(crate) inner: sys::Peer,
}

impl Peer {
    pub(crate) fn new(inner: sys::Peer) -> Peer {
        Peer { inner }
    }

    /// Its process, where it is on this computer and can be seen from here; may have ended since.
    pub fn process_id(&self) -> Option<u32> {
        self.inner.process_id()
    }

    /// Whether it is this process's user, on this computer.
    pub fn is_same_user(&self) -> bool {
        self.inner.is_same_user()
    }

    /// Looks its account name up; a uid in decimal where it has none.
    ///
    /// # Errors
    /// When the system's database of users can't be read. `Unsupported` of a server on another computer, which does not tell.
    pub fn account(&self) -> io::Result<String> {
        self.inner.account()
    }

    /// Whether it belongs to a group: a name, a gid in decimal, or a SID.
    ///
    /// # Errors
    /// `Invalid` when there is no such group. `Unsupported` of a server on another computer, which does not tell.
    pub fn is_member_of(&self, group: &str) -> io::Result<bool> {
        self.inner.is_member_of(group)
    }

    /// Uid: of its process, or the account that a caller of the network was mapped to. `None` on Windows, and of a server on
    /// another computer.
    pub fn user_id(&self) -> Option<u32> {
        self.inner.user_id()
    }

    /// Gids, effective first; empty on Windows.
    pub fn group_ids(&self) -> &[u32] {
        self.inner.group_ids()
    }

    /// SID as text: on Windows, and of callers of the network everywhere.
    pub fn sid(&self) -> Option<&str> {
        self.inner.sid()
    }

    /// Its account and computer, if it is on another one. Of a server there the account is not known and empty.
    ///
    /// # Platform-specific behavior
    /// On Windows a server end knows a client on another computer as such only where the pipe was created with
    /// `accept_remote`.
    pub fn network(&self) -> Option<&NetworkPeer> {
        self.inner.network()
    }
}
