//! Who may open a pipe, and who may serve it.

/// Says who may open a pipe: always the owner, and the users and groups that are added.
///
/// It grants reading and writing, and never the creation of instances. It is in force before the name is visible
/// ([rule A5](crate::rules#a5)). It corresponds to the security descriptor of [`CreateNamedPipeW`].
///
/// # Platform-specific behavior
/// On Unix, access for the owner alone needs no preparation. A pipe with wider access lives in a directory that other users
/// can reach. Root creates such pipes in `/run/pipework`. Another user needs a directory there that root has given to it; if
/// it is missing, `create` fails, and the error message contains the command for root to run. The mode and the access control
/// list of the pipe's sockets enforce the access. If the file system can't store it, `create` fails.
///
/// [`CreateNamedPipeW`]: https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-createnamedpipew
///
/// # Examples
/// ```
/// use pipework::Access;
/// let staff = Access::owner().group("staff").user("1000");
/// assert_ne!(staff, Access::everyone());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Access {
    everyone: bool,
    users: Vec<String>,
    groups: Vec<String>,
    /// A security descriptor of Windows, as SDDL. It replaces everything else.
    pub(crate) sddl: Option<String>,
}

impl Access {
    /// Allows this user and the system. This is the default.
    pub fn owner() -> Access {
        Access { everyone: false, users: Vec::new(), groups: Vec::new(), sddl: None }
    }

    /// Allows every authenticated user of this host, and no anonymous user or guest.
    pub fn everyone() -> Access {
        Access { everyone: true, users: Vec::new(), groups: Vec::new(), sddl: None }
    }

    /// Adds a user: a name, a uid in decimal, or a SID. `create` looks it up and fails with `Invalid` if it does not exist.
    #[must_use]
    pub fn user(mut self, account: impl Into<String>) -> Access {
        self.users.push(account.into());
        self
    }

    /// Adds a group: a name, a gid in decimal, or a SID. `create` looks it up and fails with `Invalid` if it does not exist.
    #[must_use]
    pub fn group(mut self, account: impl Into<String>) -> Access {
        self.groups.push(account.into());
        self
    }

    pub(crate) fn is_everyone(&self) -> bool {
        self.everyone
    }

    pub(crate) fn users(&self) -> &[String] {
        &self.users
    }

    pub(crate) fn groups(&self) -> &[String] {
        &self.groups
    }
}

impl Default for Access {
    fn default() -> Self {
        Self::owner()
    }
}

/// Says which server a client accepts ([rule A4](crate::rules#a4)).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ServerCheck {
    /// This user, the system (root, LocalSystem, Administrators, service accounts), or the user that root gave the name to.
    #[default]
    Trusted,
    /// Only this account: a name, a uid in decimal, or a SID.
    User(String),
    /// Any account.
    Anyone,
}
