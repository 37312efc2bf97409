//! Tasks on a runtime of one thread.

use std::{io, pin::pin};

#[cfg(unix)]
use ::tokio::net::{UnixListener, UnixStream};
use ::tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    runtime::Builder,
};

use super::{End, Peer, unique_name};
use crate::far::Far;

/// A peer with the interface of tokio's named pipes.
macro_rules! named_pipe {
    ($peer:ident, $($module:ident)::+) => {
        pub(super) struct $peer;

        impl Peer for $peer {
            type End = Tasks;

            async fn near(far: &mut Far, _len: usize) -> io::Result<Self::End> {
                let address = format!(r"\\.\pipe\{}", unique_name());
                let server =
                    $($module)::+::ServerOptions::new().first_pipe_instance(true).create(&address)?;
                far.start(&address)?;
                server.connect().await?;
                Ok(Tasks(Box::new(server)))
            }

            async fn far(address: &str, _len: usize) -> io::Result<Self::End> {
                let client = $($module)::+::ClientOptions::new().open(address)?;
                Ok(Tasks(Box::new(client)))
            }

            fn drive<F: Future>(future: F) -> io::Result<F::Output> {
                run(future)
            }
        }
    };
}

named_pipe!(Ours, pipework::tokio);
#[cfg(windows)]
named_pipe!(Theirs, tokio::net::windows::named_pipe);

#[cfg(unix)]
pub(super) struct UnixSocket;

#[cfg(unix)]
impl Peer for UnixSocket {
    type End = Tasks;

    async fn near(far: &mut Far, _len: usize) -> io::Result<Self::End> {
        let path = std::env::temp_dir().join(unique_name());
        let listener = UnixListener::bind(&path)?;
        far.start(&path.to_string_lossy())?;
        let accepted = listener.accept().await;
        std::fs::remove_file(&path)?;
        let (stream, _) = accepted?;
        Ok(Tasks(Box::new(stream)))
    }

    async fn far(address: &str, _len: usize) -> io::Result<Self::End> {
        let stream = UnixStream::connect(address).await?;
        Ok(Tasks(Box::new(stream)))
    }

    fn drive<F: Future>(future: F) -> io::Result<F::Output> {
        run(future)
    }
}

/// As tokio's documentation has it for a program that does one thing.
fn run<F: Future>(future: F) -> io::Result<F::Output> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(pin!(future)))
}

/// An end of tokio's traits.
pub(super) struct Tasks(Box<dyn Duplex>);

trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Duplex for S {}

impl End for Tasks {
    async fn send(&mut self, piece: &[u8]) -> io::Result<()> {
        self.0.write_all(piece).await
    }

    async fn receive(&mut self, piece: &mut Vec<u8>) -> io::Result<()> {
        self.0.read_exact(piece).await.map(drop)
    }
}
