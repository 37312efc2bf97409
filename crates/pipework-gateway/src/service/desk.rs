//! Where callers are received: the exchange with smbd is read, the caller judged, the pipe opened, the answer given. All of it
//! at once, since smbd does nothing else for that client meanwhile.

use std::{
    fmt, io,
    os::unix::net::UnixStream as StdUnixStream,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use pipework::{NetworkCaller, PipeErrorKind};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    runtime::Handle,
    sync::mpsc,
    time,
};
use tracing::{debug, warn};
use zeroize::Zeroizing;

use super::{
    config::Policy,
    identity::{self, Refusal},
    limits::{Full, Limits, Place},
    opening::{Opening, Pipe},
    relay,
    table::Target,
    watch::Bell,
};
use crate::npa::{self, Malformed, PREFIX_LEN, Request};

/// How long the exchange may take in all. smbd writes its request in one piece, right after it has connected.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(5);

/// What all callers share.
#[derive(Debug)]
pub(crate) struct Desk {
    policy: RwLock<Policy>,
    limits: Arc<Limits>,
    /// Rung when a pipe is not there that should be.
    bell: Arc<Bell>,
    relays: Handle,
    /// Held by every connection, so that their end can be waited for.
    running: mpsc::Sender<()>,
}

/// A caller who is let in, on its way to the relay.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) socket: StdUnixStream,
    pub(crate) pipe: Pipe,
    pub(crate) target: Arc<Target>,
    pub(crate) busy_timeout: Duration,
    pub(crate) account: String,
    pub(crate) address: String,
    pub(crate) _place: Place,
    pub(crate) _running: mpsc::Sender<()>,
}

/// Why a caller is not let in.
#[derive(Debug)]
enum Refused {
    /// Whoever connected is not root, and so not smbd.
    NotRoot(u32),
    TooSlow,
    Unreadable(io::Error),
    Malformed(Malformed),
    Caller(Refusal),
    Full(Full),
    Pipe(io::Error),
    /// smbd went away before it had its answer.
    Unanswered(io::Error),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::NotRoot(user) => write!(f, "user {user} is not smbd, which is root"),
            Refused::TooSlow => f.write_str("no request came in time"),
            Refused::Unreadable(error) => write!(f, "no request came: {error}"),
            Refused::Malformed(malformed) => write!(f, "a request that can't be read: {malformed}"),
            Refused::Caller(refusal) => refusal.fmt(f),
            Refused::Full(full) => full.fmt(f),
            Refused::Pipe(error) => write!(f, "{:?}", error.to_string()),
            Refused::Unanswered(error) => write!(f, "smbd has gone: {error}"),
        }
    }
}

/// Of whom the log speaks, as far as that is known.
#[derive(Debug, Default)]
struct Who {
    account: String,
    address: String,
}

impl Desk {
    pub(crate) fn new(policy: Policy, bell: Arc<Bell>, relays: Handle, running: mpsc::Sender<()>) -> Desk {
        Desk { policy: RwLock::new(policy), limits: Arc::default(), bell, relays, running }
    }

    /// Sets what is new from now on; connections that there are stay.
    pub(crate) fn set_policy(&self, policy: Policy) {
        *self.policy.write().unwrap_or_else(PoisonError::into_inner) = policy;
    }

    fn policy(&self) -> Policy {
        *self.policy.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Receives who has connected for a pipe, and lets it in or closes.
    pub(crate) async fn receive(&self, socket: UnixStream, target: Arc<Target>) {
        let mut who = Who::default();
        let pipe = target.label.clone();
        match self.admit(socket, target, &mut who).await {
            Ok(connection) => {
                debug!(account = ?who.account, address = ?who.address, ?pipe, "let in");
                self.relays.spawn(relay::run(connection));
            }
            Err(Refused::Caller(Refusal::Probe)) => debug!(?pipe, "smbd has looked whether it is there"),
            Err(refused) => {
                warn!(account = ?who.account, address = ?who.address, ?pipe, "refused: {refused}");
            }
        }
    }

    async fn admit(
        &self,
        mut socket: UnixStream,
        target: Arc<Target>,
        who: &mut Who,
    ) -> Result<Connection, Refused> {
        let user = socket.peer_cred().map_err(Refused::Unreadable)?.uid();
        if user != 0 {
            return Err(Refused::NotRoot(user));
        }
        let policy = self.policy();
        let request = time::timeout(EXCHANGE_TIMEOUT, read_request(&mut socket));
        let request = request.await.map_err(|_| Refused::TooSlow)??;
        *who = Who {
            account: format!(r"{}\{}", request.domain, request.account),
            address: request.client_address.clone(),
        };
        let level = request.level;
        let caller = identity::caller(request, policy.require_encryption).map_err(Refused::Caller)?;
        let mut place = self.limits.enter(&policy).map_err(Refused::Full)?;
        let account = caller.sids.first().map_or("", String::as_str);
        place.give_to(account, &policy).map_err(Refused::Full)?;
        let pipe = self.open(&target, &caller)?;

        let reply = npa::reply(level, target.messages);
        let answered = time::timeout(EXCHANGE_TIMEOUT, socket.write_all(&reply));
        answered.await.map_err(|_| Refused::TooSlow)?.map_err(Refused::Unanswered)?;
        Ok(Connection {
            socket: socket.into_std().map_err(Refused::Unanswered)?,
            pipe,
            target,
            busy_timeout: policy.busy_timeout,
            account: caller.account,
            address: caller.address,
            _place: place,
            _running: self.running.clone(),
        })
    }

    fn open(&self, target: &Target, caller: &NetworkCaller) -> Result<Pipe, Refused> {
        let opened = Opening::new(target, caller).try_now();
        opened.map_err(|error| {
            // The table is behind: of another kind now, or gone.
            if matches!(PipeErrorKind::of(&error), Some(PipeErrorKind::Absent | PipeErrorKind::Invalid)) {
                self.bell.ring();
            }
            Refused::Pipe(error)
        })
    }
}

/// Reads one request. The buffer that held its secrets is wiped.
async fn read_request(socket: &mut UnixStream) -> Result<Request, Refused> {
    let mut prefix = [0; PREFIX_LEN];
    socket.read_exact(&mut prefix).await.map_err(Refused::Unreadable)?;
    let len = npa::request_len(prefix).map_err(Refused::Malformed)?;
    let mut bytes = Zeroizing::new(vec![0; len]);
    let Some((head, rest)) = bytes.split_first_chunk_mut() else {
        return Err(Refused::Malformed(Malformed::Length(len)));
    };
    *head = prefix;
    socket.read_exact(rest).await.map_err(Refused::Unreadable)?;
    npa::parse(&bytes).map_err(Refused::Malformed)
}
