//! interprocess's local socket, with a name in the namespace that it prefers.

use std::io;

use interprocess::local_socket::{
    GenericNamespaced, ListenerOptions, Name, ToNsName,
    prelude::{LocalSocketListener, LocalSocketStream},
    traits::{Listener, Stream},
};

use super::{BlockingDuplex, Server, Transport, unique_name};
use crate::peer_process::PeerProcess;

pub(super) struct Interprocess;

impl Transport for Interprocess {
    type Endpoint = BlockingDuplex<LocalSocketStream>;

    async fn create_endpoint(peer: &mut PeerProcess, _len: usize) -> io::Result<Self::Endpoint> {
        let (listener, address) = Self::listen()?;
        peer.start(&address)?;
        Self::accept(&listener).map(BlockingDuplex)
    }

    async fn connect_endpoint(address: &str, _len: usize) -> io::Result<Self::Endpoint> {
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
