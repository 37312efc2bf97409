//! The standard library's Unix socket. Its listener asks for the longest queue that the system allows.

use std::{
    fs, io,
    os::unix::net::{UnixListener, UnixStream},
};

use super::{BlockingDuplex, Peer, Server, unique_name};
use crate::far::Far;

pub(super) struct UnixSocket;

impl Peer for UnixSocket {
    type End = BlockingDuplex<UnixStream>;

    async fn near(far: &mut Far, _len: usize) -> io::Result<Self::End> {
        let (listener, path) = Self::listen()?;
        let accepted = far.start(&path).and_then(|()| listener.accept());
        fs::remove_file(&path)?;
        let (stream, _) = accepted?;
        Ok(BlockingDuplex(stream))
    }

    async fn far(address: &str, _len: usize) -> io::Result<Self::End> {
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
