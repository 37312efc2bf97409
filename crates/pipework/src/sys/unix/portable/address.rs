//! How the files of a pipe are addressed.

use crate::error::{PipeErrorKind, context, fail_from};
use rustix::{io::Errno, net::SocketAddrUnix};
use std::{io, os::fd::OwnedFd, path::Path};

/// A socket's path has 104 bytes on most of these systems, a zero at its end included. The length of a hashed name is the
/// least that serves all names; it leaves 17 for the root, which is `/tmp/pipework-501`.
pub(in crate::sys::unix) const DIRECTORY_NAME_LEN_MAX: usize = 33;
/// Whether an instance has a file for its claims.
pub(in crate::sys::unix) const HAS_CLAIM_FILES: bool = true;

/// Calls `call` with the address of a socket in a directory: its path, which must be short.
pub(in crate::sys::unix) fn with_address<T>(
    _: &OwnedFd,
    directory: &Path,
    leaf: &str,
    call: impl Fn(&SocketAddrUnix) -> rustix::io::Result<T>,
) -> io::Result<rustix::io::Result<T>> {
    let path = directory.join(leaf);
    let address = SocketAddrUnix::new(&path).map_err(|error| match error {
        Errno::NAMETOOLONG => {
            let path = path.display();
            let text =
                format!("{path} is longer than the path of a socket may be; set a shorter PIPEWORK_DIR");
            fail_from(PipeErrorKind::Invalid, text, error)
        }
        error => context(path.display().to_string(), error),
    })?;
    Ok(call(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_too_long_is_reported() {
        let dir = OwnedFd::from(std::fs::File::open("/").unwrap());
        let directory = format!("/{}", "d".repeat(90));
        let error = with_address(&dir, Path::new(&directory), &"l".repeat(40), |_| Ok(())).unwrap_err();
        assert!(error == PipeErrorKind::Invalid);
        assert!(error.to_string().contains("PIPEWORK_DIR"), "{error}");
    }
}
