//! Pipework's anonymous pipes, one for each direction, as stdin and stdout of a child. Size 0 is the default size.

use std::io;

use pipework::{AnonRead, AnonWrite};

use super::{Blocking, Endpoint, Transport, std_pipe};
use crate::peer_process::PeerProcess;

pub(super) struct Anonymous<const BUFFER_LEN: u32>;

impl<const BUFFER_LEN: u32> Transport for Anonymous<BUFFER_LEN> {
    type Endpoint = AnonymousEndpoint;

    async fn create_endpoint(peer: &mut PeerProcess, _len: usize) -> io::Result<Self::Endpoint> {
        let (peer_reader, writer) = pipework::anonymous(BUFFER_LEN)?;
        let (reader, peer_writer) = pipework::anonymous(BUFFER_LEN)?;
        peer.start_with(peer_reader, peer_writer)?;
        Ok(AnonymousEndpoint::Parent(Blocking { reader, writer }))
    }

    async fn connect_endpoint(address: &str, len: usize) -> io::Result<Self::Endpoint> {
        std_pipe::StdPipe::connect_endpoint(address, len).await.map(AnonymousEndpoint::Child)
    }
}

/// The endpoint of either process. A child finds its pipes as stdin and stdout.
pub(super) enum AnonymousEndpoint {
    Parent(Blocking<AnonRead, AnonWrite>),
    Child(std_pipe::Stdio),
}

impl Endpoint for AnonymousEndpoint {
    async fn send(&mut self, payload: &[u8]) -> io::Result<()> {
        match self {
            AnonymousEndpoint::Parent(end) => end.send(payload).await,
            AnonymousEndpoint::Child(end) => end.send(payload).await,
        }
    }

    async fn receive(&mut self, payload: &mut Vec<u8>) -> io::Result<()> {
        match self {
            AnonymousEndpoint::Parent(end) => end.receive(payload).await,
            AnonymousEndpoint::Child(end) => end.receive(payload).await,
        }
    }
}
