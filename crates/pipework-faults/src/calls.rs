//! The system calls that the library makes, and the errors that each may return in a real shortage.

use crate::plan::Fault;
use libc::c_long;
use nix::errno::Errno;

/// Number, name, and the errors that the kernel may return although the call is right. An error that would lie about the
/// state is not among them: EAGAIN of a socket that has data or room would lose an edge that the kernel never loses.
const CALLS: &[(c_long, &str, &[Errno])] = &[
    (libc::SYS_accept4, "accept4", &[EMFILE, ENFILE, ENOMEM, ENOBUFS, EINTR]),
    (libc::SYS_bind, "bind", &[ENOSPC, ENOMEM, EIO]),
    (libc::SYS_chmod, "chmod", &[EIO]),
    (libc::SYS_close, "close", &[]),
    (libc::SYS_connect, "connect", &[EINTR, ENOMEM, EAGAIN]),
    (libc::SYS_dup, "dup", &[EMFILE]),
    (libc::SYS_epoll_create1, "epoll_create1", &[EMFILE, ENFILE, ENOMEM]),
    (libc::SYS_epoll_ctl, "epoll_ctl", &[ENOMEM, ENOSPC]),
    (libc::SYS_epoll_wait, "epoll_wait", &[EINTR]),
    (libc::SYS_eventfd2, "eventfd2", &[EMFILE, ENFILE, ENOMEM]),
    (libc::SYS_fchmod, "fchmod", &[EIO]),
    (libc::SYS_fchmodat, "fchmodat", &[EIO]),
    (libc::SYS_fchown, "fchown", &[EIO]),
    (libc::SYS_fcntl, "fcntl", &[]),
    (libc::SYS_fdatasync, "fdatasync", &[EIO]),
    (libc::SYS_flock, "flock", &[EINTR, ENOLCK, ENOMEM]),
    // Of a file in memory they never fail: if they do, the peer sent something else, and is rightly blamed.
    (libc::SYS_fstat, "fstat", &[]),
    (libc::SYS_fstatfs, "fstatfs", &[]),
    (libc::SYS_fsync, "fsync", &[EIO]),
    (libc::SYS_ftruncate, "ftruncate", &[ENOMEM, ENOSPC, EINTR]),
    (libc::SYS_futex, "futex", &[EINTR, EAGAIN]),
    (libc::SYS_getdents64, "getdents64", &[ENOMEM, EIO]),
    (libc::SYS_getsockopt, "getsockopt", &[ENOMEM]),
    (libc::SYS_getrandom, "getrandom", &[EINTR]),
    (libc::SYS_inotify_add_watch, "inotify_add_watch", &[ENOSPC, ENOMEM]),
    (libc::SYS_inotify_init1, "inotify_init1", &[EMFILE, ENFILE, ENOMEM]),
    (libc::SYS_ioctl, "ioctl", &[]),
    (libc::SYS_link, "link", &[ENOSPC, EIO]),
    (libc::SYS_linkat, "linkat", &[ENOSPC, EIO]),
    (libc::SYS_listen, "listen", &[ENOMEM]),
    (libc::SYS_memfd_create, "memfd_create", &[EMFILE, ENFILE, ENOMEM]),
    (libc::SYS_mkdir, "mkdir", &[ENOSPC, ENOMEM, EIO]),
    (libc::SYS_mkdirat, "mkdirat", &[ENOSPC, ENOMEM, EIO]),
    // Of shared memory only; the allocator's own is not the library's to handle.
    (libc::SYS_mmap, "mmap", &[ENOMEM]),
    (libc::SYS_newfstatat, "newfstatat", &[EIO, ENOMEM]),
    (libc::SYS_openat, "openat", &[EMFILE, ENFILE, ENOMEM, EINTR, EIO]),
    (libc::SYS_pidfd_open, "pidfd_open", &[EMFILE, ENFILE, ENOMEM]),
    (libc::SYS_poll, "poll", &[EINTR, ENOMEM]),
    (libc::SYS_ppoll, "ppoll", &[EINTR, ENOMEM]),
    (libc::SYS_pread64, "pread64", &[EINTR, EIO, ENOMEM]),
    (libc::SYS_pwrite64, "pwrite64", &[EINTR, ENOSPC, EIO, ENOMEM]),
    (libc::SYS_read, "read", &[EINTR, EIO]),
    (libc::SYS_recvfrom, "recvfrom", &[EINTR, ENOMEM]),
    (libc::SYS_recvmsg, "recvmsg", &[EINTR, ENOMEM]),
    (libc::SYS_rename, "rename", &[ENOSPC, EIO, ENOMEM]),
    (libc::SYS_renameat, "renameat", &[ENOSPC, EIO, ENOMEM]),
    (libc::SYS_renameat2, "renameat2", &[ENOSPC, EIO, ENOMEM]),
    (libc::SYS_rmdir, "rmdir", &[EIO]),
    (libc::SYS_sendmsg, "sendmsg", &[ENOBUFS, ENOMEM, EINTR, ETOOMANYREFS]),
    (libc::SYS_sendto, "sendto", &[ENOBUFS, ENOMEM, EINTR]),
    (libc::SYS_setsockopt, "setsockopt", &[ENOMEM]),
    (libc::SYS_shutdown, "shutdown", &[]),
    (libc::SYS_socket, "socket", &[EMFILE, ENFILE, ENOMEM, ENOBUFS]),
    (libc::SYS_statx, "statx", &[EIO, ENOMEM]),
    (libc::SYS_symlinkat, "symlinkat", &[ENOSPC, EIO]),
    (libc::SYS_timerfd_create, "timerfd_create", &[EMFILE, ENFILE, ENOMEM]),
    (libc::SYS_timerfd_settime, "timerfd_settime", &[]),
    (libc::SYS_unlink, "unlink", &[EIO]),
    (libc::SYS_unlinkat, "unlinkat", &[EIO]),
    (libc::SYS_utimensat, "utimensat", &[EIO, EINTR]),
    (libc::SYS_write, "write", &[]),
];

