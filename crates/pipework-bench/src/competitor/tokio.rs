//! Async competitors, on tokio's runtime of one thread.

use std::io;

use ::tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
#[cfg(unix)]
use ::tokio::net::{UnixListener, UnixStream};

use super::{Endpoint, Transport, unique_name};
use crate::{
    endpoint::{AsyncServer, run_on_tokio},
    peer_process::PeerProcess,
};

/// A competitor with the interface of tokio's named pipes.
macro_rules! named_pipe {
    ($competitor:ident, $($module:ident)::+) => {
        pub(super) struct $competitor;

        impl Transport for $competitor {
            type Endpoint = AsyncEndpoint;

            async fn create_endpoint(peer: &mut PeerProcess, _len: usize) -> io::Result<Self::Endpoint> {
                let address = format!(r"\\.\pipe\{}", unique_name());
                let server =
                    $($module)::+::ServerOptions::new().first_pipe_instance(true).create(&address)?;
                peer.start(&address)?;
                server.connect().await?;
                Ok(AsyncEndpoint(Box::new(server)))
            }

            async fn connect_endpoint(address: &str, _len: usize) -> io::Result<Self::Endpoint> {
                let client = $($module)::+::ClientOptions::new().open(address)?;
                Ok(AsyncEndpoint(Box::new(client)))
            }

            fn block_on<F: Future>(future: F) -> io::Result<F::Output> {
                run_on_tokio(future)
            }
        }
    };
}

named_pipe!(Pipework, pipework::tokio);
#[cfg(windows)]
named_pipe!(TokioNamedPipe, tokio::net::windows::named_pipe);

impl AsyncServer for Pipework {
    type Listener = pipework::tokio::Listener;
    type Accepted = pipework::tokio::NamedPipeServer;
    type Connected = pipework::tokio::NamedPipeClient;
    type Blocking = pipework::PipeStream;

    async fn listen() -> io::Result<(Self::Listener, String)> {
        let name = pipework::PipeName::unique("bench")?;
        Ok((pipework::tokio::Listener::bind(&name)?, name.to_string()))
    }

    async fn accept(listener: &Self::Listener) -> io::Result<Self::Accepted> {
        listener.accept().await
    }

    async fn connect(address: &str) -> io::Result<Self::Connected> {
        pipework::tokio::connect(address).await
    }

    fn connect_blocking(address: &str) -> io::Result<Self::Blocking> {
        pipework::connect(address)
    }
}

#[cfg(unix)]
pub(super) struct UnixSocket;

#[cfg(unix)]
impl Transport for UnixSocket {
    type Endpoint = AsyncEndpoint;

    async fn create_endpoint(peer: &mut PeerProcess, _len: usize) -> io::Result<Self::Endpoint> {
        let path = std::env::temp_dir().join(unique_name());
        let listener = UnixListener::bind(&path)?;
        peer.start(&path.to_string_lossy())?;
        let accepted = listener.accept().await;
        std::fs::remove_file(&path)?;
        let (stream, _) = accepted?;
        Ok(AsyncEndpoint(Box::new(stream)))
    }

    async fn connect_endpoint(address: &str, _len: usize) -> io::Result<Self::Endpoint> {
        let stream = UnixStream::connect(address).await?;
        Ok(AsyncEndpoint(Box::new(stream)))
    }

    fn block_on<F: Future>(future: F) -> io::Result<F::Output> {
        run_on_tokio(future)
    }
}

#[cfg(unix)]
impl AsyncServer for UnixSocket {
    type Listener = UnixListener;
    type Accepted = UnixStream;
    type Connected = UnixStream;
    type Blocking = std::os::unix::net::UnixStream;

    async fn listen() -> io::Result<(UnixListener, String)> {
        let path = std::env::temp_dir().join(unique_name());
        Ok((UnixListener::bind(&path)?, path.to_string_lossy().into_owned()))
    }

    async fn accept(listener: &UnixListener) -> io::Result<UnixStream> {
        listener.accept().await.map(|(stream, _)| stream)
    }

    async fn connect(address: &str) -> io::Result<UnixStream> {
        UnixStream::connect(address).await
    }

    fn connect_blocking(address: &str) -> io::Result<Self::Blocking> {
        Self::Blocking::connect(address)
    }
}

/// An endpoint by `AsyncRead` and `AsyncWrite`.
pub(super) struct AsyncEndpoint(Box<dyn Duplex>);

trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Duplex for S {}

impl Endpoint for AsyncEndpoint {
    async fn send(&mut self, payload: &[u8]) -> io::Result<()> {
        self.0.write_all(payload).await
    }

    async fn receive(&mut self, payload: &mut Vec<u8>) -> io::Result<()> {
        self.0.read_exact(payload).await.map(drop)
    }
}
