//! The kernel's anonymous pipes.
#![expect(unsafe_code, reason = "calls of the system")]

use super::{
    handle::{done, own_or_null},
    writing::{broken_as_closed, gathered},
};
use crate::error::context;
use std::{
    io::{self, IoSlice, PipeReader, PipeWriter, Write},
    ptr,
};
use windows_sys::Win32::System::Pipes::CreatePipe;

/// What pipe ends, files and child streams of the standard library consist of on this system.
pub(crate) use std::os::windows::io::OwnedHandle as Handle;

/// A page, in bytes.
const BUFFER_SIZE_MIN: u32 = 4096;

/// Creates a pipe that children do not inherit. If the kernel refuses the buffer size, a half, a quarter and so on are
/// tried.
pub(crate) fn create(buffer_size: u32) -> io::Result<(PipeReader, PipeWriter)> {
    // A buffer below a page is useless; 0 means the system's default.
    let mut size = if buffer_size == 0 { 0 } else { buffer_size.max(BUFFER_SIZE_MIN) };
    loop {
        match create_with(size) {
            Err(_) if size > 0 => size /= 2,
            outcome => return outcome.map_err(|error| context("creating an anonymous pipe", error)),
        }
    }
}

fn create_with(buffer_size: u32) -> io::Result<(PipeReader, PipeWriter)> {
    let (mut read, mut write) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: both are locals that the call writes; null means default attributes, with which children do not inherit.
    let answer = unsafe { CreatePipe(&mut read, &mut write, ptr::null(), buffer_size) };
    done(answer)?;
    // SAFETY: the call has just created the handle for this caller.
    let read = unsafe { own_or_null(read) };
    // SAFETY: the call has just created the handle for this caller.
    let write = unsafe { own_or_null(write) };
    Ok((PipeReader::from(read?), PipeWriter::from(write?)))
}

/// Writes to the pipe; without a reader the error is `NoData`.
pub(crate) fn write_vectored(mut pipe: &PipeWriter, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
    // The reader would see a write of length zero, and take it for the end.
    let bytes = gathered(bufs);
    if bytes.is_empty() {
        return Ok(0);
    }
    pipe.write(&bytes).map_err(broken_as_closed)
}

/// Only other systems prepare a writer of other code.
pub(crate) fn adopt(_pipe: &PipeWriter) {}
