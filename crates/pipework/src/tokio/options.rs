//! The options of async pipes.

use super::{
    ends::{NamedPipeClient, NamedPipeServer},
    listener::Listener,
};
use crate::{
    access::{Access, ServerCheck},
    client::{self, CONNECT_TIMEOUT},
    credentials::Credentials,
    error::{PipeErrorKind, fail},
    named::NamedPipeBuilder,
    options::{PipeMode, Request},
    sys::asynchronous,
};
use std::{
    ffi::{OsStr, c_void},
    io,
    time::Duration,
};

/// Bits of `dwOpenMode` of `CreateNamedPipeW` that only Windows supports.
const WRITE_DAC: u32 = 0x0004_0000;
const WRITE_OWNER: u32 = 0x0008_0000;
const ACCESS_SYSTEM_SECURITY: u32 = 0x0100_0000;

/// The options of a new pipe, as in tokio.
///
/// They are plain data, which [`create`](ServerOptions::create) and [`listen`](ServerOptions::listen) check. The order of the
/// setters does not matter. [`access`](ServerOptions::access) and `listen` are not in tokio. Unlike in tokio, a wrong number of
/// instances is an error and not a panic, and by default only this user may open the pipe.
///
#[doc = include_str!("../server_options.md")]
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// All options but the address, which `create` and `listen` take.
    builder: NamedPipeBuilder,
    /// Whether it was set; instances and listeners have different defaults.
    first: Option<bool>,
    /// Bits of the open mode that only Windows supports.
    open_mode: u32,
}

impl ServerOptions {
    /// Creates the default options: those of tokio (not necessarily the first instance, both directions, bytes, no maximum,
    /// no remote clients), but with buffers of 256 KiB and for this user only.
    pub fn new() -> ServerOptions {
        ServerOptions { builder: NamedPipeBuilder::new(""), first: None, open_mode: 0 }
    }

    /// Sets the type of the pipe, and the server's read mode (default `Byte`).
    #[doc(alias = "PIPE_TYPE_MESSAGE")]
    pub fn pipe_mode(&mut self, mode: PipeMode) -> &mut Self {
        self.builder.pipe_mode(mode);
        self
    }

    /// Allows data from client to server (default true).
    #[doc(alias = "PIPE_ACCESS_INBOUND")]
    pub fn access_inbound(&mut self, allowed: bool) -> &mut Self {
        self.builder.inbound(allowed);
        self
    }

    /// Allows data from server to client (default true).
    #[doc(alias = "PIPE_ACCESS_OUTBOUND")]
    pub fn access_outbound(&mut self, allowed: bool) -> &mut Self {
        self.builder.outbound(allowed);
        self
    }

    /// Requires the new instance to be the first of its name ([rule N2](crate::rules#n2)).
    ///
    /// The default is false for [`create`](ServerOptions::create), as in tokio, and true for
    /// [`listen`](ServerOptions::listen).
    #[doc(alias = "FILE_FLAG_FIRST_PIPE_INSTANCE")]
    pub fn first_pipe_instance(&mut self, first: bool) -> &mut Self {
        self.first = Some(first);
        self
    }

    /// Requests the right to change the pipe's access list (default false). On other systems than Windows `create` returns
    /// `Unsupported` for `true`.
    #[doc(alias = "WRITE_DAC")]
    pub fn write_dac(&mut self, requested: bool) -> &mut Self {
        self.set_bit(WRITE_DAC, requested)
    }

    /// Requests the right to change the pipe's owner (default false). On other systems than Windows `create` returns
    /// `Unsupported` for `true`.
    #[doc(alias = "WRITE_OWNER")]
    pub fn write_owner(&mut self, requested: bool) -> &mut Self {
        self.set_bit(WRITE_OWNER, requested)
    }

    /// Requests the right to the pipe's audit list (default false). On other systems than Windows `create` returns
    /// `Unsupported` for `true`.
    #[doc(alias = "ACCESS_SYSTEM_SECURITY")]
    pub fn access_system_security(&mut self, requested: bool) -> &mut Self {
        self.set_bit(ACCESS_SYSTEM_SECURITY, requested)
    }

    /// Refuses remote clients (default true). `false` is [`accept_remote(true)`](NamedPipeBuilder::accept_remote).
    #[doc(alias = "PIPE_REJECT_REMOTE_CLIENTS")]
    pub fn reject_remote_clients(&mut self, reject: bool) -> &mut Self {
        self.builder.accept_remote(!reject);
        self
    }

