//! Memory of two processes: sealed, so that neither can shrink it under the other.

use super::super::os;
use rustix::{
    fs::{
        FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, fcntl_get_seals, ftruncate,
        memfd_create,
    },
    io::Errno,
};
use std::{io, os::fd::OwnedFd};

/// `TMPFS_MAGIC` of `linux/magic.h`.
const TMPFS_MAGIC: u64 = 0x0102_1994;

/// No process can change the size, or these seals.
fn seals() -> SealFlags {
    SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL
}

/// A new memory object of `len` bytes, all zero; pages are taken when they are touched.
pub(in crate::sys::unix) fn create(len: usize) -> io::Result<OwnedFd> {
    os::check_file_size(len)?;
    let fd = match memfd_create(
        "pipework",
        MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | MemfdFlags::NOEXEC_SEAL,
    ) {
        // Kernels before 6.3 don't know the flag.
        Err(Errno::INVAL) => memfd_create("pipework", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?,
        outcome => outcome?,
    };
    ftruncate(&fd, len as u64)?;
    fcntl_add_seals(&fd, seals())?;
    Ok(fd)
}

/// Whether a memory object that a stranger sent is what we would have made.
pub(in crate::sys::unix) fn check(fd: &OwnedFd, len: usize) -> Result<(), &'static str> {
    let flags = rustix::fs::fcntl_getfl(fd).map_err(|_| "a memory whose flags can't be read")?;
    if !flags.contains(rustix::fs::OFlags::RDWR) {
        return Err("a memory that can't be written");
    }
    // First, since it never waits: a file of a foreign file system could make the others wait for ever.
    let found = fcntl_get_seals(fd).map_err(|_| "a memory without seals")?;
    if found.difference(SealFlags::from_bits_retain(F_SEAL_EXEC)) != seals() {
        return Err("a memory with other seals");
    }
    let system = rustix::fs::fstatfs(fd).map_err(|_| "a memory of no file system")?;
    #[allow(
        clippy::unnecessary_cast,
        clippy::cast_sign_loss,
        reason = "the type differs between architectures"
    )]
    if system.f_type as u64 != TMPFS_MAGIC {
        return Err("a memory of another file system");
    }
    let stat = rustix::fs::fstat(fd).map_err(|_| "a memory whose size can't be read")?;
    if u64::try_from(stat.st_size).ok() != u64::try_from(len).ok() {
        return Err("a memory of another size");
    }
    Ok(())
}

/// Puts bytes into a memory object at an offset at which it has room for them.
pub(in crate::sys::unix) fn write_at(fd: &OwnedFd, mut bytes: &[u8], mut offset: usize) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::pwrite(fd, bytes, offset as u64))?;
        (_, bytes) = bytes.split_at(written);
        offset += written;
    }
    Ok(())
}

/// Fills `buf` from an offset of a memory object that was checked to have so much.
pub(in crate::sys::unix) fn read_at(fd: &OwnedFd, buf: &mut [u8], offset: usize) -> io::Result<()> {
    let mut filled = 0;
    while let (_, rest) = buf.split_at_mut(filled)
        && !rest.is_empty()
    {
        match rustix::io::retry_on_intr(|| rustix::io::pread(fd, &mut *rest, (offset + filled) as u64))? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => filled += read,
        }
    }
    Ok(())
}

/// Gives the memory of an object back to the system: from then on it is zero, for every process that has it. The seals allow
/// it.
pub(in crate::sys::unix) fn release(fd: &OwnedFd, len: usize) {
    // Where it fails the memory stays until the last process has closed it.
    fallocate(fd, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 0, len as u64).ok();
}

/// Comes with `MFD_NOEXEC_SEAL` of its own accord, `linux/fcntl.h`.
const F_SEAL_EXEC: u32 = 0x20;
