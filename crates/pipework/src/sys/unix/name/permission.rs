//! Access, in the words of the file system.

use super::{
    super::{accounts, os},
    directory::Directory,
    namespace,
};
use crate::{
    access::Access,
    error::{PipeErrorKind, context, fail, fail_from},
    model::dir_format::EntryName,
};
use rustix::{
    fs::{AtFlags, CWD, Gid, Mode},
    io::Errno,
};
use std::{fmt::Write, io, os::fd::OwnedFd, path::Path};

const OWNER_ONLY: Mode = Mode::RUSR.union(Mode::WUSR);
const EVERYONE: Mode = OWNER_ONLY.union(Mode::RGRP).union(Mode::WGRP).union(Mode::ROTH).union(Mode::WOTH);

/// The users that may connect to a socket: its mode, its group, its access control list.
#[derive(Clone, Debug)]
pub(crate) struct Permission {
    mode: Mode,
    group: Option<u32>,
    acl: Option<Vec<u8>>,
    /// In words, for the header.
    pub(crate) text: String,
}

impl Permission {
    /// Looks the accounts up.
    pub(crate) fn new(access: &Access) -> io::Result<Permission> {
        if access.sddl.is_some() {
            let text = "a security descriptor can't be kept here: say `user`, `group` or `everyone`";
            return Err(fail(PipeErrorKind::Unsupported, text));
        }
        let mut text = String::from("owner");
        let me = namespace::my_user();
        let mut users = Vec::new();
        for account in access.users() {
            let user = accounts::user_id(account)?;
            if user != me && !users.contains(&user) {
                users.push(user);
            }
        }
        let mut groups = Vec::new();
        for account in access.groups() {
            let group = accounts::group_id(account)?;
            if !groups.contains(&group) {
                groups.push(group);
            }
        }
        users.sort_unstable();
        groups.sort_unstable();
        if access.is_everyone() {
            return Ok(Permission { mode: EVERYONE, group: None, acl: None, text: "everyone".into() });
        }
        for (kind, ids) in [("user", &users), ("group", &groups)] {
            for id in ids {
                write!(text, " {kind}:{id}").ok();
            }
        }
        Ok(match (users.as_slice(), groups.as_slice()) {
            ([], []) => Permission { mode: OWNER_ONLY, group: None, acl: None, text },
            ([], [group]) => Permission {
                mode: OWNER_ONLY.union(Mode::RGRP).union(Mode::WGRP),
                group: Some(*group),
                acl: None,
                text,
            },
            _ => Permission { mode: OWNER_ONLY, group: None, acl: Some(acl(&users, &groups)), text },
        })
    }

    /// Reads the words of a header back.
    pub(crate) fn from_text(text: &str) -> io::Result<Permission> {
        let access = if text == "everyone" { Access::everyone() } else { Access::owner() };
        let access = text.split(' ').fold(access, |access, word| match word.split_once(':') {
            Some(("user", id)) => access.user(id),
            Some(("group", id)) => access.group(id),
            _ => access,
        });
        Permission::new(&access)
    }

    /// Whether anyone but the owner is let in.
    pub(crate) fn is_for_others(&self) -> bool {
        self.mode != OWNER_ONLY || self.acl.is_some()
    }

    /// Sets the mode of a socket that is not yet bound, where the system can: its file never lets in more than that.
    pub(crate) fn prepare(&self, socket: &OwnedFd) -> io::Result<()> {
        Ok(os::set_mode_before_bind(socket, self.mode | os::SPARED)?)
    }

    /// Sets the rest on a bound socket whose name no client knows yet.
    pub(crate) fn apply(&self, directory: &Directory, leaf: EntryName) -> io::Result<()> {
        self.apply_at(&directory.path.join(leaf.encode()))
    }

    /// The same, by path.
    pub(crate) fn apply_at(&self, path: &Path) -> io::Result<()> {
        os::set_mode_after_bind(path, self.mode | os::SPARED)
            .map_err(|error| context("setting the mode of the pipe", error))?;
        if let Some(group) = self.group {
            let group = Some(Gid::from_raw(group));
            rustix::fs::chownat(CWD, path, None, group, AtFlags::SYMLINK_NOFOLLOW).map_err(|error| {
                let text = format!("this user may not give a pipe to `{}`; be a member of it", self.text);
                self.unmapped(error).unwrap_or_else(|| fail_from(PipeErrorKind::AccessDenied, text, error))
            })?;
        }
        if let Some(acl) = &self.acl {
            os::set_access_list(path, acl).map_err(|error| {
                let text = "the file system keeps no access control list for the pipe";
                self.unmapped(error).unwrap_or_else(|| context(text, error))
            })?;
        }
        Ok(())
    }

    /// The error where the kernel can't express one of the ids.
    fn unmapped(&self, error: Errno) -> Option<io::Error> {
        (error == Errno::INVAL).then(|| {
            let text = format!("one of the ids in `{}` is not mapped into this user namespace", self.text);
            fail_from(PipeErrorKind::Invalid, text, error)
        })
    }
}

/// Whether the access text of a header admits a user with these numbers. The user comes through the gateway,
/// which runs as root, so the kernel does not check the access.
pub(in crate::sys::unix) fn lets_in(access: &str, owner: u32, user: u32, groups: &[u32]) -> bool {
    let is_one = |id: &str, ids: &[u32]| id.parse().is_ok_and(|id| ids.contains(&id));
    user == owner
        || access.split(' ').any(|word| match word.split_once(':') {
            Some(("user", id)) => is_one(id, &[user]),
            Some(("group", id)) => is_one(id, groups),
            _ => word == "everyone",
        })
}

/// The extended attribute that holds an access control list, `linux/posix_acl_xattr.h`: version 2, then a tag, the
/// permission bits and an id for each entry, in this order of tags.
fn acl(users: &[u32], groups: &[u32]) -> Vec<u8> {
    const READ_WRITE: u16 = 6;
    const NO_ID: u32 = u32::MAX;
    const OWNER: u16 = 1;
    const USER: u16 = 2;
    const OWNING_GROUP: u16 = 4;
    const GROUP: u16 = 8;
    const MASK: u16 = 16;
    const OTHER: u16 = 32;
    let entries = std::iter::once((OWNER, READ_WRITE, NO_ID))
        .chain(users.iter().map(|user| (USER, READ_WRITE, *user)))
        .chain([(OWNING_GROUP, 0, NO_ID)])
        .chain(groups.iter().map(|group| (GROUP, READ_WRITE, *group)))
        .chain([(MASK, READ_WRITE, NO_ID), (OTHER, 0, NO_ID)]);
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, permission, id) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permission.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}