    /// Sets the maximum number of instances in all processes: 1 to 254, or 255 for no limit (default). `create` returns
    /// `Invalid` for anything else.
    ///
    /// The first instance sets it for all ([rule N3](crate::rules#n3), [rule N4](crate::rules#n4)).
    #[doc(alias = "nMaxInstances")]
    pub fn max_instances(&mut self, instances: usize) -> &mut Self {
        // `create` refuses zero instances with the same text as too many.
        self.builder.max_instances(u8::try_from(instances).unwrap_or(0));
        self
    }

    /// Sets the quota of the server-to-client direction in bytes (default 262,144).
    #[doc(alias = "nOutBufferSize")]
    pub fn out_buffer_size(&mut self, len: u32) -> &mut Self {
        self.builder.out_buffer_size(len);
        self
    }

    /// Sets the quota of the client-to-server direction in bytes (default 262,144).
    #[doc(alias = "nInBufferSize")]
    pub fn in_buffer_size(&mut self, len: u32) -> &mut Self {
        self.builder.in_buffer_size(len);
        self
    }

    /// Sets who may open the pipe (default [`Access::owner`]). The first instance sets it for all
    /// ([rule A1](crate::rules#a1)).
    pub fn access(&mut self, access: Access) -> &mut Self {
        self.builder.access(access);
        self
    }

    /// Creates one instance. Corresponds to [`CreateNamedPipeW`].
    ///
    /// [`CreateNamedPipeW`]: https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-createnamedpipew
    ///
    /// # Errors
    /// Those of [`NamedPipeBuilder::create`](crate::NamedPipeBuilder::create); `Busy` is the OS error 231.
    #[doc(alias = "CreateNamedPipeW")]
    pub fn create(&self, address: impl AsRef<OsStr>) -> io::Result<NamedPipeServer> {
        let spec = self.builder(address.as_ref(), false).spec_of_instance()?;
        asynchronous::create(&spec, self.open_mode).map(NamedPipeServer::new).map_err(busy_as_os_error)
    }

    /// Creates one instance with Windows' security attributes instead of [`access`](ServerOptions::access).
    ///
    /// # Safety
    /// `attributes` is null or points to a valid `SECURITY_ATTRIBUTES`.
    ///
    /// # Errors
    /// Those of [`create`](ServerOptions::create). On other systems than Windows `Unsupported` if it is not null.
    #[expect(unsafe_code, unsafe_op_in_unsafe_fn, reason = "its caller has the same contract")]
    pub unsafe fn create_with_security_attributes_raw(
        &self,
        address: impl AsRef<OsStr>,
        attributes: *mut c_void,
    ) -> io::Result<NamedPipeServer> {
        let spec = self.builder(address.as_ref(), false).spec_of_instance()?;
        asynchronous::create_with_attributes(&spec, self.open_mode, attributes)
            .map(NamedPipeServer::new)
            .map_err(busy_as_os_error)
    }

    /// Creates a listener with these options. It is the only way to serve a plain Unix socket.
    ///
    /// It owns the name, unless [`first_pipe_instance(false)`](ServerOptions::first_pipe_instance) is set.
    ///
    /// # Errors
    /// Those of [`NamedPipeBuilder::listen`](crate::NamedPipeBuilder::listen), and `Unsupported` for rights that only `create`
    /// can request.
    pub fn listen(&self, address: impl AsRef<OsStr>) -> io::Result<Listener> {
        if self.open_mode != 0 {
            let text = "a listener can't request rights to change the pipe's access: call `create`";
            return Err(fail(PipeErrorKind::Unsupported, text));
        }
        self.builder(address.as_ref(), true).listen().map(Listener::new).map_err(busy_as_os_error)
    }

    fn builder(&self, address: &OsStr, first: bool) -> NamedPipeBuilder {
        let mut builder = self.builder.at(address);
        builder.first(self.first.unwrap_or(first));
        builder
    }

