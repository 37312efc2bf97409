//! The path of a plain socket: taken atomically, taken over only from the dead, never from a stranger.

use super::{
    super::{
        fork::Origin,
        name::{
            lock::{Lock, LockWait},
            namespace,
            permission::Permission,
            view,
        },
        os,
    },
    address, is_alive,
};
use crate::error::{PipeErrorKind, context, fail};
use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat},
    io::Errno,
    net::{SocketAddrUnix, SocketType},
};
use std::{
    ffi::OsString,
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
    /// `None` at a path of another process.
    file: Option<SocketFile>,
    origin: Origin,
}

/// The file of a socket of ours.
#[derive(Debug)]
struct SocketFile {
    /// Its directory, which can be looked at when the process has changed its root.
    dir: OwnedFd,
    leaf: OsString,
    identity: (u64, u64),
}

impl SocketFile {
    /// Whether it is where it was made.
    fn is_there(&self) -> rustix::io::Result<bool> {
        match rustix::fs::statat(&self.dir, &self.leaf, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(identity(&stat) == self.identity),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl SocketPath {
    /// A path that another process has taken, which is left alone.
    pub(in crate::sys::unix) fn of_another(path: PathBuf) -> SocketPath {
        SocketPath { path, file: None, origin: Origin::current() }
    }

    pub(super) fn is_here(&self) -> bool {
        self.origin.is_here()
    }

    /// In a forked child: the path that its parent has taken, as this process's own.
    pub(super) fn adopt(&self) -> io::Result<SocketPath> {
        let file = match &self.file {
            Some(file) if file.is_there()? => {
                Some(SocketFile { dir: file.dir.try_clone()?, leaf: file.leaf.clone(), ..*file })
            }
            Some(_) => {
                let text = format!(
                    "the socket {} is gone: its parent has dropped the listener before the child has adopted it",
                    self.path.display()
                );
                return Err(fail(PipeErrorKind::Absent, text));
            }
            None => None,
        };
        Ok(SocketPath { path: self.path.clone(), file, origin: Origin::current() })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether something has removed the socket that this process has put there.
    pub(super) fn is_lost(&self) -> bool {
        let file = self.file.as_ref().filter(|_| self.origin.is_here());
        file.is_some_and(|file| file.is_there() == Ok(false))
    }
}

impl Drop for SocketPath {
    fn drop(&mut self) {
        // Only what is still ours, and not in a forked child. No process takes it over while we live, so what
        // is ours now is ours in the next line too.
        if self.origin.is_here()
            && let Some(file) = &self.file
            && file.is_there() == Ok(true)
        {
            rustix::fs::unlinkat(&file.dir, &file.leaf, AtFlags::empty()).ok();
        }
    }
}

/// Binds at the path, which fails where something is, and listens when the permission is in force: until then the kernel
/// refuses every client.
///
/// The path is the one that the kernel lists, so cleaners of temporary files can see that the socket is in use.
pub(crate) fn bind(
    path: &Path,
    permission: &Permission,
    lock_wait: LockWait,
) -> io::Result<(OwnedFd, SocketPath)> {
    let making = || format!("listening at {}", path.display());
    let socket = os::new_socket(SocketType::STREAM).map_err(|error| context(making(), error))?;
    permission.prepare(&socket)?;
    let address = address(path)?;
    let (parent, leaf) = (path.parent().unwrap_or(Path::new("/")), path.file_name().unwrap_or_default());
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | os::PATH_ONLY;
    let dir = rustix::fs::open(parent, flags, Mode::empty()).map_err(|error| refused(path, error))?;
    take(path, &socket, &address, lock_wait)?;
    let Some(stat) = stat(path)? else {
        return Err(context(making(), Errno::NOENT));
    };
    // From here on the drop removes it.
    let file = SocketFile { dir, leaf: leaf.to_owned(), identity: identity(&stat) };
    let place = SocketPath { path: path.to_owned(), file: Some(file), origin: Origin::current() };
    permission.apply_at(path)?;
    rustix::net::listen(&socket, BACKLOG).map_err(|error| context(making(), error))?;
    Ok((socket, place))
}

/// Binds the socket, in place of one that a dead process of this user left.
fn take(path: &Path, socket: &OwnedFd, address: &SocketAddrUnix, lock_wait: LockWait) -> io::Result<()> {
    if bind_free(path, socket, address)? {
        return Ok(());
    }
    is_replaceable(path)?;
    // Of several that find the same dead socket one replaces it; the others look again, and find that one alive.
    let _lock = Lock::beside(path, lock_wait)?;
    while !bind_free(path, socket, address)? {
        if is_replaceable(path)? {
            unlink(path)?;
        }
    }
    Ok(())
}

fn bind_free(path: &Path, socket: &OwnedFd, address: &SocketAddrUnix) -> io::Result<bool> {
    match rustix::net::bind(socket, address) {
        Ok(()) => Ok(true),
        Err(Errno::ADDRINUSE) => Ok(false),
        Err(error) => Err(refused(path, error)),
    }
}

/// Whether what lies at the path is a socket of this user's that no process serves; else it has gone meanwhile.
///
/// A listener that ends removes its file before it closes its socket, and takes no lock for that. Then the socket refuses, and
/// what lies there next is another server's. So the file must be the same before and after the refusal: that one stays until a
/// holder of the lock removes it.
fn is_replaceable(path: &Path) -> io::Result<bool> {
    let Some(stat) = self::stat(path)? else { return Ok(false) };
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
    let made = |stat: &Stat| (identity(stat), stat.st_ctime, stat.st_ctime_nsec);
    let is_same = self::stat(path)?.is_some_and(|after| made(&after) == made(&stat));
    // The next file may get the number of the last one within one tick of the clock. Its server answers.
    if is_same && is_alive(path)? { Err(taken(path)) } else { Ok(is_same) }
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

fn unlink(path: &Path) -> io::Result<()> {
    match rustix::fs::unlinkat(CWD, path, AtFlags::empty()) {
        // Another process may have removed it first.
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(refused(path, error)),
    }
}

fn refused(path: &Path, error: Errno) -> io::Error {
    namespace::refused(path, error)
}
