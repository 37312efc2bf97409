//! Tokio's named pipe, on a runtime of one thread.

use std::io;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::windows::named_pipe::{ClientOptions, NamedPipeClient, NamedPipeServer, ServerOptions},
    runtime::Builder,
};

use super::{End, Peer, unique_name};
use crate::far::Far;

pub(super) struct Tokio;

impl Peer for Tokio {
    type End = TokioEnd;

    async fn near(far: &mut Far, _len: usize) -> io::Result<Self::End> {
        let address = format!(r"\\.\pipe\{}", unique_name());
        let server = ServerOptions::new().first_pipe_instance(true).create(&address)?;
        far.start(&address)?;
        server.connect().await?;
        Ok(TokioEnd::Server(server))
    }

    async fn far(address: &str, _len: usize) -> io::Result<Self::End> {
        ClientOptions::new().open(address).map(TokioEnd::Client)
    }

    fn drive<F: Future>(future: F) -> io::Result<F::Output> {
        let runtime = Builder::new_current_thread().enable_io().build()?;
        Ok(runtime.block_on(future))
    }
}

/// The end in either process.
pub(super) enum TokioEnd {
    Server(NamedPipeServer),
    Client(NamedPipeClient),
}

impl End for TokioEnd {
    async fn send(&mut self, piece: &[u8]) -> io::Result<()> {
        match self {
            TokioEnd::Server(end) => end.write_all(piece).await,
            TokioEnd::Client(end) => end.write_all(piece).await,
        }
    }

    async fn receive(&mut self, piece: &mut Vec<u8>) -> io::Result<()> {
        match self {
            TokioEnd::Server(end) => end.read_exact(piece).await.map(drop),
            TokioEnd::Client(end) => end.read_exact(piece).await.map(drop),
        }
    }
}