    fn set_bit(&mut self, bit: u32, is_set: bool) -> &mut Self {
        self.open_mode = if is_set { self.open_mode | bit } else { self.open_mode & !bit };
        self
    }
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// The options of a client end, as in tokio.
///
/// They are plain data, which [`open`](ClientOptions::open) and [`connect`](ClientOptions::connect) check. The order of the
/// setters does not matter.
///
#[doc = include_str!("../client_options.md")]
#[derive(Clone, Debug)]
pub struct ClientOptions {
    pub(crate) options: client::ClientOptions,
    timeout: Duration,
}

impl ClientOptions {
    /// Creates the default options: those of tokio (both directions, byte read mode), [`ServerCheck::Trusted`], and 20 s for
    /// [`connect`](ClientOptions::connect).
    pub fn new() -> ClientOptions {
        ClientOptions { options: client::ClientOptions::new(), timeout: CONNECT_TIMEOUT }
    }

    /// Requests reading (default true).
    pub fn read(&mut self, allowed: bool) -> &mut Self {
        self.options.read(allowed);
        self
    }

    /// Requests writing (default true).
    pub fn write(&mut self, allowed: bool) -> &mut Self {
        self.options.write(allowed);
        self
    }

    /// Sets how this end reads a message pipe (default `Byte`, [rule M3](crate::rules#m3)).
    pub fn pipe_mode(&mut self, mode: PipeMode) -> &mut Self {
        self.options.read_mode(mode);
        self
    }

    /// Sets how far the server may impersonate this client, as `SECURITY_*` flags of Windows (default
    /// `SECURITY_IDENTIFICATION`).
    ///
    /// # Platform-specific behavior
    /// On Unix a server never impersonates its client. So `open` returns `Unsupported` for `SECURITY_ANONYMOUS`, and the other
    /// levels have no effect.
    pub fn security_qos_flags(&mut self, flags: u32) -> &mut Self {
        self.options.security_qos_flags = flags;
        self
    }

    /// Sets how long [`connect`](ClientOptions::connect) waits at most, all attempts together (default 20 s). Zero makes one
    /// attempt. [`Duration::MAX`] waits for ever.
    pub fn timeout(&mut self, timeout: Duration) -> &mut Self {
        self.timeout = timeout;
        self
    }

    /// Lets [`connect`](ClientOptions::connect) also wait for a name that does not exist yet (default false).
    pub fn wait_absent(&mut self, wait: bool) -> &mut Self {
        self.options.wait_absent(wait);
        self
    }

    /// Sets which server to accept (default `Trusted`). Any other server is `AccessDenied`, before a byte is sent
    /// ([rule A4](crate::rules#a4)).
    pub fn server(&mut self, check: ServerCheck) -> &mut Self {
        self.options.server(check);
        self
    }

    /// Sets the identity on a remote host, as [`pipework::ClientOptions`](crate::ClientOptions::credentials) does.
    pub fn credentials(&mut self, credentials: Credentials) -> &mut Self {
        self.options.credentials(credentials);
        self
    }

    /// Refuses a remote connection without encryption, as
    /// [`pipework::ClientOptions`](crate::ClientOptions::require_encryption) does.
    pub fn require_encryption(&mut self, required: bool) -> &mut Self {
        self.options.require_encryption(required);
        self
    }

    /// Sets the TCP port of the SMB server, as [`pipework::ClientOptions`](crate::ClientOptions::remote_port) does.
    pub fn remote_port(&mut self, port: u16) -> &mut Self {
        self.options.remote_port(port);
        self
    }

    /// Opens without waiting. Returns `Busy` or `Absent` if no instance is available. Corresponds to [`CreateFileW`].
    ///
    /// [`CreateFileW`]: https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-createfilew
    ///
    /// # Platform-specific behavior
    /// A remote host takes time to answer, and this call must not block. So a remote name is `Unsupported` on other systems than
    /// Windows. Use [`connect`](ClientOptions::connect).
    ///
    /// # Errors
    /// Those of [`pipework::ClientOptions::open`](crate::ClientOptions::open); `Busy` is the OS error 231.
    #[doc(alias = "CreateFileW")]
    pub fn open(&self, address: impl AsRef<OsStr>) -> io::Result<NamedPipeClient> {
        let request = self.options.request(address.as_ref())?;
        asynchronous::open(&request).map(NamedPipeClient::new).map_err(busy_as_os_error)
    }

