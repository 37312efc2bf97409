//! Plain sockets that other code made: streams and listeners that are taken over, and those of socket activation.
#![expect(unsafe_code, reason = "descriptors that another process passed come as numbers")]

use super::{
    end::End,
    end_options::EndOptions,
    os,
    unix_socket::{SocketEnd, SocketListener, path::SocketPath},
};
use crate::{
    error::{PipeErrorKind, fail, fail_from},
    options::{PipeEnd, PipeMode},
};
use rustix::{
    io::Errno,
    net::{AddressFamily, SocketType, getpeername, getsockname, sockopt},
};
use std::{
    env,
    ffi::OsStr,
    io,
    os::{
        fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::{self, PathBuf},
    process,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// The first descriptor that an activator passes, `SD_LISTEN_FDS_START`.
const FIRST_PASSED: RawFd = 3;
/// More than any process may open.
const PASSED_COUNT_MAX: RawFd = 1 << 20;

/// Whether the descriptors that were passed to this process have been taken.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

impl End {
    /// Takes over any connected Unix stream socket.
    pub(crate) fn adopt(socket: OwnedFd) -> io::Result<End> {
        check_stream(socket.as_fd())?;
        if getpeername(&socket).is_err() {
            return Err(fail(PipeErrorKind::Invalid, "the socket is not connected"));
        }
        rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
        Ok(End::of_stream(socket.into()))
    }

    /// Takes over a stream of the standard library, which is connected.
    pub(crate) fn of_stream(stream: UnixStream) -> End {
        // Only a socket that listens has a name to begin with, and those that it accepts have the same.
        let is_named = stream.local_addr().is_ok_and(|address| !address.is_unnamed());
        let socket = OwnedFd::from(stream);
        os::raise_no_signal(&socket);
        let side = if is_named { PipeEnd::Server } else { PipeEnd::Client };
        End::Socket(Arc::new(SocketEnd::new(socket, side, EndOptions::new(PipeMode::Byte, None))))
    }
}

impl SocketListener {
    /// Takes over a Unix stream socket that listens at a path, which is left there when the listener is dropped.
    pub(crate) fn adopt(socket: OwnedFd) -> io::Result<(PathBuf, SocketListener)> {
        let path = check_listening(socket.as_fd())?;
        rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
        // Accepting must not wait: of several threads that see a client only one gets it.
        rustix::io::ioctl_fionbio(&socket, true)?;
        os::raise_no_signal(&socket);
        let listener = SocketListener::over(socket, SocketPath::of_another(path.clone()));
        Ok((path, listener))
    }
}

/// The listening sockets that were passed to this process, for the first caller.
pub(crate) fn inherited_listeners() -> io::Result<Vec<(PathBuf, SocketListener)>> {
    let [pid, count] = ["LISTEN_PID", "LISTEN_FDS"].map(env::var_os);
    let count = passed_count(pid.as_deref(), count.as_deref(), process::id())?;
    let passed = FIRST_PASSED..FIRST_PASSED + count;
    // Nothing else depends on its order.
    if count == 0 || IS_TAKEN.load(Ordering::Relaxed) {
        return Ok(Vec::new());
    }
    passed.clone().try_for_each(check_passed)?;
    if IS_TAKEN.swap(true, Ordering::Relaxed) {
        return Ok(Vec::new());
    }
    // All at once, so that an error closes them all.
    let sockets: Vec<OwnedFd> = passed.map(own).collect();
    sockets.into_iter().map(SocketListener::adopt).collect()
}

/// How many descriptors were passed to the process `me`; 0 if they are another process's.
fn passed_count(pid: Option<&OsStr>, count: Option<&OsStr>, me: u32) -> io::Result<RawFd> {
    let (Some(pid), Some(count)) = (pid, count) else { return Ok(0) };
    if pid.to_str().and_then(|pid| pid.parse().ok()) != Some(me) {
        return Ok(0);
    }
    match count.to_str().and_then(|count| count.parse().ok()) {
        Some(count @ 0..=PASSED_COUNT_MAX) => Ok(count),
        _ => {
            let text = format!("LISTEN_FDS is {count:?}, which is no number of descriptors");
            Err(fail(PipeErrorKind::Invalid, text))
        }
    }
}

fn check_passed(fd: RawFd) -> io::Result<()> {
    let error = |error| fail_from(PipeErrorKind::Invalid, format!("descriptor {fd} of LISTEN_FDS"), error);
    // SAFETY: the call asks for a flag of the number `fd`, and does nothing to what it may be.
    if unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
        return Err(error(io::Error::last_os_error()));
    }
    // SAFETY: it is open, as was just seen. `LISTEN_PID` names this process, so it was passed to it, and no
    // code has taken it over yet that could close it meanwhile.
    let passed = unsafe { BorrowedFd::borrow_raw(fd) };
    check_listening(passed).map(drop).map_err(error)
}

fn own(fd: RawFd) -> OwnedFd {
    // SAFETY: it is open and was passed to this process to own, as `check_passed` has found. `IS_TAKEN` keeps everybody else
    // in this crate from taking it too.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Where a socket listens, if it is a Unix stream socket that does.
fn check_listening(socket: BorrowedFd<'_>) -> io::Result<PathBuf> {
    check_stream(socket)?;
    if !is_listening(socket)? {
        return Err(fail(PipeErrorKind::Invalid, "the socket does not listen"));
    }
    // Not by `rustix`, which panics where the path fills the address, so that no zero ends it.
    let address = UnixListener::from(socket.try_clone_to_owned()?).local_addr()?;
    let Some(path) = address.as_pathname() else {
        let text = "the socket listens at no path, and so has no name here";
        return Err(fail(PipeErrorKind::Unsupported, text));
    };
    path::absolute(path)
}

fn check_stream(socket: BorrowedFd<'_>) -> io::Result<()> {
    let kind = match sockopt::socket_type(socket) {
        Err(Errno::NOTSOCK) => None,
        kind => Some(kind?),
    };
    let is_unix = kind.is_some() && getsockname(socket)?.address_family() == AddressFamily::UNIX;
    if is_unix && kind == Some(SocketType::STREAM) {
        return Ok(());
    }
    Err(fail(PipeErrorKind::Invalid, "the descriptor is not a Unix stream socket"))
}

#[cfg(not(target_vendor = "apple"))]
fn is_listening(socket: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(sockopt::socket_acceptconn(socket)?)
}

/// The system does not say so: a socket with a name and without a peer is taken for one that listens.
#[cfg(target_vendor = "apple")]
fn is_listening(socket: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(getpeername(socket).is_err())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    fn count(pid: &str, count: &str) -> io::Result<RawFd> {
        passed_count(Some(pid.as_ref()), Some(count.as_ref()), 17)
    }

    #[test]
    fn only_what_was_passed_to_this_process_counts() {
        assert_eq!(count("17", "2").unwrap(), 2);
        assert_eq!(count("17", "0").unwrap(), 0);
        for other in ["18", "", "-17", "17x"] {
            assert_eq!(count(other, "2").unwrap(), 0, "{other}");
        }
        assert_eq!(passed_count(None, Some("2".as_ref()), 17).unwrap(), 0);
        assert_eq!(passed_count(Some("17".as_ref()), None, 17).unwrap(), 0);
    }

    #[test]
    fn a_wrong_number_of_descriptors_is_refused() {
        for wrong in ["", "two", "-1", "99999999999", "2000000"] {
            assert!(count("17", wrong).unwrap_err() == PipeErrorKind::Invalid, "{wrong}");
        }
    }

    /// Without the zero that ends every other path.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[test]
    fn a_path_that_fills_the_address_is_read() {
        let place = tempfile::tempdir().unwrap();
        // SAFETY: an address is integers, for which all zeros are valid.
        let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
        address.sun_family = libc::sa_family_t::try_from(libc::AF_UNIX).unwrap();
        let room = address.sun_path.len() - place.path().as_os_str().len() - 1;
        let path = place.path().join("s".repeat(room));
        for (to, from) in std::iter::zip(&mut address.sun_path, path.as_os_str().as_encoded_bytes()) {
            *to = libc::c_char::from_ne_bytes([*from]);
        }
        let socket = super::os::new_socket(SocketType::STREAM).unwrap();
        let len = libc::socklen_t::try_from(size_of::<libc::sockaddr_un>()).unwrap();
        // SAFETY: the pointer is to `len` bytes, all of them written, which live through the call.
        let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), len) };
        assert_eq!(bound, 0, "{}", io::Error::last_os_error());
        rustix::net::listen(&socket, 1).unwrap();
        assert_eq!(check_listening(socket.as_fd()).unwrap(), path);
    }

    #[test]
    fn a_number_that_is_no_socket_is_refused() {
        assert!(check_passed(RawFd::MAX).unwrap_err() == PipeErrorKind::Invalid);
        // The standard output of a test is a file, a terminal or a pipe.
        assert!(check_passed(1).unwrap_err() == PipeErrorKind::Invalid);
    }
}
