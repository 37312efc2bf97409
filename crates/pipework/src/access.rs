//! Who may open a pipe, and who may serve it.

/// Who may open a pipe: the owner always, and whom is added. Grants reading and writing, never creating instances.
///
/// Corresponds to the security descriptor of `CreateNamedPipeW`. It is in force before the name can be seen.
///
/// # Platform-specific behavior
/// On Unix the owner alone needs nothing. For anyone else the pipe must lie where others can reach it: root creates
/// such a pipe in `/run/pipework` as it is; another user needs a directory there that root gave to it, and `create`
/// says which and how. A group, or several users and groups, are kept by the mode and the access control list of the
/// pipe's sockets; what the file system can't keep makes `create` fail.
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
    /// A security descriptor of Windows in its own language, which says it all.
    pub(crate) sddl: Option<String>,
}

impl Access {
    /// Lets this user (and the system) in. The default.
    pub fn owner() -> Access {
        Access { everyone: false, users: Vec::new(), groups: Vec::new(), sddl: None }
    }

    /// Lets every user with an account on this computer in; never anonymous or guest.
    pub fn everyone() -> Access {
        Access { everyone: true, users: Vec::new(), groups: Vec::new(), sddl: None }
    }

    /// Adds a user: a name, a uid in decimal, or a SID; looked up by `create`.
    #[must_use]
    pub fn user(mut self, account: impl Into<String>) -> Access {
        self.users.push(account.into());
        self
    }

    /// Adds a group: a name, a gid in decimal, or a SID; looked up by `create`.
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

/// Who a client accepts as the server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ServerCheck {
    /// This user, the system (root, LocalSystem, Administrators, service accounts), or who root gave the name to.
    #[default]
    Trusted,
    /// This account and no other: a name, a uid in decimal, or a SID.
    User(String),
    /// Whoever it is.
    Anyone,
}
