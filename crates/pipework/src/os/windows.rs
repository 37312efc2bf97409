//! Overlapped calls, impersonation, security attributes, and handles.
//!
//! The calls have the names of miow. [`OVERLAPPED`] and [`SECURITY_ATTRIBUTES`] are plain pointers here, so that this crate's
//! interface depends on no version of another crate.
//!
//! [`OVERLAPPED`]: https://learn.microsoft.com/windows/win32/api/minwinbase/ns-minwinbase-overlapped
//! [`SECURITY_ATTRIBUTES`]: https://learn.microsoft.com/previous-versions/windows/desktop/legacy/aa379560(v=vs.85)

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
    sys::{self, Instance, windows::handle_from_raw},
};

/// Overlapped calls, for programs that handle completions themselves.
///
/// The handle is opened for overlapped use and is associated with no completion port. The program can associate it by its raw
/// handle. The other blocking calls of this crate post no completion there.
pub trait NamedPipeExt: Sealed {
    /// Starts to wait for a client. Returns `true` if one has connected already, also if it has left again; then no
    /// completion is posted.
    ///
    /// # Safety
    /// `overlapped` points to an `OVERLAPPED` that lives until the operation ends and serves no other.
    ///
    /// # Errors
    /// The system's error.
    #[expect(unsafe_code, reason = "declares a contract for its callers")]
    unsafe fn connect_overlapped(&self, overlapped: *mut c_void) -> io::Result<bool>;

    /// Starts to read. Returns the number of bytes if the read has ended already.
    ///
    /// # Safety
    /// As [`connect_overlapped`](Self::connect_overlapped), and `buf` lives as long too.
    ///
    /// # Errors
    /// The system's.
    #[expect(unsafe_code, reason = "declares a contract for its callers")]
    unsafe fn read_overlapped(&self, buf: &mut [u8], overlapped: *mut c_void) -> io::Result<Option<usize>>;

    /// Starts to write. Returns the number of bytes if the write has ended already.
    ///
    /// # Safety
    /// As [`connect_overlapped`](Self::connect_overlapped), and `buf` lives as long too.
    ///
    /// # Errors
    /// The system's.
    #[expect(unsafe_code, reason = "declares a contract for its callers")]
    unsafe fn write_overlapped(&self, buf: &[u8], overlapped: *mut c_void) -> io::Result<Option<usize>>;

    /// Returns how many bytes an operation has transferred that has ended.
    ///
    /// # Safety
    /// `overlapped` started an operation on this pipe.
    ///
    /// # Errors
    /// The error of the operation, and the system's error if it has not ended.
    #[expect(unsafe_code, reason = "declares a contract for its callers")]
    unsafe fn result(&self, overlapped: *mut c_void) -> io::Result<usize>;
}

#[expect(unsafe_code, unsafe_op_in_unsafe_fn, reason = "its caller has the same contract")]
impl NamedPipeExt for NamedPipe {
    unsafe fn connect_overlapped(&self, overlapped: *mut c_void) -> io::Result<bool> {
        self.instance.connect_overlapped(overlapped)
    }

    unsafe fn read_overlapped(&self, buf: &mut [u8], overlapped: *mut c_void) -> io::Result<Option<usize>> {
        self.instance.read_overlapped(buf, overlapped)
    }

    unsafe fn write_overlapped(&self, buf: &[u8], overlapped: *mut c_void) -> io::Result<Option<usize>> {
        self.instance.write_overlapped(buf, overlapped)
    }

    unsafe fn result(&self, overlapped: *mut c_void) -> io::Result<usize> {
        self.instance.result(overlapped)
    }
}

/// Impersonation of a client by its server.
pub trait PipeStreamExt: Sealed {
    /// Runs `act` on this thread with the client's rights, as far as the client allows it.
    ///
    /// Afterwards the thread has its former identity again, also if `act` panics. A client of this crate allows its server only
    /// to identify it, unless [`ClientOptionsExt::security_qos_flags`] sets more. Corresponds to
    /// [`ImpersonateNamedPipeClient`].
    ///
    /// [`ImpersonateNamedPipeClient`]: https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-impersonatenamedpipeclient
    ///
    /// # Aborts
    /// If the thread can't get its former identity back, since it must not go on with the rights of another user.
    ///
    /// # Errors
    /// The system's error, for example before anything was read from the client. Then `act` is not run. `Unsupported` at a
    /// client's end.
    fn impersonate<T>(&self, act: impl FnOnce() -> T) -> io::Result<T>;
}

impl PipeStreamExt for PipeStream {
    fn impersonate<T>(&self, act: impl FnOnce() -> T) -> io::Result<T> {
        self.end().as_client(act)
    }
}

