//! miow's named pipe. Its client is a `File`.

use std::{fs::File, io};

use miow::pipe::{NamedPipe, connect};

use super::{BlockingDuplex, Endpoint, Transport, unique_name};
use crate::peer_process::PeerProcess;

pub(super) struct Miow;

impl Transport for Miow {
    type Endpoint = MiowEndpoint;

    async fn create_endpoint(peer: &mut PeerProcess, _len: usize) -> io::Result<Self::Endpoint> {
        let address = format!(r"\\.\pipe\{}", unique_name());
        let server = NamedPipe::new(&address)?;
        peer.start(&address)?;
        server.connect()?;
        Ok(MiowEndpoint::Server(BlockingDuplex(server)))
    }

    async fn connect_endpoint(address: &str, _len: usize) -> io::Result<Self::Endpoint> {
        connect(address).map(|file| MiowEndpoint::Client(BlockingDuplex(file)))
    }
}

/// The endpoint of either process.
pub(super) enum MiowEndpoint {
    Server(BlockingDuplex<NamedPipe>),
    Client(BlockingDuplex<File>),
}

impl Endpoint for MiowEndpoint {
    async fn send(&mut self, payload: &[u8]) -> io::Result<()> {
        match self {
            MiowEndpoint::Server(end) => end.send(payload).await,
            MiowEndpoint::Client(end) => end.send(payload).await,
        }
    }

    async fn receive(&mut self, payload: &mut Vec<u8>) -> io::Result<()> {
        match self {
            MiowEndpoint::Server(end) => end.receive(payload).await,
            MiowEndpoint::Client(end) => end.receive(payload).await,
        }
    }
}
