//! Anonymous pipes of the kernel.
#![expect(unsafe_code, reason = "calls of the system")]

use super::{
    handle::{code, done, own_or_null, system_error},
    writing::gathered,
};
use crate::error::context;
use std::{
    io::{self, IoSlice, PipeReader, PipeWriter, Write},
    ptr,
};
use windows_sys::Win32::{
    Foundation::{ERROR_BROKEN_PIPE, ERROR_NO_DATA},
    System::Pipes::CreatePipe,
};

/// What the standard library's ends of pipes, files and children are made of on this system.
pub(crate) use std::os::windows::io::OwnedHandle as Handle;

/// A page, in bytes.
const BUFFER_SIZE_MIN: u32 = 4096;

/// Makes a pipe that no child inherits, with about the buffer that was asked for: where that is refused, with the largest
/// half, quarter and so on that is not.
pub(crate) fn create(buffer_size: u32) -> io::Result<(PipeReader, PipeWriter)> {
    // A smaller buffer than a page is of no use to anybody; nothing is the system's default.
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
    // SAFETY: both are locals that the call writes; null stands for default attributes, by which no child inherits.
    let answer = unsafe { CreatePipe(&mut read, &mut write, ptr::null(), buffer_size) };
    done(answer)?;
    // SAFETY: the handle was just made for this caller.
    let read = unsafe { own_or_null(read) };
    // SAFETY: the handle was just made for this caller.
    let write = unsafe { own_or_null(write) };
    Ok((PipeReader::from(read?), PipeWriter::from(write?)))
}

/// Writes to the pipe; without a reader that is `NoData`.
pub(crate) fn write_vectored(mut pipe: &PipeWriter, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
    // The system would let the reader see a write of nothing, which would look like the end.
    let bytes = gathered(bufs);
    if bytes.is_empty() {
        return Ok(0);
    }
    pipe.write(&bytes).map_err(|error| match code(&error) {
        // A write that waited hears of the end in the words of a read.
        Some(ERROR_BROKEN_PIPE) => system_error(ERROR_NO_DATA),
        _ => error,
    })
}

/// There is nothing to prepare here.
pub(crate) fn adopt(_pipe: &PipeWriter) {}
