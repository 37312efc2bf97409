//! Signing in: what must hold before anything of the caller goes over the wire.

use super::{
    target::{Identity, Target},
    tickets,
    transport::TcpLink,
};
use crate::error::{PipeErrorKind, context, fail, fail_from};
use smb2::{
    Error, Session, Tree,
    auth::KerberosAuthenticator,
    client::{Cipher, Connection},
    crypto::kdf::PreauthHasher,
    msg::session_setup::{SessionSetupRequest, SessionSetupRequestFlags},
    types::{
        Command, Dialect, TreeId,
        flags::{Capabilities, SecurityMode},
    },
};
use std::{fmt, io};

/// The share of pipes.
const SHARE: &str = "IPC$";

/// Where signing in stopped.
pub(super) enum Failure {
    /// Before anything of the caller was sent, or by a rule of ours.
    Here(io::Error),
    /// The two sides had nothing in common, or the connection broke.
    Negotiating(Error),
    /// The server did not take the identity, or did not prove itself.
    SigningIn(Error),
    /// The share of pipes was refused.
    Opening(Error),
}

/// Signs in and opens the share of pipes.
pub(super) async fn login(
    connection: &mut Connection,
    link: &TcpLink,
    target: &Target,
) -> Result<TreeId, Failure> {
    connection.negotiate().await.map_err(Failure::Negotiating)?;
    if let Some((asked, answered)) = link.negotiation() {
        // Keys are derived from what was on the wire, so that no host on the way can have changed it.
        connection.with_preauth_hasher_mut(|hasher| {
            *hasher = PreauthHasher::new();
            hasher.update(asked);
            hasher.update(answered);
        });
    }
    if target.is_encrypted {
        // Before the proof of the password is sent, too.
        check_can_encrypt(connection, target).map_err(Failure::Here)?;
    }
    let session = match &target.identity {
        Identity::Password { user, domain, password } => {
            Session::setup(connection, user, password, domain).await.map_err(Failure::SigningIn)?
        }
        Identity::Tickets { owner } => sign_in_with_tickets(connection, target, owner.as_deref()).await?,
    };
    if !session.should_sign {
        let text = format!("{} signs nothing, so anybody on the way could change it", target.server);
        return Err(Failure::Here(fail(PipeErrorKind::AccessDenied, text)));
    }
    if target.is_encrypted {
        encrypt(connection, &session).ok_or_else(|| Failure::Here(not_encrypted(target)))?;
    }
    let tree = Tree::connect(connection, SHARE).await.map_err(Failure::Opening)?;
    if tree.encrypt_data {
        encrypt(connection, &session).ok_or_else(|| {
            let text =
                format!("{} wants its pipes encrypted, and offers nothing to do it with", target.server);
            Failure::Here(fail(PipeErrorKind::AccessDenied, text))
        })?;
    }
    Ok(tree.tree_id)
}

/// Signs in with a ticket for the server's name. The ticket-granting ticket requests it if the cache has none.
async fn sign_in_with_tickets(
    connection: &mut Connection,
    target: &Target,
    owner: Option<&str>,
) -> Result<Session, Failure> {
    let (credentials, tickets) = tickets::credentials(owner).map_err(Failure::Here)?;
    let host = target.host();
    let signed_in = Session::setup_kerberos_from_ccache(connection, &credentials, &host, &tickets).await;
    signed_in.map_err(Failure::SigningIn)
}

/// Signs in again in a session whose ticket has ended. Its pipes stay open, and its keys stay in use (MS-SMB2 3.3.5.5.3),
/// so the answer proves the server as any other does.
pub(super) async fn sign_in_again(connection: &Connection, target: &Target) -> io::Result<()> {
    let Identity::Tickets { owner } = &target.identity else {
        connection.mark_dead();
        let text = format!("{} has ended the session, which a password can't renew", target.server);
        return Err(fail(PipeErrorKind::Broken, text));
    };
    let (credentials, tickets) = tickets::credentials(owner.as_deref())?;
    let mut authenticator = KerberosAuthenticator::new(credentials);
    let asked = authenticator.authenticate_from_ccache(&tickets, &target.host()).await;
    asked.map_err(|error| expired(target, error))?;
    let request = SessionSetupRequest {
        flags: SessionSetupRequestFlags::default(),
        security_mode: SecurityMode::new(SecurityMode::SIGNING_ENABLED),
        capabilities: Capabilities::default(),
        channel: 0,
        previous_session_id: 0,
        security_buffer: authenticator.token().unwrap_or_default().to_vec(),
    };
    let answer = connection.execute(Command::SessionSetup, &request, None).await;
    let answer = answer.map_err(|error| expired(target, error))?;
    match answer.header.status.0 {
        0 => Ok(()),
        status => Err(expired(target, reason(status).unwrap_or("the server refused the new ticket"))),
    }
}

