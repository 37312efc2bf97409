//! Opening a pipe as a client.

use crate::{
    access::ServerCheck,
    cancel::Canceller,
    credentials::Credentials,
    error::{PipeErrorKind, fail},
    name::{PipeName, PipeNameKind},
    network::RemoteClient,
    options::{PipeMode, RemoteRequest, Request},
    stream::PipeStream,
    sys::{self, WaitLimit},
};
use std::{ffi::OsStr, io, sync::Arc, time::Duration};

/// How long `connect` waits by default, all attempts together.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// The server may identify its client, but not act as it; a constant of Windows.
const SECURITY_IDENTIFICATION: u32 = 1 << 16;

/// Connects as a client. Waits at most 20 s while the pipe is busy, and not at all if it does not exist.
///
/// The pipe is opened in both directions, or in the one that it has. The server must be one that [`ServerCheck::Trusted`]
/// accepts. A remote pipe, `\\server\pipe\name`, is opened with [`Credentials::current`];
/// [`ClientOptions::credentials`] sets others. Corresponds to [`CreateFileW`], and [`WaitNamedPipeW`] while the pipe is busy.
///
/// # Platform-specific behavior
/// An absolute path is a plain Unix domain socket on Unix, and invalid on Windows. Remote pipes need the feature `remote` on
/// Unix.
///
/// # Errors
/// - `Absent`: there is no such pipe.
/// - `TimedOut`: all instances stayed busy.
/// - `AccessDenied`: the pipe does not allow this user, or the server is not trusted.
/// - `Invalid`: the address is not valid.
///
/// [`CreateFileW`]: https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-createfilew
/// [`WaitNamedPipeW`]: https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-waitnamedpipew
///
/// # Examples
/// ```
/// # fn main() -> std::io::Result<()> {
/// # let name = pipework::PipeName::unique("connect")?;
/// # let listener = pipework::Listener::bind(&name)?;
/// let pipe = pipework::connect(&name)?;
/// assert!(pipe.peer()?.is_same_user());
/// # Ok(())
/// # }
/// ```
#[doc(alias = "CreateFileW")]
pub fn connect<A: AsRef<OsStr>>(address: A) -> io::Result<PipeStream> {
    let mut request = ClientOptions::new().request(address.as_ref())?;
    request.allow_one_way = true;
    sys::connect(&request, &WaitLimit::new(Some(CONNECT_TIMEOUT), None)).map(PipeStream::new)
}

/// The options of a client end.
///
/// They are plain data, which [`open`](ClientOptions::open) and [`connect`](ClientOptions::connect) check. The order of the
/// setters does not matter.
///
/// # Examples
/// ```
/// use pipework::{ClientOptions, PipeErrorKind};
/// use std::time::Duration;
///
/// let absent = ClientOptions::new().timeout(Duration::from_millis(10)).wait_absent(true).connect("nobody-serves-this");
/// assert!(absent.unwrap_err() == PipeErrorKind::TimedOut);
/// ```
///
#[doc = include_str!("client_options.md")]
#[derive(Clone, Debug)]
pub struct ClientOptions {
    read: bool,
    write: bool,
    read_mode: PipeMode,
    timeout: Duration,
    wait_absent: bool,
    server: ServerCheck,
    canceller: Option<Canceller>,
    credentials: Option<Credentials>,
    require_encryption: Option<bool>,
    remote_port: Option<u16>,
    pub(crate) security_qos_flags: u32,
    pub(crate) remote_client: Option<Arc<RemoteClient>>,
}

impl ClientOptions {
    /// Creates the default options: both directions, byte read mode, 20 s, [`ServerCheck::Trusted`],
    /// [`Credentials::current`].
    pub fn new() -> Self {
        ClientOptions {
            read: true,
            write: true,
            read_mode: PipeMode::Byte,
            timeout: CONNECT_TIMEOUT,
            wait_absent: false,
            server: ServerCheck::Trusted,
            canceller: None,
            credentials: None,
            require_encryption: None,
            remote_port: None,
            security_qos_flags: SECURITY_IDENTIFICATION,
            remote_client: None,
        }
    }

    /// Requests reading (default true).
    pub fn read(&mut self, allowed: bool) -> &mut Self {
        self.read = allowed;
        self
    }

    /// Requests writing (default true).
    pub fn write(&mut self, allowed: bool) -> &mut Self {
        self.write = allowed;
        self
    }

    /// Sets how this end reads a message pipe (default `Byte`, [rule M3](crate::rules#m3)).
    pub fn read_mode(&mut self, mode: PipeMode) -> &mut Self {
        self.read_mode = mode;
        self
    }

    /// Sets how long [`connect`](Self::connect) waits at most, all attempts together (default 20 s). Zero makes one attempt.
    /// [`Duration::MAX`] waits for ever.
    pub fn timeout(&mut self, timeout: Duration) -> &mut Self {
        self.timeout = timeout;
        self
    }

    /// Lets [`connect`](Self::connect) also wait for a name that does not exist yet (default false).
    pub fn wait_absent(&mut self, wait: bool) -> &mut Self {
        self.wait_absent = wait;
        self
    }

