//! Admission of remote clients: read smbd's request, check the client's identity, open the pipe, reply.
//!
//! All of this happens without waiting for a pipe, because smbd serves that client nothing else until it has the
//! reply.

use std::{
    fmt, io,
    os::unix::net::UnixStream as StdUnixStream,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use pipework::{
    PipeErrorKind, PipeMode, PipeName, RemoteClient,
    os::unix::ClientOptionsExt,
    tokio::{ClientOptions, NamedPipeClient},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    sync::mpsc,
    time,
};
use tracing::{debug, error, warn};
use zeroize::Zeroizing;

use super::{
    config::Policy,
    identity::{self, IdentityError},
    limits::{ConnectionSlot, LimitReached, Limits},
    refresh::RefreshSignal,
    refusals::{Decision, Refusals},
    target::Target,
};
use crate::npa::{self, Malformed, PREFIX_LEN, Request};

/// The timeout for reading the request, and for sending the reply. smbd writes its request in one piece, right after
/// it has connected.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(5);

/// Decides which clients are connected to a pipe.
#[derive(Debug)]
pub(crate) struct Admission {
    policy: RwLock<Policy>,
    limits: Arc<Limits>,
    refusals: Refusals,
    /// Requests a refresh when an exported pipe turns out to be gone.
    refresh: Arc<RefreshSignal>,
    /// Cloned into every connection, so that shutdown can wait for the last one.
    running: mpsc::Sender<()>,
}

/// An admitted client, on its way to the relay.
#[derive(Debug)]
pub(crate) struct Connection {
    /// The socket to smbd.
    pub(crate) socket: StdUnixStream,
    pub(crate) pipe: OpenAttempt,
    pub(crate) target: Arc<Target>,
    pub(crate) busy_timeout: Duration,
    pub(crate) account: String,
    pub(crate) address: String,
    pub(crate) _slot: ConnectionSlot,
    pub(crate) _running: mpsc::Sender<()>,
}

/// Why a client is not admitted.
#[derive(Debug)]
enum AdmissionError {
    /// The peer of the socket does not run as root, so it is not smbd.
    NotRoot(u32),
    Timeout,
    Read(io::Error),
    Malformed(Malformed),
    Identity(IdentityError),
    Limit(LimitReached),
    Open(io::Error),
    /// smbd closed the socket before the reply.
    Reply(io::Error),
}

impl fmt::Display for AdmissionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AdmissionError::NotRoot(user) => {
                write!(f, "the peer runs as user {user}, so it is not smbd, which runs as root")
            }
            AdmissionError::Timeout => f.write_str("the exchange with smbd timed out"),
            AdmissionError::Read(error) => write!(f, "can't read the request: {error}"),
            AdmissionError::Malformed(malformed) => write!(f, "malformed request: {malformed}"),
            AdmissionError::Identity(error) => error.fmt(f),
            AdmissionError::Limit(limit) => limit.fmt(f),
            // The library's error texts contain names, which have to be escaped.
            AdmissionError::Open(error) => write!(f, "can't open the pipe: {:?}", error.to_string()),
            AdmissionError::Reply(error) => write!(f, "can't send the reply to smbd: {error}"),
        }
    }
}

/// The client as the log names it, once the request is read.
#[derive(Debug, Default)]
struct ClientLabel {
    account: String,
    address: String,
}

impl Admission {
    pub(crate) fn new(policy: Policy, refresh: Arc<RefreshSignal>, running: mpsc::Sender<()>) -> Admission {
        let (limits, refusals) = (Arc::default(), Refusals::default());
        Admission { policy: RwLock::new(policy), limits, refusals, refresh, running }
    }

    /// Sets the policy for new connections. Open connections stay.
    pub(crate) fn set_policy(&self, policy: Policy) {
        *self.policy.write().unwrap_or_else(PoisonError::into_inner) = policy;
    }

