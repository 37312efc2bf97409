//! Readiness for event loops, plain sockets, and file descriptors.

use std::{
    io::{self, IoSlice, PipeReader, PipeWriter},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd},
        unix::net::{UnixListener, UnixStream},
    },
    sync::{Arc, OnceLock},
    time::Duration,
};

use super::seal::Sealed;
use crate::{
    AnonRead, AnonWrite, ClientOptions, Listener, MessageBatch, Peer, PipeErrorKind, PipeStream,
    RemoteClient,
    listener::{Source, lock},
    sys::{AcceptReadiness, End, Instance, SocketListener, Watch, anonymous::handle_from_raw},
};

/// The version of the protocol that the two ends of a named pipe speak on Unix. Ends of different versions refuse each
/// other.
pub const PROTOCOL_VERSION: u32 = crate::model::hello::VERSION;

/// Use of an end in an event loop, such as epoll, mio, calloop or smol, and the spinning of threads.
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
/// // Now an event loop polls `client.read_ready_fd()?` for readability and then tries again.
/// (&server).write_all(b"data")?;
/// assert_eq!(client.try_read(&mut buf)?, 4);
/// # Ok(())
/// # }
/// # use std::io::Write;
/// ```
pub trait PipeStreamExt: Sealed + Sized {
    /// Reads without waiting. After `WouldBlock`, [`read_ready_fd`](Self::read_ready_fd) signals when to try again.
    ///
    /// # Errors
    /// `WouldBlock` if nothing is there or another thread reads. Else the [errors](PipeStream#errors) of reads.
    fn try_read(&self, buf: &mut [u8]) -> io::Result<usize>;

    /// Writes what fits, without waiting. After `WouldBlock`, [`write_ready_fd`](Self::write_ready_fd) signals when to try
    /// again. On a message pipe it writes `buf` as one message or not at all.
    ///
    /// # Errors
    /// `WouldBlock` if there is no room or another thread writes. Else the [errors](PipeStream#errors) of writes.
    fn try_write(&self, buf: &[u8]) -> io::Result<usize>;

    /// Reads the messages that are there, as many as `batch` takes, without waiting. After `WouldBlock`,
    /// [`read_ready_fd`](Self::read_ready_fd) signals when to try again. 0 is the end of the pipe.
    ///
    /// # Errors
    /// `WouldBlock` if no message is there or another thread reads. Else those of
    /// [`read_messages`](PipeStream::read_messages).
    fn try_read_messages(&self, batch: &mut MessageBatch) -> io::Result<usize>;

    /// Writes messages from the first one on, as many as fit, without waiting, and returns how many it has written. After
    /// `WouldBlock`, [`write_ready_fd`](Self::write_ready_fd) signals when to try again.
    ///
    /// # Errors
    /// `WouldBlock` if the first message does not fit or another thread writes. Else those of
    /// [`write_messages`](PipeStream::write_messages).
    fn try_write_messages(&self, messages: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Returns a descriptor that is *readable* when a read should be tried again. Poll it level-triggered, and never read it.
    ///
    /// # Errors
    /// The system's error on first use, such as too many open files. `Unsupported` for a remote pipe, and for the stream of a
    /// `NamedPipe`, whose connection changes: use a clone.
    fn read_ready_fd(&self) -> io::Result<BorrowedFd<'_>>;

    /// Returns a descriptor that is *readable* when a write should be tried again.
    ///
    /// # Errors
    /// As [`read_ready_fd`](Self::read_ready_fd).
    fn write_ready_fd(&self) -> io::Result<BorrowedFd<'_>>;

    /// Sets whether a thread that waits at this end or a clone of it spins for up to 100 µs before it sleeps.
    ///
    /// By default it spins as long as that pays. Without spinning a wait takes less processor time. `PIPEWORK_SPIN=0` in the
    /// environment turns it off for all ends that this function has not set.
    ///
    /// # Errors
    /// `Listening` or `NotConnected` on the stream of a `NamedPipe` without a client.
    fn set_spin(&self, spins: bool) -> io::Result<()>;

    /// Returns the socket of an end that is a plain socket and has no other handle. The socket becomes blocking.
    ///
    /// # Errors
    /// The end itself, if it is something else.
    fn into_socket(self) -> Result<UnixStream, Self>;
}

impl PipeStreamExt for PipeStream {
    fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.end().try_read(buf)
    }

    fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
        self.end().try_write(buf)
    }

    fn try_read_messages(&self, batch: &mut MessageBatch) -> io::Result<usize> {
        self.end().try_read_messages(batch)
    }

    fn try_write_messages(&self, messages: &[IoSlice<'_>]) -> io::Result<usize> {
        self.end().try_write_messages(messages)
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

/// Use of a listener in an event loop, and in a forked child.
pub trait ListenerExt: Sealed {
    /// Accepts a client without waiting. After `WouldBlock`, [`ready_fd`](Self::ready_fd) signals when to try again.
    ///
    /// # Errors
    /// `WouldBlock` if no client waits. Else those of [`Listener::accept`].
    fn try_accept(&self) -> io::Result<PipeStream>;

    /// Returns a descriptor that is readable when [`try_accept`](Self::try_accept) should be called: a client waits, or it is
    /// time to look whether the name is still there, every two seconds. So `try_accept` may return `WouldBlock`. It stays the
    /// same as long as the listener lives. In a forked child it is the parent's, until the child has adopted the listener.
    ///
    /// # Errors
    /// The system's error on first use, such as too many open files.
    fn ready_fd(&self) -> io::Result<BorrowedFd<'_>>;

    /// Makes a forked child the owner of a listener that its parent has created, as a daemon needs that binds before it forks.
    ///
    /// Without this call a child owns nothing that it inherits: its drops close descriptors and remove no name, and accepting
    /// from the listener of a named pipe is `Invalid`, because the instance that listens is the parent's. After it, the
    /// child is the server of the name, the listening instance is its own, and a client that has connected before is served.
    /// In the process that has created the listener the call changes nothing.
    ///
    /// The parent should exit without dropping the listener, by [`std::process::exit`] for example. It may drop the listener of
    /// a named pipe after the child has called this, but not that of a Unix domain socket, whose file is the child's then.
    /// Until the parent does either, its instances count. Connections that the child inherits stay the parent's.
    ///
    /// # Errors
    /// `Absent` if the name is gone because the parent has dropped the listener. The errors of
    /// [`NamedPipeBuilder::listen`](crate::NamedPipeBuilder::listen) that concern the system.
    ///
    /// # Examples
    /// ```no_run
    /// use pipework::{Listener, os::unix::ListenerExt};
    ///
    /// # fn fork_and_exit_in_the_parent() {}
    /// # fn main() -> std::io::Result<()> {
    /// // Errors are visible in the terminal.
    /// let mut listener = Listener::bind("daemon")?;
    /// fork_and_exit_in_the_parent();
    /// listener.adopt_after_fork()?;
    /// for client in &listener {
    ///     // ...
    /// #   drop(client?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "daemonize")]
    fn adopt_after_fork(&mut self) -> io::Result<()>;
}

impl ListenerExt for Listener {
    fn try_accept(&self) -> io::Result<PipeStream> {
        match self.accept_timeout(Duration::ZERO) {
            Err(error) if error == PipeErrorKind::TimedOut => Err(io::ErrorKind::WouldBlock.into()),
            outcome => outcome,
        }
    }

    fn ready_fd(&self) -> io::Result<BorrowedFd<'_>> {
        accept_readiness_of(self).map(AsFd::as_fd)
    }

    fn adopt_after_fork(&mut self) -> io::Result<()> {
        match &mut self.source {
            Source::Socket(current) => {
                let mut current = lock(current);
                if current.is_here() {
                    return Ok(());
                }
                *current = Arc::new(current.adopt_after_fork()?);
            }
            Source::Instances { name, .. } if name.is_here() => return Ok(()),
            Source::Instances { current, name } => {
                let mut current = lock(current);
                (*current, *name) = Instance::adopt(&self.spec, current.as_ref(), name)?;
            }
        }
        // The parent waits at the one that both have.
        self.accept_readiness = OnceLock::new();
        Ok(())
    }
}

/// Opening a pipe for a remote client, by a gateway that has authenticated it.
pub trait ClientOptionsExt: Sealed {
    /// Opens for a remote client, which the server sees as its peer ([`Peer::network`]).
    ///
    /// Only pipes that accept remote clients and allow this one can be opened. The access check uses its uid and gids, as for a
    /// local user ([rule A1](crate::rules#a1), [rule A2](crate::rules#a2)). The calling process must run as root: servers trust
    /// no other process to name a remote client, and the connection of another process ends with its first byte, as `Corrupt`.
    ///
    /// # Errors
    /// `open` and `connect` return `AccessDenied` if the pipe does not accept remote clients or does not allow this one, and
    /// `Invalid` if the identity is too long or has control characters (see [`RemoteClient`]).
    fn on_behalf_of(&mut self, remote_client: &RemoteClient) -> &mut Self;
}

impl ClientOptionsExt for ClientOptions {
    fn on_behalf_of(&mut self, remote_client: &RemoteClient) -> &mut Self {
        self.remote_client = Some(Arc::new(remote_client.clone()));
        self
    }
}

#[cfg(feature = "tokio")]
impl ClientOptionsExt for crate::tokio::ClientOptions {
    fn on_behalf_of(&mut self, remote_client: &RemoteClient) -> &mut Self {
        self.options.on_behalf_of(remote_client);
        self
    }
}

/// The descriptor that signals to event loops that a client waits.
fn accept_readiness_of(listener: &Listener) -> io::Result<&AcceptReadiness> {
    if listener.accept_readiness.get().is_none() {
        let accept_readiness = AcceptReadiness::new()?;
        // Another thread may be quicker; then its gate serves. Under the lock, so that no replacement is missed.
        match &listener.source {
            Source::Socket(current) => {
                let current = lock(current);
                accept_readiness.follow_socket(&current)?;
                listener.accept_readiness.set(accept_readiness).ok();
            }
            Source::Instances { current, .. } => {
                let current = lock(current);
                match &*current {
                    Some(instance) => accept_readiness.follow(instance)?,
                    None => accept_readiness.follow_places(Watch::new(listener.name())?)?,
                }
                listener.accept_readiness.set(accept_readiness).ok();
            }
        }
    }
    listener.accept_readiness.get().ok_or_else(|| io::Error::other("the descriptor was not made"))
}

/// The process of a peer.
pub trait PeerExt: Sealed {
    /// Returns a pidfd of the process that connected or began to listen. It never refers to a later process with the same id.
    /// `None` if the kernel lacks pidfds for sockets.
    fn pidfd(&self) -> Option<BorrowedFd<'_>>;
}

impl PeerExt for Peer {
    fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.inner.handle()
    }
}

