//! This library's named pipe, as it comes.

use std::io;

use pipework::{NamedPipe, PipeName, PipeStream};

use super::{BlockingDuplex, Peer};
use crate::far::Far;

pub(super) struct Pipework;

impl Peer for Pipework {
    const NAME: &'static str = "pipework";
    type End = BlockingDuplex<PipeStream>;

    async fn near(far: &mut Far) -> io::Result<Self::End> {
        let name = PipeName::unique("bench")?;
        let server = NamedPipe::new(&name)?;
        far.start(&name.to_string())?;
        server.connect()?;
        Ok(BlockingDuplex(server.into_stream()))
    }

    async fn far(address: &str) -> io::Result<Self::End> {
        pipework::connect(address).map(BlockingDuplex)
    }
}
