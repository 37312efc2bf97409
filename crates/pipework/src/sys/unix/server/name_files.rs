//! The files by which a pipe of this process is found: its directory, its header and the process's liveness socket.

use super::{
    super::name::{
        directory::{Directory, FileState},
        namespace::NameDir,
        permission::Permission,
    },
    listening_socket::bind_aside,
};
use crate::{
    error::PipeErrorKind,
    model::dir_format::{EntryName, Header},
};
use std::{
    io,
    os::fd::OwnedFd,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

/// The files by which a pipe of this process is found.
#[derive(Debug)]
pub(super) struct NameFiles {
    pub(super) name_dir: NameDir,
    pub(super) directory: Arc<Directory>,
    /// The proof of life of this process: bound, never listening.
    _liveness: OwnedFd,
    pub(super) leaf: EntryName,
    /// How often the name was restored.
    pub(super) restorations: u64,
    /// The state of the header's file in which the header was found to be ours: in that one it need not be read again.
    header_read: Mutex<Option<FileState>>,
}

impl NameFiles {
    /// Makes the liveness socket of this process, with one instance noted at it.
    pub(super) fn new(
        name_dir: NameDir,
        directory: Directory,
        header: &Header,
        permission: &Permission,
    ) -> io::Result<NameFiles> {
        let id = directory.new_id()?;
        let leaf = EntryName::Server { id, incarnation: header.incarnation, process: std::process::id() };
        let liveness = bind_aside(&directory, EntryName::Temporary(id), permission)?;
        let published = directory
            .note_count(EntryName::Temporary(id), 1)
            .and_then(|()| directory.check_count(EntryName::Temporary(id), 1))
            .and_then(|()| Ok(directory.publish(EntryName::Temporary(id), leaf)?));
        match published {
            Ok(()) => {
                let directory = Arc::new(directory);
                let header_read = Mutex::default();
                Ok(NameFiles { name_dir, directory, _liveness: liveness, leaf, restorations: 0, header_read })
            }
            Err(error) => {
                directory.unlink(&EntryName::Temporary(id).encode());
                Err(error)
            }
        }
    }

    /// Whether it is the pipe with this directory name, in one of these places.
    pub(super) fn is_at(&self, places: &[PathBuf], leaf: &str) -> bool {
        self.directory.path.file_name().is_some_and(|name| name == leaf)
            && places.contains(&self.name_dir.path)
    }

    /// Whether all of it is there, the header with its contents: another pipe may have put its own into the same place.
    /// What can't be seen is taken to be there.
    pub(super) fn is_there(&self) -> bool {
        self.has_directory_and_header() && self.directory.may_have(&self.leaf.encode())
    }

    /// The same without the liveness socket: noting a count at that fails where it is gone.
    pub(super) fn has_directory_and_header(&self) -> bool {
        self.name_dir.still_has(&self.directory) && self.has_header()
    }

    fn has_header(&self) -> bool {
        // Before it is read, so that what is written after that counts as another one.
        let state = self.directory.header_state();
        // It is replaced as a whole.
        let mut read = self.header_read.lock().unwrap_or_else(PoisonError::into_inner);
        if state.is_some() && *read == state {
            return true;
        }
        match self.directory.header() {
            Ok(Some(header)) => {
                let is_ours = matches!(self.leaf, EntryName::Server { incarnation, .. } if incarnation == header.incarnation);
                *read = state.filter(|_| is_ours);
                is_ours
            }
            Ok(None) => false,
            Err(error) => error != PipeErrorKind::Corrupt && error != PipeErrorKind::Unsupported,
        }
    }

    pub(super) fn note_count(&self, instances: u32) -> io::Result<()> {
        self.directory.note_count(self.leaf, instances)
    }

    /// Makes the pipe known to clients, once the server's liveness socket is there. The lock does not exclude a creator that
    /// sees the directory by another view. Of two such creators each publishes its socket before it looks, so one of them at
    /// least finds the other's; only one that finds none writes the header.
    pub(super) fn begin(&self, header: &Header, permission: &Permission) -> io::Result<()> {
        let directory = &self.directory;
        let outcome = match directory.has_unknown() {
            Ok(true) => Err(directory.of_another_view()),
            Ok(false) => directory.write_header(header, permission.is_for_others()),
            Err(error) => Err(error),
        };
        outcome.inspect_err(|_| directory.unlink(&self.leaf.encode()))
    }
}