use Errno::{EAGAIN, EINTR, EIO, EMFILE, ENFILE, ENOBUFS, ENOLCK, ENOMEM, ENOSPC, ETOOMANYREFS};

/// Calls that make a descriptor.
const MAKES_DESCRIPTOR: &[c_long] = &[
    libc::SYS_accept4,
    libc::SYS_dup,
    libc::SYS_epoll_create1,
    libc::SYS_eventfd2,
    libc::SYS_fcntl,
    libc::SYS_inotify_init1,
    libc::SYS_memfd_create,
    libc::SYS_openat,
    libc::SYS_pidfd_open,
    libc::SYS_recvmsg,
    libc::SYS_socket,
    libc::SYS_timerfd_create,
];

/// Calls that wait: a stop there is a stop of a process that waits.
const WAITS: &[c_long] = &[libc::SYS_poll, libc::SYS_ppoll, libc::SYS_futex, libc::SYS_epoll_wait];

/// A system call that a victim made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) number: c_long,
    /// Whether it maps memory of the process alone, as an allocator does.
    pub(crate) is_private_map: bool,
}

impl Call {
    pub(crate) fn name(self) -> String {
        let known = CALLS.iter().find(|(number, ..)| *number == self.number);
        known.map_or_else(|| format!("call {}", self.number), |(_, name, _)| (*name).to_owned())
    }

    /// The faults that are tried at it.
    pub(crate) fn faults(self) -> Vec<Fault> {
        let mut faults = vec![Fault::KillBefore, Fault::KillAfter];
        let known = CALLS.iter().find(|(number, ..)| *number == self.number);
        if !self.is_private_map {
            faults
                .extend(known.into_iter().flat_map(|(.., errors)| *errors).map(|errno| Fault::Fail(*errno)));
        }
        if MAKES_DESCRIPTOR.contains(&self.number) {
            faults.push(Fault::Starve);
        }
        if MAKES_DESCRIPTOR.contains(&self.number) || WAITS.contains(&self.number) {
            faults.push(Fault::Stop);
        }
        faults
    }
}
