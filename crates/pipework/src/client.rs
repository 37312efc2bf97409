//! Opening a pipe as a client.

use crate::{
    access::ServerCheck,
    cancel::Canceller,
    credentials::Credentials,
    error::{PipeErrorKind, fail},
    name::{PipeName, PipeNameKind},
    network::NetworkCaller,
    options::{PipeMode, RemoteRequest, Request},
    stream::PipeStream,
    sys::{self, Limit},
};
use std::{ffi::OsStr, io, sync::Arc, time::Duration};

/// How long `connect` waits in all, if nothing else is said.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// A server may know who its client is, and not act as it; a number of Windows.
const SECURITY_IDENTIFICATION: u32 = 1 << 16;

/// Connects as a client: waits at most 20 s while the pipe is busy, and not at all when it is absent.
///
/// Opens it duplex, or in the one direction that it has. The server must be one that
/// [`ServerCheck::Trusted`] trusts. Corresponds to `CallNamedPipe`'s way of opening: `CreateFileW`, and
/// `WaitNamedPipeW` while it is busy.
///
/// A pipe on another computer (`\\server\pipe\name`) is opened as the caller's own
/// [`Credentials::current`]; [`ClientOptions::credentials`] takes others.
///
/// # Platform-specific behavior
/// An absolute path is a plain Unix domain socket on Unix, and invalid on Windows. Other computers are reached by the system
/// on Windows and with the feature `remote` on Unix.
///
/// # Errors
/// - `Absent`: there is no such pipe.
/// - `TimedOut`: all instances were busy all the time.
/// - `AccessDenied`: this user is not let in, or the server is not trusted.
/// - `Invalid`: the address is none.
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
    request.one_way_will_do = true;
    sys::connect(&request, &Limit::new(Some(CONNECT_TIMEOUT), None)).map(PipeStream::new)
}

/// How to open the client end; plain data, checked by [`open`](ClientOptions::open) and
/// [`connect`](ClientOptions::connect).
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
    pub(crate) caller: Option<Arc<NetworkCaller>>,
}