/// The error of a session whose ticket has ended, and that has no new one. Its pipes stay open.
pub(super) fn expired(target: &Target, why: impl fmt::Display) -> io::Error {
    let text = format!(
        "the Kerberos ticket for {} has expired, and signing in again failed ({why}): `kinit` renews it",
        target.server
    );
    fail(PipeErrorKind::AccessDenied, text)
}

fn check_can_encrypt(connection: &Connection, target: &Target) -> io::Result<()> {
    cipher(connection).map(drop).ok_or_else(|| not_encrypted(target))
}

/// The layer that encrypts here, if any.
fn cipher(connection: &Connection) -> Option<Cipher> {
    let params = connection.params()?;
    match params.dialect {
        Dialect::Smb3_1_1 => params.cipher,
        // Before 3.1.1 there was one cipher, and a flag.
        Dialect::Smb3_0 | Dialect::Smb3_0_2 => {
            params.capabilities.contains(Capabilities::ENCRYPTION).then_some(Cipher::Aes128Ccm)
        }
        _ => None,
    }
}

/// From now on everything is encrypted, also where the server does not insist; `None` if that can't be.
fn encrypt(connection: &mut Connection, session: &Session) -> Option<()> {
    if !connection.should_encrypt() {
        let (ours, theirs) = (session.encryption_key.clone()?, session.decryption_key.clone()?);
        connection.activate_encryption(ours, theirs, cipher(connection)?);
    }
    Some(())
}

fn not_encrypted(target: &Target) -> io::Error {
    let text = format!("{} does not encrypt, which is required; no password was sent", target.server);
    fail(PipeErrorKind::AccessDenied, text)
}

/// Why a session was not to be had, for the caller; `broke` is what the system says of the connection.
pub(super) fn refused(target: &Target, failure: Failure, broke: Option<io::Error>) -> io::Error {
    let server = &target.server;
    let (what, error) = match failure {
        Failure::Here(error) => return error,
        Failure::Negotiating(error) => ("beginning to talk", error),
        Failure::SigningIn(error) => ("signing in", error),
        Failure::Opening(error) => ("opening the share of pipes", error),
    };
    if let Some(broke) = broke {
        return context(format!("{what} at {server}, port {}", target.port), broke);
    }
    let (kind, why) = match &error {
        Error::Protocol { status, .. } => match reason(status.0) {
            Some(why) => (PipeErrorKind::AccessDenied, why.to_owned()),
            None if matches!(status.0, NETWORK_BUSY | REQUEST_NOT_ACCEPTED | INSUFFICIENT_RESOURCES) => {
                (PipeErrorKind::Busy, "it takes no more sessions now".to_owned())
            }
            None => return io::Error::other(format!("{what} at {server}: {error}")),
        },
        Error::GuestSessionRefused { .. } => (
            PipeErrorKind::AccessDenied,
            "the user or the password is wrong: it offers a guest's place only".to_owned(),
        ),
        Error::SignatureInvalid { .. } => {
            (PipeErrorKind::AccessDenied, format!("it does not prove its identity: {error}"))
        }
        Error::Auth { message } => (PipeErrorKind::AccessDenied, message.clone()),
        Error::Timeout => (PipeErrorKind::TimedOut, "it does not answer".to_owned()),
        Error::Disconnected | Error::SendFailed { .. } => {
            let text = format!("{what} at {server}, port {}: it closed the connection", target.port);
            return fail_from(PipeErrorKind::Broken, text, io::Error::from(io::ErrorKind::ConnectionReset));
        }
        _ => {
            (PipeErrorKind::Corrupt, format!("it is no server of SMB 2 or 3, or broke the protocol: {error}"))
        }
    };
    fail(kind, format!("{what} at {server}: {why}"))
}

const INSUFFICIENT_RESOURCES: u32 = 0xC000_009A;
const NETWORK_BUSY: u32 = 0xC000_00BF;
const REQUEST_NOT_ACCEPTED: u32 = 0xC000_00D0;

/// The reason that a status gives for a refused identity.
fn reason(status: u32) -> Option<&'static str> {
    Some(match status {
        0xC000_006D | 0xC000_006A | 0xC000_0064 => "the user or the password is wrong",
        0xC000_006E..=0xC000_0070 => "the account may not be used in this way, here or at this time",
        0xC000_0071 | 0xC000_0224 => "the password has expired",
        0xC000_0072 => "the account is disabled",
        0xC000_0193 => "the account has expired",
        0xC000_0234 => "the account is locked out",
        0xC000_015B => "the account may not sign in over the network",
        0xC000_0022 | 0xC000_00CA => "access was refused",
        0xC000_00A8 => {
            "it does not accept the ticket, which says more of its owner (a PAC) than a server without a domain reads: set \
             `disable_pac = true` in the KDC's kdc.conf, or let the server join a domain"
        }
        0xC000_0133 => "the clocks differ too much",
        _ => return None,
    })
}
