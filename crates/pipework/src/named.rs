//! One server instance, and how to create it.

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

/// The number that stands for "no limit", `PIPE_UNLIMITED_INSTANCES`.
const UNLIMITED_INSTANCES: u8 = 255;
/// What Windows takes when the server says nothing.
const DEFAULT_TIMEOUT: Duration = Duration::from_millis(50);

/// One server instance in the hands of the caller, as `miow::pipe::NamedPipe`.
///
/// It can be opened from its creation on (rule N8). After a client, [`disconnect`](NamedPipe::disconnect) and
/// [`connect`](NamedPipe::connect) make it serve the next one. Here, and only here, [`Write::flush`] waits for the reader,
/// for the idiom write, flush, disconnect. Most servers want a [`Listener`] instead.
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
    /// Creates the first instance: duplex, bytes, 256 KiB each way.
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

    /// Waits until an instance of the name listens, at most so long; zero is one look, `None` is for ever.
    ///
    /// Success reserves nothing (rule C4). Corresponds to `WaitNamedPipeW`. miow gives zero to the system, where it stands for
    /// the server's default timeout: here that is [`wait_default`](NamedPipe::wait_default).
    ///
    /// # Errors
    /// `Absent`, at once, if there is no such pipe; `TimedOut`.
    #[doc(alias = "WaitNamedPipeW")]
    pub fn wait<A: AsRef<OsStr>>(address: A, timeout: Option<Duration>) -> io::Result<()> {
        // Below, zero is what it is for the system.
        let timeout = timeout.map(|timeout| timeout.max(Duration::from_nanos(1)));
        sys::wait(&PipeName::new(address)?, timeout)
    }

    /// Waits until an instance of the name listens, at most the server's
    /// [`default_timeout`](NamedPipeBuilder::default_timeout).
    ///
    /// Corresponds to `WaitNamedPipeW` with `NMPWAIT_USE_DEFAULT_WAIT`.
    ///
    /// # Errors
    /// Those of [`wait`](NamedPipe::wait).
    #[doc(alias = "NMPWAIT_USE_DEFAULT_WAIT")]
    pub fn wait_default<A: AsRef<OsStr>>(address: A) -> io::Result<()> {
        sys::wait(&PipeName::new(address)?, Some(Duration::ZERO))
    }

    /// Waits for a client (rules C2, C7). Corresponds to `ConnectNamedPipe`. A canceller of the
    /// [`stream`](NamedPipe::stream) ends it.
    ///
    /// # Errors
    /// `NoData` if a client came and left (call `disconnect`, then `connect` again); `Aborted`.
    #[doc(alias = "ConnectNamedPipe")]
    pub fn connect(&self) -> io::Result<()> {
        self.instance.connect(&self.instance.connect_limit(None))
    }

    /// Waits for a client at most so long; the instance goes on listening afterwards. Zero is one look.
    ///
    /// # Errors
    /// Those of [`connect`](NamedPipe::connect), and `TimedOut`.
    pub fn connect_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.instance.connect(&self.instance.connect_limit(Some(timeout)))
    }

    /// Throws the client and all unread data out (rule F2). Corresponds to `DisconnectNamedPipe`.
    ///
    /// Clones made of the [`stream`](NamedPipe::stream) stay with the old connection.
    ///
    /// # Errors
    /// `NotConnected` if it was disconnected already.
    #[doc(alias = "DisconnectNamedPipe")]
    pub fn disconnect(&self) -> io::Result<()> {
        self.instance.disconnect()
    }

    /// Gives everything else that a connected end can do. Before a client came its calls are `Listening`.
    pub fn stream(&self) -> &PipeStream {
        &self.stream
    }

    /// Gives up reuse and keeps the connected end.
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

