//! What pipes there are.

use crate::{PipeMode, PipeName, sys};
use std::{io, path::PathBuf};

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

/// One pipe of [`list`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PipeEntry {
    /// Its name.
    pub name: PipeName,
    /// Open instances.
    pub instances: u32,
    /// 255 is unlimited.
    pub max_instances: u32,
    /// Type; `None` where the system does not say (Windows).
    pub mode: Option<PipeMode>,
    /// Server processes; empty where the system does not say.
    pub servers: Vec<u32>,
    /// Client to server, server to client; `None` where the system does not say.
    pub directions: Option<(bool, bool)>,
    /// Instances that listen now; `None` where the system does not say.
    pub listening: Option<u32>,
    /// Whether clients on other computers may come, where a service lets them (`accept_remote`); `None` where the system
    /// does not say (Windows).
    pub accept_remote: Option<bool>,
    /// Account that owns the name; `None` where the system does not say.
    pub owner: Option<String>,
    /// Where it lives: a directory on Unix, `\\.\pipe\name` on Windows.
    pub location: PathBuf,
}