impl From<UnixStream> for PipeStream {
    /// Takes over a plain socket. [`PipeStreamExt::into_socket`] returns it.
    ///
    /// It is the server's end if the socket has an address, as an accepted socket has. Else it is the client's end.
    fn from(socket: UnixStream) -> PipeStream {
        PipeStream::new(End::of_stream(socket))
    }
}

impl TryFrom<OwnedFd> for PipeStream {
    type Error = io::Error;

    /// Takes over a connected Unix stream socket. Anything else is `Invalid`.
    fn try_from(socket: OwnedFd) -> io::Result<PipeStream> {
        End::adopt(socket).map(PipeStream::new)
    }
}

impl TryFrom<UnixListener> for Listener {
    type Error = io::Error;

    /// Takes over a socket that listens at a path, as [`TryFrom<OwnedFd>`](#impl-TryFrom%3COwnedFd%3E-for-Listener).
    fn try_from(socket: UnixListener) -> io::Result<Listener> {
        Listener::try_from(OwnedFd::from(socket))
    }
}

impl TryFrom<OwnedFd> for Listener {
    type Error = io::Error;

    /// Takes over a Unix stream socket that listens at a path. Anything else is `Invalid`, and an abstract address, which has
    /// no [`PipeName`](crate::PipeName), is `Unsupported`.
    ///
    /// The socket becomes non-blocking. Dropping the listener closes it and does not remove the socket file.
    fn try_from(socket: OwnedFd) -> io::Result<Listener> {
        let (path, socket) = SocketListener::adopt(socket)?;
        Listener::over_plain(&path, socket)
    }
}

