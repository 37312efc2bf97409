//! The standard library's Unix socket. Its listener has the longest queue that the system allows.

use std::{
    fs, io,
    os::unix::net::{UnixListener, UnixStream},
};

use super::{BlockingDuplex, Server, Transport, unique_name};
use crate::peer_process::PeerProcess;

pub(super) struct UnixSocket;

impl Transport for UnixSocket {
    type Endpoint = BlockingDuplex<UnixStream>;

    async fn create_endpoint(peer: &mut PeerProcess, _len: usize) -> io::Result<Self::Endpoint> {
        let (listener, path) = Self::listen()?;
        let accepted = peer.start(&path).and_then(|()| listener.accept());
        fs::remove_file(&path)?;
        let (stream, _) = accepted?;
        Ok(BlockingDuplex(stream))
    }

    async fn connect_endpoint(address: &str, _len: usize) -> io::Result<Self::Endpoint> {
        UnixStream::connect(address).map(BlockingDuplex)
    }
}

impl Server for UnixSocket {
    type Listener = UnixListener;
    type Stream = UnixStream;

    fn listen() -> io::Result<(UnixListener, String)> {
        let path = std::env::temp_dir().join(unique_name());
        let listener = UnixListener::bind(&path)?;
        Ok((listener, path.to_string_lossy().into_owned()))
    }

    fn accept(listener: &UnixListener) -> io::Result<UnixStream> {
        listener.accept().map(|(stream, _)| stream)
    }

    fn connect(address: &str) -> io::Result<UnixStream> {
        UnixStream::connect(address)
    }
}
