//! A Unix socket of the type `SOCK_SEQPACKET`, by system calls: the standard library has none.

use std::{
    io::{self, IoSlice, IoSliceMut, Read, Write},
    os::fd::{AsRawFd, OwnedFd},
};

use nix::sys::socket::{MsgFlags, MultiHeaders, recvmmsg, sendmmsg};
use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept, bind, connect,
        listen, recv, send, socket_with, socketpair,
    },
};

use super::{BlockingDuplex, Server, Transport, unique_name, wrong_length};
use crate::{endpoint::Endpoint, peer_process::PeerProcess};

/// The kernel lowers it to `net.core.somaxconn`, as it does for the other listeners.
const BACKLOG: i32 = i32::MAX;

pub(super) struct Seqpacket;

impl Transport for Seqpacket {
    type Endpoint = BlockingDuplex<Packets>;

    /// A message has to fit into the socket's buffer, and by default an ordinary user can't enlarge that.
    fn declines(len: usize) -> io::Result<Option<String>> {
        let (one, _other) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        match send(&one, &vec![0; len], SendFlags::DONTWAIT) {
            Err(Errno::MSGSIZE) => Ok(Some("a message of this size does not fit into a socket".to_owned())),
            Err(error) => Err(error.into()),
            Ok(_) => Ok(None),
        }
    }

    async fn create_endpoint(peer: &mut PeerProcess, _len: usize) -> io::Result<Self::Endpoint> {
        let (listener, address) = Self::listen()?;
        peer.start(&address)?;
        Self::accept(&listener).map(BlockingDuplex)
    }

    async fn connect_endpoint(address: &str, _len: usize) -> io::Result<Self::Endpoint> {
        Self::connect(address).map(BlockingDuplex)
    }
}

/// The same, with many messages in one call.
pub(super) struct SeqpacketBatches;

impl Transport for SeqpacketBatches {
    type Endpoint = Batches;

    async fn create_endpoint(peer: &mut PeerProcess, len: usize) -> io::Result<Batches> {
        Seqpacket::create_endpoint(peer, len).await.map(Batches::new)
    }

    async fn connect_endpoint(address: &str, len: usize) -> io::Result<Batches> {
        Seqpacket::connect_endpoint(address, len).await.map(Batches::new)
    }
}

pub(super) struct Batches {
    duplex: BlockingDuplex<Packets>,
    headers: MultiHeaders<()>,
    payloads: Vec<Vec<u8>>,
}

impl Batches {
    fn new(duplex: BlockingDuplex<Packets>) -> Batches {
        Batches { duplex, headers: MultiHeaders::preallocate(0, None), payloads: Vec::new() }
    }

    fn make_room(&mut self, count: usize, len: usize) {
        if self.payloads.len() < count {
            self.payloads = vec![vec![0; len]; count];
            self.headers = MultiHeaders::preallocate(count, None);
        }
    }
}

impl Endpoint for Batches {
    async fn send(&mut self, payload: &[u8]) -> io::Result<()> {
        self.duplex.send(payload).await
    }

    async fn receive(&mut self, payload: &mut Vec<u8>) -> io::Result<()> {
        self.duplex.receive(payload).await
    }

    async fn send_batch(&mut self, payloads: &[Vec<u8>]) -> io::Result<()> {
        self.make_room(payloads.len(), 0);
        let slices: Vec<[IoSlice<'_>; 1]> = payloads.iter().map(|payload| [IoSlice::new(payload)]).collect();
        let (socket, nobody) = (self.duplex.0.0.as_raw_fd(), vec![None::<()>; slices.len()]);
        let (mut rest, mut nobody) = (&slices[..], &nobody[..]);
        while !rest.is_empty() {
            let sent = sendmmsg(socket, &mut self.headers, rest, nobody, [], MsgFlags::MSG_NOSIGNAL)?;
            let sent = sent.count();
            (rest, nobody) = (rest.get(sent..).unwrap_or_default(), nobody.get(sent..).unwrap_or_default());
        }
        Ok(())
    }

    async fn receive_batch(
        &mut self,
        payload: &mut Vec<u8>,
        count_max: usize,
        check: &mut impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let len = payload.len();
        self.make_room(count_max, len);
        let socket = self.duplex.0.0.as_raw_fd();
        let mut slices: Vec<_> = self.payloads.iter_mut().map(|payload| [IoSliceMut::new(payload)]).collect();
        let received = recvmmsg(socket, &mut self.headers, &mut slices, MsgFlags::MSG_WAITFORONE, None)?;
        for message in received {
            match message.iovs().next() {
                Some(received) if received.len() == len => check(received)?,
                received => return Err(wrong_length(received.map_or(0, <[u8]>::len), len)),
            }
        }
        Ok(())
    }
}

impl Server for Seqpacket {
    type Listener = OwnedFd;
    type Stream = Packets;

    fn listen() -> io::Result<(OwnedFd, String)> {
        let path = std::env::temp_dir().join(unique_name());
        let listener = new_socket()?;
        bind(&listener, &SocketAddrUnix::new(&path)?)?;
        listen(&listener, BACKLOG)?;
        Ok((listener, path.to_string_lossy().into_owned()))
    }

    fn accept(listener: &OwnedFd) -> io::Result<Packets> {
        Ok(Packets(accept(listener)?))
    }

    fn connect(address: &str) -> io::Result<Packets> {
        let socket = new_socket()?;
        connect(&socket, &SocketAddrUnix::new(address)?)?;
        Ok(Packets(socket))
    }
}

fn new_socket() -> io::Result<OwnedFd> {
    Ok(socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Each write sends a message, and each read receives one.
pub(super) struct Packets(OwnedFd);

impl Write for Packets {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Ok(send(&self.0, buf, SendFlags::NOSIGNAL)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Packets {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let (len, _) = recv(&self.0, buf, RecvFlags::empty())?;
        Ok(len)
    }
}
