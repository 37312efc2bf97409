//! The identity of the other end, as the kernel reports it.

use super::{accounts, name::namespace, os};
use crate::{
    access::ServerCheck,
    error::{PipeErrorKind, fail},
    network::{NetworkPeer, RemoteClient},
};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

/// The identity of the other end.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    process: Option<u32>,
    /// `None` for a remote server.
    user: Option<u32>,
    /// The effective one first.
    groups: Vec<u32>,
    handle: Option<Arc<OwnedFd>>,
    elsewhere: Option<Arc<Elsewhere>>,
}

/// The known facts of a remote peer.
#[derive(Debug)]
struct Elsewhere {
    network: NetworkPeer,
    /// Its own first.
    sids: Vec<String>,
}

impl Peer {
    /// Asks the kernel about the other end of a socket; it answers also after that has gone.
    pub(crate) fn of(socket: BorrowedFd<'_>) -> io::Result<Peer> {
        let (process, user, group) = os::credentials(socket)?;
        let mut groups = vec![group];
        // Where the kernel does not report them, the effective one is all that is known.
        groups.extend(os::groups(socket).unwrap_or_default().into_iter().filter(|other| *other != group));
        Ok(Peer {
            process,
            user: Some(user),
            groups,
            handle: os::process_handle(socket).map(Arc::new),
            elsewhere: None,
        })
    }

    /// A remote client, as the gateway that admitted it describes it.
    pub(super) fn of_remote_client(remote_client: &RemoteClient) -> Peer {
        let network = NetworkPeer {
            account: remote_client.account.clone(),
            address: remote_client.address.clone(),
            encrypted: Some(remote_client.encrypted),
        };
        Peer {
            process: None,
            user: Some(remote_client.user_id),
            groups: remote_client.group_ids.clone(),
            handle: None,
            elsewhere: Some(Arc::new(Elsewhere { network, sids: remote_client.sids.clone() })),
        }
    }

    /// The server of a remote pipe: it is only known that its host proved its identity.
    #[cfg(feature = "remote")]
    pub(super) fn of_server(address: String, encrypted: bool) -> Peer {
        let network = NetworkPeer { account: String::new(), address, encrypted: Some(encrypted) };
        let elsewhere = Some(Arc::new(Elsewhere { network, sids: Vec::new() }));
        Peer { process: None, user: None, groups: Vec::new(), handle: None, elsewhere }
    }

    pub(crate) fn process_id(&self) -> Option<u32> {
        self.process
    }

    pub(crate) fn is_same_user(&self) -> bool {
        self.elsewhere.is_none() && self.user == Some(namespace::my_user())
    }

    pub(crate) fn account(&self) -> io::Result<String> {
        match (&self.elsewhere, self.user) {
            (Some(elsewhere), Some(_)) => Ok(elsewhere.network.account.clone()),
            (None, Some(user)) => accounts::user_name(user),
            (_, None) => Err(not_reported()),
        }
    }

    pub(crate) fn is_member_of(&self, group: &str) -> io::Result<bool> {
        if self.user.is_none() {
            return Err(not_reported());
        }
        if let Some(elsewhere) = &self.elsewhere
            && accounts::is_sid(group)
        {
            return Ok(elsewhere.sids.iter().any(|sid| sid.eq_ignore_ascii_case(group)));
        }
        Ok(self.groups.contains(&accounts::group_id(group)?))
    }

    pub(crate) fn user_id(&self) -> Option<u32> {
        self.user
    }

    pub(crate) fn group_ids(&self) -> &[u32] {
        &self.groups
    }

    pub(crate) fn sid(&self) -> Option<&str> {
        self.elsewhere.as_ref()?.sids.first().map(String::as_str)
    }

    pub(crate) fn network(&self) -> Option<&NetworkPeer> {
        self.elsewhere.as_ref().map(|elsewhere| &elsewhere.network)
    }

    pub(crate) fn handle(&self) -> Option<BorrowedFd<'_>> {
        self.handle.as_ref().map(|handle| handle.as_fd())
    }
}

/// The user of a remote server is not known.
fn not_reported() -> io::Error {
    fail(PipeErrorKind::Unsupported, "a remote host does not report the user that serves a pipe")
}

/// The user that stands for all users that a user namespace does not map.
const OVERFLOW_USER: u32 = 65534;

/// Whether a client accepts this server of a name that belongs to `owner`.
pub(crate) fn accepts(check: &ServerCheck, socket: BorrowedFd<'_>, owner: u32) -> io::Result<bool> {
    let (_, user, _) = os::credentials(socket)?;
    let me = namespace::my_user();
    Ok(match check {
        ServerCheck::Anyone => true,
        ServerCheck::User(account) => user == accounts::user_id(account)?,
        // A stranger and the owner of a foreign directory may both look like the overflow user.
        ServerCheck::Trusted => user == me || user == 0 || (user == owner && user != OVERFLOW_USER),
    })
}
