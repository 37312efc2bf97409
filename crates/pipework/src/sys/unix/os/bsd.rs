#![expect(unsafe_code, reason = "socket options and kernel queues that no library offers soundly")]
//! The BSDs and the systems of Apple.

use super::FileSystem;
use crate::error::{PipeErrorKind, fail};
use rustix::{
    event::{PollFlags, kqueue},
    fs::{AtFlags, CWD, Dir, Mode, OFlags, StatFs},
    io::Errno,
    net::{RecvFlags, SendFlags},
};
use std::{
    ffi::{CStr, c_void},
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::Path,
    ptr::NonNull,
    sync::atomic::AtomicU32,
    time::Duration,
};

/// How everything is sent: never waiting, never raising SIGPIPE.
#[cfg(not(target_vendor = "apple"))]
pub(crate) const SEND_FLAGS: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);
/// How everything is sent: never waiting. That it raises no SIGPIPE is a property of the socket here.
#[cfg(target_vendor = "apple")]
pub(crate) const SEND_FLAGS: SendFlags = SendFlags::DONTWAIT;

/// How everything is received: never waiting, descriptors not inherited.
#[cfg(not(target_vendor = "apple"))]
pub(crate) const RECEIVE_FLAGS: RecvFlags = RecvFlags::DONTWAIT.union(RecvFlags::CMSG_CLOEXEC);
/// How everything is received: never waiting. `keep_from_children` does the rest.
#[cfg(target_vendor = "apple")]
pub(crate) const RECEIVE_FLAGS: RecvFlags = RecvFlags::DONTWAIT;

/// A word that the kernel zeroes in a forked child: not by a call that is the same on these systems.
pub(crate) fn word_wiped_on_fork() -> Option<&'static AtomicU32> {
    None
}

/// A look at what waits in a socket shows no descriptors: these kernels would put their own pointers there instead.
pub(crate) const PEEK_SHOWS_DESCRIPTORS: bool = false;

/// Whether threads of different processes can sleep at a word of a memory that they share: by no call that is the same
/// on these systems.
pub(crate) const HAS_FUTEX: bool = false;

/// No thread sleeps at words here.
pub(crate) fn futex_wait(_: &AtomicU32, _: u32, _: Duration) -> bool {
    true
}

/// No thread sleeps at words here.
pub(crate) fn futex_wake(_: &AtomicU32) {}

/// The kind of a file system.
pub(crate) fn kind_of(file_system: &StatFs) -> FileSystem {
    const LOCAL: [&[u8]; 6] = [b"apfs", b"ffs", b"hfs", b"tmpfs", b"ufs", b"zfs"];
    #[allow(clippy::cast_sign_loss, reason = "characters")]
    let name: Vec<u8> =
        file_system.f_fstypename.iter().map(|byte| *byte as u8).take_while(|byte| *byte != 0).collect();
    if LOCAL.contains(&name.as_slice()) { FileSystem::Local } else { FileSystem::Other }
}

/// These systems have no such number in common.
pub(crate) fn boot() -> Option<String> {
    None
}

/// Gives whole pages of a shared mapping back to the system, where one call does it: here none does, and the pages
/// stay as long as the mapping.
///
/// # Safety
/// `place` is on a page, and `len` bytes of whole pages follow it in one shared mapping. No Rust reference relies on what
/// they contain.
pub(crate) unsafe fn release_pages(_: NonNull<c_void>, _: usize) {}

/// The events with which `poll` reports that the other end is gone.
#[cfg(target_os = "freebsd")]
pub(crate) const HANGUP: PollFlags = PollFlags::HUP.union(PollFlags::RDHUP);
/// The events with which `poll` reports that the other end is gone.
#[cfg(not(target_os = "freebsd"))]
pub(crate) const HANGUP: PollFlags = PollFlags::HUP;

pub(crate) use creation::{accept, new_socket};

/// Making descriptors that neither wait nor are inherited, in one step.
#[cfg(not(target_vendor = "apple"))]
mod creation {
    use rustix::{
        net::{AddressFamily, SocketFlags, SocketType, accept_with, socket_with},
        pipe::{PipeFlags, pipe_with},
    };
    use std::{
        io,
        os::fd::{BorrowedFd, OwnedFd},
    };

    /// A socket of the Unix family that neither waits nor is inherited.
    pub(crate) fn new_socket(kind: SocketType) -> io::Result<OwnedFd> {
        Ok(socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?)
    }

    /// Accepts a client if one is queued; else `WouldBlock`.
    pub(crate) fn accept(listening: BorrowedFd<'_>) -> io::Result<OwnedFd> {
        Ok(accept_with(listening, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?)
    }

    /// A pipe that neither waits nor is inherited.
    pub(super) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
        Ok(pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?)
    }
}

