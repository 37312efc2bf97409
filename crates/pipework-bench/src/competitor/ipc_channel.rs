//! ipc-channel's byte channels, one for each direction. Each message is received into a new buffer.

use std::io;

use ipc_channel::ipc::{IpcBytesReceiver, IpcBytesSender, IpcOneShotServer, IpcSender, bytes_channel};

use super::{Endpoint, Transport, wrong_length};
use crate::peer_process::PeerProcess;

pub(super) struct IpcChannel;

/// The peer process creates both channels, and sends these ends to the timing process.
type Ends = (IpcBytesSender, IpcBytesReceiver);

impl Transport for IpcChannel {
    type Endpoint = Channels;

    async fn create_endpoint(peer: &mut PeerProcess, _len: usize) -> io::Result<Self::Endpoint> {
        let (server, address) = IpcOneShotServer::<Ends>::new()?;
        peer.start(&address)?;
        let (_, (sender, receiver)) = server.accept().map_err(io::Error::other)?;
        Ok(Channels { sender, receiver })
    }

    async fn connect_endpoint(address: &str, _len: usize) -> io::Result<Self::Endpoint> {
        let (timer_sender, receiver) = bytes_channel()?;
        let (sender, timer_receiver) = bytes_channel()?;
        let bootstrap = IpcSender::connect(address.to_owned())?;
        bootstrap.send((timer_sender, timer_receiver)).map_err(io::Error::other)?;
        Ok(Channels { sender, receiver })
    }
}

pub(super) struct Channels {
    sender: IpcBytesSender,
    receiver: IpcBytesReceiver,
}

impl Endpoint for Channels {
    async fn send(&mut self, payload: &[u8]) -> io::Result<()> {
        self.sender.send(payload)
    }

    async fn receive(&mut self, payload: &mut Vec<u8>) -> io::Result<()> {
        let received = self.receiver.recv().map_err(io::Error::other)?;
        if received.len() != payload.len() {
            return Err(wrong_length(received.len(), payload.len()));
        }
        *payload = received;
        Ok(())
    }
}
