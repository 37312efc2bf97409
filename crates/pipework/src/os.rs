//! What only one system has; traits and conversions, so that the rest of the crate is free of `cfg`.

/// Keeps the extension traits to the types of this crate.
mod seal {
    #[expect(unnameable_types, reason = "a sealed trait is one that other crates can't name")]
    pub trait Sealed {}
    impl Sealed for crate::PipeStream {}
    impl Sealed for crate::Listener {}
    impl Sealed for crate::Peer {}
    impl Sealed for crate::NamedPipe {}
    impl Sealed for crate::NamedPipeBuilder {}
    impl Sealed for crate::ClientOptions {}
    #[cfg(feature = "tokio")]
    impl Sealed for crate::tokio::ClientOptions {}
    impl Sealed for crate::Access {}
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
        sync::Arc,
        time::Duration,
    };

    use super::seal::Sealed;
    use crate::{
        AnonRead, AnonWrite, ClientOptions, Listener, NetworkCaller, Peer, PipeErrorKind, PipeStream,
        listener::{Source, lock},
        sys::{Gate, Watch, anonymous::handle_from_raw},
    };

    /// Non-blocking use from epoll, mio, calloop, smol; and how a thread waits.
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

        /// Lets a thread that waits at this end, or at a clone of it, look actively for some time (up to 100 µs) before it
        /// sleeps, as it does by default while that pays; or not, for programs that would rather save the processor's time.
        /// `PIPEWORK_SPIN=0` in the environment does the same for all ends that are not told otherwise.
        ///
        /// # Errors
        /// `Listening` or `NotConnected` on the stream of a `NamedPipe` without a client.
        fn set_spin(&self, spins: bool) -> io::Result<()>;

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

        fn set_spin(&self, spins: bool) -> io::Result<()> {
            self.end().set_spin(spins)
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
            match self.accept_timeout(Duration::ZERO) {
                Err(error) if error == PipeErrorKind::TimedOut => Err(io::ErrorKind::WouldBlock.into()),
                outcome => outcome,
            }
        }

        fn ready_fd(&self) -> io::Result<BorrowedFd<'_>> {
            gate_of(self).map(AsFd::as_fd)
        }
    }

    /// Opening for a caller whom a service of the network has authenticated.
    pub trait ClientOptionsExt: Sealed {
        /// Opens for `caller`, whom the server then sees as its peer ([`Peer::network`]), and only pipes that accept clients
        /// from the network and let this caller in: rules A1 and A2 hold for it as for a user of this computer.
        ///
        /// It is for a service that runs as root, since servers believe nobody else: from another process the connection is
        /// over with the first byte, and the server sees `Corrupt`. The uid and the gids are what counts for access.
        ///
        /// # Errors
        /// `open` and `connect` fail with `AccessDenied` where the pipe does not accept clients from the network or does not
        /// let the caller in, and with `Invalid` where the caller can't be told (see [`NetworkCaller`]).
        fn on_behalf_of(&mut self, caller: &NetworkCaller) -> &mut Self;
    }

    impl ClientOptionsExt for ClientOptions {
        fn on_behalf_of(&mut self, caller: &NetworkCaller) -> &mut Self {
            self.caller = Some(Arc::new(caller.clone()));
            self
        }
    }

    #[cfg(feature = "tokio")]
    impl ClientOptionsExt for crate::tokio::ClientOptions {
        fn on_behalf_of(&mut self, caller: &NetworkCaller) -> &mut Self {
            self.options.on_behalf_of(caller);
            self
        }
    }

    /// What tells foreign event loops that a client waits.
    fn gate_of(listener: &Listener) -> io::Result<&Gate> {
        if listener.gate.get().is_none() {
            let gate = Gate::new()?;
            // Under the lock of the instance, so that no replacement is missed.
            let current = match &listener.source {
                Source::Plain(listener) => {
                    gate.follow_plain(listener)?;
                    None
                }
                Source::Instances { current, .. } => {
                    let current = lock(current);
                    match &*current {
                        Some(instance) => gate.follow(instance)?,
                        None => gate.follow_places(Watch::new(listener.name())?)?,
                    }
                    Some(current)
                }
            };
            // Another thread may have been quicker; then its gate serves.
            listener.gate.set(gate).ok();
            drop(current);
        }
        listener.gate.get().ok_or_else(|| io::Error::other("the descriptor was not made"))
    }

    /// A hold on the peer's process.
    pub trait PeerExt: Sealed {
        /// A descriptor of the process that connected or began to listen (a pidfd), which a process that is given
        /// its number later can't be mistaken for; `None` where the kernel has none.
        fn pidfd(&self) -> Option<BorrowedFd<'_>>;
    }

    impl PeerExt for Peer {
        fn pidfd(&self) -> Option<BorrowedFd<'_>> {
            self.inner.handle()
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

/// miow's Windows extras, and handles.
///
/// `OVERLAPPED` and `SECURITY_ATTRIBUTES` are plain pointers here, so that no version of a crate with the system's types is
/// part of this one.
#[cfg(windows)]
pub mod windows {
    use std::{
        ffi::c_void,
        io::{self, PipeReader, PipeWriter},
        os::windows::io::{
            AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, IntoRawHandle, OwnedHandle, RawHandle,
        },
    };

    use super::seal::Sealed;
    use crate::{
        Access, AnonRead, AnonWrite, ClientOptions, NamedPipe, NamedPipeBuilder, PipeStream,
        sys::{
            self,
            windows::{Instance, handle_from_raw},
        },
    };

    /// miow's overlapped calls, for programs that have completions of their own.
    ///
    /// The handle is opened for overlapped use and belongs to no completion port; give it to yours by its raw handle. The
    /// other calls of this crate never make a completion there.
    pub trait NamedPipeExt: Sealed {
        /// Begins to wait for a client; `true` if one is there already, or was and has left, in which case no completion
        /// comes.
        ///
        /// # Safety
        /// `overlapped` points to an `OVERLAPPED` that lives until the operation ends and serves no other.
        ///
        /// # Errors
        /// The system's.
        #[expect(unsafe_code, reason = "declares a contract that its callers keep")]
        unsafe fn connect_overlapped(&self, overlapped: *mut c_void) -> io::Result<bool>;

        /// Begins to read; the number of bytes if it has ended already.
        ///
        /// # Safety
        /// As [`connect_overlapped`](Self::connect_overlapped), and `buf` lives as long too.
        ///
        /// # Errors
        /// The system's.
        #[expect(unsafe_code, reason = "declares a contract that its callers keep")]
        unsafe fn read_overlapped(
            &self,
            buf: &mut [u8],
            overlapped: *mut c_void,
        ) -> io::Result<Option<usize>>;

        /// Begins to write; the number of bytes if it has ended already.
        ///
        /// # Safety
        /// As [`connect_overlapped`](Self::connect_overlapped), and `buf` lives as long too.
        ///
        /// # Errors
        /// The system's.
        #[expect(unsafe_code, reason = "declares a contract that its callers keep")]
        unsafe fn write_overlapped(&self, buf: &[u8], overlapped: *mut c_void) -> io::Result<Option<usize>>;

        /// Tells how many bytes an operation that has ended has moved.
        ///
        /// # Safety
        /// `overlapped` began an operation on this pipe.
        ///
        /// # Errors
        /// The operation's, and the system's for one that has not ended.
        #[expect(unsafe_code, reason = "declares a contract that its callers keep")]
        unsafe fn result(&self, overlapped: *mut c_void) -> io::Result<usize>;
    }

    #[expect(
        unsafe_code,
        unsafe_op_in_unsafe_fn,
        reason = "passes the contract of its caller on, word for word"
    )]
    impl NamedPipeExt for NamedPipe {
        unsafe fn connect_overlapped(&self, overlapped: *mut c_void) -> io::Result<bool> {
            self.instance.connect_overlapped(overlapped)
        }

        unsafe fn read_overlapped(
            &self,
            buf: &mut [u8],
            overlapped: *mut c_void,
        ) -> io::Result<Option<usize>> {
            self.instance.read_overlapped(buf, overlapped)
        }

        unsafe fn write_overlapped(&self, buf: &[u8], overlapped: *mut c_void) -> io::Result<Option<usize>> {
            self.instance.write_overlapped(buf, overlapped)
        }

        unsafe fn result(&self, overlapped: *mut c_void) -> io::Result<usize> {
            self.instance.result(overlapped)
        }
    }

    /// What a server may do with its client.
    pub trait PipeStreamExt: Sealed {
        /// Runs `act` on this thread with the rights of the client, as far as the client allows it, and goes back to what the
        /// thread acted as before, also when `act` panics.
        ///
        /// Corresponds to `ImpersonateNamedPipeClient`. A client of this crate lets a server know who it is and no more,
        /// unless it says otherwise by [`ClientOptionsExt::security_qos_flags`].
        ///
        /// # Aborts
        /// If the thread can't go back: it must not go on with the rights of somebody else.
        ///
        /// # Errors
        /// When the system refuses, for example before anything was read from the client; `act` is not run then.
        /// `Unsupported` at a client's end.
        fn impersonate<T>(&self, act: impl FnOnce() -> T) -> io::Result<T>;
    }

    impl PipeStreamExt for PipeStream {
        fn impersonate<T>(&self, act: impl FnOnce() -> T) -> io::Result<T> {
            self.end().as_client(act)
        }
    }

    /// miow's raw security attributes.
    pub trait NamedPipeBuilderExt: Sealed {
        /// Creates an instance with these attributes instead of what [`NamedPipeBuilder::access`] says.
        ///
        /// # Safety
        /// `attributes` is null, which stands for the system's default, or points to a valid `SECURITY_ATTRIBUTES`.
        ///
        /// # Errors
        /// Those of [`NamedPipeBuilder::create`].
        #[expect(unsafe_code, reason = "declares a contract that its callers keep")]
        unsafe fn with_security_attributes(&mut self, attributes: *mut c_void) -> io::Result<NamedPipe>;
    }

    impl NamedPipeBuilderExt for NamedPipeBuilder {
        #[expect(
            unsafe_code,
            unsafe_op_in_unsafe_fn,
            reason = "passes the contract of its caller on, word for word"
        )]
        unsafe fn with_security_attributes(&mut self, attributes: *mut c_void) -> io::Result<NamedPipe> {
            Instance::create_raw(&self.spec()?, attributes).map(NamedPipe::over)
        }
    }

    /// How far a server may act as the client.
    pub trait ClientOptionsExt: Sealed {
        /// Sets the `SECURITY_*` flags of `CreateFileW` (default `SECURITY_IDENTIFICATION`: the server may know who the
        /// client is, and not act as it).
        fn security_qos_flags(&mut self, flags: u32) -> &mut Self;
    }

    impl ClientOptionsExt for ClientOptions {
        fn security_qos_flags(&mut self, flags: u32) -> &mut Self {
            self.security_qos_flags = flags;
            self
        }
    }

    /// The escape hatch of [`Access`].
    pub trait AccessExt: Sealed {
        /// Exactly this security descriptor, in SDDL; checked by `create`. Nobody can be added to it.
        ///
        /// Read and write, but do not let others make instances: `FILE_CREATE_PIPE_INSTANCE` is part of `GW` and `FW`.
        ///
        /// # Examples
        /// ```
        /// use pipework::{Access, NamedPipeBuilder, PipeName, os::windows::AccessExt};
        /// # fn main() -> std::io::Result<()> {
        /// // The owner everything; whoever was authenticated may read and write.
        /// let access = Access::from_sddl("D:P(A;;FA;;;OW)(A;;0x12018b;;;AU)");
        /// let server = NamedPipeBuilder::new(PipeName::unique("sddl")?).access(access).create()?;
        /// # Ok(())
        /// # }
        /// ```
        fn from_sddl(sddl: impl Into<String>) -> Access;
    }

    impl AccessExt for Access {
        fn from_sddl(sddl: impl Into<String>) -> Access {
            let mut access = Access::owner();
            access.sddl = Some(sddl.into());
            access
        }
    }

    impl AsHandle for NamedPipe {
        fn as_handle(&self) -> BorrowedHandle<'_> {
            self.instance.handle()
        }
    }

    impl AsRawHandle for NamedPipe {
        fn as_raw_handle(&self) -> RawHandle {
            self.as_handle().as_raw_handle()
        }
    }

    impl IntoRawHandle for NamedPipe {
        fn into_raw_handle(self) -> RawHandle {
            OwnedHandle::from(self).into_raw_handle()
        }
    }

    impl From<NamedPipe> for OwnedHandle {
        /// Gives the handle; where clones of the stream still use it, another one of the same end.
        ///
        /// # Panics
        /// If there are clones, and the process has no handle to spare.
        fn from(pipe: NamedPipe) -> OwnedHandle {
            let NamedPipe { instance, stream } = pipe;
            // Which uses the handle too.
            drop(stream);
            handle_or_panic(instance.into_handle())
        }
    }

    impl TryFrom<OwnedHandle> for NamedPipe {
        type Error = io::Error;

        /// Takes over a handle of a pipe's server end that was opened for overlapped use; anything else is `Invalid`.
        fn try_from(handle: OwnedHandle) -> io::Result<NamedPipe> {
            Instance::adopt(handle).map(NamedPipe::over)
        }
    }

    impl AsHandle for PipeStream {
        fn as_handle(&self) -> BorrowedHandle<'_> {
            self.end().handle()
        }
    }

    impl AsRawHandle for PipeStream {
        fn as_raw_handle(&self) -> RawHandle {
            self.as_handle().as_raw_handle()
        }
    }

    impl IntoRawHandle for PipeStream {
        fn into_raw_handle(self) -> RawHandle {
            OwnedHandle::from(self).into_raw_handle()
        }
    }

    impl From<PipeStream> for OwnedHandle {
        /// Gives the handle; where clones still use it, another one of the same end.
        ///
        /// # Panics
        /// If there are clones, and the process has no handle to spare.
        fn from(stream: PipeStream) -> OwnedHandle {
            handle_or_panic(stream.into_end().into_handle())
        }
    }

    impl TryFrom<OwnedHandle> for PipeStream {
        type Error = io::Error;

        /// Takes over a handle of a connected pipe that was opened for overlapped use; anything else is `Invalid`.
        fn try_from(handle: OwnedHandle) -> io::Result<PipeStream> {
            sys::End::adopt(handle).map(PipeStream::new)
        }
    }

    /// The conversions that need this can't fail in their signatures; their documentation says when.
    fn handle_or_panic(handle: io::Result<OwnedHandle>) -> OwnedHandle {
        handle.unwrap_or_else(|error| panic!("no second handle of a pipe that clones still use: {error}"))
    }

    impl AsHandle for AnonRead {
        fn as_handle(&self) -> BorrowedHandle<'_> {
            self.pipe().as_handle()
        }
    }

    impl AsRawHandle for AnonRead {
        fn as_raw_handle(&self) -> RawHandle {
            self.pipe().as_raw_handle()
        }
    }

    impl IntoRawHandle for AnonRead {
        fn into_raw_handle(self) -> RawHandle {
            PipeReader::from(self).into_raw_handle()
        }
    }

    impl FromRawHandle for AnonRead {
        #[expect(
            unsafe_code,
            unsafe_op_in_unsafe_fn,
            reason = "passes the contract of its caller on, word for word"
        )]
        unsafe fn from_raw_handle(handle: RawHandle) -> Self {
            AnonRead::from(handle_from_raw(handle))
        }
    }

    impl From<OwnedHandle> for AnonRead {
        fn from(handle: OwnedHandle) -> AnonRead {
            AnonRead::from(PipeReader::from(handle))
        }
    }

    impl From<AnonRead> for OwnedHandle {
        fn from(end: AnonRead) -> OwnedHandle {
            OwnedHandle::from(PipeReader::from(end))
        }
    }

    impl AsHandle for AnonWrite {
        fn as_handle(&self) -> BorrowedHandle<'_> {
            self.pipe().as_handle()
        }
    }

    impl AsRawHandle for AnonWrite {
        fn as_raw_handle(&self) -> RawHandle {
            self.pipe().as_raw_handle()
        }
    }

    impl IntoRawHandle for AnonWrite {
        fn into_raw_handle(self) -> RawHandle {
            PipeWriter::from(self).into_raw_handle()
        }
    }

    impl FromRawHandle for AnonWrite {
        #[expect(
            unsafe_code,
            unsafe_op_in_unsafe_fn,
            reason = "passes the contract of its caller on, word for word"
        )]
        unsafe fn from_raw_handle(handle: RawHandle) -> Self {
            AnonWrite::from(handle_from_raw(handle))
        }
    }

    impl From<OwnedHandle> for AnonWrite {
        fn from(handle: OwnedHandle) -> AnonWrite {
            AnonWrite::from(PipeWriter::from(handle))
        }
    }

    impl From<AnonWrite> for OwnedHandle {
        fn from(end: AnonWrite) -> OwnedHandle {
            OwnedHandle::from(PipeWriter::from(end))
        }
    }

    #[cfg(test)]
    mod tests {
        use std::{
            fs::File,
            io::{Read, Write},
        };

        use super::*;
        use crate::{PipeErrorKind, PipeMode, PipeName, anonymous};

        fn name() -> PipeName {
            PipeName::unique("os").unwrap()
        }

        #[test]
        fn ends_convert_to_and_from_handles() {
            let name = name();
            let server = NamedPipeBuilder::new(&name).pipe_mode(PipeMode::Message).create().unwrap();
            let mut server = NamedPipe::try_from(OwnedHandle::from(server)).unwrap();
            let client = crate::connect(&name).unwrap();
            let clone = client.try_clone().unwrap();
            let mut client = PipeStream::try_from(OwnedHandle::from(client)).unwrap();
            drop(clone);
            server.connect().unwrap();
            server.write_all(b"by handle").unwrap();
            let mut text = [0; 9];
            client.read_exact(&mut text).unwrap();
            assert_eq!(&text, b"by handle");
            client.write_all(b"back").unwrap();
            // The read mode is that of the handle.
            assert_eq!(server.stream().read_message(9).unwrap().as_deref(), Some(&b"back"[..]));
            assert_eq!(client.as_handle().as_raw_handle(), client.as_raw_handle());
        }

        #[test]
        fn a_handle_that_will_not_do_is_refused() {
            let file = File::open(std::env::current_exe().unwrap()).unwrap();
            assert!(NamedPipe::try_from(OwnedHandle::from(file)).unwrap_err() == PipeErrorKind::Invalid);
            let (read, _write) = anonymous(0).unwrap();
            assert!(PipeStream::try_from(OwnedHandle::from(read)).unwrap_err() == PipeErrorKind::Invalid);
            let name = name();
            let server = NamedPipe::new(&name).unwrap();
            let client = OwnedHandle::from(crate::connect(&name).unwrap());
            assert!(NamedPipe::try_from(client).unwrap_err() == PipeErrorKind::Invalid);
            server.disconnect().unwrap();
            let server = OwnedHandle::from(server);
            assert!(PipeStream::try_from(server).unwrap_err() == PipeErrorKind::Invalid);
        }

        #[test]
        fn anonymous_ends_convert_to_and_from_handles() {
            let (read, write) = anonymous(0).unwrap();
            let (read, write) = (OwnedHandle::from(read), OwnedHandle::from(write));
            let (mut read, mut write) = (AnonRead::from(read), AnonWrite::from(write));
            write.write_all(b"by handle").unwrap();
            drop(write);
            let mut text = String::new();
            read.read_to_string(&mut text).unwrap();
            assert_eq!(text, "by handle");
        }

        #[test]
        fn a_server_acts_as_its_client_and_goes_back() {
            let name = name();
            let server = NamedPipe::new(&name).unwrap();
            let mut client = crate::connect(&name).unwrap();
            client.write_all(b"x").unwrap();
            (&server).read_exact(&mut [0]).unwrap();
            assert_eq!(server.stream().impersonate(|| 42).unwrap(), 42);
            // Twice, one in the other, and out of a panic.
            let nested = server.stream().impersonate(|| server.stream().impersonate(|| 7).unwrap());
            assert_eq!(nested.unwrap(), 7);
            let panics = std::panic::AssertUnwindSafe(|| server.stream().impersonate(|| panic!("inside")));
            assert!(std::panic::catch_unwind(panics).is_err());
            assert!(client.impersonate(|| ()).unwrap_err() == PipeErrorKind::Unsupported);
            assert!(server.stream().peer().unwrap().is_same_user());
        }

        #[test]
        fn a_client_lets_itself_be_known_and_no_more_unless_it_says_so() {
            // `SECURITY_IDENTIFICATION`, and then `SECURITY_IMPERSONATION`.
            let mut options = ClientOptions::new();
            assert_eq!(options.security_qos_flags, 1 << 16);
            assert_eq!(options.security_qos_flags(2 << 16).clone().security_qos_flags, 2 << 16);
        }

        #[test]
        fn a_security_descriptor_is_checked_by_create() {
            let create = |access| NamedPipeBuilder::new(name()).access(access).create();
            create(Access::from_sddl("D:P(A;;FA;;;WD)")).unwrap();
            create(Access::owner().user("S-1-5-18").group("S-1-5-32-545")).unwrap();
            for access in [
                Access::from_sddl("nonsense"),
                Access::from_sddl("D:\0"),
                Access::from_sddl("D:P(A;;FA;;;WD)").user("S-1-5-18"),
                Access::owner().user("S-1-nothing"),
                Access::owner().user(""),
            ] {
                assert!(create(access.clone()).unwrap_err() == PipeErrorKind::Invalid, "{access:?}");
            }
        }
    }
}
