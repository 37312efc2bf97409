#![expect(unsafe_code, reason = "a handler of forks")]
//! What differs between kernels and is not part of the design: sockets' flags, credentials, events, readiness.

#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux;
#[cfg(any(target_os = "linux", target_os = "android"))]
use linux as kernel;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod bsd;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
use bsd as kernel;

pub(crate) use kernel::{
    Event, HANGUP, HAS_FUTEX, HangupSet, PATH_ONLY, PEEK_SHOWS_DESCRIPTORS, PollSet, RECEIVE_FLAGS,
    SEND_FLAGS, SPARED, Timer, accept, boot, credentials, futex_wait, futex_wake, groups,
    is_privileged_start, keep_from_children, new_socket, process_handle, processor, raise_no_signal,
    read_directory_once, release_pages, set_access_list, set_mode_after_bind, set_mode_before_bind,
    unread_bytes,
};

use crate::error::context;
use rustix::{
    io::Errno,
    process::{Resource, getrlimit},
};
use std::{
    io,
    os::fd::BorrowedFd,
    path::Path,
    ptr,
    sync::atomic::{AtomicPtr, AtomicU32, Ordering},
};

/// Whether a file system shows the same files, with the same inodes, by every path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileSystem {
    Local,
    /// Linux's overlayfs, which shows the files of others with inodes of its own.
    #[cfg_attr(not(any(target_os = "linux", target_os = "android")), expect(dead_code, reason = "of Linux"))]
    Overlay,
    /// One of the network, or of a program (FUSE), or one that is not known.
    Other,
}

/// The file system of a directory.
pub(crate) fn file_system(dir: BorrowedFd<'_>) -> FileSystem {
    rustix::fs::fstatfs(dir).map_or(FileSystem::Other, |file_system| kernel::kind_of(&file_system))
}

/// The file system at a path.
pub(crate) fn file_system_at(path: &Path) -> FileSystem {
    rustix::fs::statfs(path).map_or(FileSystem::Other, |file_system| kernel::kind_of(&file_system))
}

/// 64 random bits.
pub(crate) fn random() -> io::Result<u64> {
    getrandom::u64().map_err(|error| context("asking the system for random bits", io::Error::other(error)))
}

/// Whether this process may make a file, or a memory object, of so many bytes. The kernel would not only refuse a larger
/// one, but also raise a signal that ends the process (SIGXFSZ).
pub(crate) fn check_file_size(len: usize) -> io::Result<()> {
    match getrlimit(Resource::Fsize).current {
        Some(limit) if limit < len as u64 => {
            let text = format!(
                "{len} bytes are more than the file size limit of this process, {limit} bytes (RLIMIT_FSIZE, `ulimit -f`)"
            );
            Err(context(text, Errno::FBIG))
        }
        _ => Ok(()),
    }
}

/// A word that is zero at first, and zero again in each process that is forked from this one.
///
/// The kernel zeroes it, and so does a handler of the C library, which only its own `fork` calls: an emulator may take the
/// kernel's advice and ignore it. Nothing waits here, since a child may be forked while another thread makes the word.
pub(crate) fn word_zeroed_on_fork() -> &'static AtomicU32 {
    static PLAIN: AtomicU32 = AtomicU32::new(0);
    static WORD: AtomicPtr<AtomicU32> = AtomicPtr::new(ptr::null_mut());
    fn known() -> Option<&'static AtomicU32> {
        // SAFETY: it is null, or was made of a reference to an atomic that lives for ever.
        unsafe { WORD.load(Ordering::Acquire).as_ref() }
    }
    extern "C" fn zero() {
        if let Some(word) = known() {
            word.store(0, Ordering::Relaxed);
        }
    }
    if let Some(word) = known() {
        return word;
    }
    let word = kernel::word_wiped_on_fork().unwrap_or(&PLAIN);
    // SAFETY: the handler is a function of this library, without arguments, that only loads and stores static atomics: it may
    // run in a child whose parent has threads. It fails only without memory; then a child without the kernel's help takes
    // itself for its parent.
    unsafe { libc::pthread_atfork(None, None, Some(zero)) };
    let made = ptr::from_ref(word).cast_mut();
    // Another thread may have been quicker; then its word serves.
    WORD.compare_exchange(ptr::null_mut(), made, Ordering::AcqRel, Ordering::Acquire).ok();
    known().unwrap_or(word)
}