/// How to create a pipe; plain data, checked by [`create`](NamedPipeBuilder::create) and
/// [`listen`](NamedPipeBuilder::listen). The order of the calls does not matter.
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
    /// Begins with miow's defaults (first instance, duplex, bytes, unlimited), but with buffers of 256 KiB, local and for
    /// this user only.
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

    /// The same for another address.
    #[cfg(feature = "tokio")]
    pub(crate) fn at(&self, address: &OsStr) -> NamedPipeBuilder {
        NamedPipeBuilder { address: address.to_owned(), ..self.clone() }
    }

    /// Lets data go from client to server (default true).
    #[doc(alias = "PIPE_ACCESS_INBOUND")]
    pub fn inbound(&mut self, allowed: bool) -> &mut Self {
        self.inbound = allowed;
        self
    }

    /// Lets data go from server to client (default true).
    #[doc(alias = "PIPE_ACCESS_OUTBOUND")]
    pub fn outbound(&mut self, allowed: bool) -> &mut Self {
        self.outbound = allowed;
        self
    }

    /// Refuses to create if the name exists (default true).
    #[doc(alias = "FILE_FLAG_FIRST_PIPE_INSTANCE")]
    pub fn first(&mut self, first: bool) -> &mut Self {
        self.first = first;
        self
    }

    /// Lets clients on other computers in, if [`access`](Self::access) admits their account (default false).
    ///
    /// # Platform-specific behavior
    /// On Linux they come through Samba and the service `pipework-gateway`, which runs as root. The pipe lives where other
    /// users' pipes do (see [`Access`]), so the server needs root's grant, and the account counts that the caller was mapped
    /// to on this computer. All instances of a name accept such clients or none does. Other Unix systems: `Unsupported`.
    #[doc(alias = "PIPE_ACCEPT_REMOTE_CLIENTS")]
    pub fn accept_remote(&mut self, accept: bool) -> &mut Self {
        self.accept_remote = accept;
        self
    }

    /// Sets how many instances there may be in all processes: 1 to 254, or 255 for no limit (default). The first
    /// instance decides (rule N3).
    #[doc(alias = "nMaxInstances")]
    pub fn max_instances(&mut self, count: u8) -> &mut Self {
        self.max_instances = count;
        self
    }

    /// Sets the quota of the server-to-client direction in bytes (default 262,144).
    ///
    /// Writes return while no more than this is unread; with 0 every write waits for its reader (rule B2). Beyond
    /// 268,435,456 it counts as that.
    #[doc(alias = "nOutBufferSize")]
    pub fn out_buffer_size(&mut self, len: u32) -> &mut Self {
        self.out_buffer_size = len;
        self
    }

    /// Sets the quota of the client-to-server direction in bytes (default 262,144); as
    /// [`out_buffer_size`](Self::out_buffer_size).
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

    /// Sets how long a client waits that calls [`wait_default`](NamedPipe::wait_default) (default 50 ms).
    #[doc(alias = "nDefaultTimeOut")]
    pub fn default_timeout(&mut self, timeout: Duration) -> &mut Self {
        self.default_timeout = timeout;
        self
    }

    /// Says who may open the pipe (default [`Access::owner`]). The first instance decides.
    pub fn access(&mut self, access: Access) -> &mut Self {
        self.access = access;
        self
    }

    /// Creates one instance. Corresponds to `CreateNamedPipeW`.
    ///
    /// # Errors
    /// - `NameTaken`: `first` was asked and the name exists.
    /// - `Busy`: the name has all of its instances.
    /// - `AccessDenied`: the name exists with another type or other directions, or no directory can be trusted with
    ///   it, or its place is not this user's.
    /// - `Invalid`: the address is none, no instances, no direction, an unknown account.
    /// - `Unsupported`: a socket path (use [`listen`](Self::listen)), another computer, on some systems `accept_remote`.
    /// - The system's own (no space, too many open files): nothing is left behind then.
    #[doc(alias = "CreateNamedPipeW")]
    pub fn create(&self) -> io::Result<NamedPipe> {
        sys::Instance::create(&self.spec_of_instance()?).map(NamedPipe::over)
    }

    /// Creates a listener; the only door for a plain Unix socket.
    ///
    /// # Errors
    /// Those of [`create`](Self::create). For a path also `AccessDenied` when something else is in its place, and
    /// `Unsupported` for options that a plain socket does not have (one direction, messages, a maximum).
    pub fn listen(&self) -> io::Result<Listener> {
        Listener::new(self.spec()?)
    }

    /// The same for a single instance.
    pub(crate) fn spec_of_instance(&self) -> io::Result<Spec> {
        let spec = self.spec()?;
        if let PipeNameKind::Socket(path) = spec.name.kind() {
            let text = format!("{} is a plain socket, which has no instances: call `listen`", path.display());
            return Err(fail(PipeErrorKind::Unsupported, text));
        }
        Ok(spec)
    }

    /// Checks what can be checked without the system.
    pub(crate) fn spec(&self) -> io::Result<Spec> {
        let name = PipeName::new(&self.address)?;
        let invalid = |text: &'static str| Err(fail(PipeErrorKind::Invalid, text));
        if self.max_instances == 0 {
            return invalid("a pipe has 1 to 254 instances, or 255 for no limit");
        }
        if !self.inbound && !self.outbound {
            return invalid("a pipe goes inbound, outbound or both ways");
        }
        let unsupported = |text: String| Err(fail(PipeErrorKind::Unsupported, text));
        match name.kind() {
            PipeNameKind::Remote { .. } => {
                return unsupported(format!(
                    "{name} is on another computer: a pipe is created where its server runs"
                ));
            }
            PipeNameKind::Socket(path) => {
                let is_plain = self.inbound && self.outbound && self.mode == PipeMode::Byte;
                if !is_plain || self.max_instances != UNLIMITED_INSTANCES {
                    let path = path.display();
                    return unsupported(format!(
                        "{path} is a plain socket: duplex, bytes, without a maximum of instances"
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
