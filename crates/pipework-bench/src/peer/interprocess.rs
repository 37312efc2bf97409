//! interprocess's local socket, under a name of the kind that it prefers.

use std::io;

use interprocess::local_socket::{
    GenericNamespaced, ListenerOptions, Name, ToNsName,
    prelude::{LocalSocketListener, LocalSocketStream},
    traits::{Listener, Stream},
};

use super::{BlockingDuplex, Peer, Server, unique_name};
use crate::far::Far;

pub(super) struct Interprocess;

impl Peer for Interprocess {
    type End = BlockingDuplex<LocalSocketStream>;

    async fn near(far: &mut Far, _len: usize) -> io::Result<Self::End> {
        let (listener, address) = Self::listen()?;
        far.start(&address)?;
        Self::accept(&listener).map(BlockingDuplex)
    }

    async fn far(address: &str, _len: usize) -> io::Result<Self::End> {
        Self::connect(address).map(BlockingDuplex)
    }
}

impl Server for Interprocess {
    type Listener = LocalSocketListener;
    type Stream = LocalSocketStream;

    fn listen() -> io::Result<(LocalSocketListener, String)> {
        let address = unique_name();
        let listener = ListenerOptions::new().name(name(&address)?).create_sync()?;
        Ok((listener, address))
    }

    fn accept(listener: &LocalSocketListener) -> io::Result<LocalSocketStream> {
        listener.accept()
    }

    fn connect(address: &str) -> io::Result<LocalSocketStream> {
        LocalSocketStream::connect(name(address)?)
    }
}

fn name(address: &str) -> io::Result<Name<'_>> {
    address.to_ns_name::<GenericNamespaced>()
}
