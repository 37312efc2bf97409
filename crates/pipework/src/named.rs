//! A server instance and its builder.

use crate::{
    access::Access,
    error::{PipeErrorKind, fail},
    listener::Listener,
    name::{PipeName, PipeNameKind},
    options::{BUFFER_SIZE, PipeMode, Spec},
    stream::PipeStream,
    sys,
};
use std::{
    ffi::{OsStr, OsString},
    io::{self, IoSlice, IoSliceMut, Read, Write},
    time::Duration,
};

/// No limit, `PIPE_UNLIMITED_INSTANCES`.
const UNLIMITED_INSTANCES: u8 = 255;
/// The default of Windows.
const DEFAULT_TIMEOUT: Duration = Duration::from_millis(50);

/// One server instance, as `miow::pipe::NamedPipe`.
///
/// A client can open it as soon as it is created ([rule N8](crate::rules#n8)). After a client,
/// [`disconnect`](NamedPipe::disconnect) and [`connect`](NamedPipe::connect) make it serve the next one. Most servers use a
/// [`Listener`] instead.
///
/// [`Write::flush`] waits for the reader, for the idiom write, flush, disconnect. No other type of this crate does so.
///
/// # Examples
/// ```
/// use pipework::{NamedPipe, PipeName};
/// use std::io::{Read, Write};
/// # fn main() -> std::io::Result<()> {
/// let name = PipeName::unique("one")?;
/// let mut server = NamedPipe::new(&name)?;
/// let mut client = pipework::connect(&name)?;
/// server.connect()?;
/// client.write_all(b"hi")?;
/// let mut buf = [0; 2];
/// server.read_exact(&mut buf)?;
/// server.disconnect()?;
/// assert!(client.read(&mut buf).unwrap_err() == pipework::PipeErrorKind::NotConnected);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct NamedPipe {
    pub(crate) instance: sys::Instance,
    pub(crate) stream: PipeStream,
}

impl NamedPipe {
    /// Creates the first instance of a byte pipe, with both directions and buffers of 256 KiB. Corresponds to
    /// [`CreateNamedPipeW`].
    ///
    /// [`CreateNamedPipeW`]: https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-createnamedpipew
    ///
    /// # Errors
    /// Those of [`NamedPipeBuilder::create`].
    #[doc(alias = "CreateNamedPipeW")]
    pub fn new<A: AsRef<OsStr>>(address: A) -> io::Result<NamedPipe> {
        NamedPipeBuilder::new(address).create()
    }

    pub(crate) fn over(instance: sys::Instance) -> NamedPipe {
        let stream = PipeStream::new(instance.end());
        NamedPipe { instance, stream }
    }

    /// Waits until an instance of the name listens. `None` waits for ever, zero looks once without waiting.
    ///
    /// Success reserves no instance ([rule C4](crate::rules#c4)). Corresponds to [`WaitNamedPipeW`]. In miow zero means the
    /// server's default timeout, which is [`wait_default`](NamedPipe::wait_default) here.
    ///
    /// [`WaitNamedPipeW`]: https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-waitnamedpipew
    ///
    /// # Errors
    /// `Absent`, at once, if there is no such pipe; `TimedOut`.
    #[doc(alias = "WaitNamedPipeW")]
    pub fn wait<A: AsRef<OsStr>>(address: A, timeout: Option<Duration>) -> io::Result<()> {
        // In the backend zero means the server's default, as in the system call.
        let timeout = timeout.map(|timeout| timeout.max(Duration::from_nanos(1)));
        sys::wait(&PipeName::new(address)?, timeout)
    }

