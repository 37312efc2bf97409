//! The standard library's Unix socket.

use std::{
    fs, io,
    os::unix::net::{UnixListener, UnixStream},
};

use super::{BlockingDuplex, Peer, unique_name};
use crate::far::Far;

pub(super) struct UnixSocket;

impl Peer for UnixSocket {
    const NAME: &'static str = "std UnixStream";
    type End = BlockingDuplex<UnixStream>;

    async fn near(far: &mut Far) -> io::Result<Self::End> {
        let path = std::env::temp_dir().join(unique_name());
        let listener = UnixListener::bind(&path)?;
        let accepted = far.start(&path.to_string_lossy()).and_then(|()| listener.accept());
        fs::remove_file(&path)?;
        let (stream, _) = accepted?;
        Ok(BlockingDuplex(stream))
    }

    async fn far(address: &str) -> io::Result<Self::End> {
        UnixStream::connect(address).map(BlockingDuplex)
    }
}
