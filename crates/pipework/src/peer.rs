//! The process and user at the other end.

use crate::{network::NetworkPeer, sys};
use std::io;

/// The process and user at the other end of a connection, as the kernel or the SMB server reports them
/// ([rule A3](crate::rules#a3)).
///
/// A peer can't choose what is reported. For a remote client that comes through `pipework-gateway`, everything here describes
/// the remote client and not the gateway. Only a gateway that runs as root is trusted to name its client.
///
/// Corresponds to [`GetNamedPipeClientProcessId`], [`GetNamedPipeServerProcessId`] and the client's access token.
///
/// [`GetNamedPipeClientProcessId`]: https://learn.microsoft.com/windows/win32/api/winbase/nf-winbase-getnamedpipeclientprocessid
/// [`GetNamedPipeServerProcessId`]: https://learn.microsoft.com/windows/win32/api/winbase/nf-winbase-getnamedpipeserverprocessid
#[doc(alias = "GetNamedPipeClientProcessId")]
#[doc(alias = "GetNamedPipeServerProcessId")]
#[derive(Clone, Debug)]
pub struct Peer {
    pub(crate) inner: sys::Peer,
}

impl Peer {
    pub(crate) fn new(inner: sys::Peer) -> Peer {
        Peer { inner }
    }

    /// Returns the process id, if the process is on this host and visible from here. The process may have ended since.
    pub fn process_id(&self) -> Option<u32> {
        self.inner.process_id()
    }

    /// Returns whether the peer is a local process of this process's user.
    pub fn is_same_user(&self) -> bool {
        self.inner.is_same_user()
    }

    /// Looks up the account name. A uid without an account is returned in decimal.
    ///
    /// # Errors
    /// The system's error if its user database can't be read. `Unsupported` for a remote server, which does not report its
    /// account.
    pub fn account(&self) -> io::Result<String> {
        self.inner.account()
    }

    /// Returns whether the peer is a member of a group: a name, a gid in decimal, or a SID.
    ///
    /// # Errors
    /// `Invalid` if there is no such group. `Unsupported` for a remote server, which does not report its account.
    pub fn is_member_of(&self, group: &str) -> io::Result<bool> {
        self.inner.is_member_of(group)
    }

    /// Returns the uid: that of the process, or the one that a remote client is mapped to. `None` on Windows and for a remote
    /// server.
    pub fn user_id(&self) -> Option<u32> {
        self.inner.user_id()
    }

    /// Returns the gids, the effective one first. Empty on Windows.
    pub fn group_ids(&self) -> &[u32] {
        self.inner.group_ids()
    }

    /// Returns the SID as text, on Windows, and for remote clients on every system.
    pub fn sid(&self) -> Option<&str> {
        self.inner.sid()
    }

    /// Returns account and host of a remote peer. The account of a remote server is not known and empty.
    ///
    /// # Platform-specific behavior
    /// On Windows a server end recognizes a remote client only if the pipe was created with `accept_remote`.
    pub fn network(&self) -> Option<&NetworkPeer> {
        self.inner.network()
    }
}
