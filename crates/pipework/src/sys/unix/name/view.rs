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

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs::File, os::fd::AsFd};

    #[test]
    fn death_is_proved_where_all_views_are_one() {
        let home = tempfile::tempdir().unwrap();
        for path in [home.path(), Path::new("/"), Path::new("/proc"), Path::new("/dev/shm")] {
            if let Ok(dir) = File::open(path) {
                let is_one = [View::LOCAL, View::OVERLAY].contains(&of(dir.as_fd(), 1));
                assert_eq!(proves_death(path), is_one, "{}", path.display());
            }
        }
        assert!(!proves_death(&home.path().join("absent")));
    }
}
