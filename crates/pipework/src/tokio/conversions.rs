//! Between blocking and async ends, as `from_std` and `into_std` are in tokio.
//!
//! An end keeps its connection, unread data, read mode, timeouts and canceller. Async calls use neither timeouts nor cancellers,
//! but keep them for the conversion back.

use super::{
    ends::{NamedPipeClient, NamedPipeServer},
    listener::Listener,
};
use crate::{
    error::{PipeErrorKind, fail},
    listener::Listener as BlockingListener,
    named::NamedPipe,
    options::PipeEnd,
    stream::PipeStream,
    sys::{self, asynchronous::AsyncEnd},
};
use std::io;

impl NamedPipeClient {
    /// Makes the client's end of a blocking connection an async one.
    ///
    /// Clones of `stream` stay usable: they are handles to the same end.
    ///
    /// # Errors
    /// `Invalid` for a server's end, which becomes a [`NamedPipeServer`].
    ///
    /// # Examples
    /// ```
    /// use pipework::{NamedPipe, PipeName, tokio::NamedPipeClient};
    /// use tokio::io::AsyncWriteExt;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// # use std::io::Read;
    /// let name = PipeName::unique("converted")?;
    /// let mut server = NamedPipe::new(&name)?;
    /// let mut client = NamedPipeClient::from_blocking(pipework::connect(&name)?)?;
    /// client.write_all(b"hi").await?;
    /// server.read_exact(&mut [0; 2])?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_blocking(stream: PipeStream) -> io::Result<NamedPipeClient> {
        if is_server(&stream) {
            let text = "this is a server's end: make it a `NamedPipeServer`";
            return Err(fail(PipeErrorKind::Invalid, text));
        }
        Ok(NamedPipeClient::new(AsyncEnd::new(stream.into_end())))
    }

    /// Makes this the client's end of a blocking connection.
    pub fn into_blocking(self) -> PipeStream {
        PipeStream::new(self.end.into_end())
    }
}

impl NamedPipeServer {
    /// Makes a blocking instance an async one, whatever state it is in.
    ///
    /// Clones of its stream stay usable: they are handles to the same end.
    pub fn from_blocking(pipe: NamedPipe) -> NamedPipeServer {
        NamedPipeServer::new(AsyncEnd::of_instance(&pipe.instance))
    }

    /// Makes this a blocking instance. [`into_stream`](NamedPipeServer::into_stream) always works.
    ///
    /// # Errors
    /// `Unsupported` for an end that has no instance, which this call closes: that of a plain Unix socket, and one that was
    /// made from a [`PipeStream`].
    pub fn into_blocking(self) -> io::Result<NamedPipe> {
        match self.end.into_end() {
            sys::End::Instance(instance) => Ok(NamedPipe::over(instance)),
            _ => {
                let text = "this end is one connection without an instance: call `into_stream`";
                Err(fail(PipeErrorKind::Unsupported, text))
            }
        }
    }

    /// Makes this the server's end of a blocking connection, and gives up the reuse of its instance.
    pub fn into_stream(self) -> PipeStream {
        let end = match self.end.into_end() {
            sys::End::Instance(instance) => instance.into_end(),
            end => end,
        };
        PipeStream::new(end)
    }
}

impl Listener {
    /// Makes a blocking listener an async one.
    pub fn from_blocking(listener: BlockingListener) -> Listener {
        Listener::new(listener.without_gate())
    }

    /// Makes this a blocking listener.
    pub fn into_blocking(self) -> BlockingListener {
        self.into_listener()
    }
}

/// Whether it is known to be a server's end. A pipe on another host does not say, and is always a client's.
fn is_server(stream: &PipeStream) -> bool {
    stream.info().is_ok_and(|info| info.end == PipeEnd::Server)
}

impl TryFrom<PipeStream> for NamedPipeClient {
    type Error = io::Error;

    /// As [`NamedPipeClient::from_blocking`].
    fn try_from(stream: PipeStream) -> io::Result<NamedPipeClient> {
        NamedPipeClient::from_blocking(stream)
    }
}

impl From<NamedPipeClient> for PipeStream {
    /// As [`NamedPipeClient::into_blocking`].
    fn from(client: NamedPipeClient) -> PipeStream {
        client.into_blocking()
    }
}

impl From<NamedPipe> for NamedPipeServer {
    /// As [`NamedPipeServer::from_blocking`].
    fn from(pipe: NamedPipe) -> NamedPipeServer {
        NamedPipeServer::from_blocking(pipe)
    }
}

impl TryFrom<PipeStream> for NamedPipeServer {
    type Error = io::Error;

    /// Takes a server's end, such as one that a blocking listener returned; `Invalid` for a client's.
    fn try_from(stream: PipeStream) -> io::Result<NamedPipeServer> {
        if !is_server(&stream) {
            let text = "this is a client's end: make it a `NamedPipeClient`";
            return Err(fail(PipeErrorKind::Invalid, text));
        }
        Ok(NamedPipeServer::new(AsyncEnd::new(stream.into_end())))
    }
}

impl TryFrom<NamedPipeServer> for NamedPipe {
    type Error = io::Error;

    /// As [`NamedPipeServer::into_blocking`].
    fn try_from(server: NamedPipeServer) -> io::Result<NamedPipe> {
        server.into_blocking()
    }
}

impl From<NamedPipeServer> for PipeStream {
    /// As [`NamedPipeServer::into_stream`].
    fn from(server: NamedPipeServer) -> PipeStream {
        server.into_stream()
    }
}

