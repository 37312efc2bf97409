//! Memory of two processes, where it can't be sealed.
//!
//! A peer that shrinks the memory ends this process with a signal (SIGBUS) when it next touches what is gone: these
//! systems can't forbid it. A hostile peer can therefore do more than on Linux. So a pipe here is for the
//! processes of one user only: they could end each other anyway.

use super::super::{mapping, os};
use rustix::{
    fs::{Mode, OFlags, ftruncate},
    io::Errno,
    shm,
};
use std::{io, os::fd::OwnedFd};

/// A new memory object of `len` bytes, all zero; pages are taken when they are touched.
pub(in crate::sys::unix) fn create(len: usize) -> io::Result<OwnedFd> {
    os::check_file_size(len)?;
    let flags = shm::OFlags::RDWR | shm::OFlags::CREATE | shm::OFlags::EXCL;
    loop {
        // The shortest limit of a system is 31 bytes.
        let name = format!("/pipework-{:016x}", os::random()?);
        let fd = match shm::open(name.as_str(), flags, Mode::RUSR | Mode::WUSR) {
            Ok(fd) => fd,
            Err(Errno::EXIST | Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        // Nobody but its ends shall find it. It fails only where somebody was quicker.
        shm::unlink(name.as_str()).ok();
        // Some systems let an object be sized just once.
        ftruncate(&fd, len as u64)?;
        return Ok(fd);
    }
}

/// Whether a memory object that a peer sent is what we would have made.
pub(in crate::sys::unix) fn check(fd: &OwnedFd, len: usize) -> Result<(), &'static str> {
    let flags = rustix::fs::fcntl_getfl(fd).map_err(|_| "a memory whose flags can't be read")?;
    if !flags.contains(OFlags::RDWR) {
        return Err("a memory that can't be written");
    }
    if !is_memory(fd) {
        return Err("a memory that is a file");
    }
    let stat = rustix::fs::fstat(fd).map_err(|_| "a memory whose size can't be read")?;
    let found = usize::try_from(stat.st_size).map_err(|_| "a memory of another size")?;
    // Apple systems round the size up to whole pages, and report the rounded size.
    let is_rounded = cfg!(target_vendor = "apple") && len.checked_next_multiple_of(page_len()) == Some(found);
    if found == len || is_rounded { Ok(()) } else { Err("a memory of another size") }
}

/// Puts bytes into a memory object at an offset at which it has room for them.
pub(in crate::sys::unix) fn write_at(fd: &OwnedFd, bytes: &[u8], offset: usize) -> io::Result<()> {
    if !bytes.is_empty() {
        mapping::map(fd, end(offset, bytes.len())?)?.copy_in(offset, bytes);
    }
    Ok(())
}

/// Fills `buf` from an offset of a memory object that was checked to have so much.
pub(in crate::sys::unix) fn read_at(fd: &OwnedFd, buf: &mut [u8], offset: usize) -> io::Result<()> {
    if !buf.is_empty() {
        mapping::map(fd, end(offset, buf.len())?)?.copy_out(offset, buf);
    }
    Ok(())
}

/// Gives the memory of an object back to the system, where a call does it: here it stays until the last process has closed
/// it.
pub(in crate::sys::unix) fn release(_: &OwnedFd, _: usize) {}

fn end(offset: usize, len: usize) -> io::Result<usize> {
    offset.checked_add(len).ok_or_else(|| Errno::OVERFLOW.into())
}

fn page_len() -> usize {
    rustix::param::page_size()
}

/// Whether it is an object of `shm_open`, as far as the system reports it.
#[cfg(target_os = "linux")]
fn is_memory(fd: &OwnedFd) -> bool {
    /// `TMPFS_MAGIC` of `linux/magic.h`.
    const TMPFS_MAGIC: u64 = 0x0102_1994;
    #[allow(
        clippy::unnecessary_cast,
        clippy::cast_sign_loss,
        reason = "the type differs between architectures"
    )]
    rustix::fs::fstatfs(fd).is_ok_and(|system| system.f_type as u64 == TMPFS_MAGIC)
}

/// Whether it is an object of `shm_open`: that lies in no file system.
#[cfg(any(target_vendor = "apple", target_os = "freebsd"))]
fn is_memory(fd: &OwnedFd) -> bool {
    rustix::fs::fstatfs(fd).is_err()
}

/// Whether it is an object of `shm_open`. These systems make it a file like any other.
#[cfg(not(any(target_os = "linux", target_vendor = "apple", target_os = "freebsd")))]
fn is_memory(_: &OwnedFd) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN: usize = 3 * 4096 + 1;

    #[test]
    fn what_is_made_is_what_is_accepted() {
        let memory = create(LEN).unwrap();
        assert_eq!(check(&memory, LEN), Ok(()));
        assert_eq!(check(&memory, 5 * LEN), Err("a memory of another size"));
        assert_eq!(check(&memory, 1), Err("a memory of another size"));
        let flags = rustix::io::fcntl_getfd(&memory).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC), "a child would inherit it");
    }

    #[test]
    fn what_is_something_else_is_refused() {
        let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(check(&socket.into(), LEN).is_err());
        let file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
        let len = usize::try_from(file.metadata().unwrap().len()).unwrap();
        assert_eq!(check(&file.into(), len), Err("a memory that can't be written"));
    }

    #[test]
    fn bytes_are_read_back_where_they_were_put() {
        let memory = create(LEN).unwrap();
        write_at(&memory, b"", 0).unwrap();
        write_at(&memory, b"front", 0).unwrap();
        write_at(&memory, b"over a page", 4090).unwrap();
        write_at(&memory, b"!", LEN - 1).unwrap();
        let mut all = vec![1; LEN];
        read_at(&memory, &mut all, 0).unwrap();
        let mut expected = vec![0; LEN];
        expected[..5].copy_from_slice(b"front");
        expected[4090..4101].copy_from_slice(b"over a page");
        expected[LEN - 1] = b'!';
        assert!(all == expected);
        let mut part = [0; 4];
        read_at(&memory, &mut part, 4095).unwrap();
        assert_eq!(&part, b"a pa");
        assert!(read_at(&memory, &mut part, usize::MAX).is_err());
    }
}