    /// Waits until an instance of the name listens, at most for the server's
    /// [`default_timeout`](NamedPipeBuilder::default_timeout).
    ///
    /// Corresponds to [`WaitNamedPipeW`] with `NMPWAIT_USE_DEFAULT_WAIT`.
    ///
    /// [`WaitNamedPipeW`]: https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-waitnamedpipew
    ///
    /// # Errors
    /// Those of [`wait`](NamedPipe::wait).
    #[doc(alias = "NMPWAIT_USE_DEFAULT_WAIT")]
    pub fn wait_default<A: AsRef<OsStr>>(address: A) -> io::Result<()> {
        sys::wait(&PipeName::new(address)?, Some(Duration::ZERO))
    }

    /// Waits for a client ([rule C2](crate::rules#c2), [rule C7](crate::rules#c7)).
    ///
    /// A canceller of the [`stream`](NamedPipe::stream) cancels it. Corresponds to [`ConnectNamedPipe`].
    ///
    /// [`ConnectNamedPipe`]: https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-connectnamedpipe
    ///
    /// # Errors
    /// - `NoData`: a client connected and left. Call `disconnect`, then `connect` again.
    /// - `Aborted`: the canceller was used.
    #[doc(alias = "ConnectNamedPipe")]
    pub fn connect(&self) -> io::Result<()> {
        self.instance.connect(&self.instance.connect_limit(None))
    }

    /// Waits for a client until the timeout. The instance listens on afterwards. Zero looks once without waiting.
    ///
    /// # Errors
    /// Those of [`connect`](NamedPipe::connect), and `TimedOut`.
    pub fn connect_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.instance.connect(&self.instance.connect_limit(Some(timeout)))
    }

    /// Disconnects the client and discards all unread data ([rule F2](crate::rules#f2)).
    ///
    /// Clones of the [`stream`](NamedPipe::stream) stay with the old connection. Corresponds to [`DisconnectNamedPipe`].
    ///
    /// [`DisconnectNamedPipe`]: https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-disconnectnamedpipe
    ///
    /// # Errors
    /// `NotConnected` if the instance is disconnected already.
    #[doc(alias = "DisconnectNamedPipe")]
    pub fn disconnect(&self) -> io::Result<()> {
        self.instance.disconnect()
    }

    /// Returns the connected end. Before a client connects, its calls fail with `Listening`.
    pub fn stream(&self) -> &PipeStream {
        &self.stream
    }

    /// Returns the connected end and gives up the reuse of the instance.
    pub fn into_stream(self) -> PipeStream {
        PipeStream::new(self.instance.into_end())
    }
}

impl Read for NamedPipe {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&self.stream).read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&self.stream).read_vectored(bufs)
    }
}

impl Read for &NamedPipe {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&self.stream).read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&self.stream).read_vectored(bufs)
    }
}

impl Write for NamedPipe {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&self.stream).write(buf)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        (&self.stream).write_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.drain()
    }
}

impl Write for &NamedPipe {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&self.stream).write(buf)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        (&self.stream).write_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.drain()
    }
}

/// The options of a new pipe.
///
/// They are plain data, which [`create`](NamedPipeBuilder::create) and [`listen`](NamedPipeBuilder::listen) check. The order
/// of the setters does not matter.
///
/// # Examples
/// ```
/// use pipework::{NamedPipeBuilder, PipeMode, PipeName};
/// # fn main() -> std::io::Result<()> {
/// let listener = NamedPipeBuilder::new(PipeName::unique("worker")?)
///     .pipe_mode(PipeMode::Message)
///     .max_instances(4)
///     .in_buffer_size(1 << 20)
///     .listen()?;
/// # Ok(())
/// # }
/// ```
///
#[doc = include_str!("server_options.md")]
#[derive(Clone, Debug)]
pub struct NamedPipeBuilder {
    address: OsString,
    inbound: bool,
    outbound: bool,
    first: bool,
    accept_remote: bool,
    max_instances: u8,
    out_buffer_size: u32,
    in_buffer_size: u32,
    mode: PipeMode,
    default_timeout: Duration,
    access: Access,
}

