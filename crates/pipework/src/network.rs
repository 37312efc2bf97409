//! Identities of remote peers.

/// The identity of a remote peer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct NetworkPeer {
    /// The authenticated account, `DOMAIN\user`.
    pub account: String,
    /// Its address or host name.
    pub address: String,
    /// Whether the session is encrypted. `None` on Windows, which does not report it.
    pub encrypted: Option<bool>,
}

/// A remote client that a gateway has authenticated, and that the gateway opens a pipe for by `on_behalf_of` in `os::unix`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RemoteClient {
    /// The account, `DOMAIN\user`: at most 1,024 bytes, without control characters.
    pub account: String,
    /// The address or host name: at most 1,024 bytes, without control characters.
    pub address: String,
    /// Whether the session is encrypted.
    pub encrypted: bool,
    /// The uid on this host that the account is mapped to.
    pub user_id: u32,
    /// The gids that the account is mapped to, the primary one first.
    pub group_ids: Vec<u32>,
    /// The SIDs as text, that of the account first.
    pub sids: Vec<String>,
}
