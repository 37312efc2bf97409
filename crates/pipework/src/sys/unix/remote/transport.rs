//! The TCP connection below a session: dialled and framed here, so that the system's own error is known when it breaks.

use crate::error::context;
use ::tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        TcpStream, lookup_host,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::Mutex as AsyncMutex,
    task::JoinSet,
    time::timeout,
};
use smb2::transport::{TransportReceive, TransportSend};
use std::{
    future::Future,
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// How long to wait for an address before the next one is tried beside it (RFC 8305 says 250 ms).
const NEXT_ADDRESS: Duration = Duration::from_millis(250);
/// The longest frame that is taken: nothing that is asked for here has a longer answer.
const FRAME_LEN_MAX: usize = 1 << 20;
/// How much is read ahead of a frame: a small response comes in one call.
const READ_AHEAD: usize = 4096;

/// The state of a connection that is visible from outside.
#[derive(Debug, Default)]
pub(super) struct TcpLink {
    /// How many frames have come.
    frames: AtomicUsize,
    /// The first error of the system that broke it.
    failure: OnceLock<Failure>,
    /// The first frame each way, as it was on the wire.
    first_sent: OnceLock<Vec<u8>>,
    first_received: OnceLock<Vec<u8>>,
}

#[derive(Clone, Copy, Debug)]
struct Failure {
    kind: io::ErrorKind,
    code: Option<i32>,
}

/// The writing half, for the SMB client.
pub(super) struct Sender {
    socket: AsyncMutex<OwnedWriteHalf>,
    link: Arc<TcpLink>,
}

/// The reading half, for the SMB client.
pub(super) struct Receiver {
    socket: AsyncMutex<BufReader<OwnedReadHalf>>,
    link: Arc<TcpLink>,
}

/// The future of a trait that has no async functions.
type Boxed<'a, T> = Pin<Box<dyn Future<Output = smb2::Result<T>> + Send + 'a>>;

impl TcpLink {
    pub(super) fn frames(&self) -> usize {
        self.frames.load(Ordering::Relaxed)
    }

    /// The error that broke the connection, as the system reported it.
    pub(super) fn failure(&self) -> Option<io::Error> {
        let Failure { kind, code } = *self.failure.get()?;
        Some(code.map_or_else(|| io::Error::from(kind), io::Error::from_raw_os_error))
    }

    /// The negotiation, question and answer, as they were on the wire.
    pub(super) fn negotiation(&self) -> Option<(&[u8], &[u8])> {
        Some((self.first_sent.get()?, self.first_received.get()?))
    }

    /// Notes it, if it is the first.
    pub(super) fn failed(&self, error: &io::Error) {
        self.failure.get_or_init(|| Failure { kind: error.kind(), code: error.raw_os_error() });
    }
}

/// Connects to one of the host's addresses.
pub(super) async fn dial(host: &str, port: u16) -> io::Result<TcpStream> {
    let addresses = lookup_host((host, port))
        .await
        .map_err(|error| context(format!("looking up the address of {host}"), error))?;
    let connected = first_of(addresses).await;
    let stream = connected.map_err(|error| context(format!("connecting to {host}, port {port}"), error))?;
    // A request is one call and waits for its answer: held back, it would wait for nothing.
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The first address that answers. The next one begins when one has failed, or takes its time.
async fn first_of(addresses: impl Iterator<Item = SocketAddr>) -> io::Result<TcpStream> {
    let mut addresses = addresses.peekable();
    let mut dialling = JoinSet::new();
    let mut failure = io::Error::from(io::ErrorKind::NotFound);
    loop {
        if let Some(address) = addresses.next() {
            dialling.spawn(TcpStream::connect(address));
        }
        let is_last = addresses.peek().is_none();
        let next = if is_last {
            dialling.join_next().await
        } else {
            match timeout(NEXT_ADDRESS, dialling.join_next()).await {
                Ok(next) => next,
                Err(_) => continue,
            }
        };
        match next {
            Some(Ok(Ok(stream))) => return Ok(stream),
            Some(Ok(Err(error))) => failure = error,
            Some(Err(error)) => failure = error.into(),
            None if is_last => return Err(failure),
            None => {}
        }
    }
}

/// Takes the stream apart for the SMB client.
pub(super) fn split(stream: TcpStream) -> (Sender, Receiver, Arc<TcpLink>) {
    let link = Arc::new(TcpLink::default());
    let (reading, writing) = stream.into_split();
    let sender = Sender { socket: AsyncMutex::new(writing), link: Arc::clone(&link) };
    let reading = BufReader::with_capacity(READ_AHEAD, reading);
    (sender, Receiver { socket: AsyncMutex::new(reading), link: Arc::clone(&link) }, link)
}

impl Sender {
    /// Sends the length of a frame, in three bytes after a zero, and the frame.
    async fn send_frame(&self, frame: &[u8]) -> io::Result<()> {
        let mut frame = frame;
        if self.link.first_sent.get().is_none() {
            frame = self.link.first_sent.get_or_init(|| says_that_it_encrypts(frame));
        }
        let len = u32::try_from(frame.len()).ok().filter(|len| *len < 1 << 24);
        let header = len.ok_or(io::ErrorKind::InvalidInput)?.to_be_bytes();
        let mut parts: &mut [IoSlice<'_>] = &mut [IoSlice::new(&header), IoSlice::new(frame)];
        let mut socket = self.socket.lock().await;
        while !parts.is_empty() {
            match socket.write_vectored(parts).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                sent => IoSlice::advance_slices(&mut parts, sent),
            }
        }
        Ok(())
    }
}

/// The negotiation with one bit more, that this client can encrypt: the SMB client below leaves it out, and without it Samba
/// offers no cipher.
fn says_that_it_encrypts(negotiation: &[u8]) -> Vec<u8> {
    /// Where the capabilities are, after the header, and what says so there.
    const CAPABILITIES: usize = 64 + 8;
    const ENCRYPTION: u8 = 0x40;
    let mut negotiation = negotiation.to_vec();
    if let Some(capabilities) = negotiation.get_mut(CAPABILITIES) {
        *capabilities |= ENCRYPTION;
    }
    negotiation
}

impl Receiver {
    async fn receive_frame(&self) -> io::Result<Vec<u8>> {
        let mut socket = self.socket.lock().await;
        let len = usize::try_from(socket.read_u32().await?).unwrap_or(usize::MAX);
        // The first byte is zero, or the length is too large.
        if len > FRAME_LEN_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut frame = vec![0; len];
        socket.read_exact(&mut frame).await?;
        if self.link.first_received.get().is_none() {
            self.link.first_received.get_or_init(|| frame.clone());
        }
        self.link.frames.fetch_add(1, Ordering::Relaxed);
        Ok(frame)
    }
}

impl TransportSend for Sender {
    fn send<'life, 'data, 'future>(&'life self, data: &'data [u8]) -> Boxed<'future, ()>
    where
        'life: 'future,
        'data: 'future,
    {
        Box::pin(async move {
            self.send_frame(data).await.map_err(|error| {
                self.link.failed(&error);
                smb2::Error::Io(error)
            })
        })
    }
}

impl TransportReceive for Receiver {
    fn receive<'life, 'future>(&'life self) -> Boxed<'future, Vec<u8>>
    where
        'life: 'future,
    {
        Box::pin(async move {
            self.receive_frame().await.map_err(|error| {
                // The server's end of the connection is no error of the system.
                if error.kind() == io::ErrorKind::UnexpectedEof {
                    return smb2::Error::Disconnected;
                }
                self.link.failed(&error);
                smb2::Error::Io(error)
            })
        })
    }
}
