//! A Unix socket of the type `SOCK_SEQPACKET`, by system calls: the standard library has none.

use std::{
    io::{self, Read, Write},
    os::fd::OwnedFd,
};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept, bind, connect,
        listen, recv, send, socket_with, socketpair,
    },
};

use super::{BlockingDuplex, Server, Transport, unique_name};
use crate::peer_process::PeerProcess;

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
