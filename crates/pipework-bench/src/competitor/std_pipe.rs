//! The standard library's pipes: stdin and stdout of a child, which are kernel pipes.

use std::{
    io::{self, PipeReader, PipeWriter},
    process::{ChildStdin, ChildStdout},
};

use super::{Blocking, Endpoint, Transport};
use crate::peer_process::PeerProcess;

pub(super) struct StdPipe;

impl Transport for StdPipe {
    type Endpoint = Stdio;

    async fn create_endpoint(peer: &mut PeerProcess, _len: usize) -> io::Result<Self::Endpoint> {
        let (writer, reader) = peer.start_piped("")?;
        Ok(Stdio::Parent(Blocking { reader, writer }))
    }

    async fn connect_endpoint(_address: &str, _len: usize) -> io::Result<Self::Endpoint> {
        Ok(Stdio::Child(unbuffered_stdio()?))
    }
}

/// The endpoint of either process.
pub(super) enum Stdio {
    Parent(Blocking<ChildStdout, ChildStdin>),
    Child(Blocking<PipeReader, PipeWriter>),
}

impl Endpoint for Stdio {
    async fn send(&mut self, payload: &[u8]) -> io::Result<()> {
        match self {
            Stdio::Parent(end) => end.send(payload).await,
            Stdio::Child(end) => end.send(payload).await,
        }
    }

    async fn receive(&mut self, payload: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Stdio::Parent(end) => end.receive(payload).await,
            Stdio::Child(end) => end.receive(payload).await,
        }
    }
}

/// Returns the pipes themselves: the buffers of `io::stdin` and `io::stdout` would add a copy.
#[cfg(unix)]
fn unbuffered_stdio() -> io::Result<Blocking<PipeReader, PipeWriter>> {
    use std::os::fd::AsFd;

    let reader = PipeReader::from(io::stdin().as_fd().try_clone_to_owned()?);
    let writer = PipeWriter::from(io::stdout().as_fd().try_clone_to_owned()?);
    Ok(Blocking { reader, writer })
}

/// Returns the pipes themselves: the buffers of `io::stdin` and `io::stdout` would add a copy.
#[cfg(windows)]
fn unbuffered_stdio() -> io::Result<Blocking<PipeReader, PipeWriter>> {
    use std::os::windows::io::AsHandle;

    let reader = PipeReader::from(io::stdin().as_handle().try_clone_to_owned()?);
    let writer = PipeWriter::from(io::stdout().as_handle().try_clone_to_owned()?);
    Ok(Blocking { reader, writer })
}
