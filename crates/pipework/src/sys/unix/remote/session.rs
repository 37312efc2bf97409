//! A session with a remote host: one TCP connection, signed in, with the share of pipes open; many pipes
//! share it.

use super::{
    background::background,
    login,
    target::{Key, Target},
    transport::{self, TcpLink},
};
use crate::error::{PipeErrorKind, fail, fail_from};
use ::tokio::{sync::Mutex as AsyncMutex, time};
use smb2::{
    Frame,
    client::Connection,
    msg::{echo::EchoRequest, logoff::LogoffRequest, tree_disconnect::TreeDisconnectRequest},
    pack::Pack,
    types::{Command, CreditCharge, TreeId},
};
use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, LazyLock, Mutex, PoisonError, Weak},
    time::Duration,
};

/// How long nothing may be asked before the server is asked whether it lives, and how long it may take to say so.
const ECHO_PAUSE: Duration = Duration::from_secs(10);
const ECHO_PATIENCE: Duration = Duration::from_secs(20);
/// How long one request may wait to be sent, those before it included.
const SEND_PATIENCE: Duration = Duration::from_secs(60);
/// How long a request may wait until the server grants it: whether the server lives is found out by asking.
const CREDIT_PATIENCE: Duration = Duration::from_secs(24 * 60 * 60);
/// How long the network may take where nothing waits and nothing is said of it.
pub(super) const NETWORK_TIMEOUT: Duration = Duration::from_secs(20);
/// How long it may take to say good-bye.
const GOOD_BYE: Duration = Duration::from_secs(5);

/// One session; it ends when it is dropped.
pub(super) struct Session {
    pub(super) connection: Connection,
    link: Arc<TcpLink>,
    tree: TreeId,
    target: Target,
    address: SocketAddr,
    /// How often it was signed in. Locked while that happens, so requests wait for it.
    sign_ins: AsyncMutex<u32>,
}

/// The session of a key, if there is one. The lock is held while one signs in; the others wait for it.
type SessionSlot = Arc<AsyncMutex<Weak<Session>>>;

static SLOTS: LazyLock<Mutex<HashMap<Key, SessionSlot>>> = LazyLock::new(Mutex::default);

/// The session of a target: one that there is, or a new one.
pub(super) async fn session(target: &Target) -> io::Result<Arc<Session>> {
    let slot = slot_of(target.key()?);
    let mut known = slot.lock().await;
    if let Some(session) = known.upgrade().filter(|session| !session.connection.is_disconnected()) {
        return Ok(session);
    }
    let session = Arc::new(Session::begin(target).await?);
    *known = Arc::downgrade(&session);
    background()?.spawn(watch(Arc::downgrade(&session)));
    Ok(session)
}

fn slot_of(key: Key) -> SessionSlot {
    let mut slots = SLOTS.lock().unwrap_or_else(PoisonError::into_inner);
    let is_used = |slot: &SessionSlot| slot.try_lock().map_or(true, |known| known.strong_count() > 0);
    slots.retain(|_, slot| Arc::strong_count(slot) > 1 || is_used(slot));
    Arc::clone(slots.entry(key).or_default())
}

impl Session {
    async fn begin(target: &Target) -> io::Result<Session> {
        let stream = transport::dial(&target.host(), target.port).await?;
        let address = stream.peer_addr()?;
        let (sender, receiver, link) = transport::split(stream);
        let mut connection =
            Connection::from_transport(Box::new(sender), Box::new(receiver), target.server.as_str());
        let tree = login::login(&mut connection, &link, target)
            .await
            .map_err(|failure| login::refused(target, failure, link.failure()))?;
        // From here on a request may wait as long as it likes: for a server of pipes that has nothing to say.
        connection.set_response_timeout(None);
        connection.set_keepalive(None);
        connection.set_send_timeout(Some(SEND_PATIENCE));
        connection.set_credit_wait_timeout(CREDIT_PATIENCE);
        let (target, sign_ins) = (target.clone(), AsyncMutex::new(1));
        Ok(Session { connection, link, tree, target, address, sign_ins })
    }

