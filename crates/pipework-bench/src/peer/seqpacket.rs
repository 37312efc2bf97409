//! A Unix socket that keeps messages apart. The standard library has none, so the calls are made as they are.

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

use super::{BlockingDuplex, Peer, Server, unique_name};
use crate::far::Far;

/// The kernel cuts it down to the most that it allows, as for the other listeners.
const BACKLOG: i32 = i32::MAX;

pub(super) struct Seqpacket;

impl Peer for Seqpacket {
    type End = BlockingDuplex<Packets>;

    /// A message has to fit into the socket's buffer, whose default is the most that an ordinary user may have.
    fn declines(len: usize) -> io::Result<Option<String>> {
        let (one, _other) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        match send(&one, &vec![0; len], SendFlags::DONTWAIT) {
            Err(Errno::MSGSIZE) => Ok(Some("a message of this size does not fit into a socket".to_owned())),
            Err(error) => Err(error.into()),
            Ok(_) => Ok(None),
        }
    }

    async fn near(far: &mut Far, _len: usize) -> io::Result<Self::End> {
        let (listener, address) = Self::listen()?;
        far.start(&address)?;
        Self::accept(&listener).map(BlockingDuplex)
    }

    async fn far(address: &str, _len: usize) -> io::Result<Self::End> {
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

/// Each write is a message; each read takes one.
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
