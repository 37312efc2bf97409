//! What pipes there are.

use crate::{options::PipeEntry, sys};
use std::io;

/// Lists the local pipes that the caller may see, sorted by name.
///
/// # Platform-specific behavior
/// On Unix these are the live pipes of this user, and those in `/run/pipework`; what killed processes of this user
/// left behind is removed on the way (rule N6).
///
/// # Errors
/// When the directories of the names can't be read or trusted.
///
/// # Examples
/// ```
/// # fn main() -> std::io::Result<()> {
/// let name = pipework::PipeName::unique("listed")?;
/// let listener = pipework::Listener::bind(&name)?;
/// let pipes = match pipework::list() {
///     // Not every system can tell.
///     Err(error) if error == pipework::PipeErrorKind::Unsupported => return Ok(()),
///     pipes => pipes?,
/// };
/// assert!(pipes.iter().any(|pipe| pipe.name == name && pipe.instances == 1));
/// # drop(listener);
/// # Ok(())
/// # }
/// ```
pub fn list() -> io::Result<Vec<PipeEntry>> {
    sys::list()
}
