//! The target of a remote request, checked: host, identity and encryption.

use super::tickets;
use crate::{
    access::ServerCheck,
    credentials::{Credentials, CredentialsKind},
    error::{PipeErrorKind, fail},
    name::PipeNameKind,
    options::Request,
};
use sha2::{Digest, Sha256};
use std::{io, sync::OnceLock};
use zeroize::Zeroizing;

/// The port of the SMB service.
const PORT: u16 = 445;
/// How Windows writes an address of the Internet Protocol's version 6 in such a name.
const LITERAL_SUFFIX: &str = ".ipv6-literal.net";

/// The host of a session, and the identity to sign in with.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// As the caller wrote it.
    pub(super) server: String,
    pub(super) port: u16,
    pub(super) identity: Identity,
    /// Whether everything has to be encrypted.
    pub(super) is_encrypted: bool,
}

/// The identity to sign in with.
#[derive(Clone)]
pub(super) enum Identity {
    /// The owner of the process's Kerberos tickets; `None` if there were none when it was asked for.
    Tickets { owner: Option<String> },
    /// A user by a password; the domain is empty where none was said.
    Password { user: String, domain: String, password: Zeroizing<String> },
}

/// Pipes with the same key share a session. No password can be read out of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    server: String,
    port: u16,
    identity: [u8; 32],
    is_encrypted: bool,
}

impl Target {
    /// Checks all of a request that can be checked before anything is sent.
    pub(super) fn of(request: &Request) -> io::Result<Target> {
        let PipeNameKind::Remote { server, name } = request.name.kind() else {
            return Err(fail(PipeErrorKind::Invalid, format!("{} is a local pipe", request.name)));
        };
        if name.starts_with('\\') {
            let text =
                format!(r"{} can't be asked for over the network: the name begins with `\`", request.name);
            return Err(fail(PipeErrorKind::Invalid, text));
        }
        if let ServerCheck::User(user) = &request.server {
            let text = format!(
                "a remote host proves that it knows the password or the ticket, not that {user} serves its pipe"
            );
            return Err(fail(PipeErrorKind::Unsupported, text));
        }
        let identity = Identity::of(request.remote.credentials.as_ref())?;
        let has_password = matches!(identity, Identity::Password { .. });
        Ok(Target {
            server: server.to_owned(),
            port: request.remote.port.unwrap_or(PORT),
            identity,
            is_encrypted: request.remote.require_encryption.unwrap_or(has_password),
        })
    }

    /// The host to resolve: the name, or the address that it spells.
    pub(super) fn host(&self) -> String {
        let server = self.server.as_str();
        let cut = server.len().saturating_sub(LITERAL_SUFFIX.len());
        match server.split_at_checked(cut) {
            Some((address, suffix)) if suffix.eq_ignore_ascii_case(LITERAL_SUFFIX) => {
                address.replace('-', ":").replace(['s', 'S'], "%")
            }
            _ => server.trim_start_matches('[').trim_end_matches(']').to_owned(),
        }
    }

    pub(super) fn key(&self) -> io::Result<Key> {
        Ok(Key {
            server: self.server.to_lowercase(),
            port: self.port,
            identity: self.identity.digest()?,
            is_encrypted: self.is_encrypted,
        })
    }
}

impl Identity {
    fn of(credentials: Option<&Credentials>) -> io::Result<Identity> {
        let Some(CredentialsKind::Password { user, password }) = credentials.map(|given| &given.kind) else {
            return Ok(Identity::Tickets { owner: tickets::owner() });
        };
        let (domain, user) = user.split_once('\\').unwrap_or(("", user));
        if user.is_empty() {
            let text = "the credentials name no user, and remote pipes are not opened anonymously";
            return Err(fail(PipeErrorKind::Invalid, text));
        }
        if user.eq_ignore_ascii_case("guest") {
            let text = "a guest session authenticates neither side: name an account of the remote host";
            return Err(fail(PipeErrorKind::AccessDenied, text));
        }
        let (user, domain) = (user.to_owned(), domain.to_owned());
        Ok(Identity::Password { user, domain, password: password.clone() })
    }

