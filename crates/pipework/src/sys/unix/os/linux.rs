#![expect(unsafe_code, reason = "system calls that no library offers soundly")]
//! Linux.

use super::FileSystem;
use rustix::{
    event::{EventfdFlags, epoll, eventfd},
    fs::{FileType, Mode, OFlags, RawDir, StatFs, XattrFlags},
    io::Errno,
    mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap},
    net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, accept_with, socket_with},
    thread::futex,
    time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    },
};
use std::{
    ffi::{CStr, c_void},
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    path::Path,
    ptr::{self, NonNull},
    sync::atomic::AtomicU32,
    time::Duration,
};

/// How everything is sent: never waiting, never raising SIGPIPE.
pub(crate) const SEND_FLAGS: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);
/// How everything is received: never waiting, descriptors not inherited.
pub(crate) const RECEIVE_FLAGS: RecvFlags = RecvFlags::DONTWAIT.union(RecvFlags::CMSG_CLOEXEC);

/// A word that the kernel zeroes in a forked child, also in one of a bare `clone`. `None` before Linux 4.14.
pub(crate) fn word_wiped_on_fork() -> Option<&'static AtomicU32> {
    let (len, access) = (size_of::<AtomicU32>(), ProtFlags::READ | ProtFlags::WRITE);
    // SAFETY: a null hint makes the kernel choose a free place, so no existing memory is touched.
    let base = unsafe { mmap_anonymous(ptr::null_mut(), len, access, MapFlags::PRIVATE) }.ok()?;
    // SAFETY: the page is the one that was just mapped, and nothing refers to it yet. The advice changes what children see.
    if unsafe { madvise(base, len, Advice::LinuxWipeOnFork) }.is_err() {
        // SAFETY: the page is the one that was just mapped, and nothing refers to it.
        unsafe { munmap(base, len) }.ok();
        return None;
    }
    // SAFETY: a mapping begins on a page, so it is aligned. It is readable and writable for the length of the word, zeroed, which
    // is a value of the word, and never unmapped. It is reached through this reference only.
    Some(unsafe { &*base.cast::<AtomicU32>() })
}

/// A look at what waits in a socket gets copies of its descriptors. The portable build does without, as other kernels do.
pub(crate) const PEEK_SHOWS_DESCRIPTORS: bool = !cfg!(pipework_portable);

/// The bit in the mode of a file that keeps systemd-tmpfiles from removing it, however old it is: the sticky bit, as
/// the XDG base directory specification says.
pub(crate) const SPARED: Mode = Mode::SVTX;

/// Opens a directory to find files in it, also one that can't be read.
pub(crate) const PATH_ONLY: OFlags = OFlags::PATH;

/// Keeps a descriptor that was received from being inherited; `RECEIVE_FLAGS` has done it.
pub(crate) fn keep_from_children(_: &OwnedFd) -> io::Result<()> {
    Ok(())
}

/// Keeps writes to a socket of other code from raising SIGPIPE; `SEND_FLAGS` does it.
pub(crate) fn raise_no_signal(_: &OwnedFd) {}

/// Sets the mode that a socket's file will have, less what the umask takes away: so it never lets in more.
pub(crate) fn set_mode_before_bind(socket: &OwnedFd, mode: Mode) -> rustix::io::Result<()> {
    rustix::fs::fchmod(socket, mode)
}

/// Sets the mode of the file of a socket that was just bound: the umask has taken bits away, and may have taken some
/// that were wanted.
pub(crate) fn set_mode_after_bind(path: &Path, mode: Mode) -> rustix::io::Result<()> {
    if mode == (Mode::RUSR | Mode::WUSR | SPARED) {
        return Ok(());
    }
    // Not by path: where others may write, it could have become a link to another file.
    let file = rustix::fs::open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    if FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) != FileType::Socket {
        return Err(Errno::NOTSOCK);
    }
    match rustix::fs::chmod(format!("/proc/thread-self/fd/{}", file.as_raw_fd()), mode) {
        // No usable /proc.
        Err(Errno::NOENT | Errno::ACCESS) => set_mode_of(&file, mode),
        outcome => outcome,
    }
}

