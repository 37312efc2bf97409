//! What only one system has; traits and conversions, so that the rest of the crate is free of `cfg`.

/// Keeps the extension traits to the types of this crate.
mod seal {
    #[expect(unnameable_types, reason = "a sealed trait is one that other crates can't name")]
    pub trait Sealed {}
    impl Sealed for crate::PipeStream {}
    impl Sealed for crate::Listener {}
    impl Sealed for crate::Peer {}
}

/// Readiness for foreign event loops, and file descriptors where an end is just one.
#[cfg(unix)]
pub mod unix {
    use std::{
        io::{self, PipeReader, PipeWriter},
        os::{
            fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd},
            unix::net::UnixStream,
        },
    };

    use super::seal::Sealed;
    use crate::{AnonRead, AnonWrite, Listener, Peer, PipeStream, sys::anonymous::handle_from_raw};

    /// Non-blocking use from epoll, mio, calloop, smol.
    ///
    /// # Examples
    /// ```
    /// use pipework::{NamedPipe, PipeName, os::unix::PipeStreamExt};
    /// use std::io::ErrorKind;
    /// # fn main() -> std::io::Result<()> {
    /// let name = PipeName::unique("ready")?;
    /// let server = NamedPipe::new(&name)?;
    /// let client = pipework::connect(&name)?;
    /// let mut buf = [0; 8];
    /// assert_eq!(client.try_read(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
    /// // Now an event loop polls `client.read_ready_fd()?` for readability, and then tries again.
    /// (&server).write_all(b"data")?;
    /// assert_eq!(client.try_read(&mut buf)?, 4);
    /// # Ok(())
    /// # }
    /// # use std::io::Write;
    /// ```
    pub trait PipeStreamExt: Sealed + Sized {
        /// Reads what is there, else `WouldBlock`, and from then on [`read_ready_fd`](Self::read_ready_fd) tells.
        ///
        /// # Errors
        /// `WouldBlock`, also while another thread reads; else those of reading.
        fn try_read(&self, buf: &mut [u8]) -> io::Result<usize>;

        /// Writes what fits, else `WouldBlock`, and from then on [`write_ready_fd`](Self::write_ready_fd) tells. On a
        /// message pipe all of it is one message, or nothing.
        ///
        /// # Errors
        /// `WouldBlock`, also while another thread writes; else those of writing.
        fn try_write(&self, buf: &[u8]) -> io::Result<usize>;

        /// A descriptor to be polled for *readability* (level-triggered), never read: try again then.
        ///
        /// # Errors
        /// Too many open files, on first use. `Unsupported` on the stream of a `NamedPipe`, whose connections change:
        /// take a clone.
        fn read_ready_fd(&self) -> io::Result<BorrowedFd<'_>>;

        /// The same for writing; to be polled for *readability* too.
        ///
        /// # Errors
        /// As [`read_ready_fd`](Self::read_ready_fd).
        fn write_ready_fd(&self) -> io::Result<BorrowedFd<'_>>;

        /// Gives the socket, if this end is a plain socket and has no other handle.
        ///
        /// # Errors
        /// Itself, if it is not.
        fn into_socket(self) -> Result<UnixStream, Self>;
    }

    impl PipeStreamExt for PipeStream {
        fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
            self.end().try_read(buf)
        }

        fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
            self.end().try_write(buf)
        }

        fn read_ready_fd(&self) -> io::Result<BorrowedFd<'_>> {
            self.end().read_ready_fd()
        }

        fn write_ready_fd(&self) -> io::Result<BorrowedFd<'_>> {
            self.end().write_ready_fd()
        }

        fn into_socket(self) -> Result<UnixStream, Self> {
            self.into_end().into_socket().map_err(PipeStream::new)
        }
    }

    /// Non-blocking use of a listener.
    pub trait ListenerExt: Sealed {
        /// A waiting client, else `WouldBlock`, and from then on [`ready_fd`](Self::ready_fd) tells.
        ///
        /// # Errors
        /// `WouldBlock`; else those of accepting.
        fn try_accept(&self) -> io::Result<PipeStream>;

        /// A descriptor to be polled for readability; stable for the listener's life.
        ///
        /// # Errors
        /// Too many open files, on first use.
        fn ready_fd(&self) -> io::Result<BorrowedFd<'_>>;
    }

    impl ListenerExt for Listener {
        fn try_accept(&self) -> io::Result<PipeStream> {
            Listener::try_accept(self)
        }

        fn ready_fd(&self) -> io::Result<BorrowedFd<'_>> {
            self.gate().map(AsFd::as_fd)
        }
    }

    /// A hold on the peer's process.
    pub trait PeerExt: Sealed {
        /// A descriptor of the process that connected or began to listen (a pidfd), which a process that is given
        /// its number later can't be mistaken for; `None` where the kernel has none.
        fn pidfd(&self) -> Option<BorrowedFd<'_>>;
    }

    impl PeerExt for Peer {
        fn pidfd(&self) -> Option<BorrowedFd<'_>> {
            self.sys().handle()
        }
    }

    impl AsFd for AnonRead {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.pipe().as_fd()
        }
    }

    impl AsRawFd for AnonRead {
        fn as_raw_fd(&self) -> RawFd {
            self.pipe().as_raw_fd()
        }
    }

    impl IntoRawFd for AnonRead {
        fn into_raw_fd(self) -> RawFd {
            PipeReader::from(self).into_raw_fd()
        }
    }

    impl FromRawFd for AnonRead {
        #[expect(
            unsafe_code,
            unsafe_op_in_unsafe_fn,
            reason = "passes the contract of its caller on, word for word"
        )]
        unsafe fn from_raw_fd(fd: RawFd) -> Self {
            AnonRead::from(handle_from_raw(fd))
        }
    }

    impl From<OwnedFd> for AnonRead {
        fn from(fd: OwnedFd) -> AnonRead {
            AnonRead::from(PipeReader::from(fd))
        }
    }

    impl From<AnonRead> for OwnedFd {
        fn from(end: AnonRead) -> OwnedFd {
            OwnedFd::from(PipeReader::from(end))
        }
    }

    impl AsFd for AnonWrite {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.pipe().as_fd()
        }
    }

    impl AsRawFd for AnonWrite {
        fn as_raw_fd(&self) -> RawFd {
            self.pipe().as_raw_fd()
        }
    }

    impl IntoRawFd for AnonWrite {
        fn into_raw_fd(self) -> RawFd {
            PipeWriter::from(self).into_raw_fd()
        }
    }

    impl FromRawFd for AnonWrite {
        #[expect(
            unsafe_code,
            unsafe_op_in_unsafe_fn,
            reason = "passes the contract of its caller on, word for word"
        )]
        unsafe fn from_raw_fd(fd: RawFd) -> Self {
            AnonWrite::from(handle_from_raw(fd))
        }
    }

    impl From<OwnedFd> for AnonWrite {
        fn from(fd: OwnedFd) -> AnonWrite {
            AnonWrite::from(PipeWriter::from(fd))
        }
    }

    impl From<AnonWrite> for OwnedFd {
        fn from(end: AnonWrite) -> OwnedFd {
            OwnedFd::from(PipeWriter::from(end))
        }
    }

    #[cfg(test)]
    mod tests {
        use std::{
            ffi::OsStr,
            io::{Read, Write},
            os::unix::ffi::OsStrExt,
            path::Path,
        };

        use super::*;
        use crate::{PipeErrorKind, PipeName, PipeNameKind, anonymous};

        #[test]
        fn ends_convert_to_and_from_descriptors() {
            let (read, write) = anonymous(0).unwrap();
            assert_eq!(read.as_fd().as_raw_fd(), read.as_raw_fd());
            assert_eq!(write.as_fd().as_raw_fd(), write.as_raw_fd());
            let (read_number, write_number) = (read.as_raw_fd(), write.as_raw_fd());
            let (read, write) = (OwnedFd::from(read), OwnedFd::from(write));
            assert_eq!((read.as_raw_fd(), write.as_raw_fd()), (read_number, write_number));
            let (mut read, mut write) = (AnonRead::from(read), AnonWrite::from(write));
            write.write_all(b"by descriptor").unwrap();
            drop(write);
            let mut text = String::new();
            read.read_to_string(&mut text).unwrap();
            assert_eq!(text, "by descriptor");
        }

        #[test]
        fn only_a_path_may_be_other_than_unicode() {
            let path = OsStr::from_bytes(b"/tmp/\xff");
            let name = PipeName::new(path).unwrap();
            assert_eq!(name.kind(), PipeNameKind::Socket(Path::new(path)));
            assert_eq!(name.as_ref() as &OsStr, path);
            for bytes in
                [&b"a\xff"[..], b"\xed\xa0\x80", b"//./pipe/\xff", b"\\\\.\\pipe\\\xff", b"\\\\\xff\\pipe\\x"]
            {
                let error = PipeName::new(OsStr::from_bytes(bytes)).unwrap_err();
                assert!(error == PipeErrorKind::Invalid);
                assert!(error.to_string().contains("Unicode"), "{error}");
            }
        }
    }
}