/// The same in several steps: a child that another thread starts between them inherits the descriptor, which these
/// systems leave no way to prevent.
#[cfg(target_vendor = "apple")]
mod creation {
    use rustix::{
        io::{Errno, ioctl_fionbio},
        net::{AddressFamily, SocketType, sockopt::set_socket_nosigpipe},
    };
    use std::{
        io,
        os::fd::{BorrowedFd, OwnedFd},
    };

    /// A socket of the Unix family that neither waits nor is inherited.
    pub(crate) fn new_socket(kind: SocketType) -> io::Result<OwnedFd> {
        let socket = ours(rustix::net::socket(AddressFamily::UNIX, kind, None)?)?;
        set_socket_nosigpipe(&socket, true)?;
        Ok(socket)
    }

    /// Accepts a client if one is queued; else `WouldBlock`.
    pub(crate) fn accept(listening: BorrowedFd<'_>) -> io::Result<OwnedFd> {
        let socket = ours(rustix::net::accept(listening)?)?;
        match set_socket_nosigpipe(&socket, true) {
            // The client has left, and the system takes no options then; it has this one from the listening socket.
            Ok(()) | Err(Errno::INVAL) => Ok(socket),
            Err(error) => Err(error.into()),
        }
    }

    /// A pipe that neither waits nor is inherited.
    pub(super) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
        let (read, write) = rustix::pipe::pipe()?;
        Ok((ours(read)?, ours(write)?))
    }

    fn ours(fd: OwnedFd) -> io::Result<OwnedFd> {
        super::keep_from_children(&fd)?;
        ioctl_fionbio(&fd, true)?;
        Ok(fd)
    }
}

/// Gives each name in a directory that was opened for this and that nothing has read from.
pub(crate) fn read_directory_once(
    dir: BorrowedFd<'_>,
    each: &mut dyn FnMut(&CStr),
) -> rustix::io::Result<()> {
    Dir::read_from(dir)?.try_for_each(|entry| entry.map(|entry| each(entry.file_name())))
}

/// Keeps a descriptor that was received from being inherited, where `RECEIVE_FLAGS` could not say so.
pub(crate) fn keep_from_children(fd: &OwnedFd) -> io::Result<()> {
    Ok(rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::CLOEXEC)?)
}

/// Keeps writes to a socket of other code from raising SIGPIPE; `SEND_FLAGS` does it.
#[cfg(not(target_vendor = "apple"))]
pub(crate) fn raise_no_signal(_: &OwnedFd) {}

/// Keeps writes to a socket of other code from raising SIGPIPE.
#[cfg(target_vendor = "apple")]
pub(crate) fn raise_no_signal(socket: &OwnedFd) {
    // It fails only for a socket whose peer has left. Those of the standard library have it already.
    rustix::net::sockopt::set_socket_nosigpipe(socket, true).ok();
}

/// The bit in the mode of a file that keeps cleaners of temporary files away from it; these systems have none, and
/// only root may set the sticky bit on a file there.
pub(crate) const SPARED: Mode = Mode::empty();

/// Opens a directory to find files in it, also one that can't be read, where the system can.
pub(crate) const PATH_ONLY: OFlags = OFlags::empty();

/// Sets the mode that a socket's file will have. These systems keep it with the file alone, so the mode is set when
/// there is one.
pub(crate) fn set_mode_before_bind(_: &OwnedFd, _: Mode) -> rustix::io::Result<()> {
    Ok(())
}

/// Sets the mode of the file of a socket that was just bound. Until then it is that of the umask, on a socket that does
/// not listen yet, under a name that no client knows.
pub(crate) fn set_mode_after_bind(path: &Path, mode: Mode) -> rustix::io::Result<()> {
    rustix::fs::chmodat(CWD, path, mode, AtFlags::SYMLINK_NOFOLLOW)
}

/// Sets an access control list as Linux encodes it; these systems have others.
pub(crate) fn set_access_list(_: &Path, _: &[u8]) -> rustix::io::Result<()> {
    Err(Errno::NOTSUP)
}

/// Whether the program was started with rights that its caller does not have, so that its environment is the
/// caller's to forge.
pub(crate) fn is_privileged_start() -> bool {
    // SAFETY: the call takes nothing and only reads a flag of this process.
    unsafe { libc::issetugid() != 0 }
}

/// The processor on which this thread runs just now, where the system says it cheaply: here it does not.
pub(crate) fn processor() -> Option<u64> {
    None
}

