//! The send queue of a Unix socket, which only an ioctl reports.
#![expect(unsafe_code, reason = "one ioctl, for which no crate has a safe call")]

use std::{ffi::c_int, io, os::fd::AsFd};

use rustix::ioctl::{Getter, Opcode, ioctl};

/// `SIOCOUTQ` in `linux/sockios.h`.
const SIOCOUTQ: Opcode = 0x5411;

/// Whether the peer of a Unix socket has read everything that was written to it.
pub(crate) fn is_send_queue_empty(socket: impl AsFd) -> io::Result<bool> {
    // SAFETY: the opcode is that of `SIOCOUTQ`, and the kernel writes an `int` for it (unix(7), `SIOCOUTQ` in
    // `unix_ioctl`).
    let getter = unsafe { Getter::<SIOCOUTQ, c_int>::new() };
    // SAFETY: `getter` reads the output of its own opcode, and the descriptor is open while it is borrowed.
    let unread = unsafe { ioctl(socket, getter) }?;
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
    fn the_queue_is_empty_once_the_peer_has_read_everything() {
        let (mut one, mut other) = UnixStream::pair().unwrap();
        assert!(is_send_queue_empty(&one).unwrap());
        one.write_all(b"ab").unwrap();
        assert!(!is_send_queue_empty(&one).unwrap());
        other.read_exact(&mut [0]).unwrap();
        assert!(!is_send_queue_empty(&one).unwrap(), "a byte is left");
        other.read_exact(&mut [0]).unwrap();
        assert!(is_send_queue_empty(&one).unwrap());
    }
}