/// Sets the mode of the file of a descriptor that was opened without rights to the file; Linux 6.6.
fn set_mode_of(file: &OwnedFd, mode: Mode) -> rustix::io::Result<()> {
    // SAFETY: the path is an empty C string that lives for ever, which the kernel only reads; the other arguments are
    // numbers.
    let outcome = unsafe {
        libc::syscall(libc::SYS_fchmodat2, file.as_raw_fd(), c"".as_ptr(), mode.bits(), libc::AT_EMPTY_PATH)
    };
    if outcome == 0 {
        return Ok(());
    }
    Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::NOSYS))
}

/// The kind of a file system.
pub(crate) fn kind_of(file_system: &StatFs) -> FileSystem {
    /// ext2 to ext4, XFS, Btrfs, F2FS, ZFS, bcachefs, tmpfs, ramfs, JFS, ReiserFS, NILFS2, UBIFS and JFFS2, by the numbers
    /// of `linux/magic.h` and of those file systems.
    const LOCAL: [u32; 13] = [
        0xef53,
        0x5846_5342,
        0x9123_683e,
        0xf2f5_2010,
        0x2fc1_2fc1,
        0xca45_1a4e,
        0x0102_1994,
        0x8584_58f6,
        0x3153_464a,
        0x5265_4973,
        0x3434,
        0x2405_1905,
        0x72b6,
    ];
    const OVERLAY: u32 = 0x794c_7630;
    #[allow(
        clippy::cast_sign_loss,
        clippy::cast_possible_truncation,
        reason = "the types differ between systems"
    )]
    match file_system.f_type as u32 {
        OVERLAY => FileSystem::Overlay,
        number if LOCAL.contains(&number) => FileSystem::Local,
        _ => FileSystem::Other,
    }
}

/// Distinguishes this run of the kernel from all others; needs `/proc`.
pub(crate) fn boot() -> Option<String> {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()
}

/// Gives whole pages of a shared mapping back to the system: from then on they are zero, for every process
/// that maps them. The seals of a memory object allow it, and no descriptor is needed.
///
/// # Safety
/// `place` is on a page, and `len` bytes of whole pages follow it in one shared mapping. No Rust reference relies on what
/// they contain.
pub(crate) unsafe fn release_pages(place: NonNull<c_void>, len: usize) {
    // SAFETY: the caller promises the range; the call changes what its pages contain and nothing else. Where it fails, as
    // in memory that is locked, the pages stay, which costs no more than their memory.
    unsafe { rustix::mm::madvise(place.as_ptr(), len, Advice::LinuxRemove) }.ok();
}

/// Sets an access control list, encoded as in `linux/posix_acl_xattr.h`.
pub(crate) fn set_access_list(path: &Path, list: &[u8]) -> rustix::io::Result<()> {
    rustix::fs::lsetxattr(path, "system.posix_acl_access", list, XattrFlags::empty())
}

/// Gives each name in a directory that was opened for this and that nothing has read from.
pub(crate) fn read_directory_once(
    dir: BorrowedFd<'_>,
    each: &mut dyn FnMut(&CStr),
) -> rustix::io::Result<()> {
    let mut space = [MaybeUninit::uninit(); 4096];
    let mut entries = RawDir::new(dir, &mut space);
    while let Some(entry) = entries.next() {
        each(entry?.file_name());
    }
    Ok(())
}

/// A socket of the Unix family that neither waits nor is inherited.
pub(crate) fn new_socket(kind: SocketType) -> io::Result<OwnedFd> {
    Ok(socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?)
}