    /// The same for the same identity, in this process; of no use to a reader of it.
    fn digest(&self) -> io::Result<[u8; 32]> {
        let mut hash = Sha256::new_with_prefix(salt()?);
        let add = |part: &str| {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        };
        match self {
            Identity::Tickets { owner } => {
                [&tickets::cache(), owner.as_deref().unwrap_or_default()].into_iter().for_each(add);
            }
            Identity::Password { user, domain, password } => {
                [user, domain, password.as_str()].into_iter().for_each(add)
            }
        }
        Ok(hash.finalize().into())
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Identity::Tickets { owner } => write!(f, "Tickets({owner:?})"),
            Identity::Password { user, .. } => write!(f, "Password({user:?}, ***)"),
        }
    }
}

/// Random bits of this process.
fn salt() -> io::Result<&'static [u8; 32]> {
    static SALT: OnceLock<[u8; 32]> = OnceLock::new();
    if let Some(salt) = SALT.get() {
        return Ok(salt);
    }
    let mut bits = [0; 32];
    getrandom::fill(&mut bits).map_err(|error| io::Error::other(format!("no random bits: {error}")))?;
    Ok(SALT.get_or_init(|| bits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ClientOptions;

    fn target(address: &str, credentials: Option<Credentials>) -> io::Result<Target> {
        let mut options = ClientOptions::new();
        if let Some(credentials) = credentials {
            options.credentials(credentials);
        }
        Target::of(&options.request(address.as_ref())?)
    }

    #[test]
    fn users_are_written_in_three_ways() {
        for (given, user, domain) in [("u", "u", ""), (r"D\u", "u", "D"), ("u@realm", "u@realm", "")] {
            let target = target(r"\\host\pipe\x", Some(Credentials::password(given, "secret"))).unwrap();
            let Identity::Password { user: found, domain: in_domain, .. } = &target.identity else {
                panic!("{target:?}");
            };
            assert_eq!((found.as_str(), in_domain.as_str()), (user, domain));
            assert!(target.is_encrypted && !format!("{target:?}").contains("secret"));
        }
        assert!(!target(r"\\host\pipe\x", None).unwrap().is_encrypted);
    }

    #[test]
    fn what_can_be_refused_at_once_is() {
        let kind = |address: &str, user: &str| {
            let refused = target(address, Some(Credentials::password(user, "p")));
            PipeErrorKind::of(&refused.unwrap_err())
        };
        assert_eq!(kind(r"\\host\pipe\x", ""), Some(PipeErrorKind::Invalid));
        assert_eq!(kind(r"\\host\pipe\x", r"D\"), Some(PipeErrorKind::Invalid));
        assert_eq!(kind(r"\\host\pipe\x", "Guest"), Some(PipeErrorKind::AccessDenied));
        assert_eq!(kind(r"\\host\pipe\\x", "u"), Some(PipeErrorKind::Invalid));
        assert_eq!(kind("x", "u"), Some(PipeErrorKind::Invalid));
    }

    #[test]
    fn a_session_is_shared_by_those_who_are_the_same() {
        let key = |address: &str, user: &str, password: &str| {
            target(address, Some(Credentials::password(user, password))).unwrap().key().unwrap()
        };
        let one = key(r"\\host\pipe\x", "u", "p");
        assert_eq!(one, key(r"\\HOST\pipe\y", "u", "p"));
        assert_ne!(one, key(r"\\other\pipe\x", "u", "p"));
        assert_ne!(one, key(r"\\host\pipe\x", "u", "q"));
        assert_ne!(one, key(r"\\host\pipe\x", "up", ""));
        assert_ne!(one, key(r"\\host\pipe\x", r"u\p", ""));
        assert_ne!(one, target(r"\\host\pipe\x", None).unwrap().key().unwrap());
    }

    #[test]
    fn hosts_may_be_addresses() {
        let host = |server: &str| target(&format!(r"\\{server}\pipe\x"), None).unwrap().host();
        assert_eq!(host("server"), "server");
        assert_eq!(host("::1"), "::1");
        assert_eq!(host("[::1]"), "::1");
        assert_eq!(host("fe80--1s4.ipv6-literal.net"), "fe80::1%4");
    }
}
