//! What a name becomes on this system.

use crate::{
    name::{PipeName, PipeNameKind, invalid},
    sys,
};
use std::{io, path::PathBuf};

impl PipeName {
    /// Makes `name` a name of its own for each user also on Windows, where names belong to the whole computer.
    ///
    /// # Platform-specific behavior
    /// On Unix a name belongs to its user anyway and is not changed.
    ///
    /// # Errors
    /// [`PipeErrorKind::Invalid`] if `name` is not one of this computer, or too long with what is added.
    pub fn per_user(name: &str) -> io::Result<PipeName> {
        let given = PipeName::new(name)?;
        let PipeNameKind::Local(bare) = given.kind() else {
            return Err(invalid(
                given.as_ref(),
                "can't be made a user's own: only a pipe on this computer can",
            ));
        };
        PipeName::local(name.as_ref(), &sys::per_user_name(bare)?)
    }

    /// Where it lives on this computer: a directory or a socket on Unix, `\\.\pipe\name` on Windows.
    ///
    /// # Errors
    /// Those of looking for the place: the name is one of another computer, or no directory can hold it.
    pub fn location(&self) -> io::Result<PathBuf> {
        sys::location(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PipeErrorKind;

    #[test]
    fn only_a_local_name_can_be_a_users_own() {
        assert_eq!(PipeName::per_user("app").unwrap(), PipeName::per_user(r"\\.\pipe\app").unwrap());
        assert!(matches!(PipeName::per_user("app").unwrap().kind(), PipeNameKind::Local(_)));
        for address in [r"\\server\pipe\app", "/run/app.sock", ""] {
            assert!(PipeName::per_user(address).unwrap_err() == PipeErrorKind::Invalid, "{address}");
        }
    }
}
