//! This library's named pipe: as it comes, and with buffers of other sizes (0 stands for the default).

use std::io;

use pipework::{
    ClientOptions, Listener, MessageRead, NamedPipe, NamedPipeBuilder, PipeMode, PipeName, PipeStream,
};

use super::{BlockingDuplex, End, Peer, Server, wrong_length};
use crate::far::Far;

/// Bytes.
pub(super) struct Bytes<const BUFFER_LEN: u32>;

impl<const BUFFER_LEN: u32> Peer for Bytes<BUFFER_LEN> {
    type End = BlockingDuplex<PipeStream>;

    async fn near(far: &mut Far, _len: usize) -> io::Result<Self::End> {
        near(far, PipeMode::Byte, BUFFER_LEN).map(BlockingDuplex)
    }

    async fn far(address: &str, _len: usize) -> io::Result<Self::End> {
        pipework::connect(address).map(BlockingDuplex)
    }
}

impl<const BUFFER_LEN: u32> Server for Bytes<BUFFER_LEN> {
    type Listener = Listener;
    type Stream = PipeStream;

    fn listen() -> io::Result<(Listener, String)> {
        let name = PipeName::unique("bench")?;
        let address = name.to_string();
        Ok((Listener::bind(&name)?, address))
    }

    fn accept(listener: &Listener) -> io::Result<PipeStream> {
        listener.accept()
    }

    fn connect(address: &str) -> io::Result<PipeStream> {
        pipework::connect(address)
    }
}

/// Messages.
pub(super) struct Messages<const BUFFER_LEN: u32>;

impl<const BUFFER_LEN: u32> Peer for Messages<BUFFER_LEN> {
    type End = MessageEnd;

    async fn near(far: &mut Far, _len: usize) -> io::Result<Self::End> {
        near(far, PipeMode::Message, BUFFER_LEN).map(MessageEnd)
    }

    async fn far(address: &str, _len: usize) -> io::Result<Self::End> {
        ClientOptions::new().read_mode(PipeMode::Message).connect(address).map(MessageEnd)
    }
}

pub(super) struct MessageEnd(PipeStream);

impl End for MessageEnd {
    async fn send(&mut self, piece: &[u8]) -> io::Result<()> {
        self.0.write_message(piece)
    }

    async fn receive(&mut self, piece: &mut Vec<u8>) -> io::Result<()> {
        match self.0.read_message_into(piece)? {
            MessageRead::Whole(len) if len == piece.len() => Ok(()),
            MessageRead::Whole(len) | MessageRead::Part(len) => Err(wrong_length(len, piece.len())),
            MessageRead::End => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

fn near(far: &mut Far, mode: PipeMode, buffer_len: u32) -> io::Result<PipeStream> {
    let name = PipeName::unique("bench")?;
    let mut builder = NamedPipeBuilder::new(&name);
    builder.pipe_mode(mode);
    if buffer_len > 0 {
        builder.in_buffer_size(buffer_len).out_buffer_size(buffer_len);
    }
    let server: NamedPipe = builder.create()?;
    far.start(&name.to_string())?;
    server.connect()?;
    Ok(server.into_stream())
}