handle_conversions! {
    names {
        OwnedFd BorrowedFd RawFd AsFd::as_fd AsRawFd::as_raw_fd IntoRawFd::into_raw_fd FromRawFd::from_raw_fd
    }
    anonymous { AnonRead: PipeReader, AnonWrite: PipeWriter }
}

#[cfg(test)]
mod tests {
    use std::{
        env,
        ffi::OsStr,
        io::{Read, Write},
        os::unix::{ffi::OsStrExt, net::UnixDatagram},
        path::{Path, PathBuf},
    };

    use super::*;
    use crate::{PipeEnd, PipeErrorKind, PipeName, PipeNameKind, anonymous};

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

    fn socket_path() -> PathBuf {
        let mut path = env::temp_dir();
        path.push(format!("{}.sock", PipeName::unique("os").unwrap().folded()));
        path
    }

    #[test]
    fn streams_of_the_standard_library_become_ends_and_go_back() {
        let (one, mut other) = UnixStream::pair().unwrap();
        let mut end = PipeStream::from(one);
        assert_eq!(end.info().unwrap().end, PipeEnd::Client);
        end.write_all(b"hi").unwrap();
        other.read_exact(&mut [0; 2]).unwrap();
        let timeout = Duration::from_millis(10);
        end.set_read_timeout(Some(timeout)).unwrap();
        assert!(end.read(&mut [0]).unwrap_err() == PipeErrorKind::TimedOut);
        let mut back = end.into_socket().unwrap();
        other.write_all(b"ho").unwrap();
        back.read_exact(&mut [0; 2]).unwrap();

        let end = PipeStream::try_from(OwnedFd::from(back)).unwrap();
        drop(other);
        assert_eq!((&end).read(&mut [0]).unwrap(), 0);
        assert!((&end).write(b"x").unwrap_err() == PipeErrorKind::NoData);
    }

    #[test]
    fn a_listener_of_other_code_serves_and_leaves_its_file() {
        let path = socket_path();
        let listener = Listener::try_from(UnixListener::bind(&path).unwrap()).unwrap();
        assert_eq!(listener.name().kind(), PipeNameKind::Socket(&path));
        assert!(listener.accept_timeout(Duration::ZERO).unwrap_err() == PipeErrorKind::TimedOut);
        let mut client = UnixStream::connect(&path).unwrap();
        let accepted = listener.accept().unwrap();
        assert_eq!(accepted.info().unwrap().end, PipeEnd::Server);
        // What it accepted has its address, by which its side is known when other code has it meanwhile.
        let mut accepted = PipeStream::from(accepted.into_socket().unwrap());
        assert_eq!(accepted.info().unwrap().end, PipeEnd::Server);
        accepted.write_all(b"x").unwrap();
        client.read_exact(&mut [0]).unwrap();
        drop(listener);
        assert!(path.exists());
        assert!(crate::connect(&path).unwrap_err() == PipeErrorKind::Absent);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_descriptor_that_will_not_do_is_refused() {
        let stream = |fd: OwnedFd| PipeStream::try_from(fd).unwrap_err();
        let listener = |fd: OwnedFd| Listener::try_from(fd).unwrap_err();
        let path = socket_path();
        let bound = UnixListener::bind(&path).unwrap();
        assert!(stream(bound.into()) == PipeErrorKind::Invalid);
        std::fs::remove_file(path).unwrap();
        assert!(listener(UnixStream::pair().unwrap().0.into()) == PipeErrorKind::Invalid);
        for refuse in [stream, listener] {
            assert!(refuse(anonymous(0).unwrap().0.into()) == PipeErrorKind::Invalid);
            assert!(refuse(UnixDatagram::pair().unwrap().0.into()) == PipeErrorKind::Invalid);
            let inet = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            assert!(refuse(inet.into()) == PipeErrorKind::Invalid);
        }
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
