//! Plain Unix domain sockets, as every other language speaks them: bytes only, no instances, no shared memory.

pub(super) mod path;
#[cfg(feature = "tokio")]
mod task;

#[cfg(feature = "tokio")]
use super::{super::end::Work, connection::task::TaskWait};
use super::{
    super::{
        WaitLimit,
        end::PipeEnd,
        errors::{broken, denied, unread},
    },
    end_options::EndOptions,
    name::{check_clock::CheckClock, lock::LockWait, namespace, permission::Permission},
    os::{self, PollSet},
    peer::{self, Peer},
    poll,
};
use crate::{
    access::Access,
    error::{PipeErrorKind, context, fail, fail_from},
    message::Peek,
    options::{PipeEnd as Side, PipeInfo, PipeMode, Request},
};
#[cfg(feature = "tokio")]
use ::tokio::io::Interest;
use rustix::{
    event::PollFlags,
    fs::{CWD, FileType, Stat},
    io::Errno,
    net::{RecvFlags, Shutdown, SocketAddrUnix, SocketType, sockopt},
};
#[cfg(feature = "tokio")]
use std::task::{Context, Poll};
use std::{
    io::{self, IoSlice, IoSliceMut},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};

/// One end of a connected plain socket.
#[derive(Debug)]
pub(crate) struct SocketEnd {
    /// Shared with the reactors that it is registered with.
    pub(super) socket: Arc<OwnedFd>,
    end: Side,
    pub(super) options: Arc<EndOptions>,
    may_read: bool,
    may_write: bool,
    write_readiness: OnceLock<PollSet>,
    /// Where the tasks of a runtime wait.
    #[cfg(feature = "tokio")]
    pub(super) reactor: super::asynchronous::Reactor,
}

/// Opens a path now; a listener whose queue is full is busy.
pub(crate) fn open(request: &Request, path: &Path, limit: &WaitLimit) -> io::Result<SocketEnd> {
    if request.read_mode == PipeMode::Message {
        return Err(fail(
            PipeErrorKind::Invalid,
            format!("{} is a plain socket: it has no messages", path.display()),
        ));
    }
    let opening = || format!("opening {}", path.display());
    let socket = os::new_socket(SocketType::STREAM).map_err(|error| context(opening(), error))?;
    let address = address(path)?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) => {}
        Err(Errno::AGAIN) => {
            return Err(fail(PipeErrorKind::Busy, format!("{} has a full queue", path.display())));
        }
        Err(error @ (Errno::NOENT | Errno::CONNREFUSED | Errno::NOTDIR)) => {
            return Err(nobody_listens(path, Some(error)));
        }
        Err(error @ (Errno::ACCESS | Errno::PERM)) => {
            return Err(fail_from(PipeErrorKind::AccessDenied, opening(), error));
        }
        Err(error) => return Err(context(opening(), error)),
    }
    if !peer::accepts(&request.server, socket.as_fd(), owner_of_place(path))? {
        let (_, user, _) = os::credentials(socket.as_fd())?;
        let text = format!("{} is served by user {user}, who is not the requested one", path.display());
        return Err(fail(PipeErrorKind::AccessDenied, text));
    }
    let options = EndOptions::new(PipeMode::Byte, limit.canceller().cloned());
    Ok(SocketEnd {
        may_read: request.read,
        may_write: request.write,
        ..SocketEnd::new(socket, Side::Client, options)
    })
}

/// Opens a path, waiting while it is busy, or absent where that was asked for.
pub(crate) fn connect(request: &Request, path: &Path, limit: &WaitLimit) -> io::Result<SocketEnd> {
    loop {
        match open(request, path, limit) {
            Err(error) if error == PipeErrorKind::Busy => {}
            Err(error) if error == PipeErrorKind::Absent && request.wait_absent => {}
            outcome => return outcome,
        }
        limit.check()?;
        // No event signals that the queue of a foreign listener has room again.
        poll::wait(&[], limit, Some(Duration::from_millis(10)))?;
    }
}

