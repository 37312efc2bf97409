//! Claiming an instance, where the system queues more than one client: a lock on a file of the instance's own.
//!
//! Whoever has the lock may connect, and takes the instance's name and the file away before giving the lock back; so
//! whoever gets the lock later finds the file gone. A client that is killed before it connects loses the lock, and the
//! instance is there for the next one. One that is killed between connecting and taking the file away has been the
//! instance's client: another one may then come to stand behind it, and finds its connection closed when the server
//! has taken the dead one.

use super::super::directory::Directory;
use crate::{
    error::{PipeErrorKind, context, fail_from},
    model::place::Leaf,
};
use rustix::{
    fs::{FlockOperation, Mode, OFlags},
    io::Errno,
    net::SocketAddrUnix,
};
use std::{
    io,
    os::fd::{BorrowedFd, OwnedFd},
    path::Path,
};

/// A socket's path has 104 bytes on most of these systems: this leaves room for a root and a leaf.
pub(in crate::sys::unix) const DIRECTORY_NAME_LEN_MAX: usize = 42;
/// One is needed; the rest is for clients that were killed while they claimed.
pub(in crate::sys::unix) const BACKLOG: i32 = 4;
/// Whether other users may be let in: only where their memory can do no harm.
pub(in crate::sys::unix) const SERVES_OTHERS: bool = false;

/// What came of an attempt to claim an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sys::unix) enum Claim {
    /// The socket is connected to it.
    Taken,
    /// Somebody else has it, or is about to, or it is no more.
    Lost,
}

/// The address of a socket in a directory: its path, which must be short.
pub(in crate::sys::unix) fn address(_: &OwnedFd, directory: &Path, leaf: &str) -> io::Result<SocketAddrUnix> {
    let path = directory.join(leaf);
    SocketAddrUnix::new(&path).map_err(|error| match error {
        Errno::NAMETOOLONG => {
            let path = path.display();
            let text = format!("{path} is longer than the path of a socket may be; set a shorter PIPEWORK_DIR");
            fail_from(PipeErrorKind::Invalid, text, error)
        }
        error => context(path.display().to_string(), error),
    })
}

/// Makes what clients need to claim the instance, before they can see it.
pub(in crate::sys::unix) fn prepare(directory: &Directory, leaf: Leaf) -> io::Result<()> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    rustix::fs::openat(directory.fd(), file_of(leaf), flags, mode)
        // The umask may have taken bits away.
        .and_then(|file| rustix::fs::fchmod(file, mode))
        .map_err(|error| context("making the claim file of an instance", error))
}

/// Tries to become the client of an instance. The outcome is final: whoever else has the lock takes the instance, or
/// dies; after that the next attempt to open finds it.
pub(in crate::sys::unix) fn claim(directory: &Directory, leaf: Leaf, socket: &OwnedFd) -> io::Result<Claim> {
    let Some(_lock) = Lock::take(directory, leaf)? else { return Ok(Claim::Lost) };
    match rustix::net::connect(socket, &directory.address(leaf)?) {
        Ok(()) => {}
        Err(Errno::AGAIN | Errno::CONNREFUSED | Errno::NOENT) => return Ok(Claim::Lost),
        Err(error) => return Err(error.into()),
    }
    // Before the lock is given back: that is what makes the claim exact.
    directory.unlink(&leaf.encode());
    forget(directory, leaf);
    Ok(Claim::Taken)
}

/// Ends the queue of a listening socket. Here nobody is in it but who claimed the instance.
pub(in crate::sys::unix) fn end_queue(_: BorrowedFd<'_>) {}

/// Removes what `prepare` made.
pub(in crate::sys::unix) fn forget(directory: &Directory, leaf: Leaf) {
    directory.unlink(&file_of(leaf));
}

fn file_of(leaf: Leaf) -> String {
    Leaf::Claim(leaf.id()).encode()
}

/// The right to connect to an instance.
struct Lock {
    file: OwnedFd,
}

impl Lock {
    /// Takes it, if it is free and the instance was not claimed.
    fn take(directory: &Directory, leaf: Leaf) -> io::Result<Option<Lock>> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(directory.fd(), file_of(leaf), flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        match rustix::io::retry_on_intr(|| rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let lock = Lock { file };
        // Who had the lock before may have claimed the instance after the file was opened here.
        let is_linked = rustix::fs::fstat(&lock.file)?.st_nlink > 0;
        Ok(is_linked.then_some(lock))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Said aloud, since a forked child may still hold the descriptor.
        let _: rustix::io::Result<()> = rustix::fs::flock(&self.file, FlockOperation::Unlock);
    }
}
