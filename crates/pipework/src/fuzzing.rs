//! What `fuzz/` runs, with the properties that must hold for any bytes. Only there with `--cfg fuzzing`, and no part of the
//! public interface.

pub use crate::ring::fuzzing::{hostile_reader, hostile_writer};

use crate::{
    model::{
        dir_format::{EntryName, Header, directory_name},
        hello::{HELLO_LEN, Hello},
    },
    name::{PipeName, PipeNameKind},
};
use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

/// The longest name of a file that every file system has.
const FILE_NAME_MAX: usize = 255;

/// An address: what is accepted is printed as it was given, equals itself in capitals, and has one directory.
///
/// # Panics
/// If one of that is wrong, as in the functions below.
pub fn name(bytes: &[u8]) {
    let Ok(name) = PipeName::new(OsStr::from_bytes(bytes)) else { return };
    let printed = PipeName::new(&name);
    assert!(printed.as_ref().is_ok_and(|other| *other == name), "{name:?} is printed as {printed:?}");
    if let PipeNameKind::Local(local) = name.kind() {
        let directory = directory_name(name.folded(), FILE_NAME_MAX);
        assert!(directory.len() <= FILE_NAME_MAX && !directory.is_empty());
        assert!(!directory.contains(['/', '\0']) && !directory.starts_with('.'), "{directory:?}");
        let again = PipeName::from_local(local);
        assert!(
            again.as_ref().is_ok_and(|other| *other == name),
            "{name:?} has the name {local:?}: {again:?}"
        );
    }
}

/// A file name in the directory of a pipe, or a header: what is accepted is what this version writes.
///
/// # Panics
/// If something else is accepted.
pub fn directory_entry(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Some(entry) = EntryName::decode(text) {
        assert_eq!(entry.encode(), text);
    }
    if let Ok(header) = Header::decode(text) {
        assert_eq!(header.encode(), text);
    }
}

/// A hello: what is accepted is what this version sends.
///
/// # Panics
/// If something else is accepted.
pub fn hello(bytes: &[u8]) {
    let mut whole = [0; HELLO_LEN];
    for (place, byte) in whole.iter_mut().zip(bytes) {
        *place = *byte;
    }
    if let Ok(hello) = Hello::decode(&whole) {
        assert_eq!(hello.encode(), whole);
    }
}
