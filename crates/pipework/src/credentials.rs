//! The identity of a client on a remote host.

use std::fmt;
use zeroize::Zeroizing;

/// The identity of a client on a remote host.
///
/// [`ClientOptions::credentials`](crate::ClientOptions::credentials) takes it, for names such as `\\server\pipe\name`.
/// `Debug` prints no secret. This crate wipes each copy of the password that it makes when it drops it. On Unix the SMB client
/// underneath (the crate `smb2`) has another copy while it signs in, which it frees without wiping. A session keeps keys and
/// not the password.
///
/// # Examples
/// ```
/// use pipework::Credentials;
///
/// let credentials = Credentials::password(r"DOMAIN\user", "secret");
/// assert!(!format!("{credentials:?}").contains("secret"));
/// ```
#[derive(Clone)]
pub struct Credentials {
    pub(crate) kind: CredentialsKind,
}

/// What the identity consists of.
#[derive(Clone)]
#[allow(dead_code, reason = "Windows signs in by itself, and a build without `remote` does not sign in")]
pub(crate) enum CredentialsKind {
    /// The identity of this process.
    Current,
    /// A user and a password.
    Password { user: String, password: Zeroizing<String> },
}

impl Credentials {
    /// Uses a password. `user` has the form `user`, `DOMAIN\user` or `user@realm`.
    pub fn password(user: impl Into<String>, password: impl Into<String>) -> Self {
        let password = Zeroizing::new(password.into());
        Credentials { kind: CredentialsKind::Password { user: user.into(), password } }
    }

    /// Uses the Kerberos tickets of this user, as `kinit` got them, and on Windows the logon session. This is the default.
    ///
    /// # Platform-specific behavior
    /// On Unix the tickets come from the file that `KRB5CCNAME` names, else from `/tmp/krb5cc_UID`. The address must name the
    /// server as its ticket does.
    pub fn current() -> Self {
        Credentials { kind: CredentialsKind::Current }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            CredentialsKind::Current => f.write_str("Credentials::current()"),
            CredentialsKind::Password { user, .. } => write!(f, "Credentials::password({user:?}, ***)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_shown() {
        let credentials = Credentials::password("me", "hush");
        for text in [format!("{credentials:?}"), format!("{:#?}", (credentials.clone(), &credentials))] {
            assert!(text.contains("me") && !text.contains("hush"), "{text}");
        }
        assert_eq!(format!("{:?}", Credentials::current()), "Credentials::current()");
    }
}
