//! How the files of a pipe are addressed.

use crate::error::{PipeErrorKind, context, fail};
use rustix::{
    fs::{AtFlags, CWD, Stat},
    io::Errno,
    net::SocketAddrUnix,
};
use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
    path::Path,
};

/// A directory's name may take what the file system allows, less some for decency.
pub(in crate::sys::unix) const DIRECTORY_NAME_LEN_MAX: usize = 200;
/// Whether an instance has a file for its claims.
pub(in crate::sys::unix) const HAS_CLAIM_FILES: bool = false;

/// Calls `call` with the address of a socket in a directory of any depth, by way of the directory's descriptor. Where
/// `/proc` does not lead to that directory, by its path.
pub(in crate::sys::unix) fn with_address<T>(
    dir: &OwnedFd,
    directory: &Path,
    leaf: &str,
    call: impl Fn(&SocketAddrUnix) -> rustix::io::Result<T>,
) -> io::Result<rustix::io::Result<T>> {
    // Of the thread: that of the process is gone when its first thread has ended.
    let by_descriptor = format!("/proc/thread-self/fd/{}", dir.as_raw_fd());
    let path = format!("{by_descriptor}/{leaf}");
    let address = SocketAddrUnix::new(path.as_str()).map_err(|error| context(path, error))?;
    match call(&address) {
        Err(error)
            if is_of_the_way(error) && !is_same(dir, Path::new(&by_descriptor)) && !is_removed(dir) =>
        {
            Ok(call(&address_by_path(dir, directory, leaf)?))
        }
        outcome => Ok(outcome),
    }
}

/// Whether it can be an error of the way to the directory, and not only one of the socket.
fn is_of_the_way(error: Errno) -> bool {
    matches!(
        error,
        Errno::NOENT
            | Errno::NOTDIR
            | Errno::LOOP
            | Errno::ACCESS
            | Errno::PERM
            | Errno::CONNREFUSED
            | Errno::ROFS
            | Errno::OPNOTSUPP
    )
}

fn address_by_path(dir: &OwnedFd, directory: &Path, leaf: &str) -> io::Result<SocketAddrUnix> {
    let needs_proc = |why: &str| {
        let directory = directory.display();
        let text = format!("{directory} can only be used where /proc is mounted: {why}");
        fail(PipeErrorKind::Unsupported, text)
    };
    if !is_same(dir, directory) {
        return Err(needs_proc("its path leads to another directory"));
    }
    SocketAddrUnix::new(directory.join(leaf))
        .map_err(|_| needs_proc("its path is too long for the path of a socket; set a shorter PIPEWORK_DIR"))
}

/// Whether no path leads to the directory any more.
fn is_removed(dir: &OwnedFd) -> bool {
    rustix::fs::fstat(dir).is_ok_and(|stat| stat.st_nlink == 0)
}

fn is_same(dir: &OwnedFd, path: &Path) -> bool {
    let identity = |stat: Stat| (stat.st_dev, stat.st_ino);
    match (rustix::fs::fstat(dir), rustix::fs::statat(CWD, path, AtFlags::empty())) {
        (Ok(one), Ok(other)) => identity(one) == identity(other),
        _ => false,
    }
}
