//! What is known of callers on other computers.

/// The network side of a peer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct NetworkPeer {
    /// Authenticated account, `DOMAIN\user`.
    pub account: String,
    /// Address or computer name.
    pub address: String,
    /// Whether the session is encrypted; `None` where the system does not say (Windows).
    pub encrypted: Option<bool>,
}

/// A caller whom a service of the network has authenticated, and for whom it opens a pipe: `on_behalf_of` in `os::unix`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NetworkCaller {
    /// Its account, `DOMAIN\user`; at most 1,024 bytes, no control characters.
    pub account: String,
    /// Its address or computer name; at most 1,024 bytes, no control characters.
    pub address: String,
    /// Whether its session is encrypted.
    pub encrypted: bool,
    /// The uid that it was mapped to on this computer.
    pub user_id: u32,
    /// The gids that it was mapped to, the primary one first.
    pub group_ids: Vec<u32>,
    /// Its SIDs as text, that of the account first.
    pub sids: Vec<String>,
}
