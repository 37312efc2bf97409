//! The path of a plain socket: taken atomically, taken over only from the dead, never from a stranger.

use super::{
    super::{
        fork::Origin,
        name::{directory::Lock, namespace, permission::Permission, view},
        os,
    },
    is_alive, temporary_name,
};
use crate::error::{PipeErrorKind, context, fail};
use rustix::{
    fs::{AtFlags, CWD, FileType, Stat},
    io::Errno,
    net::{SocketAddrUnix, SocketType},
};
use std::{
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

/// How many clients may wait to be accepted.
const BACKLOG: i32 = 128;

/// A path that this process has taken; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct SocketPath {
    path: PathBuf,
    identity: Option<(u64, u64)>,
    origin: Origin,
}

impl SocketPath {
    /// A path that another process has taken, which is left alone.
    pub(in crate::sys::unix) fn of_another(path: PathBuf) -> SocketPath {
        SocketPath { path, identity: None, origin: Origin::current() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketPath {
    fn drop(&mut self) {
        // Only what is still ours, and not in a forked child. No process takes it over while we live, so what
        // is ours now is ours in the next line too.
        if self.origin.is_here()
            && self.identity.is_some()
            && stat(&self.path).ok().flatten().map(|stat| identity(&stat)) == self.identity
        {
            unlink(&self.path);
        }
    }
}

/// Binds and listens beside the path, then links the socket to it: that fails where something is.
pub(crate) fn bind(path: &Path, permission: &Permission) -> io::Result<(OwnedFd, SocketPath)> {
    let making = || format!("listening at {}", path.display());
    let socket = os::new_socket(SocketType::STREAM).map_err(|error| context(making(), error))?;
    permission.prepare(&socket)?;
    let place = path.parent().unwrap_or(Path::new("/"));
    let aside = place.join(temporary_name()?);
    let address = SocketAddrUnix::new(&aside).map_err(|_| {
        let text = format!("{} is too long for the path of a socket", path.display());
        fail(PipeErrorKind::Invalid, text)
    })?;
    rustix::net::bind(&socket, &address).map_err(|error| refused(path, error))?;
    let outcome = permission
        .apply_at(&aside)
        .and_then(|()| Ok(rustix::net::listen(&socket, BACKLOG)?))
        .and_then(|()| take(path, &aside));
    unlink(&aside);
    outcome?;
    let identity = stat(path)?.map(|stat| identity(&stat));
    Ok((socket, SocketPath { path: path.to_owned(), identity, origin: Origin::current() }))
}

/// Gives the socket its path, replacing one that a dead process of this user left.
fn take(path: &Path, aside: &Path) -> io::Result<()> {
    if link(aside, path)? {
        return Ok(());
    }
    check_replaceable(path)?;
    // Of several that find the same dead socket one replaces it; the others look again, and find that one alive.
    let _lock = Lock::beside(path)?;
    if !link(aside, path)? {
        check_replaceable(path)?;
        unlink(path);
        if !link(aside, path)? {
            return Err(taken(path));
        }
    }
    Ok(())
}

fn link(from: &Path, to: &Path) -> io::Result<bool> {
    match rustix::fs::linkat(CWD, from, CWD, to, AtFlags::empty()) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(error) => Err(refused(to, error)),
    }
}

/// Whether what lies at the path is a socket of this user's that no process serves.
fn check_replaceable(path: &Path) -> io::Result<()> {
    let Some(stat) = stat(path)? else { return Ok(()) };
    let path_text = path.display();
    if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
        let text =
            format!("{path_text} is not a socket; it is left as it is: take another path, or move it away");
        return Err(fail(PipeErrorKind::AccessDenied, text));
    }
    if is_alive(path)? {
        return Err(taken(path));
    }
    if stat.st_uid != namespace::my_user() {
        let text = format!("{path_text} was left by user {}; ask them, or root, to remove it", stat.st_uid);
        return Err(fail(PipeErrorKind::AccessDenied, text));
    }
    if !view::proves_death(path.parent().unwrap_or(Path::new("/"))) {
        let text = format!(
            "{path_text} exists, and on its file system (of the network, FUSE or unknown) it can't be seen whether a \
             process serves it; remove it if none does, or take a path on a local file system"
        );
        return Err(fail(PipeErrorKind::Unsupported, text));
    }
    Ok(())
}

fn taken(path: &Path) -> io::Error {
    fail(PipeErrorKind::NameTaken, format!("{} is served already, by a live process", path.display()))
}

fn stat(path: &Path) -> io::Result<Option<Stat>> {
    match rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(refused(path, error)),
    }
}

fn identity(stat: &Stat) -> (u64, u64) {
    namespace::identity(stat)
}

fn unlink(path: &Path) {
    // It fails where another process removed it first, which is right.
    rustix::fs::unlinkat(CWD, path, AtFlags::empty()).ok();
}

fn refused(path: &Path, error: Errno) -> io::Error {
    super::super::name::directory::refused(path, error)
}