impl NamedPipeBuilder {
    /// Creates the default options: those of miow (first instance, both directions, bytes, no maximum), but with buffers of
    /// 256 KiB, without remote clients, and for this user only.
    pub fn new<A: AsRef<OsStr>>(address: A) -> NamedPipeBuilder {
        NamedPipeBuilder {
            address: address.as_ref().to_owned(),
            inbound: true,
            outbound: true,
            first: true,
            accept_remote: false,
            max_instances: UNLIMITED_INSTANCES,
            out_buffer_size: BUFFER_SIZE,
            in_buffer_size: BUFFER_SIZE,
            mode: PipeMode::Byte,
            default_timeout: DEFAULT_TIMEOUT,
            access: Access::owner(),
        }
    }

    /// The same options for another address.
    #[cfg(feature = "tokio")]
    pub(crate) fn at(&self, address: &OsStr) -> NamedPipeBuilder {
        NamedPipeBuilder { address: address.to_owned(), ..self.clone() }
    }

    /// Allows data from client to server (default true).
    #[doc(alias = "PIPE_ACCESS_INBOUND")]
    pub fn inbound(&mut self, allowed: bool) -> &mut Self {
        self.inbound = allowed;
        self
    }

    /// Allows data from server to client (default true).
    #[doc(alias = "PIPE_ACCESS_OUTBOUND")]
    pub fn outbound(&mut self, allowed: bool) -> &mut Self {
        self.outbound = allowed;
        self
    }

    /// Requires the new instance to be the first of its name (default true, [rule N2](crate::rules#n2)).
    #[doc(alias = "FILE_FLAG_FIRST_PIPE_INSTANCE")]
    pub fn first(&mut self, first: bool) -> &mut Self {
        self.first = first;
        self
    }

    /// Allows remote clients, if [`access`](Self::access) allows their account (default false).
    ///
    /// # Platform-specific behavior
    /// On Linux remote clients come through Samba and the service `pipework-gateway`, which runs as root. The pipe lives in the
    /// directory for pipes of several users (see [`Access`]), so the server needs root's grant. The access check uses the local
    /// account that the remote client is mapped to. Either all instances of a name accept remote clients or none does. Other
    /// Unix systems return `Unsupported`.
    #[doc(alias = "PIPE_ACCEPT_REMOTE_CLIENTS")]
    pub fn accept_remote(&mut self, accept: bool) -> &mut Self {
        self.accept_remote = accept;
        self
    }

    /// Sets the maximum number of instances in all processes: 1 to 254, or 255 for no limit (default).
    ///
    /// The first instance sets it for all ([rule N3](crate::rules#n3), [rule N4](crate::rules#n4)).
    #[doc(alias = "nMaxInstances")]
    pub fn max_instances(&mut self, count: u8) -> &mut Self {
        self.max_instances = count;
        self
    }

    /// Sets the quota of the server-to-client direction in bytes (default 262,144).
    ///
    /// A write returns while no more than this is unread. With 0 every write waits for its reader
    /// ([rule B2](crate::rules#b2)). A value above 268,435,456 counts as that.
    #[doc(alias = "nOutBufferSize")]
    pub fn out_buffer_size(&mut self, len: u32) -> &mut Self {
        self.out_buffer_size = len;
        self
    }

    /// Sets the quota of the client-to-server direction in bytes (default 262,144), as
    /// [`out_buffer_size`](Self::out_buffer_size) does for the other one.
    #[doc(alias = "nInBufferSize")]
    pub fn in_buffer_size(&mut self, len: u32) -> &mut Self {
        self.in_buffer_size = len;
        self
    }

    /// Sets the type of the pipe, and the server's read mode (default `Byte`).
    #[doc(alias = "PIPE_TYPE_MESSAGE")]
    pub fn pipe_mode(&mut self, mode: PipeMode) -> &mut Self {
        self.mode = mode;
        self
    }