/// Accepts a client if one is queued; else `WouldBlock`.
pub(crate) fn accept(listening: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    Ok(accept_with(listening, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?)
}

/// Whether the program was started with rights that its caller does not have, so that its environment is the
/// caller's to forge.
pub(crate) fn is_privileged_start() -> bool {
    // SAFETY: it reads a value that the kernel put beside the program's arguments, and has no other effect.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// The processor on which this thread runs just now, where the system says it cheaply.
pub(crate) fn processor() -> Option<u64> {
    // SAFETY: it takes nothing, writes to no memory of ours, and returns a number.
    let processor = unsafe { libc::sched_getcpu() };
    // Negative where the kernel can't say it. (`rustix` panics there, or returns a number that nothing has written.)
    u64::try_from(processor).ok()
}

/// Process, user and group of the other end, as they were when it connected or began to listen. No process is known
/// where the other end lives in a process namespace that we can't see.
pub(crate) fn credentials(socket: BorrowedFd<'_>) -> io::Result<(Option<u32>, u32, u32)> {
    let mut values = [0; 3];
    option(socket, libc::SO_PEERCRED, &mut values)?;
    let [process, user, group] = values;
    Ok(((process != 0).then_some(process), user, group))
}

/// The supplementary groups of the other end.
pub(crate) fn groups(socket: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    /// `NGROUPS_MAX` of the kernel.
    const COUNT_MAX: usize = 65536;
    let mut groups = vec![0; 64];
    loop {
        match option(socket, libc::SO_PEERGROUPS, &mut groups) {
            Ok(count) => {
                groups.truncate(count);
                return Ok(groups);
            }
            Err(error) if error.raw_os_error() == Some(libc::ERANGE) && groups.len() < COUNT_MAX => {
                groups.resize(COUNT_MAX, 0);
            }
            Err(error) => return Err(error),
        }
    }
}

/// A descriptor of the other end's process, as it was when it connected; `None` where the kernel has none.
pub(crate) fn process_handle(socket: BorrowedFd<'_>) -> Option<OwnedFd> {
    let mut values = [u32::MAX];
    option(socket, libc::SO_PEERPIDFD, &mut values).ok()?;
    let handle = values.first().and_then(|fd| i32::try_from(*fd).ok())?;
    // SAFETY: the kernel has just made this descriptor for us, and nothing else owns it.
    Some(unsafe { OwnedFd::from_raw_fd(handle) })
}

/// Reads a socket option that is a row of 32-bit integers; says how many there are.
fn option(socket: BorrowedFd<'_>, name: libc::c_int, values: &mut [u32]) -> io::Result<usize> {
    let mut len = libc::socklen_t::try_from(size_of_val(values)).unwrap_or(0);
    // SAFETY: the pointer is to `len` bytes of `values`, for which any bits are valid, and both live through the
    // call; the kernel writes no more than `len` says.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            name,
            values.as_mut_ptr().cast::<c_void>(),
            &raw mut len,
        )
    };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(len).unwrap_or(0) / size_of::<u32>())
}

/// Something that happened, as a descriptor that is readable from then on.
#[derive(Debug)]
pub(crate) struct Event {
    fd: OwnedFd,
}

impl Event {
    pub(crate) fn new() -> io::Result<Event> {
        Ok(Event { fd: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)? })
    }

    /// Makes it readable. One system call, so a signal handler may.
    pub(crate) fn set(&self) {
        // It fails only when the counter is full, and then it is readable.
        rustix::io::write(&self.fd, &1_u64.to_ne_bytes()).ok();
    }

    /// Makes it unreadable.
    pub(crate) fn clear(&self) {
        let mut counter = [0; 8];
        // It fails only when it is not readable.
        rustix::io::read(&self.fd, &mut counter).ok();
    }
}

impl AsFd for Event {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// One descriptor that is readable while one of several is.
#[derive(Debug)]
pub(crate) struct PollSet {
    fd: OwnedFd,
}

impl PollSet {
    pub(crate) fn new() -> io::Result<PollSet> {
        Ok(PollSet { fd: epoll::create(epoll::CreateFlags::CLOEXEC)? })
    }

