//! By which view of the file system a directory is seen.

use super::super::os::{self, FileSystem};
use crate::model::dir_format::View;
use std::{os::fd::BorrowedFd, path::Path, sync::OnceLock};

/// The view of a directory, whose device this is.
pub(in crate::sys::unix) fn of(dir: BorrowedFd<'_>, device: u64) -> View {
    static BOOT: OnceLock<Option<String>> = OnceLock::new();
    match os::file_system(dir) {
        FileSystem::Local => View::LOCAL,
        FileSystem::Overlay => View::OVERLAY,
        FileSystem::Other => {
            let boot = BOOT.get_or_init(os::boot);
            boot.as_ref().map_or(View::UNKNOWN, |boot| View::of_mount(boot, device))
        }
    }
}

/// Whether a socket in this directory that refuses is a dead process's, whoever bound it.
pub(in crate::sys::unix) fn proves_death(directory: &Path) -> bool {
    os::file_system_at(directory) != FileSystem::Other
}
