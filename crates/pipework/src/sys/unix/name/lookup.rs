//! Looking a name up: the directories that it has, where it lives or would, and what changes there.

use super::{directory::Directory, namespace};
use crate::{
    error::{PipeErrorKind, fail},
    model::dir_format,
    name::PipeName,
    sys::{
        WaitLimit,
        unix::{address, watch::Watch as DirectoryWatch},
    },
};
use std::{io, os::fd::BorrowedFd, path::PathBuf};

/// Waits until something about a name may have changed.
#[derive(Debug)]
pub(crate) struct Watch {
    directories: DirectoryWatch,
}

impl Watch {
    /// Begins to watch; the caller looks after this, not before.
    pub(crate) fn new(name: &PipeName) -> io::Result<Watch> {
        let mut watch = Some(DirectoryWatch::for_places());
        directories(name, &mut watch)?;
        Ok(Watch { directories: watch.unwrap_or_else(DirectoryWatch::for_places) })
    }

    /// Waits for a change, or a short time where the system reports none.
    pub(crate) fn wait(&self, limit: &WaitLimit) -> io::Result<()> {
        limit.check()?;
        self.directories.wait(limit).map(drop)
    }

    /// Readable after a change, where the system reports changes.
    pub(in crate::sys::unix) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.directories.fd()
    }
}

/// Where the pipe is, or would be made.
pub(crate) fn location(name: &PipeName) -> io::Result<PathBuf> {
    if let Some(directory) = directories(name, &mut None)?.into_iter().next() {
        return Ok(directory.path);
    }
    let name_dir = namespace::private_path()
        .ok_or_else(|| fail(PipeErrorKind::Absent, "there is no directory in which pipes could live"))?;
    Ok(name_dir.join(dir_format::directory_name(name.folded(), address::DIRECTORY_NAME_LEN_MAX)))
}

/// The directories of this name in all trusted roots, watched from before they are looked at.
pub(in crate::sys::unix) fn directories(
    name: &PipeName,
    watch: &mut Option<DirectoryWatch>,
) -> io::Result<Vec<Directory>> {
    let (name_dirs, places) = namespace::existing()?;
    if let Some(watch) = watch {
        // A root that does not exist yet shows in its parent.
        for place in places {
            if name_dirs.iter().any(|name_dir| name_dir.path == place) {
                watch.add(&place);
            } else if let Some(parent) = place.parent() {
                watch.add(parent);
            }
        }
    }
    let mut directories = Vec::new();
    for name_dir in name_dirs {
        if let Some(directory) = name_dir.directory(name.folded())? {
            if let Some(watch) = watch {
                watch.add(&directory.path);
            }
            directories.push(directory);
        }
    }
    Ok(directories)
}

pub(in crate::sys::unix) fn absent(name: &PipeName) -> io::Error {
    if let Some(path) = namespace::missing_named_directory() {
        let text =
            format!("there is no pipe {name}: PIPEWORK_DIR is `{}`, which does not exist", path.display());
        return fail(PipeErrorKind::Absent, text);
    }
    let places = namespace::existing().map(|(_, places)| places).unwrap_or_default();
    let places: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
    fail(PipeErrorKind::Absent, format!("there is no pipe {name} (looked in {})", places.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_whose_time_is_over_looks_no_more() {
        let watch = Watch::new(&PipeName::unique("watch").unwrap()).unwrap();
        let error = watch.wait(&WaitLimit::zero()).unwrap_err();
        assert!(error == PipeErrorKind::TimedOut, "{error}");
    }

    #[test]
    fn a_name_without_a_pipe_has_a_place() {
        let name = PipeName::unique("absent").unwrap();
        let leaf = dir_format::directory_name(name.folded(), address::DIRECTORY_NAME_LEN_MAX);
        assert_eq!(location(&name).unwrap(), namespace::private_path().unwrap().join(leaf));
        assert!(absent(&name) == PipeErrorKind::Absent);
    }
}
