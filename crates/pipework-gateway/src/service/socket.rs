//! A question about sockets that only the kernel's raw interface answers.
#![expect(unsafe_code, reason = "one ioctl, for which no crate has a safe call")]

use std::{ffi::c_int, io, os::fd::AsFd};

use rustix::ioctl::{Getter, Opcode, ioctl};

/// `SIOCOUTQ` in `linux/sockios.h`.
const SIOCOUTQ: Opcode = 0x5411;

/// Whether the other end of a Unix socket has taken everything that was written to it.
pub(crate) fn is_taken(socket: impl AsFd) -> io::Result<bool> {
    // SAFETY: the number is that of `SIOCOUTQ`, and what it writes is an `int` (unix(7), `SIOCOUTQ` in `unix_ioctl`).
    let question = unsafe { Getter::<SIOCOUTQ, c_int>::new() };
    // SAFETY: the question is a getter for its own operation code, and the descriptor is open as long as it is borrowed.
    let unread = unsafe { ioctl(socket, question) }?;
    Ok(unread == 0)
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        os::unix::net::UnixStream,
    };

    use super::*;

    #[test]
    fn what_was_read_is_taken() {
        let (mut one, mut other) = UnixStream::pair().unwrap();
        assert!(is_taken(&one).unwrap());
        one.write_all(b"ab").unwrap();
        assert!(!is_taken(&one).unwrap());
        other.read_exact(&mut [0]).unwrap();
        assert!(!is_taken(&one).unwrap(), "a byte is left");
        other.read_exact(&mut [0]).unwrap();
        assert!(is_taken(&one).unwrap());
    }
}
