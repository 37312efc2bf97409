//! This library's anonymous pipes, one each way, as stdin and stdout of a child (a size of 0 stands for the default).

use std::io;

use pipework::{AnonRead, AnonWrite};

use super::{Blocking, End, Peer, std_pipe};
use crate::far::Far;

pub(super) struct Anonymous<const BUFFER_LEN: u32>;

impl<const BUFFER_LEN: u32> Peer for Anonymous<BUFFER_LEN> {
    type End = AnonymousEnd;

    async fn near(far: &mut Far, _len: usize) -> io::Result<Self::End> {
        let (far_reader, writer) = pipework::anonymous(BUFFER_LEN)?;
        let (reader, far_writer) = pipework::anonymous(BUFFER_LEN)?;
        far.start_with(far_reader, far_writer)?;
        Ok(AnonymousEnd::Near(Blocking { reader, writer }))
    }

    async fn far(address: &str, len: usize) -> io::Result<Self::End> {
        std_pipe::StdPipe::far(address, len).await.map(AnonymousEnd::Far)
    }
}

/// The end in either process; a child has just the pipes that it was started with.
pub(super) enum AnonymousEnd {
    Near(Blocking<AnonRead, AnonWrite>),
    Far(std_pipe::Stdio),
}

impl End for AnonymousEnd {
    async fn send(&mut self, piece: &[u8]) -> io::Result<()> {
        match self {
            AnonymousEnd::Near(end) => end.send(piece).await,
            AnonymousEnd::Far(end) => end.send(piece).await,
        }
    }

    async fn receive(&mut self, piece: &mut Vec<u8>) -> io::Result<()> {
        match self {
            AnonymousEnd::Near(end) => end.receive(piece).await,
            AnonymousEnd::Far(end) => end.receive(piece).await,
        }
    }
}
