//! ipc-channel's channels of bytes, one each way. Each message received is a buffer of its own, copied out already.

use std::io;

use ipc_channel::ipc::{IpcBytesReceiver, IpcBytesSender, IpcOneShotServer, IpcSender, bytes_channel};

use super::{End, Peer, wrong_length};
use crate::far::Far;

pub(super) struct IpcChannel;

/// What the other process hands over: where to send, and where to receive.
type Ends = (IpcBytesSender, IpcBytesReceiver);

impl Peer for IpcChannel {
    type End = Channels;

    async fn near(far: &mut Far, _len: usize) -> io::Result<Self::End> {
        let (server, address) = IpcOneShotServer::<Ends>::new()?;
        far.start(&address)?;
        let (_, (sender, receiver)) = server.accept().map_err(io::Error::other)?;
        Ok(Channels { sender, receiver })
    }

    async fn far(address: &str, _len: usize) -> io::Result<Self::End> {
        let (near_sender, receiver) = bytes_channel()?;
        let (sender, near_receiver) = bytes_channel()?;
        let hand_over = IpcSender::connect(address.to_owned())?;
        hand_over.send((near_sender, near_receiver)).map_err(io::Error::other)?;
        Ok(Channels { sender, receiver })
    }
}

pub(super) struct Channels {
    sender: IpcBytesSender,
    receiver: IpcBytesReceiver,
}

impl End for Channels {
    async fn send(&mut self, piece: &[u8]) -> io::Result<()> {
        self.sender.send(piece)
    }

    async fn receive(&mut self, piece: &mut Vec<u8>) -> io::Result<()> {
        let received = self.receiver.recv().map_err(io::Error::other)?;
        if received.len() != piece.len() {
            return Err(wrong_length(received.len(), piece.len()));
        }
        *piece = received;
        Ok(())
    }
}