/// Waits until a process listens at a path. Looking takes no place in the queue.
pub(crate) fn wait(path: &Path) -> io::Result<()> {
    if is_alive(path)? {
        return Ok(());
    }
    Err(nobody_listens(path, None))
}

/// Why no process can be connected to at a path. The system has one number for a socket that refuses and for any other file.
fn nobody_listens(path: &Path, error: Option<Errno>) -> io::Error {
    let stat = rustix::fs::stat(path);
    let is_socket = |stat: Stat| FileType::from_raw_mode(stat.st_mode) == FileType::Socket;
    match (stat.is_ok_and(|stat| !is_socket(stat)), error) {
        (true, _) => fail(PipeErrorKind::Absent, format!("{} is not a socket", path.display())),
        (false, Some(error)) => {
            fail_from(PipeErrorKind::Absent, format!("no process listens at {}", path.display()), error)
        }
        (false, None) => fail(PipeErrorKind::Absent, format!("no process listens at {}", path.display())),
    }
}

/// Whether a process has bound the socket at a path.
pub(super) fn is_alive(path: &Path) -> io::Result<bool> {
    let probe = os::new_socket(SocketType::DGRAM)?;
    match rustix::net::connect(&probe, &address(path)?) {
        Err(Errno::CONNREFUSED | Errno::NOENT | Errno::NOTDIR) => Ok(false),
        _ => Ok(true),
    }
}

fn address(path: &Path) -> io::Result<SocketAddrUnix> {
    SocketAddrUnix::new(path).map_err(|error| {
        let text = format!("{} is too long for the path of a socket", path.display());
        fail_from(PipeErrorKind::Invalid, text, error)
    })
}

/// The user that is trusted to serve a path: the owner of its directory, where no other user can put files
/// into it.
fn owner_of_place(path: &Path) -> u32 {
    let place = path.parent().unwrap_or(Path::new("/"));
    match rustix::fs::statat(CWD, place, rustix::fs::AtFlags::empty()) {
        Ok(stat) if !namespace::others_may_write(&stat) => stat.st_uid,
        _ => namespace::my_user(),
    }
}

impl SocketEnd {
    pub(super) fn new(socket: OwnedFd, end: Side, options: EndOptions) -> SocketEnd {
        SocketEnd {
            socket: Arc::new(socket),
            end,
            options: Arc::new(options),
            may_read: true,
            may_write: true,
            write_readiness: OnceLock::new(),
            #[cfg(feature = "tokio")]
            reactor: super::asynchronous::Reactor::default(),
        }
    }

