//! What a measure needs of a competitor: a connected endpoint, or a server that accepts connections.

use std::{
    io::{self, Read, Write},
    pin::pin,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    runtime::Builder,
};

/// One end of a duplex connection. The futures of a blocking competitor block, and are ready when first polled.
pub(crate) trait Endpoint {
    /// Sends all bytes, as one message if the connection has messages.
    async fn send(&mut self, payload: &[u8]) -> io::Result<()>;
    /// Fills the buffer. A competitor that allocates a buffer for each message may replace it.
    async fn receive(&mut self, payload: &mut Vec<u8>) -> io::Result<()>;

    /// Sends each payload as a message, by as few calls as the competitor has for that.
    async fn send_batch(&mut self, payloads: &[Vec<u8>]) -> io::Result<()> {
        for payload in payloads {
            self.send(payload).await?;
        }
        Ok(())
    }

    /// Receives at least one message and at most `count_max`, of the length of the buffer, and lets `check` see each.
    async fn receive_batch(
        &mut self,
        payload: &mut Vec<u8>,
        _count_max: usize,
        check: &mut impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        self.receive(payload).await?;
        check(payload)
    }
}

/// A competitor that accepts connections, as its documentation shows it: one call each to listen, accept and connect.
pub(crate) trait Server {
    type Listener: Sync;
    type Stream: Read + Write;

    /// Listens at a new address, and returns that too.
    fn listen() -> io::Result<(Self::Listener, String)>;
    fn accept(listener: &Self::Listener) -> io::Result<Self::Stream>;
    fn connect(address: &str) -> io::Result<Self::Stream>;
}

/// A competitor with an async server. Its clients are async, or each blocks a thread.
pub(crate) trait AsyncServer {
    type Listener;
    type Accepted: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    type Connected: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    type Blocking: Read + Write;

    /// Listens at a new address, and returns that too.
    async fn listen() -> io::Result<(Self::Listener, String)>;
    async fn accept(listener: &Self::Listener) -> io::Result<Self::Accepted>;
    async fn connect(address: &str) -> io::Result<Self::Connected>;
    fn connect_blocking(address: &str) -> io::Result<Self::Blocking>;
}

/// Runs a future on the runtime that tokio's documentation recommends for a program with one thread.
pub(crate) fn run_on_tokio<F: Future>(future: F) -> io::Result<F::Output> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(pin!(future)))
}
