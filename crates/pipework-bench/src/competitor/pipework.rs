//! Pipework's named pipe, with buffers of several sizes. Size 0 is the default size.

use std::io::{self, IoSlice};

use pipework::{
    ClientOptions, Listener, MessageBatch, MessageRead, NamedPipe, NamedPipeBuilder, PipeMode, PipeName,
    PipeStream,
};

use super::{BlockingDuplex, Endpoint, Server, Transport, wrong_length};
use crate::peer_process::PeerProcess;

/// A byte pipe.
pub(super) struct Bytes<const BUFFER_LEN: u32>;

impl<const BUFFER_LEN: u32> Transport for Bytes<BUFFER_LEN> {
    type Endpoint = BlockingDuplex<PipeStream>;

    async fn create_endpoint(peer: &mut PeerProcess, _len: usize) -> io::Result<Self::Endpoint> {
        create(peer, PipeMode::Byte, BUFFER_LEN).map(BlockingDuplex)
    }

    async fn connect_endpoint(address: &str, _len: usize) -> io::Result<Self::Endpoint> {
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

/// A message pipe.
pub(super) struct Messages<const BUFFER_LEN: u32>;

impl<const BUFFER_LEN: u32> Transport for Messages<BUFFER_LEN> {
    type Endpoint = MessageEndpoint;

    async fn create_endpoint(peer: &mut PeerProcess, _len: usize) -> io::Result<Self::Endpoint> {
        create(peer, PipeMode::Message, BUFFER_LEN).map(MessageEndpoint::new)
    }

    async fn connect_endpoint(address: &str, _len: usize) -> io::Result<Self::Endpoint> {
        ClientOptions::new().read_mode(PipeMode::Message).connect(address).map(MessageEndpoint::new)
    }
}

pub(super) struct MessageEndpoint {
    pipe: PipeStream,
    batch: MessageBatch,
}

impl MessageEndpoint {
    fn new(pipe: PipeStream) -> MessageEndpoint {
        MessageEndpoint { pipe, batch: MessageBatch::new(0, 0) }
    }
}

impl Endpoint for MessageEndpoint {
    async fn send(&mut self, payload: &[u8]) -> io::Result<()> {
        self.pipe.write_message(payload)
    }

    async fn receive(&mut self, payload: &mut Vec<u8>) -> io::Result<()> {
        match self.pipe.read_message_into(payload)? {
            MessageRead::Whole(len) if len == payload.len() => Ok(()),
            MessageRead::Whole(len) | MessageRead::Part(len) => Err(wrong_length(len, payload.len())),
            MessageRead::End => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    async fn send_batch(&mut self, payloads: &[Vec<u8>]) -> io::Result<()> {
        let messages: Vec<IoSlice<'_>> = payloads.iter().map(|payload| IoSlice::new(payload)).collect();
        match self.pipe.write_messages(&messages)? {
            count if count == messages.len() => Ok(()),
            count => Err(io::Error::other(format!("{count} messages of {} were written", messages.len()))),
        }
    }

    async fn receive_batch(
        &mut self,
        payload: &mut Vec<u8>,
        count_max: usize,
        check: &mut impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        if self.batch.is_empty() {
            self.batch = MessageBatch::new(count_max, count_max * payload.len());
        }
        match self.pipe.read_messages(&mut self.batch)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => self.batch.iter().try_for_each(check),
        }
    }
}

fn create(peer: &mut PeerProcess, mode: PipeMode, buffer_len: u32) -> io::Result<PipeStream> {
    let name = PipeName::unique("bench")?;
    let mut builder = NamedPipeBuilder::new(&name);
    builder.pipe_mode(mode);
    if buffer_len > 0 {
        builder.in_buffer_size(buffer_len).out_buffer_size(buffer_len);
    }
    let server: NamedPipe = builder.create()?;
    peer.start(&name.to_string())?;
    server.connect()?;
    Ok(server.into_stream())
}
