//! Plain data that describes pipes.

use crate::{
    access::{Access, ServerCheck},
    credentials::Credentials,
    name::PipeName,
    network::RemoteClient,
};
use std::{path::PathBuf, sync::Arc, time::Duration};

/// The default quota of a direction in bytes: four times that of miow and tokio. On Unix, two ends that copy 64 KiB at the
/// same time need twice that, and some more for the one that is late. Only what is written takes up memory.
pub(crate) const BUFFER_SIZE: u32 = 256 * 1024;

/// Whether data is a stream of bytes or consists of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PipeMode {
    /// A stream of bytes.
    Byte,
    /// Each write is a message.
    Message,
}

/// A side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PipeEnd {
    /// The side that opened the pipe.
    Client,
    /// The side that created the pipe.
    Server,
}

/// The directions of a pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PipeDirections {
    /// Whether data goes from client to server.
    pub inbound: bool,
    /// Whether data goes from server to client.
    pub outbound: bool,
}

/// The properties of a pipe, as in `tokio::net::windows::named_pipe::PipeInfo`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PipeInfo {
    /// The type of the pipe.
    pub mode: PipeMode,
    /// The side of the end that returned this.
    pub end: PipeEnd,
    /// The maximum number of instances; 255 is unlimited.
    pub max_instances: u32,
    /// The quota of the server-to-client direction in bytes.
    pub out_buffer_size: u32,
    /// The quota of the client-to-server direction in bytes.
    pub in_buffer_size: u32,
}

/// A pipe, as [`list`](crate::list()) returns it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PipeEntry {
    /// The name.
    pub name: PipeName,
    /// The number of open instances. On Unix, a server process counts as none if something has changed the time of its
    /// files, which holds its number.
    pub instances: u32,
    /// The maximum number of instances; 255 is unlimited.
    pub max_instances: u32,
    /// The type of the pipe. `None` on Windows, which does not report it.
    pub mode: Option<PipeMode>,
    /// The process ids of the servers. Empty on Windows, which does not report them.
    pub servers: Vec<u32>,
    /// The directions. `None` on Windows, which does not report them.
    pub directions: Option<PipeDirections>,
    /// The number of instances that listen now. `None` on Windows, which does not report it.
    pub listening: Option<u32>,
    /// Whether remote clients may connect through a gateway (`accept_remote`). `None` on Windows, which does not report it.
    pub accept_remote: Option<bool>,
    /// The account that owns the name. `None` on Windows, which does not report it.
    pub owner: Option<String>,
    /// The location: a directory on Unix, `\\.\pipe\name` on Windows.
    pub location: PathBuf,
}

/// The properties of a new instance, as its builder has them. The system has checked nothing yet.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) name: PipeName,
    pub(crate) inbound: bool,
    pub(crate) outbound: bool,
    pub(crate) first: bool,
    pub(crate) accept_remote: bool,
    pub(crate) max_instances: u8,
    pub(crate) out_buffer_size: u32,
    pub(crate) in_buffer_size: u32,
    pub(crate) mode: PipeMode,
    pub(crate) default_timeout: Duration,
    pub(crate) access: Access,
}

/// What a client asks for.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) name: PipeName,
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) read_mode: PipeMode,
    pub(crate) server: ServerCheck,
    /// Whether to wait for a name that does not exist yet.
    pub(crate) wait_absent: bool,
    /// Whether a request for both directions accepts the one that a one-way pipe has.
    pub(crate) allow_one_way: bool,
    /// How far the server may impersonate the client, as `SECURITY_*` flags of Windows.
    pub(crate) security_qos_flags: u32,
    /// The remote client that a gateway opens the pipe for.
    pub(crate) remote_client: Option<Arc<RemoteClient>>,
    /// What only a remote pipe needs.
    #[allow(dead_code, reason = "a build without `remote` does not use it")]
    pub(crate) remote: RemoteRequest,
}

/// What a client asks of a remote host; `None` is the default there.
#[derive(Clone, Debug, Default)]
#[allow(dead_code, reason = "Windows and a build without `remote` use little of it")]
pub(crate) struct RemoteRequest {
    pub(crate) credentials: Option<Credentials>,
    pub(crate) require_encryption: Option<bool>,
    pub(crate) port: Option<u16>,
    /// How long the remote host may take to answer if the call has no time limit, as `open` has none.
    pub(crate) network_timeout: Duration,
}