impl From<BlockingListener> for Listener {
    fn from(listener: BlockingListener) -> Listener {
        Listener::from_blocking(listener)
    }
}

impl From<Listener> for BlockingListener {
    fn from(listener: Listener) -> BlockingListener {
        listener.into_blocking()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Canceller, ClientOptions, NamedPipeBuilder, PipeMode, PipeName};
    use ::tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        runtime::{Builder, Runtime},
    };
    use std::{
        io::{Read, Write},
        time::Duration,
    };

    const TIMEOUT: Option<Duration> = Some(Duration::from_secs(30));

    fn runtime() -> Runtime {
        Builder::new_current_thread().enable_all().build().unwrap()
    }

    fn name() -> PipeName {
        PipeName::unique("converted").unwrap()
    }

    #[test]
    fn a_client_keeps_its_options_and_its_data_both_ways() {
        let name = name();
        let server = NamedPipeBuilder::new(&name).pipe_mode(PipeMode::Message).create().unwrap();
        let client = ClientOptions::new().read_mode(PipeMode::Message).open(&name).unwrap();
        let canceller = Canceller::new().unwrap();
        client.set_read_timeout(TIMEOUT).unwrap();
        client.set_write_timeout(TIMEOUT).unwrap();
        client.set_canceller(Some(&canceller));
        let clone = client.try_clone().unwrap();
        for message in ["one", "two", "three"] {
            server.stream().write_message(message.as_bytes()).unwrap();
        }

        let client = NamedPipeClient::from_blocking(client).unwrap();
        let one = runtime().block_on(client.read_message(9)).unwrap();
        assert_eq!(one.as_deref(), Some(&b"one"[..]));
        let client = client.into_blocking();
        assert_eq!((client.read_timeout(), client.write_timeout()), (TIMEOUT, TIMEOUT));
        assert_eq!(client.read_message(9).unwrap().as_deref(), Some(&b"two"[..]));
        assert_eq!(clone.read_message(9).unwrap().as_deref(), Some(&b"three"[..]));
        canceller.cancel();
        assert!(client.read_message(9).unwrap_err() == PipeErrorKind::Aborted);

        let client = NamedPipeClient::try_from(client).unwrap();
        client.set_read_mode(PipeMode::Byte).unwrap();
        let client = PipeStream::from(client);
        assert!(client.read_message(9).unwrap_err() == PipeErrorKind::BadPipe);
    }

    #[test]
    fn an_instance_goes_on_in_whatever_state_it_is() {
        let (name, runtime) = (name(), runtime());
        let pipe = NamedPipe::new(&name).unwrap();
        pipe.stream().set_read_timeout(TIMEOUT).unwrap();
        let mut server = NamedPipeServer::from_blocking(pipe);
        let mut client = crate::connect(&name).unwrap();
        runtime.block_on(async {
            server.connect().await.unwrap();
            server.write_all(b"async").await.unwrap();
        });
        let mut pipe = NamedPipe::try_from(server).unwrap();
        pipe.write_all(b"blocking").unwrap();
        assert_eq!(pipe.stream().read_timeout(), TIMEOUT);
        let mut text = [0; 13];
        client.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"asyncblocking");

        pipe.disconnect().unwrap();
        let server = NamedPipeServer::from(pipe);
        let mut client = runtime.block_on(async {
            let client = async { crate::tokio::connect(&name).await };
            let (connected, client) = ::tokio::join!(server.connect(), client);
            connected.unwrap();
            client.unwrap()
        });
        let mut stream = PipeStream::from(server);
        stream.write_all(b"again").unwrap();
        drop(stream);
        let mut text = String::new();
        runtime.block_on(client.read_to_string(&mut text)).unwrap();
        assert_eq!(text, "again");
    }

    #[test]
    fn each_end_becomes_one_of_its_side_only() {
        let name = name();
        let listener = BlockingListener::bind(&name).unwrap();
        let client = crate::connect(&name).unwrap();
        let accepted = listener.accept().unwrap();
        assert!(NamedPipeServer::try_from(client).unwrap_err() == PipeErrorKind::Invalid);
        assert!(NamedPipeClient::try_from(accepted).unwrap_err() == PipeErrorKind::Invalid);
        let mut client = crate::connect(&name).unwrap();
        let mut server = NamedPipeServer::try_from(listener.accept().unwrap()).unwrap();
        runtime().block_on(server.write_all(b"x")).unwrap();
        client.read_exact(&mut [0]).unwrap();
        assert!(server.into_blocking().unwrap_err() == PipeErrorKind::Unsupported);
    }

    #[test]
    fn a_listener_goes_on_both_ways() {
        let (name, runtime) = (name(), runtime());
        let canceller = Canceller::new().unwrap();
        let listener = BlockingListener::bind(&name).unwrap();
        listener.set_canceller(Some(&canceller));
        // One client waits already.
        let mut early = crate::connect(&name).unwrap();
        let listener = Listener::from(listener);
        let mut accepted = runtime.block_on(listener.accept()).unwrap();
        runtime.block_on(accepted.write_all(b"1")).unwrap();
        early.read_exact(&mut [0]).unwrap();

        let listener = BlockingListener::from(listener);
        assert_eq!(listener.name(), &name);
        let mut late = crate::connect(&name).unwrap();
        listener.accept().unwrap().write_all(b"2").unwrap();
        late.read_exact(&mut [0]).unwrap();
        canceller.cancel();
        assert!(listener.accept().unwrap_err() == PipeErrorKind::Aborted);
    }
}
