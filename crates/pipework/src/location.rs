//! The name of a user's own pipe, and the location of a name, on this system.

use crate::{
    name::{PipeName, PipeNameKind, invalid},
    sys,
};
use std::{io, path::PathBuf};

impl PipeName {
    /// Makes a name that is different for each user, also on Windows, where all users share one namespace.
    ///
    /// # Platform-specific behavior
    /// On Windows the user's SID is appended. On Unix each user has a namespace, and the name is not changed.
    ///
    /// # Errors
    /// [`PipeErrorKind::Invalid`](crate::PipeErrorKind::Invalid) if `name` is not a local name, or too long together with the
    /// SID.
    pub fn per_user(name: &str) -> io::Result<PipeName> {
        let given = PipeName::new(name)?;
        let PipeNameKind::Local(bare) = given.kind() else {
            return Err(invalid(
                given.as_ref(),
                "is not a local pipe, and only a local name can be made per user",
            ));
        };
        PipeName::local(name.as_ref(), &sys::per_user_name(bare)?)
    }

    /// Returns the location of the name: a directory or a socket on Unix, `\\.\pipe\name` on Windows.
    ///
    /// # Errors
    /// `Unsupported` for a remote name. On Unix also the error of looking for the directory.
    pub fn location(&self) -> io::Result<PathBuf> {
        sys::location(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PipeErrorKind;

    #[test]
    fn only_a_local_name_can_be_made_per_user() {
        assert_eq!(PipeName::per_user("app").unwrap(), PipeName::per_user(r"\\.\pipe\app").unwrap());
        assert!(matches!(PipeName::per_user("app").unwrap().kind(), PipeNameKind::Local(_)));
        for address in [r"\\server\pipe\app", "/run/app.sock", ""] {
            assert!(PipeName::per_user(address).unwrap_err() == PipeErrorKind::Invalid, "{address}");
        }
    }
}
