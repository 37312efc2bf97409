//! Listing the pipes of this machine.
#![expect(unsafe_code, reason = "calls of the system")]

use super::handle::{code, done, own_or_invalid, wide};
use crate::{
    error::{PipeErrorKind, fail_from},
    name::PipeName,
    options::PipeEntry,
};
use std::{
    io,
    os::windows::io::{AsRawHandle, OwnedHandle},
    ptr,
};
use windows_sys::Win32::{
    Foundation::{
        ERROR_BAD_DEV_TYPE, ERROR_INVALID_FUNCTION, ERROR_INVALID_PARAMETER, ERROR_NO_MORE_FILES,
        ERROR_NOT_SUPPORTED,
    },
    Storage::FileSystem::{
        CreateFileW, FILE_LIST_DIRECTORY, FILE_SHARE_DELETE, FILE_SHARE_READ, FILE_SHARE_WRITE,
        FileFullDirectoryInfo, GetFileInformationByHandleEx, OPEN_EXISTING, SYNCHRONIZE,
    },
};

/// The buffer of one call, in words of eight bytes, to which the entries are aligned.
const WORDS: usize = 8192;

/// Offsets of the fields of `FILE_FULL_DIR_INFO`, in bytes.
const NEXT: usize = 0;
const INSTANCES: usize = 40;
const MAX_INSTANCES: usize = 48;
const NAME_LEN: usize = 60;
const NAME: usize = 68;

/// Lists the pipes of this machine, of all users.
pub(crate) fn list() -> io::Result<Vec<PipeEntry>> {
    let directory = open().map_err(unsupported)?;
    let mut entries = Vec::new();
    let mut words = vec![0_u64; WORDS];
    loop {
        match next(&directory, &mut words) {
            Ok(()) => {}
            Err(error) if code(&error) == Some(ERROR_NO_MORE_FILES) => break,
            Err(error) => return Err(unsupported(error)),
        }
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let mut rest = &bytes[..];
        loop {
            entries.extend(entry(rest)?);
            match number(rest, NEXT).and_then(|next| usize::try_from(next).ok()) {
                Some(next) if next > 0 => rest = rest.get(next..).unwrap_or_default(),
                _ => break,
            }
        }
    }
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(entries)
}

/// Opens the directory whose files are the pipes.
fn open() -> io::Result<OwnedHandle> {
    let path = wide(r"\\.\pipe\");
    let access = FILE_LIST_DIRECTORY | SYNCHRONIZE;
    let share = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;
    // SAFETY: the path ends with a NUL; null means default attributes and no template.
    let handle =
        unsafe { CreateFileW(path.as_ptr(), access, share, ptr::null(), OPEN_EXISTING, 0, ptr::null_mut()) };
    // SAFETY: the call has just created the handle for this caller, or it is the value of a failure.
    unsafe { own_or_invalid(handle) }
}

/// Fills the words with the next entries.
fn next(directory: &OwnedHandle, words: &mut [u64]) -> io::Result<()> {
    let len = u32::try_from(size_of_val(words)).map_err(io::Error::other)?;
    let (handle, answer) = (directory.as_raw_handle(), words.as_mut_ptr().cast());
    // SAFETY: the buffer has the length that the call gets.
    done(unsafe { GetFileInformationByHandleEx(handle, FileFullDirectoryInfo, answer, len) })
}

/// Decodes one entry; `None` if its name is not a valid pipe name.
fn entry(bytes: &[u8]) -> io::Result<Option<PipeEntry>> {
    let malformed = || io::Error::other("the system's list of pipes is malformed");
    let len = number(bytes, NAME_LEN).and_then(|len| usize::try_from(len).ok()).ok_or_else(malformed)?;
    let name = bytes.get(NAME..).and_then(|rest| rest.get(..len)).ok_or_else(malformed)?;
    let units: Vec<u16> = name.as_chunks().0.iter().map(|unit| u16::from_ne_bytes(*unit)).collect();
    let Some(name) = String::from_utf16(&units).ok().and_then(|name| PipeName::from_local(&name).ok()) else {
        return Ok(None);
    };
    let location = super::location(&name)?;
    // -1 means unlimited here.
    let max_instances = number(bytes, MAX_INSTANCES).filter(|max| *max < 255).unwrap_or(255);
    Ok(Some(PipeEntry {
        name,
        instances: number(bytes, INSTANCES).ok_or_else(malformed)?,
        max_instances,
        mode: None,
        servers: Vec::new(),
        directions: None,
        listening: None,
        accept_remote: None,
        owner: None,
        location,
    }))
}

/// The 32-bit number at an offset; the lower half of a 64-bit field.
fn number(bytes: &[u8], offset: usize) -> Option<u32> {
    let bytes = bytes.get(offset..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

fn unsupported(error: io::Error) -> io::Error {
    match code(&error) {
        Some(ERROR_BAD_DEV_TYPE | ERROR_INVALID_FUNCTION | ERROR_INVALID_PARAMETER | ERROR_NOT_SUPPORTED) => {
            fail_from(PipeErrorKind::Unsupported, "this system can't list its pipes", error)
        }
        _ => error,
    }
}