    /// The remote host.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.connection.should_encrypt()
    }

    /// One request and its answer, whatever its status.
    ///
    /// A server refuses every request of a session whose ticket has ended, and keeps its pipes. So the session signs in
    /// again, and sends the request again.
    pub(super) async fn ask(&self, command: Command, body: &dyn Pack, len: usize) -> io::Result<Frame> {
        let sign_in = *self.sign_ins.lock().await;
        match self.send(command, body, len).await {
            Err(smb2::Error::SessionExpired) => {
                self.sign_in_again(sign_in).await?;
                self.send(command, body, len).await.map_err(|error| self.lost(&error))
            }
            Ok(answer) if ends_session(answer.header.status.0) => {
                self.connection.mark_dead();
                Err(self.loss())
            }
            answered => answered.map_err(|error| self.lost(&error)),
        }
    }

    async fn send(&self, command: Command, body: &dyn Pack, len: usize) -> smb2::Result<Frame> {
        let charge = CreditCharge(charge_of(len));
        self.connection.execute_with_credits(command, body, Some(self.tree), charge).await
    }

    /// Signs in again, unless another request has done that since the sign-in of this number.
    async fn sign_in_again(&self, expired: u32) -> io::Result<()> {
        let mut sign_ins = self.sign_ins.lock().await;
        if *sign_ins == expired {
            // The other requests of the session wait meanwhile.
            let signed_in = login::sign_in_again(&self.connection, &self.target);
            time::timeout(NETWORK_TIMEOUT, signed_in)
                .await
                .unwrap_or_else(|_| Err(login::expired(&self.target, "no answer in time")))?;
            *sign_ins += 1;
        }
        Ok(())
    }

    /// How many bytes one request may carry at present, of those that were granted by the server.
    pub(super) fn len_max(&self) -> usize {
        let negotiated = self.connection.params().map_or(0, |params| params.max_write_size);
        // Half of the credits, so that other pipes find some, too.
        let granted = usize::from(self.connection.credits() / 2).max(1) * CREDIT_LEN;
        usize::try_from(negotiated).unwrap_or(usize::MAX).clamp(CREDIT_LEN, granted.max(CREDIT_LEN))
    }

    /// Ends the session: whatever is wrong with it, its pipes are over.
    fn lost(&self, error: &smb2::Error) -> io::Error {
        if matches!(error, smb2::Error::SessionExpired) {
            return login::expired(&self.target, "the new ticket has ended too");
        }
        self.connection.mark_dead();
        match error {
            smb2::Error::SignatureInvalid { .. } | smb2::Error::InvalidData { .. } => {
                let text = format!("{} broke the protocol: {error}", self.target.server);
                fail(PipeErrorKind::Corrupt, text)
            }
            _ => self.loss(),
        }
    }

    /// Why a pipe of this session is over when the session is.
    pub(super) fn loss(&self) -> io::Error {
        let text = format!("the connection to {} was lost", self.target.server);
        match self.link.failure() {
            Some(failure) => fail_from(PipeErrorKind::Broken, text, failure),
            None => fail(PipeErrorKind::Broken, text),
        }
    }
}

/// Whether a status says that the server has ended this session, or its share of pipes.
fn ends_session(status: u32) -> bool {
    const NETWORK_NAME_DELETED: u32 = 0xC000_00C9;
    const USER_SESSION_DELETED: u32 = 0xC000_0203;
    matches!(status, NETWORK_NAME_DELETED | USER_SESSION_DELETED)
}

/// The payload that one credit pays for.
pub(super) const CREDIT_LEN: usize = 65_536;

fn charge_of(len: usize) -> u16 {
    u16::try_from(len.div_ceil(CREDIT_LEN)).unwrap_or(u16::MAX).max(1)
}

/// Asks the server from time to time whether it lives: one that vanished says nothing by itself.
async fn watch(session: Weak<Session>) {
    loop {
        time::sleep(ECHO_PAUSE).await;
        let Some(session) = session.upgrade() else { return };
        let (connection, link) = (session.connection.clone(), Arc::clone(&session.link));
        // The session may end while it is asked.
        drop(session);
        let frames = link.frames();
        let asked = time::timeout(ECHO_PATIENCE, connection.execute(Command::Echo, &EchoRequest, None)).await;
        if asked.is_err() && link.frames() == frames {
            link.failed(&io::ErrorKind::TimedOut.into());
            connection.mark_dead();
        }
        if connection.is_disconnected() {
            return;
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // In a forked child no thread can log off, and the session is the parent's.
        let Ok(background) = background() else { return };
        let (connection, tree) = (self.connection.clone(), self.tree);
        background.spawn(async move {
            let good_bye = async {
                connection.execute(Command::TreeDisconnect, &TreeDisconnectRequest, Some(tree)).await.ok();
                connection.execute(Command::Logoff, &LogoffRequest, None).await.ok();
            };
            // Whether it was heard or not: the connection ends.
            time::timeout(GOOD_BYE, good_bye).await.ok();
            connection.mark_dead();
        });
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Session({}, {})", self.target.server, self.address)
    }
}