/// Raw security attributes.
pub trait NamedPipeBuilderExt: Sealed {
    /// Creates an instance with these attributes instead of [`NamedPipeBuilder::access`].
    ///
    /// # Safety
    /// `attributes` is null, for the system's default, or points to a valid `SECURITY_ATTRIBUTES`.
    ///
    /// # Errors
    /// Those of [`NamedPipeBuilder::create`].
    #[expect(unsafe_code, reason = "declares a contract for its callers")]
    unsafe fn with_security_attributes(&mut self, attributes: *mut c_void) -> io::Result<NamedPipe>;
}

impl NamedPipeBuilderExt for NamedPipeBuilder {
    #[expect(unsafe_code, unsafe_op_in_unsafe_fn, reason = "its caller has the same contract")]
    unsafe fn with_security_attributes(&mut self, attributes: *mut c_void) -> io::Result<NamedPipe> {
        Instance::create_raw(&self.spec()?, attributes).map(NamedPipe::over)
    }
}

/// The impersonation level of a client.
pub trait ClientOptionsExt: Sealed {
    /// Sets the `SECURITY_*` flags of [`CreateFileW`]. The default is `SECURITY_IDENTIFICATION`: the server may identify the
    /// client and not act as it.
    ///
    /// [`CreateFileW`]: https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-createfilew
    fn security_qos_flags(&mut self, flags: u32) -> &mut Self;
}

impl ClientOptionsExt for ClientOptions {
    fn security_qos_flags(&mut self, flags: u32) -> &mut Self {
        self.security_qos_flags = flags;
        self
    }
}

/// Access by a security descriptor.
pub trait AccessExt: Sealed {
    /// Creates an access that is exactly this security descriptor, in [SDDL]. `create` checks it and returns
    /// `Invalid` if it is malformed, or if users or groups were added to it.
    ///
    /// `GW` and `FW` include `FILE_CREATE_PIPE_INSTANCE`, the right to create instances. The access mask `0x12018b` in the
    /// example allows to read and write without it.
    ///
    /// [SDDL]: https://learn.microsoft.com/windows/win32/secauthz/security-descriptor-definition-language
    ///
    /// # Examples
    /// ```
    /// use pipework::{Access, NamedPipeBuilder, PipeName, os::windows::AccessExt};
    /// # fn main() -> std::io::Result<()> {
    /// // Full access for the owner. Authenticated users may read and write.
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

impl From<NamedPipe> for OwnedHandle {
    /// Returns the handle, or a duplicate of it if clones of the stream still use it.
    ///
    /// # Panics
    /// If there are clones and the process can't open another handle.
    fn from(pipe: NamedPipe) -> OwnedHandle {
        let NamedPipe { instance, stream } = pipe;
        // Which uses the handle too.
        drop(stream);
        handle_or_panic(instance.into_handle())
    }
}

impl TryFrom<OwnedHandle> for NamedPipe {
    type Error = io::Error;

    /// Takes over a handle of a server end that was opened for overlapped use. Anything else is `Invalid`.
    fn try_from(handle: OwnedHandle) -> io::Result<NamedPipe> {
        Instance::adopt(handle).map(NamedPipe::over)
    }
}

impl AsHandle for PipeStream {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.end().handle()
    }
}

impl From<PipeStream> for OwnedHandle {
    /// Returns the handle, or a duplicate of it if clones still use it.
    ///
    /// # Panics
    /// If there are clones and the process can't open another handle.
    fn from(stream: PipeStream) -> OwnedHandle {
        handle_or_panic(stream.into_end().into_handle())
    }
}

impl TryFrom<OwnedHandle> for PipeStream {
    type Error = io::Error;

    /// Takes over a handle of a connected pipe that was opened for overlapped use. Anything else is `Invalid`.
    fn try_from(handle: OwnedHandle) -> io::Result<PipeStream> {
        sys::End::adopt(handle).map(PipeStream::new)
    }
}

/// For conversions whose signature has no error. Their documentation says when they panic.
fn handle_or_panic(handle: io::Result<OwnedHandle>) -> OwnedHandle {
    handle
        .unwrap_or_else(|error| panic!("can't duplicate the handle of a pipe that clones still use: {error}"))
}

handle_conversions! {
    names {
        OwnedHandle BorrowedHandle RawHandle
        AsHandle::as_handle AsRawHandle::as_raw_handle IntoRawHandle::into_raw_handle FromRawHandle::from_raw_handle
    }
    anonymous { AnonRead: PipeReader, AnonWrite: PipeWriter }
    named { NamedPipe, PipeStream }
}

/// Handles of async ends, as tokio's named pipes have them.
#[cfg(feature = "tokio")]
mod of_async_ends {
    use super::{
        AsHandle, AsRawHandle, BorrowedHandle, IntoRawHandle, NamedPipe, OwnedHandle, PipeStream, RawHandle,
        handle_from_raw, io,
    };
    use crate::tokio::{NamedPipeClient, NamedPipeServer};