/// Process, user and group of the other end, as they were when it connected or began to listen. The process is known
/// where the system reports it, and on those of Apple only as long as the other end is there.
pub(crate) fn credentials(socket: BorrowedFd<'_>) -> io::Result<(Option<u32>, u32, u32)> {
    let (mut user, mut group) = (0, 0);
    // SAFETY: the descriptor is open while it is borrowed, and both places may be written and live through the call,
    // which keeps neither.
    let outcome = unsafe { libc::getpeereid(socket.as_raw_fd(), &raw mut user, &raw mut group) };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((process(socket), user, group))
}

/// The supplementary groups of the other end: at most 16, which is as many as these systems report.
#[cfg(any(target_vendor = "apple", target_os = "freebsd", target_os = "dragonfly"))]
pub(crate) fn groups(socket: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let xucred = xucred_of(socket)?;
    let count = usize::try_from(xucred.cr_ngroups).unwrap_or(0);
    Ok(xucred.cr_groups.iter().take(count).copied().collect())
}

/// The supplementary groups of the other end, which this system does not report.
#[cfg(not(any(target_vendor = "apple", target_os = "freebsd", target_os = "dragonfly")))]
pub(crate) fn groups(_: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    Ok(Vec::new())
}

/// A descriptor of the other end's process; these systems have none.
pub(crate) fn process_handle(_: BorrowedFd<'_>) -> Option<OwnedFd> {
    None
}

#[cfg(target_vendor = "apple")]
fn process(socket: BorrowedFd<'_>) -> Option<u32> {
    let mut process: libc::pid_t = 0;
    // SAFETY: every pattern of bits is a number.
    unsafe { option(socket, libc::LOCAL_PEERPID, &mut process) }.ok()?;
    u32::try_from(process).ok().filter(|process| *process != 0)
}

#[cfg(target_os = "freebsd")]
fn process(socket: BorrowedFd<'_>) -> Option<u32> {
    let xucred = xucred_of(socket).ok()?;
    // SAFETY: the other field of this union is padding, every pattern of bits is a number, and all of it is
    // initialised: `xucred` began with zeros. A kernel that does not know the field leaves them.
    let process = unsafe { xucred.cr_pid__c_anonymous_union.cr_pid };
    u32::try_from(process).ok().filter(|process| *process != 0)
}

#[cfg(not(any(target_vendor = "apple", target_os = "freebsd")))]
fn process(_: BorrowedFd<'_>) -> Option<u32> {
    None
}

#[cfg(any(target_vendor = "apple", target_os = "freebsd", target_os = "dragonfly"))]
fn xucred_of(socket: BorrowedFd<'_>) -> io::Result<libc::xucred> {
    // SAFETY: all its fields are numbers, rows of numbers and padding, for which zeros are valid.
    let mut xucred: libc::xucred = unsafe { std::mem::zeroed() };
    // SAFETY: for the same fields every pattern of bits is valid.
    unsafe { option(socket, libc::LOCAL_PEERCRED, &mut xucred)? };
    if xucred.cr_version == libc::XUCRED_VERSION { Ok(xucred) } else { Err(Errno::INVAL.into()) }
}