    /// Adds a descriptor for when it is readable; it leaves by itself when its last copy is closed.
    pub(crate) fn add(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let events = epoll::EventFlags::IN | epoll::EventFlags::RDHUP;
        match epoll::add(&self.fd, fd, epoll::EventData::new_u64(0), events) {
            // It is there already, which is what is wanted.
            Err(Errno::EXIST) => Ok(()),
            outcome => Ok(outcome?),
        }
    }

    /// Takes a descriptor out again, also where a forked child has a copy of it.
    pub(crate) fn remove(&self, fd: BorrowedFd<'_>) {
        // It fails only where it is not there.
        epoll::delete(&self.fd, fd).ok();
    }

    /// Adds a descriptor for when it is writable.
    pub(crate) fn add_writable(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        Ok(epoll::add(&self.fd, fd, epoll::EventData::new_u64(0), epoll::EventFlags::OUT)?)
    }

    /// Looks at all the descriptors again, which this kernel does by itself.
    pub(crate) fn refresh(&self) {}
}

impl AsFd for PollSet {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Sockets of which it reports that one has hung up, once for each.
#[derive(Debug)]
pub(crate) struct HangupSet {
    fd: OwnedFd,
}

impl HangupSet {
    pub(crate) fn new() -> io::Result<HangupSet> {
        Ok(HangupSet { fd: epoll::create(epoll::CreateFlags::CLOEXEC)? })
    }

    /// Adds a socket, which leaves by itself when its last copy is closed.
    pub(crate) fn add(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        let events = epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
        Ok(epoll::add(&self.fd, socket, epoll::EventData::new_u64(0), events)?)
    }

    /// Whether one has hung up since this was last asked.
    pub(crate) fn take(&self) -> io::Result<bool> {
        let mut events = [MaybeUninit::uninit(); 16];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let (taken, _) = epoll::wait(&self.fd, &mut events, Some(&at_once))?;
        Ok(!taken.is_empty())
    }
}

/// A descriptor that is readable once a time has passed, and from then on.
#[derive(Debug)]
pub(crate) struct Timer {
    fd: OwnedFd,
}

impl Timer {
    pub(crate) fn new(time: Duration) -> io::Result<Timer> {
        let fd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        let timer = Timer { fd };
        timer.restart(Some(time))?;
        Ok(timer)
    }

    /// Makes it unreadable until this time has passed, or for ever.
    pub(crate) fn restart(&self, time: Option<Duration>) -> io::Result<()> {
        // Zero stops it.
        let it_value =
            Timespec::try_from(time.unwrap_or_default()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        timerfd_settime(&self.fd, TimerfdTimerFlags::empty(), &Itimerspec { it_interval, it_value })?;
        Ok(())
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Whether threads of different processes can sleep at a word of a memory that they share.
pub(crate) const HAS_FUTEX: bool = true;

/// Sleeps while `word` has this value, until a wake-up of that word, and at most this long; returns whether
/// the time is over.
pub(crate) fn futex_wait(word: &AtomicU32, value: u32, at_most: Duration) -> bool {
    let time = Timespec::try_from(at_most).ok();
    // Another value, a signal, and a word that the kernel can't reach: the caller looks at everything again.
    futex::wait(word, futex::Flags::empty(), value, time.as_ref()) == Err(Errno::TIMEDOUT)
}

/// Wakes all threads that sleep at `word`.
pub(crate) fn futex_wake(word: &AtomicU32) {
    // It fails for a word that the kernel can't reach, at which no thread sleeps.
    futex::wake(word, futex::Flags::empty(), i32::MAX.unsigned_abs()).ok();
}

/// The events to poll for to see a peer that closed while nothing is waited for.
pub(crate) const HANGUP: rustix::event::PollFlags = rustix::event::PollFlags::RDHUP;

/// Bytes that the other end of a stream socket has not read yet.
pub(crate) fn unread_bytes(socket: BorrowedFd<'_>) -> io::Result<usize> {
    let mut count: libc::c_int = 0;
    // SAFETY: the pointer is to one integer that lives through the call; the request fills just that.
    let outcome = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(count).unwrap_or(0))
}