    fn policy(&self) -> Policy {
        *self.policy.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Admits the client for which smbd has connected, or closes the socket and logs why.
    pub(crate) async fn admit(&self, socket: UnixStream, target: Arc<Target>) -> Option<Connection> {
        let mut client = ClientLabel::default();
        let pipe = target.label.clone();
        let admitted = self.exchange(socket, target, &mut client).await;
        match &admitted {
            Ok(_) => debug!(account = ?client.account, address = ?client.address, ?pipe, "admitted"),
            Err(AdmissionError::Identity(IdentityError::Probe)) => debug!(?pipe, "smbd probed the pipe"),
            Err(error) => self.log_refusal(&client, &pipe, error).await,
        }
        admitted.ok()
    }

    async fn log_refusal(&self, client: &ClientLabel, pipe: &str, error: &AdmissionError) {
        let ClientLabel { account, address } = client;
        match self.refusals.add(&format!("{account:?} {address:?} {pipe:?} {error}"), Instant::now()) {
            // No client of this smbd will ever be admitted.
            Decision::Log if matches!(error, AdmissionError::Malformed(Malformed::Level(_))) => {
                error!(?account, ?address, ?pipe, "refused: {error}");
            }
            Decision::Log => warn!(?account, ?address, ?pipe, "refused: {error}"),
            Decision::IsRepeated => debug!(?account, ?address, ?pipe, "refused again: {error}"),
            Decision::Count => debug!(?account, ?address, ?pipe, "refused: {error}"),
            Decision::BeginSummary(time) => {
                debug!(?account, ?address, ?pipe, "refused: {error}");
                time::sleep(time).await;
                warn!(
                    count = self.refusals.take_summary(),
                    "refused more clients or their repeated requests, which are not listed"
                );
            }
        }
    }

    async fn exchange(
        &self,
        mut socket: UnixStream,
        target: Arc<Target>,
        label: &mut ClientLabel,
    ) -> Result<Connection, AdmissionError> {
        let user = socket.peer_cred().map_err(AdmissionError::Read)?.uid();
        if user != 0 {
            return Err(AdmissionError::NotRoot(user));
        }
        let policy = self.policy();
        let request = time::timeout(EXCHANGE_TIMEOUT, read_request(&mut socket));
        let request = request.await.map_err(|_| AdmissionError::Timeout)??;
        *label = ClientLabel {
            account: format!(r"{}\{}", request.domain, request.account),
            address: request.client_address.clone(),
        };
        let level = request.level;
        let client =
            identity::identify(request, policy.require_encryption).map_err(AdmissionError::Identity)?;
        let mut slot = self.limits.acquire(&policy).map_err(AdmissionError::Limit)?;
        let account = client.sids.first().map_or("", String::as_str);
        slot.assign_to(account, &policy).map_err(AdmissionError::Limit)?;
        let pipe = self.open_pipe(&target, &client)?;

        let reply = npa::reply(level, target.messages);
        let replied = time::timeout(EXCHANGE_TIMEOUT, socket.write_all(&reply));
        replied.await.map_err(|_| AdmissionError::Timeout)?.map_err(AdmissionError::Reply)?;
        Ok(Connection {
            socket: socket.into_std().map_err(AdmissionError::Reply)?,
            pipe,
            target,
            busy_timeout: policy.busy_timeout,
            account: client.account,
            address: client.address,
            _slot: slot,
            _running: self.running.clone(),
        })
    }

    fn open_pipe(&self, target: &Target, client: &RemoteClient) -> Result<OpenAttempt, AdmissionError> {
        let opened = PipeOpener::new(target, client).open_without_waiting();
        opened.map_err(|error| {
            // The exports are out of date: the pipe is gone, or has another mode or direction now.
            if matches!(PipeErrorKind::of(&error), Some(PipeErrorKind::Absent | PipeErrorKind::Invalid)) {
                self.refresh.request();
            }
            AdmissionError::Open(error)
        })
    }
}

/// Reads one request. Its buffer contains secrets and is wiped.
async fn read_request(socket: &mut UnixStream) -> Result<Request, AdmissionError> {
    let mut prefix = [0; PREFIX_LEN];
    socket.read_exact(&mut prefix).await.map_err(AdmissionError::Read)?;
    let len = npa::request_len(prefix).map_err(AdmissionError::Malformed)?;
    let mut bytes = Zeroizing::new(vec![0; len]);
    let Some((head, rest)) = bytes.split_first_chunk_mut() else {
        return Err(AdmissionError::Malformed(Malformed::Length(len)));
    };
    *head = prefix;
    socket.read_exact(rest).await.map_err(AdmissionError::Read)?;
    npa::parse(&bytes).map_err(AdmissionError::Malformed)
}

/// The result of opening a pipe without waiting.
#[derive(Debug)]
pub(crate) enum OpenAttempt {
    Open(NamedPipeClient),
    /// All instances have a client. The relay waits for a free one.
    Busy(PipeOpener),
}

/// Opens one pipe on behalf of one client.
///
/// The library reads the header of the instance that it opens. It refuses if the pipe does not accept remote clients
/// or its access does not allow this client, before any byte moves.
#[derive(Clone, Debug)]
pub(crate) struct PipeOpener {
    options: ClientOptions,
    name: PipeName,
}

impl PipeOpener {
    fn new(target: &Target, client: &RemoteClient) -> PipeOpener {
        let mut options = ClientOptions::new();
        let mode = if target.messages { PipeMode::Message } else { PipeMode::Byte };
        // A one-way pipe can be opened in its own direction only.
        options.read(target.outbound).write(target.inbound).pipe_mode(mode).on_behalf_of(client);
        PipeOpener { options, name: target.name.clone() }
    }

    fn open_without_waiting(self) -> io::Result<OpenAttempt> {
        match self.options.open(&self.name) {
            Ok(pipe) => Ok(OpenAttempt::Open(pipe)),
            Err(error) if is_busy(&error) => Ok(OpenAttempt::Busy(self)),
            Err(error) => Err(error),
        }
    }

    /// Opens the pipe as soon as an instance is free.
    pub(crate) async fn wait_for_instance(mut self, timeout: Duration) -> io::Result<NamedPipeClient> {
        self.options.timeout(timeout);
        self.options.connect(&self.name).await
    }
}

/// `open` returns `Busy` as a plain OS error, because programs for tokio compare its code.
fn is_busy(error: &io::Error) -> bool {
    error == &PipeErrorKind::Busy
        || error.raw_os_error().map(i64::from) == Some(i64::from(PipeErrorKind::Busy.code()))
}
