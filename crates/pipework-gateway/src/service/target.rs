//! The pipe to which a socket in smbd's directory leads.

use pipework::{PipeEntry, PipeMode, PipeName};

/// An exported pipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) name: PipeName,
    /// The name by which remote clients open it, for the log.
    pub(crate) label: String,
    /// Whether it is a message pipe.
    pub(crate) messages: bool,
    /// Whether data flows from client to server.
    pub(crate) inbound: bool,
    /// Whether data flows from server to client.
    pub(crate) outbound: bool,
}

impl Target {
    /// Describes a listed pipe. A pipe that does not report its directions counts as duplex.
    pub(crate) fn new(pipe: PipeEntry, label: String) -> Target {
        let inbound = pipe.directions.is_none_or(|directions| directions.inbound);
        let outbound = pipe.directions.is_none_or(|directions| directions.outbound);
        Target { messages: pipe.mode == Some(PipeMode::Message), name: pipe.name, label, inbound, outbound }
    }
}

/// Whether the server of a pipe accepts remote clients.
pub(crate) fn accepts_remote(pipe: &PipeEntry) -> bool {
    pipe.accept_remote == Some(true)
}
