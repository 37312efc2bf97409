//! How the files of a pipe are addressed.

use crate::error::context;
use rustix::net::SocketAddrUnix;
use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
    path::Path,
};

/// A directory's name may take what the file system allows, less some for decency.
pub(in crate::sys::unix) const DIRECTORY_NAME_LEN_MAX: usize = 200;
/// Whether an instance has a file for its claims.
pub(in crate::sys::unix) const HAS_CLAIM_FILES: bool = false;

/// The address of a socket in a directory of any depth, by way of the directory's descriptor.
pub(in crate::sys::unix) fn address(dir: &OwnedFd, _: &Path, leaf: &str) -> io::Result<SocketAddrUnix> {
    let path = format!("/proc/self/fd/{}/{leaf}", dir.as_raw_fd());
    SocketAddrUnix::new(path.as_str()).map_err(|error| context(path, error))
}