    /// Sets which server to accept (default `Trusted`). Any other server is `AccessDenied`, before a byte is sent
    /// ([rule A4](crate::rules#a4)).
    ///
    /// A remote server can only prove that it knows the client's password or holds the ticket for its name. That proof is
    /// always required, a guest session is never accepted, and `User` is `Unsupported`.
    pub fn server(&mut self, check: ServerCheck) -> &mut Self {
        self.server = check;
        self
    }

    /// Sets the identity on a remote host (default [`Credentials::current`]). `Invalid` with a local name.
    ///
    /// # Platform-specific behavior
    /// On Windows the system signs in, and a password is `Unsupported`. Give it to the system by `net use \\server\IPC$`.
    pub fn credentials(&mut self, credentials: Credentials) -> &mut Self {
        self.credentials = Some(credentials);
        self
    }

    /// Refuses a remote connection without encryption, before any payload is sent (default true with
    /// [`Credentials::password`], else false).
    ///
    /// # Platform-specific behavior
    /// Windows does not report encryption, and `true` is `Unsupported` for a remote name.
    pub fn require_encryption(&mut self, required: bool) -> &mut Self {
        self.require_encryption = Some(required);
        self
    }

    /// Sets the TCP port of the SMB server (default 445). `Invalid` with a local name.
    ///
    /// # Platform-specific behavior
    /// `Unsupported` on Windows.
    pub fn remote_port(&mut self, port: u16) -> &mut Self {
        self.remote_port = Some(port);
        self
    }

    /// Lets `canceller` cancel a waiting call. The stream inherits it.
    pub fn canceller(&mut self, canceller: &Canceller) -> &mut Self {
        self.canceller = Some(canceller.clone());
        self
    }

    /// Opens without waiting. Returns `Busy` or `Absent` if no instance is available.
    ///
    /// A remote host may take some time to answer, at most [`timeout`](Self::timeout). Corresponds to [`CreateFileW`].
    ///
    /// # Errors
    /// - `Absent`: there is no such pipe.
    /// - `Busy`: no instance listens.
    /// - `AccessDenied`: the pipe lacks a requested direction, does not allow this user, or has a server that is not accepted.
    /// - `Invalid`: the address is not valid, neither reading nor writing was requested, or message read mode was requested
    ///   of a byte pipe.
    /// - `Unsupported`: the pipe belongs to another version of this crate, or is remote and this build has no `remote`.
    /// - `TimedOut`: the remote host did not answer in time.
    /// - The system's error: too many open files, a file size limit, or on Unix too many descriptors of this user in flight.
    /// - The kind of the system's error if the remote host can't be reached. The source has the system's code.
    ///
    /// [`CreateFileW`]: https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-createfilew
    #[doc(alias = "CreateFileW")]
    pub fn open<A: AsRef<OsStr>>(&self, address: A) -> io::Result<PipeStream> {
        sys::open(&self.request(address.as_ref())?, &WaitLimit::new(None, self.sys_canceller()))
            .map(PipeStream::new)
    }

    /// Opens, and waits while the pipe is busy ([rule C4](crate::rules#c4)).
    ///
    /// [`timeout`](Self::timeout), [`wait_absent`](Self::wait_absent) and [`canceller`](Self::canceller) control the wait.
    ///
    /// # Errors
    /// As [`open`](Self::open), but instead of `Busy`, and with `wait_absent` instead of `Absent`:
    /// - `TimedOut`: the time limit was reached.
    /// - `Aborted`: the canceller was used.
    pub fn connect<A: AsRef<OsStr>>(&self, address: A) -> io::Result<PipeStream> {
        let limit = WaitLimit::new(Some(self.timeout), self.sys_canceller());
        sys::connect(&self.request(address.as_ref())?, &limit).map(PipeStream::new)
    }

    fn sys_canceller(&self) -> Option<sys::Canceller> {
        self.canceller.as_ref().map(|canceller| canceller.sys().clone())
    }

    pub(crate) fn request(&self, address: &OsStr) -> io::Result<Request> {
        let name = PipeName::new(address)?;
        if !self.read && !self.write {
            let text = format!("opening {name} needs reading or writing");
            return Err(fail(PipeErrorKind::Invalid, text));
        }
        self.check_remote(&name)?;
        Ok(Request {
            name,
            read: self.read,
            write: self.write,
            read_mode: self.read_mode,
            server: self.server.clone(),
            wait_absent: self.wait_absent,
            allow_one_way: false,
            security_qos_flags: self.security_qos_flags,
            remote_client: self.remote_client.clone(),
            remote: RemoteRequest {
                credentials: self.credentials.clone(),
                require_encryption: self.require_encryption,
                port: self.remote_port,
                network_timeout: self.timeout,
            },
        })
    }

    /// Options of a remote host must not be ignored silently for a local name.
    fn check_remote(&self, name: &PipeName) -> io::Result<()> {
        let is_remote = matches!(name.kind(), PipeNameKind::Remote { .. });
        let option = match (&self.credentials, self.remote_port) {
            (Some(_), _) => "credentials",
            (None, Some(_)) => "a port",
            (None, None) => return Ok(()),
        };
        if is_remote {
            return Ok(());
        }
        let text = format!("{name} is a local pipe: only a remote one takes {option}");
        Err(fail(PipeErrorKind::Invalid, text))
    }
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self::new()
    }
}
