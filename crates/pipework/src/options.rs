//! Plain data that describes pipes.

use crate::{
    access::{Access, ServerCheck},
    credentials::Credentials,
    name::PipeName,
    network::NetworkCaller,
};
use std::{path::PathBuf, sync::Arc, time::Duration};

/// The quota of a direction in bytes, unless told otherwise: four times that of miow and tokio. On Unix two ends that copy
/// 64 KiB each at the same time need twice that and some room for one to be late; it is memory that only what is written
/// takes up.
pub(crate) const BUFFER_SIZE: u32 = 256 * 1024;

/// Bytes or messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PipeMode {
    /// A stream of bytes.
    Byte,
    /// Each write is a message.
    Message,
}

/// Which end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PipeEnd {
    /// Opened it.
    Client,
    /// Created it.
    Server,
}

/// Which ways data goes through a pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PipeDirections {
    /// From client to server.
    pub inbound: bool,
    /// From server to client.
    pub outbound: bool,
}

/// What a pipe is like; as `tokio::net::windows::named_pipe::PipeInfo`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PipeInfo {
    /// Type of the pipe.
    pub mode: PipeMode,
    /// The end that was asked.
    pub end: PipeEnd,
    /// 255 is unlimited.
    pub max_instances: u32,
    /// Quota of the server-to-client direction in bytes.
    pub out_buffer_size: u32,
    /// Quota of the client-to-server direction in bytes.
    pub in_buffer_size: u32,
}

/// One pipe of [`list`](crate::list()).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PipeEntry {
    /// Its name.
    pub name: PipeName,
    /// Open instances.
    pub instances: u32,
    /// 255 is unlimited.
    pub max_instances: u32,
    /// Type; `None` where the system does not say (Windows).
    pub mode: Option<PipeMode>,
    /// Server processes; empty where the system does not say.
    pub servers: Vec<u32>,
    /// Which ways data goes; `None` where the system does not say.
    pub directions: Option<PipeDirections>,
    /// Instances that listen now; `None` where the system does not say.
    pub listening: Option<u32>,
    /// Whether clients on other computers may come, where a service lets them (`accept_remote`); `None` where the system
    /// does not say (Windows).
    pub accept_remote: Option<bool>,
    /// Account that owns the name; `None` where the system does not say.
    pub owner: Option<String>,
    /// Where it lives: a directory on Unix, `\\.\pipe\name` on Windows.
    pub location: PathBuf,
}

/// What a new instance is to be, as the builder was told and before anything is checked.
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
    /// Whether a name that does not exist yet is waited for.
    pub(crate) wait_absent: bool,
    /// Whether the one direction of a one-way pipe will do where both were asked.
    pub(crate) one_way_will_do: bool,
    /// How far the server may act as the client, in the `SECURITY_*` flags of Windows.
    pub(crate) security_qos_flags: u32,
    /// For whom on another computer it is opened.
    pub(crate) caller: Option<Arc<NetworkCaller>>,
    /// What matters for a pipe on another computer only.
    #[allow(dead_code, reason = "a build that can't reach other computers does not look at it")]
    pub(crate) remote: RemoteRequest,
}

/// What a client asks for of another computer; `None` is what is usual there.
#[derive(Clone, Debug, Default)]
#[allow(dead_code, reason = "a system or build that can't reach other computers looks at little of it")]
pub(crate) struct RemoteRequest {
    pub(crate) credentials: Option<Credentials>,
    pub(crate) require_encryption: Option<bool>,
    pub(crate) port: Option<u16>,
    /// How long the network may take where the caller's limit does not say: to open now is not to wait for an instance.
    pub(crate) network_timeout: Duration,
}