impl ClientOptions {
    /// Begins with: duplex, byte read mode, 20 s, [`ServerCheck::Trusted`], the caller's own network identity.
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
            caller: None,
        }
    }

    /// Asks for reading (default true).
    pub fn read(&mut self, allowed: bool) -> &mut Self {
        self.read = allowed;
        self
    }

    /// Asks for writing (default true).
    pub fn write(&mut self, allowed: bool) -> &mut Self {
        self.write = allowed;
        self
    }

    /// Sets how this end reads a message pipe (default `Byte`, rule M3).
    pub fn read_mode(&mut self, mode: PipeMode) -> &mut Self {
        self.read_mode = mode;
        self
    }

    /// Sets the longest time `connect` waits, all attempts together (default 20 s). Zero is one attempt,
    /// [`Duration::MAX`] waits for ever.
    pub fn timeout(&mut self, timeout: Duration) -> &mut Self {
        self.timeout = timeout;
        self
    }

    /// Lets `connect` wait also for a name that does not exist yet (default false).
    pub fn wait_absent(&mut self, wait: bool) -> &mut Self {
        self.wait_absent = wait;
        self
    }

    /// Says who the server must be; anyone else is access denied before a byte is sent (default `Trusted`).
    ///
    /// Of another computer, SMB proves no more than that it knows the caller's password, or has a ticket for its name: that is
    /// always asked for, a guest's session is never taken, and `User` is `Unsupported`.
    pub fn server(&mut self, check: ServerCheck) -> &mut Self {
        self.server = check;
        self
    }

    /// Says who to be on another computer, `\\server\pipe\name` (default [`Credentials::current`]); `Invalid` with a name of
    /// this one.
    ///
    /// # Platform-specific behavior
    /// On Windows the system signs in; a password there is `Unsupported`: give it to the system first, by
    /// `net use \\server\IPC$`.
    pub fn credentials(&mut self, credentials: Credentials) -> &mut Self {
        self.credentials = Some(credentials);
        self
    }

    /// Refuses a network connection that is not encrypted, before anything is sent that could be read (default true with
    /// [`Credentials::password`], else false).
    ///
    /// # Platform-specific behavior
    /// On Windows the system doesn't tell: `true` is `Unsupported` with a name of another computer.
    pub fn require_encryption(&mut self, required: bool) -> &mut Self {
        self.require_encryption = Some(required);
        self
    }

    /// Sets the TCP port of the SMB service (default 445); `Invalid` with a name of this computer.
    ///
    /// # Platform-specific behavior
    /// `Unsupported` on Windows.
    pub fn remote_port(&mut self, port: u16) -> &mut Self {
        self.remote_port = Some(port);
        self
    }

    /// Lets `canceller` end a waiting `connect`; the stream inherits it.
    pub fn canceller(&mut self, canceller: &Canceller) -> &mut Self {
        self.canceller = Some(canceller.clone());
        self
    }

    /// Opens now: busy and absent are errors, never a wait. Corresponds to `CreateFileW`.
    ///
    /// To reach another computer takes its time, at most [`timeout`](Self::timeout) in all.
    ///
    /// # Errors
    /// - `Absent`: there is no such pipe.
    /// - `Busy`: no instance listens.
    /// - `AccessDenied`: the pipe does not go the way that was asked for, this user is not let in, or the server is
    ///   not who it must be.
    /// - `Invalid`: the address is none, neither reading nor writing was asked for, or message read mode of a byte
    ///   pipe.
    /// - `Unsupported`: the pipe is of another version of this crate, or on another computer and this build can't reach it.
    /// - `TimedOut`: the network did not answer in time.
    /// - With the system's kind: another computer can't be reached; the source has the system's code.
    #[doc(alias = "CreateFileW")]
    pub fn open<A: AsRef<OsStr>>(&self, address: A) -> io::Result<PipeStream> {
        sys::open(&self.request(address.as_ref())?, &Limit::new(None, self.sys_canceller()))
            .map(PipeStream::new)
    }

    /// Opens, waiting as [`timeout`](Self::timeout), [`wait_absent`](Self::wait_absent) and
    /// [`canceller`](Self::canceller) say.
    ///
    /// # Errors
    /// As [`open`](Self::open), but instead of `Busy` (and, with `wait_absent`, `Absent`):
    /// - `TimedOut`: the time is over.
    /// - `Aborted`: the canceller was used.
    pub fn connect<A: AsRef<OsStr>>(&self, address: A) -> io::Result<PipeStream> {
        let limit = Limit::new(Some(self.timeout), self.sys_canceller());
        sys::connect(&self.request(address.as_ref())?, &limit).map(PipeStream::new)
    }

    fn sys_canceller(&self) -> Option<sys::Canceller> {
        self.canceller.as_ref().map(|canceller| canceller.sys().clone())
    }

    pub(crate) fn request(&self, address: &OsStr) -> io::Result<Request> {
        let name = PipeName::new(address)?;
        if !self.read && !self.write {
            let text = format!("opening {name} for neither reading nor writing is of no use");
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
            one_way_will_do: false,
            security_qos_flags: self.security_qos_flags,
            caller: self.caller.clone(),
            remote: RemoteRequest {
                credentials: self.credentials.clone(),
                require_encryption: self.require_encryption,
                port: self.remote_port,
                network_timeout: self.timeout,
            },
        })
    }

    /// What is said of another computer must not be lost on a name of this one.
    fn check_remote(&self, name: &PipeName) -> io::Result<()> {
        let is_remote = matches!(name.kind(), PipeNameKind::Remote { .. });
        let said = match (&self.credentials, self.remote_port) {
            (Some(_), _) => "credentials",
            (None, Some(_)) => "a port",
            (None, None) => return Ok(()),
        };
        if is_remote {
            return Ok(());
        }
        let text = format!("{name} is on this computer: {said} can be given for another one only");
        Err(fail(PipeErrorKind::Invalid, text))
    }
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self::new()
    }
}