/// Reads a socket option of the Unix family.
///
/// # Safety
/// Every pattern of bits is a valid `T`.
#[cfg(any(target_vendor = "apple", target_os = "freebsd", target_os = "dragonfly"))]
unsafe fn option<T>(socket: BorrowedFd<'_>, name: libc::c_int, value: &mut T) -> io::Result<()> {
    /// `SOL_LOCAL`, which not every system names.
    const LEVEL: libc::c_int = 0;
    let mut len = libc::socklen_t::try_from(size_of::<T>()).unwrap_or(0);
    let place = std::ptr::from_mut(value).cast::<c_void>();
    // SAFETY: the place is good for writing `len` bytes, both live through the call, and the kernel writes no more
    // than `len` says; the caller promises that whatever it writes is a value.
    let outcome = unsafe { libc::getsockopt(socket.as_raw_fd(), LEVEL, name, place, &raw mut len) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Bytes that the other end of a stream socket has not read yet. These systems don't report it: they hand the
/// bytes over at once, and count only those that wait at this end.
pub(crate) fn unread_bytes(_: BorrowedFd<'_>) -> io::Result<usize> {
    let text =
        "this system does not report whether the other end of a Unix domain socket has read everything";
    Err(fail(PipeErrorKind::Unsupported, text))
}

/// Something that happened, as a descriptor that is readable from then on: a pipe to oneself.
#[derive(Debug)]
pub(crate) struct Event {
    read: OwnedFd,
    write: OwnedFd,
}

impl Event {
    pub(crate) fn new() -> io::Result<Event> {
        let (read, write) = creation::pipe()?;
        Ok(Event { read, write })
    }

    /// Makes it readable. One system call, so a signal handler may.
    pub(crate) fn set(&self) {
        // It fails only when the pipe is full, and then it is readable. The reading end is open, so no signal comes.
        rustix::io::write(&self.write, &[1]).ok();
    }

    /// Makes it unreadable.
    pub(crate) fn clear(&self) {
        let mut bytes = [0; 64];
        // It fails only when it is not readable.
        while rustix::io::read(&self.read, &mut bytes).is_ok_and(|len| len == bytes.len()) {}
    }
}

impl AsFd for Event {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }
}

/// One descriptor that is readable while one of several is.
///
/// The queue of the kernel learns by itself that a descriptor became readable, but not that it no longer is: that
/// takes `refresh`.
#[derive(Debug)]
pub(crate) struct PollSet {
    fd: OwnedFd,
}

impl PollSet {
    pub(crate) fn new() -> io::Result<PollSet> {
        Ok(PollSet { fd: new_queue()? })
    }

    /// Adds a descriptor; it leaves by itself when it is closed.
    pub(crate) fn add(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        add_filter(&self.fd, kqueue::EventFilter::Read(fd.as_raw_fd()), kqueue::EventFlags::empty())
    }

    /// Takes a descriptor out again.
    pub(crate) fn remove(&self, fd: BorrowedFd<'_>) {
        // It fails only where it is not there.
        change_filter(&self.fd, kqueue::EventFilter::Read(fd.as_raw_fd()), kqueue::EventFlags::DELETE).ok();
    }

    /// Adds a descriptor for when it is writable.
    pub(crate) fn add_writable(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        add_filter(&self.fd, kqueue::EventFilter::Write(fd.as_raw_fd()), kqueue::EventFlags::empty())
    }

    /// Looks at all the descriptors again: what is readable no more no longer counts. Call it after taking what was
    /// there and before the last look.
    pub(crate) fn refresh(&self) {
        let mut readable = [MaybeUninit::uninit(); 8];
        // It fails only where the process is being killed. The descriptors that are still readable stay in the queue.
        // SAFETY: nothing is added, and what is there refers to descriptors that the kernel forgets when they close.
        let outcome = unsafe { kqueue::kevent(&self.fd, &[], &mut readable, Some(Duration::ZERO)) };
        debug_assert!(outcome.is_ok(), "a queue of ours can be asked");
    }
}

impl AsFd for PollSet {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Sockets of which one has hung up: a queue of this kernel would report each wake-up too.
#[derive(Debug)]
pub(crate) enum HangupSet {}

impl HangupSet {
    pub(crate) fn new() -> io::Result<HangupSet> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn add(&self, _socket: BorrowedFd<'_>) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn take(&self) -> io::Result<bool> {
        match *self {}
    }
}

/// A descriptor that is readable once a time has passed, and from then on.
#[derive(Debug)]
pub(crate) struct Timer {
    fd: OwnedFd,
}

impl Timer {
    pub(crate) fn new(time: Duration) -> io::Result<Timer> {
        let timer = Timer { fd: new_queue()? };
        timer.restart(Some(time))?;
        Ok(timer)
    }

    /// Makes it unreadable until this time has passed, or for ever. The kernel takes it in milliseconds, and at least one.
    pub(crate) fn restart(&self, time: Option<Duration>) -> io::Result<()> {
        let filter = |timer| kqueue::EventFilter::Timer { ident: 0, timer };
        // An alarm that nobody took would stay. It fails only where there is none.
        change_filter(&self.fd, filter(None), kqueue::EventFlags::DELETE).ok();
        match time {
            Some(_) => add_filter(&self.fd, filter(time), kqueue::EventFlags::ONESHOT),
            None => Ok(()),
        }
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn new_queue() -> io::Result<OwnedFd> {
    let fd = kqueue::kqueue()?;
    keep_from_children(&fd)?;
    Ok(fd)
}

fn add_filter(queue: &OwnedFd, filter: kqueue::EventFilter, flags: kqueue::EventFlags) -> io::Result<()> {
    change_filter(queue, filter, flags | kqueue::EventFlags::ADD)
}

fn change_filter(queue: &OwnedFd, filter: kqueue::EventFilter, flags: kqueue::EventFlags) -> io::Result<()> {
    let changed = [kqueue::Event::new(filter, flags, std::ptr::null_mut())];
    let mut none: [MaybeUninit<kqueue::Event>; 0] = [];
    // SAFETY: a descriptor is looked up during the call only; the kernel keeps a note of its file, which it drops when
    // the descriptor is closed, and remembers no memory of ours.
    unsafe { kqueue::kevent(queue, &changed, &mut none, Some(Duration::ZERO))? };
    Ok(())
}