    handle_conversions! {
        names {
            OwnedHandle BorrowedHandle RawHandle
            AsHandle::as_handle AsRawHandle::as_raw_handle IntoRawHandle::into_raw_handle FromRawHandle::from_raw_handle
        }
        anonymous {}
        named { NamedPipeServer, NamedPipeClient }
    }

    impl NamedPipeServer {
        /// Takes over a handle of a pipe's server end, as in tokio.
        ///
        /// # Safety
        /// `handle` is open, and the caller owns it, so no other code closes it.
        ///
        /// # Errors
        /// `Invalid` for anything but a server's end that was opened for overlapped use; then the handle is closed.
        #[expect(unsafe_code, unsafe_op_in_unsafe_fn, reason = "its caller has the same contract")]
        pub unsafe fn from_raw_handle(handle: RawHandle) -> io::Result<NamedPipeServer> {
            NamedPipeServer::try_from(handle_from_raw(handle))
        }
    }

    impl NamedPipeClient {
        /// Takes over a handle of a pipe's client end, as in tokio.
        ///
        /// # Safety
        /// `handle` is open, and the caller owns it, so no other code closes it.
        ///
        /// # Errors
        /// `Invalid` for anything but a client's connected end that was opened for overlapped use; then the handle is closed.
        #[expect(unsafe_code, unsafe_op_in_unsafe_fn, reason = "its caller has the same contract")]
        pub unsafe fn from_raw_handle(handle: RawHandle) -> io::Result<NamedPipeClient> {
            NamedPipeClient::try_from(handle_from_raw(handle))
        }
    }

    impl AsHandle for NamedPipeServer {
        fn as_handle(&self) -> BorrowedHandle<'_> {
            self.end.handle()
        }
    }

    impl AsHandle for NamedPipeClient {
        fn as_handle(&self) -> BorrowedHandle<'_> {
            self.end.handle()
        }
    }

    impl TryFrom<OwnedHandle> for NamedPipeServer {
        type Error = io::Error;

        /// Takes over a handle as [`NamedPipe`] does.
        fn try_from(handle: OwnedHandle) -> io::Result<NamedPipeServer> {
            NamedPipe::try_from(handle).map(NamedPipeServer::from)
        }
    }

    impl TryFrom<OwnedHandle> for NamedPipeClient {
        type Error = io::Error;

        /// Takes over a handle as [`PipeStream`] does. A server's end is `Invalid`.
        fn try_from(handle: OwnedHandle) -> io::Result<NamedPipeClient> {
            PipeStream::try_from(handle).and_then(NamedPipeClient::try_from)
        }
    }

    impl From<NamedPipeServer> for OwnedHandle {
        /// Returns the handle as [`PipeStream`] does.
        ///
        /// # Panics
        /// As the conversion of [`PipeStream`].
        fn from(server: NamedPipeServer) -> OwnedHandle {
            OwnedHandle::from(PipeStream::from(server))
        }
    }

    impl From<NamedPipeClient> for OwnedHandle {
        /// Returns the handle as [`PipeStream`] does.
        ///
        /// # Panics
        /// As the conversion of [`PipeStream`].
        fn from(client: NamedPipeClient) -> OwnedHandle {
            OwnedHandle::from(PipeStream::from(client))
        }
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

    #[cfg(feature = "tokio")]
    #[test]
    fn async_ends_convert_to_and_from_handles() {
        use crate::tokio::{NamedPipeClient, NamedPipeServer};
        use ::tokio::io::{AsyncReadExt, AsyncWriteExt};
        let name = name();
        let server = NamedPipeServer::from(NamedPipe::new(&name).unwrap());
        assert_eq!(server.as_handle().as_raw_handle(), server.as_raw_handle());
        let mut server = NamedPipeServer::try_from(OwnedHandle::from(server)).unwrap();
        let client = NamedPipeClient::try_from(crate::connect(&name).unwrap()).unwrap();
        assert_eq!(client.as_handle().as_raw_handle(), client.as_raw_handle());
        let mut client = NamedPipeClient::try_from(OwnedHandle::from(client)).unwrap();
        let runtime = ::tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            server.connect().await.unwrap();
            server.write_all(b"by handle").await.unwrap();
            let mut text = [0; 9];
            client.read_exact(&mut text).await.unwrap();
            assert_eq!(&text, b"by handle");
        });
        let wrong = NamedPipeClient::try_from(OwnedHandle::from(server)).unwrap_err();
        assert!(wrong == PipeErrorKind::Invalid);
        let wrong = NamedPipeServer::try_from(OwnedHandle::from(client)).unwrap_err();
        assert!(wrong == PipeErrorKind::Invalid);
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
