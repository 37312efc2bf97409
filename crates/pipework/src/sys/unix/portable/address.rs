//! How the files of a pipe are addressed.

use crate::error::{PipeErrorKind, context, fail_from};
use rustix::{io::Errno, net::SocketAddrUnix};
use std::{io, os::fd::OwnedFd, path::Path};

/// A socket's path has 104 bytes on most of these systems, a zero at its end included. The length of a hashed name is the
/// least that serves all names; it leaves 17 for the root, which is `/tmp/pipework-501`.
pub(in crate::sys::unix) const DIRECTORY_NAME_LEN_MAX: usize = 41;
/// Whether an instance has a file for its claims.
pub(in crate::sys::unix) const HAS_CLAIM_FILES: bool = true;

/// The address of a socket in a directory: its path, which must be short.
pub(in crate::sys::unix) fn address(_: &OwnedFd, directory: &Path, leaf: &str) -> io::Result<SocketAddrUnix> {
    let path = directory.join(leaf);
    SocketAddrUnix::new(&path).map_err(|error| match error {
        Errno::NAMETOOLONG => {
            let path = path.display();
            let text =
                format!("{path} is longer than the path of a socket may be; set a shorter PIPEWORK_DIR");
            fail_from(PipeErrorKind::Invalid, text, error)
        }
        error => context(path.display().to_string(), error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_too_long_is_reported() {
        let dir = OwnedFd::from(std::fs::File::open("/").unwrap());
        let error = address(&dir, Path::new(&format!("/{}", "d".repeat(90))), &"l".repeat(40)).unwrap_err();
        assert!(error == PipeErrorKind::Invalid);
        assert!(error.to_string().contains("PIPEWORK_DIR"), "{error}");
    }
}