    fn block_to_read(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let mut limit = None;
        loop {
            match self.read_now(bufs) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return outcome,
            }
            let limit = limit.get_or_insert_with(|| self.options.read_limit());
            limit.check()?;
            poll::wait(&[(self.socket.as_fd(), PollFlags::IN)], limit, None)?;
        }
    }

    /// Reads what is there, else `WouldBlock`.
    fn read_now(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        if !self.may_read {
            return Err(denied("read"));
        }
        let mut read = 0;
        for buf in bufs.iter_mut().filter(|buf| !buf.is_empty()) {
            match self.receive(buf) {
                Ok(len) => {
                    read += len;
                    if len < buf.len() {
                        break;
                    }
                }
                // The data that was read counts; the error comes again.
                Err(_) if read > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    /// Writes what fits, else `WouldBlock`.
    fn write_now(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        if !self.may_write {
            return Err(denied("write"));
        }
        let mut written = 0;
        for buf in bufs.iter().filter(|buf| !buf.is_empty()) {
            match self.send(buf) {
                Ok(len) => {
                    written += len;
                    if len < buf.len() {
                        break;
                    }
                }
                // The data that was written counts; the error comes again.
                Err(_) if written > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }

    fn receive(&self, buf: &mut [u8]) -> io::Result<usize> {
        match rustix::io::retry_on_intr(|| rustix::net::recv(&self.socket, &mut *buf, os::RECEIVE_FLAGS)) {
            Ok((len, _)) => Ok(len),
            Err(Errno::CONNRESET) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes all, or what went before the limit was reached or the socket failed.
    fn block_to_write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        if !self.may_write {
            return Err(denied("write"));
        }
        let (mut written, mut limit) = (0, None);
        for buf in bufs {
            let mut rest: &[u8] = buf;
            while !rest.is_empty() {
                match self.block_to_send(rest, &mut limit) {
                    Ok(len) => {
                        written += len;
                        (_, rest) = rest.split_at(len);
                    }
                    // The data that was written counts; the error comes again.
                    Err(_) if written > 0 => return Ok(written),
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(written)
    }

    /// Sends some of it, as soon as the socket has room.
    fn block_to_send(&self, buf: &[u8], limit: &mut Option<WaitLimit>) -> io::Result<usize> {
        loop {
            match self.send(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return outcome,
            }
            let limit = limit.get_or_insert_with(|| self.options.write_limit());
            limit.check()?;
            poll::wait(&[(self.socket.as_fd(), PollFlags::OUT)], limit, None)?;
        }
    }

    fn send(&self, buf: &[u8]) -> io::Result<usize> {
        let send = || rustix::io::retry_on_intr(|| rustix::net::send(&self.socket, buf, os::SEND_FLAGS));
        let sent = match (send(), self.write_readiness.get()) {
            (Err(Errno::AGAIN), Some(poll_set)) => {
                // From here on the descriptor signals; a last look finds what came before.
                poll_set.refresh();
                send()
            }
            (sent, _) => sent,
        };
        match sent {
            Ok(len) => Ok(len),
            Err(error @ (Errno::PIPE | Errno::CONNRESET)) => {
                Err(fail_from(PipeErrorKind::NoData, PipeErrorKind::NoData.to_string(), error))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The socket, for other code: it waits again in its calls, as other code expects.
    /// Itself, if a reactor has a share of it.
    pub(crate) fn into_socket(self) -> Result<UnixStream, SocketEnd> {
        match Arc::try_unwrap(self.socket) {
            Ok(socket) => {
                // It can't fail on a socket; if it did, the other code would see `WouldBlock`.
                rustix::io::ioctl_fionbio(&socket, false).ok();
                Ok(UnixStream::from(socket))
            }
            Err(socket) => Err(SocketEnd { socket, ..self }),
        }
    }
}

impl PipeEnd for SocketEnd {
    fn options(&self) -> &EndOptions {
        &self.options
    }

    fn read(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.block_to_read(bufs)
    }

    fn write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.block_to_write(bufs)
    }

    fn try_read(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.read_now(bufs)
    }

    fn try_write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write_now(bufs)
    }

    fn peek(&self, buf: &mut [u8]) -> io::Result<Peek> {
        let available = rustix::io::ioctl_fionread(&self.socket)?;
        let flags = os::RECEIVE_FLAGS | RecvFlags::PEEK;
        let mut one = [0];
        // One byte distinguishes an end from no data, also where the caller only wants the number.
        let looked = rustix::net::recv(&self.socket, &mut one, flags);
        let copied = match looked {
            Ok((0, _)) | Err(Errno::CONNRESET) => {
                return Err(broken());
            }
            Err(Errno::AGAIN) => 0,
            Err(error) => return Err(error.into()),
            Ok(_) if buf.is_empty() => 0,
            Ok(_) => rustix::net::recv(&self.socket, &mut *buf, flags)?.0,
        };
        let available = usize::try_from(available).unwrap_or(usize::MAX);
        Ok(Peek { copied, available, message_left: None })
    }

    /// The kernel reports how much is left, and signals no change of that.
    fn drain(&self) -> io::Result<()> {
        let limit = self.options.write_limit();
        let mut pause = Duration::from_micros(50);
        while os::unread_bytes(self.socket.as_fd())? > 0 {
            let seen = poll::now(self.socket.as_fd(), PollFlags::empty());
            if seen.intersects(PollFlags::HUP | PollFlags::ERR) {
                return Err(unread());
            }
            limit.check()?;
            poll::wait(&[], &limit, Some(pause))?;
            pause = (pause * 2).min(Duration::from_millis(5));
        }
        Ok(())
    }

    fn shutdown_write(&self) -> io::Result<()> {
        Ok(rustix::net::shutdown(&self.socket, Shutdown::Write)?)
    }

    fn set_read_mode(&self, mode: PipeMode) -> io::Result<()> {
        self.options.set_read_mode(mode, false)
    }

    fn info(&self) -> io::Result<PipeInfo> {
        let len =
            |len: rustix::io::Result<usize>| Ok::<u32, io::Error>(u32::try_from(len?).unwrap_or(u32::MAX));
        let sent = len(sockopt::socket_send_buffer_size(&self.socket))?;
        let received = len(sockopt::socket_recv_buffer_size(&self.socket))?;
        let (out_buffer_size, in_buffer_size) =
            if self.end == Side::Server { (sent, received) } else { (received, sent) };
        Ok(PipeInfo {
            mode: PipeMode::Byte,
            end: self.end,
            max_instances: 255,
            out_buffer_size,
            in_buffer_size,
        })
    }

    /// The socket hangs up when the peer closes, not when it only shuts down its sending direction.
    fn is_connected(&self) -> io::Result<bool> {
        let seen = poll::now(self.as_fd(), PollFlags::empty());
        Ok(!seen.intersects(PollFlags::HUP | PollFlags::ERR))
    }

    fn peer(&self) -> io::Result<Peer> {
        Peer::of(self.as_fd())
    }

    /// The socket itself is readable when there is something to read.
    fn read_ready_fd(&self) -> io::Result<BorrowedFd<'_>> {
        Ok(self.socket.as_fd())
    }

    fn write_ready_fd(&self) -> io::Result<BorrowedFd<'_>> {
        if self.write_readiness.get().is_none() {
            let poll_set = PollSet::new()?;
            poll_set.add_writable(self.socket.as_fd())?;
            // Another thread may have been quicker; then its descriptor serves.
            self.write_readiness.set(poll_set).ok();
        }
        self.write_readiness
            .get()
            .map(AsFd::as_fd)
            .ok_or_else(|| io::Error::other("the descriptor was not made"))
    }

    #[cfg(feature = "tokio")]
    fn poll_read(
        &self,
        cx: &mut Context<'_>,
        wait: &mut TaskWait,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_for(cx, wait, Interest::READABLE, || self.read_now(bufs))
    }

    #[cfg(feature = "tokio")]
    fn poll_write(
        &self,
        cx: &mut Context<'_>,
        wait: &mut TaskWait,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_for(cx, wait, Interest::WRITABLE, || self.write_now(bufs))
    }

    #[cfg(feature = "tokio")]
    fn poll_readable(&self, cx: &mut Context<'_>, wait: &mut TaskWait) -> Poll<io::Result<()>> {
        self.poll_ready(cx, wait, Interest::READABLE)
    }

    #[cfg(feature = "tokio")]
    fn poll_writable(&self, cx: &mut Context<'_>, wait: &mut TaskWait, _: usize) -> Poll<io::Result<()>> {
        self.poll_ready(cx, wait, Interest::WRITABLE)
    }

    #[cfg(feature = "tokio")]
    fn poll_shutdown(&self, _: &mut Context<'_>, _: &mut TaskWait) -> Poll<io::Result<()>> {
        Poll::Ready(self.shutdown_write())
    }

    #[cfg(feature = "tokio")]
    fn drain_async(&self) -> Work<'_, ()> {
        Box::pin(self.drain_in_task())
    }
}

impl AsFd for SocketEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A listening plain socket.
#[derive(Debug)]
pub(crate) struct SocketListener {
    /// Before the socket, since fields are dropped in this order: as long as the socket lives, no other server replaces the
    /// path, so what is removed is ours.
    place: path::SocketPath,
    /// Shared with the reactors that it is registered with.
    pub(super) socket: Arc<OwnedFd>,
    /// When its path was last known to be there.
    check_clock: CheckClock,
    restorations: u64,
    /// Where the tasks of a runtime wait.
    #[cfg(feature = "tokio")]
    pub(super) reactor: super::asynchronous::Reactor,
}

impl SocketListener {
    /// Takes the path; of two starters exactly one gets it. What a dead process of this user left there is replaced,
    /// anything else is left alone.
    pub(crate) fn bind(path: &Path, access: &Access) -> io::Result<SocketListener> {
        SocketListener::bind_with(path, access, LockWait::Waits)
    }

    fn bind_with(path: &Path, access: &Access, lock_wait: LockWait) -> io::Result<SocketListener> {
        let (socket, place) = path::bind(path, &Permission::new(access)?, lock_wait)?;
        Ok(SocketListener::over(socket, place))
    }

    pub(super) fn over(socket: OwnedFd, place: path::SocketPath) -> SocketListener {
        SocketListener {
            socket: Arc::new(socket),
            place,
            check_clock: CheckClock::started(),
            restorations: 0,
            #[cfg(feature = "tokio")]
            reactor: super::asynchronous::Reactor::default(),
        }
    }

    /// Whether this process made it, and not one that this process was forked from.
    pub(crate) fn is_here(&self) -> bool {
        self.place.is_here()
    }

    /// In a forked child: the listener of its parent, as this process's own.
    pub(crate) fn adopt_after_fork(&self) -> io::Result<SocketListener> {
        Ok(SocketListener {
            socket: Arc::clone(&self.socket),
            place: self.place.adopt()?,
            check_clock: CheckClock::started(),
            restorations: self.restorations,
            #[cfg(feature = "tokio")]
            reactor: super::asynchronous::Reactor::default(),
        })
    }

    /// Whether something has removed its path, so that no client finds it.
    pub(crate) fn is_lost(&self) -> bool {
        if !self.check_clock.is_check_due() {
            return false;
        }
        let is_lost = self.place.is_lost();
        if !is_lost {
            self.check_clock.note_found();
        }
        is_lost
    }

    /// Another listener at the same path, unless another server has taken that meanwhile. `WouldBlock` while another process
    /// looks at what a dead one left there.
    pub(crate) fn restore(&self, access: &Access) -> io::Result<SocketListener> {
        let path = self.place.path();
        let restored = SocketListener::bind_with(path, access, LockWait::OneTry).map_err(|error| {
            if error.kind() == io::ErrorKind::WouldBlock {
                return error;
            }
            let text =
                format!("{} was removed while this process listened, and can't be restored", path.display());
            match PipeErrorKind::of(&error) {
                Some(kind) => fail_from(kind, text, error),
                None => context(text, error),
            }
        })?;
        Ok(SocketListener { restorations: self.restorations + 1, ..restored })
    }

    /// How often the path was restored.
    pub(crate) fn restorations(&self) -> u64 {
        self.restorations
    }

    /// Takes a client if one is queued.
    pub(in crate::sys::unix) fn accept_queued(&self) -> io::Result<Option<SocketEnd>> {
        loop {
            return match os::accept(self.socket.as_fd()) {
                Ok(socket) => {
                    let options = EndOptions::new(PipeMode::Byte, None);
                    Ok(Some(SocketEnd::new(socket, Side::Server, options)))
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
                // It came and went.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => Err(context(format!("accepting at {}", self.place.path().display()), error)),
            };
        }
    }

    /// Waits until a client may be queued, or the limit is reached.
    pub(crate) fn wait(&self, limit: &WaitLimit) -> io::Result<()> {
        limit.check()?;
        let next_check = Some(self.check_clock.time_left());
        poll::wait(&[(self.socket.as_fd(), PollFlags::IN)], limit, next_check).map(drop)
    }
}

impl AsFd for SocketListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use crate::{NamedPipe, PipeErrorKind, connect};

    #[test]
    fn a_file_that_is_not_a_socket_is_named_as_such() {
        for path in ["/etc/passwd", "/etc"] {
            for error in [connect(path).unwrap_err(), NamedPipe::wait(path, None).unwrap_err()] {
                assert!(error == PipeErrorKind::Absent, "{error}");
                assert_eq!(error.to_string(), format!("{path} is not a socket"));
            }
        }
        let error = connect("/etc/passwd/x").unwrap_err().to_string();
        assert!(error.starts_with("no process listens at /etc/passwd/x: "), "{error}");
    }
}
