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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::dir_format::Incarnation;
    use rustix::net::SocketType;

    fn permission(text: &str) -> Permission {
        Permission::from_text(text).unwrap()
    }

    #[test]
    fn access_is_read_back_from_the_words_of_a_header() {
        for (text, is_for_others) in [
            ("owner", false),
            ("everyone", true),
            ("owner user:54321", true),
            ("owner group:54321", true),
            ("owner user:54321 user:54322 group:54323", true),
        ] {
            let permission = permission(text);
            assert_eq!(permission.text, text);
            assert_eq!(permission.is_for_others(), is_for_others, "{text}");
        }
    }

    #[test]
    fn a_socket_gets_the_mode_of_its_permission() {
        let home = tempfile::tempdir().unwrap();
        let name_dir = namespace::NameDir {
            path: home.path().to_owned(),
            dir: std::fs::File::open(home.path()).unwrap().into(),
            is_mine: true,
            is_open: true,
        };
        let directory = name_dir.make_directory("ECHO", true).unwrap();
        for (text, mode) in [("owner", OWNER_ONLY), ("everyone", EVERYONE)] {
            let permission = permission(text);
            let (id, incarnation) = (directory.new_id().unwrap(), Incarnation::new(1));
            let leaf = EntryName::Server { id, incarnation, process: 1 };
            let socket = os::new_socket(SocketType::STREAM).unwrap();
            permission.prepare(&socket).unwrap();
            let mode_of_socket = namespace::mode_of(&rustix::fs::fstat(&socket).unwrap());
            directory.bind(&socket, leaf).unwrap().unwrap();
            permission.apply(&directory, leaf).unwrap();
            let stat = rustix::fs::statat(&directory.fd, leaf.encode(), AtFlags::empty()).unwrap();
            assert_eq!(namespace::mode_of(&stat), mode | os::SPARED, "{text}");
            if cfg!(any(target_os = "linux", target_os = "android")) {
                assert_eq!(mode_of_socket, mode | os::SPARED, "{text}");
            }
        }
    }

    #[test]
    fn an_id_that_is_not_mapped_is_said_to_be_so() {
        let permission = permission("owner user:54321");
        let error = permission.unmapped(Errno::INVAL).unwrap();
        assert!(error == PipeErrorKind::Invalid && error.to_string().contains("user:54321"), "{error}");
        assert!(permission.unmapped(Errno::PERM).is_none());
    }

    #[test]
    fn the_words_of_a_header_admit_those_that_the_kernel_admits() {
        let (owner, user, groups) = (1, 2, &[3, 4]);
        for (access, is_let_in) in [
            ("owner", false),
            ("everyone", true),
            ("owner user:2", true),
            ("owner user:3", false),
            ("owner user:22", false),
            ("owner group:4", true),
            ("owner group:2", false),
            ("owner user:9 group:9", false),
            ("owner user:everyone", false),
            ("", false),
        ] {
            assert_eq!(lets_in(access, owner, user, groups), is_let_in, "{access}");
            assert!(lets_in(access, user, user, groups), "{access}");
        }
    }

    /// The list of `setfacl -m u:5:rw,g:7:rw,g::-` for a file of mode 0600. Linux keeps these bytes as they are.
    #[test]
    fn an_access_control_list_is_written_as_the_kernel_reads_it() {
        let expected = [
            "02000000",
            "01000600ffffffff",
            "0200060005000000",
            "04000000ffffffff",
            "0800060007000000",
            "10000600ffffffff",
            "20000000ffffffff",
        ];
        let list: String =
            acl(&[5], &[7]).iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
        assert_eq!(list, expected.concat());
    }
}
