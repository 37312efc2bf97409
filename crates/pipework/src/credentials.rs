//! Who to be on another computer.

use std::fmt;
use zeroize::Zeroizing;

/// An identity for another computer; `Debug` shows no secret.
///
/// It is used for names such as `\\server\pipe\name`, by [`ClientOptions::credentials`](crate::ClientOptions::credentials).
/// Every copy of the password that this crate makes is wiped when it is dropped. On Unix the SMB client below it (the crate
/// `smb2`) has a copy of its own while it signs in, which it frees without wiping; what it keeps of a session are keys, not
/// the password.
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

/// What they are made of.
#[derive(Clone)]
#[allow(
    dead_code,
    reason = "a system that signs in by itself, and a build that can't, do not look at the password"
)]
pub(crate) enum CredentialsKind {
    /// The caller's own, without asking.
    Current,
    /// A name and what proves it.
    Password { user: String, password: Zeroizing<String> },
}

impl Credentials {
    /// A user and a password: `user`, `DOMAIN\user` or `user@realm`.
    pub fn password(user: impl Into<String>, password: impl Into<String>) -> Self {
        let password = Zeroizing::new(password.into());
        Credentials { kind: CredentialsKind::Password { user: user.into(), password } }
    }

    /// The caller's own tickets: Kerberos, as `kinit` got them; on Windows the session's logon. The default.
    ///
    /// On Unix they come from the file that `KRB5CCNAME` names, else `/tmp/krb5cc_UID`; the server has to be called by the name
    /// that its ticket is for.
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
