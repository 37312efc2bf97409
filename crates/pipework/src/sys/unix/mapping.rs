#![expect(unsafe_code, reason = "maps the memory of a connection")]
//! Mapping shared memory.

use super::os;
use crate::ring::{self, Memory};
use rustix::mm::{MapFlags, ProtFlags};
use std::{ffi::c_void, io, os::fd::OwnedFd, ptr::NonNull};

/// A mapping that this process made; unmapped when it is dropped.
#[derive(Debug)]
struct Mapping {
    base: NonNull<c_void>,
    len: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread; this type only remembers where it is.
unsafe impl Send for Mapping {}
// SAFETY: as above; it has no method that takes `&self`.
unsafe impl Sync for Mapping {}

impl ring::Mapping for Mapping {
    fn release(&self, offset: usize, len: usize) {
        let page_len = rustix::param::page_size();
        // Whole pages only: the rest of the first and of the last may belong to something else.
        let (Some(start), Some(end)) = (offset.checked_next_multiple_of(page_len), offset.checked_add(len))
        else {
            return;
        };
        let end = end.min(self.len) / page_len * page_len;
        let Some(len) = end.checked_sub(start).filter(|len| *len > 0) else { return };
        // SAFETY: `start` lies before `end`, which lies in the mapping, so the sum is within it.
        let place = unsafe { self.base.byte_add(start) };
        // SAFETY: the place is on a page and `len` bytes of whole pages follow it in this mapping, which lives as long as
        // `self`. No reference into it exists, and the bytes may change at any time, as the peer may change them.
        unsafe { os::release_pages(place, len) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `base` and `len` are those of a mapping that we made and that nothing else unmaps;
        // `Memory`, the one user of its bytes, owns this value, so nothing reaches them afterwards.
        let outcome = unsafe { rustix::mm::munmap(self.base.as_ptr(), self.len) };
        debug_assert!(outcome.is_ok(), "a mapping of ours can be unmapped");
    }
}

/// Maps the first `len` bytes of a memory object, which must be at least that long, for reading and writing.
pub(crate) fn map(fd: &OwnedFd, len: usize) -> io::Result<Memory> {
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a null hint makes the kernel choose a free place, so no existing memory is touched.
    let base = unsafe { rustix::mm::mmap(std::ptr::null_mut(), len, access, MapFlags::SHARED, fd, 0)? };
    let Some(base) = NonNull::new(base) else {
        return Err(io::Error::other("the system mapped the memory at the null address"));
    };
    let mapping = Mapping { base, len };
    // SAFETY: a fresh mapping begins on a page, is readable and writable for `len` bytes, is unmapped only when
    // `mapping` is dropped, and no code in this process has a reference into it.
    Ok(unsafe { Memory::new(base.cast(), len, Box::new(mapping)) })
}