    /// Sets the timeout of clients that call [`wait_default`](NamedPipe::wait_default) (default 50 ms).
    #[doc(alias = "nDefaultTimeOut")]
    pub fn default_timeout(&mut self, timeout: Duration) -> &mut Self {
        self.default_timeout = timeout;
        self
    }

    /// Sets who may open the pipe (default [`Access::owner`]). The first instance sets it for all
    /// ([rule A1](crate::rules#a1)).
    pub fn access(&mut self, access: Access) -> &mut Self {
        self.access = access;
        self
    }

    /// Creates one instance. Corresponds to [`CreateNamedPipeW`].
    ///
    /// [`CreateNamedPipeW`]: https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-createnamedpipew
    ///
    /// # Errors
    /// - `NameTaken`: the instance had to be the first, and the name exists.
    /// - `Busy`: the name has its maximum of instances.
    /// - `AccessDenied`: the name exists with another type or other directions, no directory for it can be trusted, or the
    ///   directory belongs to another user.
    /// - `Invalid`: the address is not valid, the maximum is 0, no direction is allowed, or an account does not exist.
    /// - `Unsupported`: the address is a socket path (use [`listen`](Self::listen)) or remote, or the system does not support
    ///   `accept_remote`.
    /// - The system's error, such as no space left or too many open files. The call leaves nothing behind then.
    #[doc(alias = "CreateNamedPipeW")]
    pub fn create(&self) -> io::Result<NamedPipe> {
        sys::Instance::create(&self.spec_of_instance()?).map(NamedPipe::over)
    }

    /// Creates a listener. It is the only way to serve a plain Unix socket.
    ///
    /// # Errors
    /// Those of [`create`](Self::create). For a path also `AccessDenied` if another file is there, and `Unsupported` for options
    /// that a plain socket lacks: one direction, messages, a maximum of instances.
    pub fn listen(&self) -> io::Result<Listener> {
        Listener::new(self.spec()?)
    }

    /// The checked options of a single instance.
    pub(crate) fn spec_of_instance(&self) -> io::Result<Spec> {
        let spec = self.spec()?;
        if let PipeNameKind::Socket(path) = spec.name.kind() {
            let text = format!("{} is a plain socket, which has no instances: call `listen`", path.display());
            return Err(fail(PipeErrorKind::Unsupported, text));
        }
        Ok(spec)
    }

    /// The options, checked as far as possible without the system.
    pub(crate) fn spec(&self) -> io::Result<Spec> {
        let name = PipeName::new(&self.address)?;
        let invalid = |text: &'static str| Err(fail(PipeErrorKind::Invalid, text));
        if self.max_instances == 0 {
            return invalid("a pipe has 1 to 254 instances, or 255 for no limit");
        }
        if !self.inbound && !self.outbound {
            return invalid("a pipe needs a direction: inbound, outbound or both");
        }
        let unsupported = |text: String| Err(fail(PipeErrorKind::Unsupported, text));
        match name.kind() {
            PipeNameKind::Remote { .. } => {
                return unsupported(format!(
                    "{name} is a remote pipe: only a process on that host can create it"
                ));
            }
            PipeNameKind::Socket(path) => {
                let is_plain = self.inbound && self.outbound && self.mode == PipeMode::Byte;
                if !is_plain || self.max_instances != UNLIMITED_INSTANCES {
                    let path = path.display();
                    return unsupported(format!(
                        "{path} is a plain socket: it has both directions, bytes, and no maximum of instances"
                    ));
                }
            }
            PipeNameKind::Local(_) => {}
        }
        Ok(Spec {
            name,
            inbound: self.inbound,
            outbound: self.outbound,
            first: self.first,
            accept_remote: self.accept_remote,
            max_instances: self.max_instances,
            out_buffer_size: self.out_buffer_size,
            in_buffer_size: self.in_buffer_size,
            mode: self.mode,
            default_timeout: self.default_timeout,
            access: self.access.clone(),
        })
    }
}
