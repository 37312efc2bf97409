//! miow's named pipe, and the `File` that its clients are.

use std::{fs::File, io};

use miow::pipe::{NamedPipe, connect};

use super::{BlockingDuplex, End, Peer, unique_name};
use crate::far::Far;

pub(super) struct Miow;

impl Peer for Miow {
    type End = MiowEnd;

    async fn near(far: &mut Far, _len: usize) -> io::Result<Self::End> {
        let address = format!(r"\\.\pipe\{}", unique_name());
        let server = NamedPipe::new(&address)?;
        far.start(&address)?;
        server.connect()?;
        Ok(MiowEnd::Server(BlockingDuplex(server)))
    }

    async fn far(address: &str, _len: usize) -> io::Result<Self::End> {
        connect(address).map(|file| MiowEnd::Client(BlockingDuplex(file)))
    }
}

/// The end in either process.
pub(super) enum MiowEnd {
    Server(BlockingDuplex<NamedPipe>),
    Client(BlockingDuplex<File>),
}

impl End for MiowEnd {
    async fn send(&mut self, piece: &[u8]) -> io::Result<()> {
        match self {
            MiowEnd::Server(end) => end.send(piece).await,
            MiowEnd::Client(end) => end.send(piece).await,
        }
    }

    async fn receive(&mut self, piece: &mut Vec<u8>) -> io::Result<()> {
        match self {
            MiowEnd::Server(end) => end.receive(piece).await,
            MiowEnd::Client(end) => end.receive(piece).await,
        }
    }
}
