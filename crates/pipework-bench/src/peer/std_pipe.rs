//! The standard library's pipes: stdin and stdout of a child, which are pipes of the kernel.

use std::{
    io::{self, PipeReader, PipeWriter},
    process::{ChildStdin, ChildStdout},
};

use super::{Blocking, End, Peer};
use crate::far::Far;

pub(super) struct StdPipe;

impl Peer for StdPipe {
    type End = Stdio;

    async fn near(far: &mut Far, _len: usize) -> io::Result<Self::End> {
        let (writer, reader) = far.start_piped("")?;
        Ok(Stdio::OfChild(Blocking { reader, writer }))
    }

    async fn far(_address: &str, _len: usize) -> io::Result<Self::End> {
        Ok(Stdio::Own(own()?))
    }
}

/// The end in either process.
pub(super) enum Stdio {
    OfChild(Blocking<ChildStdout, ChildStdin>),
    Own(Blocking<PipeReader, PipeWriter>),
}

impl End for Stdio {
    async fn send(&mut self, piece: &[u8]) -> io::Result<()> {
        match self {
            Stdio::OfChild(end) => end.send(piece).await,
            Stdio::Own(end) => end.send(piece).await,
        }
    }

    async fn receive(&mut self, piece: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Stdio::OfChild(end) => end.receive(piece).await,
            Stdio::Own(end) => end.receive(piece).await,
        }
    }
}

/// The pipes themselves: `io::stdin` and `io::stdout` have buffers, which would be one more copy.
#[cfg(unix)]
fn own() -> io::Result<Blocking<PipeReader, PipeWriter>> {
    use std::os::fd::AsFd;

    let reader = PipeReader::from(io::stdin().as_fd().try_clone_to_owned()?);
    let writer = PipeWriter::from(io::stdout().as_fd().try_clone_to_owned()?);
    Ok(Blocking { reader, writer })
}

/// The pipes themselves: `io::stdin` and `io::stdout` have buffers, which would be one more copy.
#[cfg(windows)]
fn own() -> io::Result<Blocking<PipeReader, PipeWriter>> {
    use std::os::windows::io::AsHandle;

    let reader = PipeReader::from(io::stdin().as_handle().try_clone_to_owned()?);
    let writer = PipeWriter::from(io::stdout().as_handle().try_clone_to_owned()?);
    Ok(Blocking { reader, writer })
}