    /// Opens without waiting, with Windows' security attributes for the handle.
    ///
    /// # Safety
    /// `attributes` is null or points to a valid `SECURITY_ATTRIBUTES`.
    ///
    /// # Errors
    /// Those of [`open`](ClientOptions::open). On other systems than Windows `Unsupported` if it is not null.
    #[expect(unsafe_code, unsafe_op_in_unsafe_fn, reason = "its caller has the same contract")]
    pub unsafe fn open_with_security_attributes_raw(
        &self,
        address: impl AsRef<OsStr>,
        attributes: *mut c_void,
    ) -> io::Result<NamedPipeClient> {
        let request = self.options.request(address.as_ref())?;
        asynchronous::open_with_attributes(&request, attributes)
            .map(NamedPipeClient::new)
            .map_err(busy_as_os_error)
    }

    /// Opens, and waits while the pipe is busy ([rule C4](crate::rules#c4)).
    ///
    /// [`timeout`](ClientOptions::timeout) and [`wait_absent`](ClientOptions::wait_absent) control the wait. It does not poll
    /// where the system signals changes.
    ///
    /// # Cancel safety
    /// Cancel safe: nothing is open until the call returns. A server may see a client that connects and leaves.
    ///
    /// # Errors
    /// As [`open`](ClientOptions::open), but `TimedOut` instead of `Busy`, and with `wait_absent` instead of `Absent`.
    pub async fn connect(&self, address: impl AsRef<OsStr>) -> io::Result<NamedPipeClient> {
        self.connect_with(&self.options.request(address.as_ref())?).await
    }

    /// Connects like [`connect`](ClientOptions::connect), or in the one direction that the pipe has.
    pub(super) async fn connect_any_direction(&self, address: &OsStr) -> io::Result<NamedPipeClient> {
        let mut request = self.options.request(address)?;
        request.allow_one_way = true;
        self.connect_with(&request).await
    }

    async fn connect_with(&self, request: &Request) -> io::Result<NamedPipeClient> {
        asynchronous::connect(request, self.timeout).await.map(NamedPipeClient::new)
    }
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Replaces the error of a busy pipe by the bare OS error, which programs on tokio compare. Other errors keep their text.
fn busy_as_os_error(error: io::Error) -> io::Error {
    match i32::try_from(PipeErrorKind::Busy.code()) {
        Ok(code) if error == PipeErrorKind::Busy => io::Error::from_raw_os_error(code),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(options: &ServerOptions, first: bool) -> io::Result<crate::options::Spec> {
        options.builder("x".as_ref(), first).spec()
    }

    #[test]
    fn numbers_of_instances_that_do_not_exist_are_refused() {
        for count in [0, 256, usize::MAX] {
            let mut options = ServerOptions::new();
            let error = spec(options.max_instances(count), false).unwrap_err();
            assert!(error == PipeErrorKind::Invalid, "{count}: {error}");
            assert!(error.to_string().contains("254"), "{error}");
            // The last one that was set counts.
            assert_eq!(spec(options.max_instances(254), false).unwrap().max_instances, 254);
        }
    }

    #[test]
    fn an_instance_need_not_be_the_first_but_a_listener_must() {
        let mut options = ServerOptions::new();
        for default in [false, true] {
            assert_eq!(spec(&options, default).unwrap().first, default);
        }
        for set in [false, true] {
            options.first_pipe_instance(set);
            assert!([false, true].iter().all(|default| spec(&options, *default).unwrap().first == set));
        }
    }

    #[test]
    fn each_option_is_one_of_the_builder() {
        let usual = spec(&ServerOptions::new(), false).unwrap();
        assert!(usual.inbound && usual.outbound && !usual.accept_remote);
        assert_eq!((usual.mode, usual.max_instances), (PipeMode::Byte, 255));
        let mut options = ServerOptions::new();
        options.pipe_mode(PipeMode::Message).access_inbound(false).reject_remote_clients(false);
        options.in_buffer_size(1).out_buffer_size(2).access(Access::everyone());
        let set = spec(&options, false).unwrap();
        assert!(!set.inbound && set.outbound && set.accept_remote);
        assert_eq!((set.mode, set.in_buffer_size, set.out_buffer_size), (PipeMode::Message, 1, 2));
        assert_eq!(set.access, Access::everyone());
        let outbound = spec(ServerOptions::new().access_outbound(false), false).unwrap();
        assert!(outbound.inbound && !outbound.outbound);
    }
}
