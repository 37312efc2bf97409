//! Listing pipes.

use crate::{options::PipeEntry, sys};
use std::io;

/// Lists the local pipes that this user may see, sorted by name.
///
/// # Platform-specific behavior
/// On Unix these are the live pipes of this user and those in `/run/pipework`. The call also removes what killed processes
/// of this user have left behind ([rule N6](crate::rules#n6)).
///
/// # Errors
/// `Unsupported` if the system does not list pipes. Else the error of a directory that can't be read or trusted.
///
/// # Examples
/// ```
/// # fn main() -> std::io::Result<()> {
/// let name = pipework::PipeName::unique("listed")?;
/// let listener = pipework::Listener::bind(&name)?;
/// let pipes = match pipework::list() {
///     // Not every system lists pipes.
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
