//! The two directories: our own, with sockets, and smbd's, with links to them.
//!
//! What is ours in smbd's directory can so be told from everything else: it is a symbolic link into our directory. Nothing
//! else there is ever touched.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Read, Seek, Write},
    os::unix::{
        fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink},
        net::UnixListener,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::FlockOperation,
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType},
};
use tracing::{info, warn};

use super::Failure;

const LOCK: &str = "lock";
const SOCKET_SUFFIX: &str = ".sock";
/// smbd waits for us without a limit, so nobody may be turned away because of a short queue. The system may have a limit of
/// its own.
const BACKLOG: i32 = 4096;

/// Our own directory, locked: there is one gateway in it.
#[derive(Debug)]
pub(crate) struct RunDir {
    path: PathBuf,
    /// Locked as long as it is open.
    _lock: File,
    next: u64,
}

impl RunDir {
    /// Makes it if it is missing, takes its lock, and removes what a killed gateway has left.
    pub(crate) fn open(path: &Path) -> Result<RunDir, Failure> {
        let failed = |error| Failure::at(format_args!("using {}", path.display()), error);
        make(path, 0o700).map_err(failed)?;
        check_private(path)?;
        let mut lock = open_lock(path).map_err(failed)?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let who = read_process(&mut lock).unwrap_or_else(|| "unknown".into());
                let text = format!("another gateway runs already in {}: process {who}", path.display());
                return Err(Failure::new(text));
            }
            Err(error) => return Err(failed(error.into())),
        }
        lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id())).map_err(failed)?;
        let dir = RunDir { path: path.to_owned(), _lock: lock, next: 0 };
        dir.clean().map_err(failed)?;
        Ok(dir)
    }

    /// Makes a socket that listens, under a name that nothing here has.
    pub(crate) fn listen(&mut self) -> io::Result<(PathBuf, UnixListener)> {
        let path = self.path.join(format!("{}{SOCKET_SUFFIX}", self.next));
        self.next += 1;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        rustix::net::bind(&socket, &SocketAddrUnix::new(&path)?)?;
        rustix::net::listen(&socket, BACKLOG).inspect_err(|_| remove(&path))?;
        Ok((path, socket.into()))
    }

    /// Removes every socket.
    pub(crate) fn clean(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let is_ours = entry.file_name().to_str().is_some_and(|name| name.ends_with(SOCKET_SUFFIX));
            if is_ours && entry.file_type()?.is_socket() {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

/// The process of the gateway that runs in this directory, if one does.
pub(crate) fn running(run_dir: &Path) -> Option<String> {
    let mut lock = OpenOptions::new().read(true).open(run_dir.join(LOCK)).ok()?;
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockShared) {
        Err(Errno::WOULDBLOCK) => read_process(&mut lock),
        _ => None,
    }
}

/// The directory in which smbd looks.
#[derive(Debug)]
pub(crate) struct NpDir {
    path: PathBuf,
    /// Where our links lead.
    run_dir: PathBuf,
}

/// What became of an attempt to put a link into smbd's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Linked {
    Done,
    /// Something has that name there already, and it is not ours.
    Taken,
}

impl NpDir {
    /// Makes it as smbd does if it is missing, and removes links that a killed gateway has left.
    pub(crate) fn open(path: &Path, run_dir: &RunDir) -> Result<NpDir, Failure> {
        let dir = NpDir { path: path.to_owned(), run_dir: run_dir.path.clone() };
        dir.keep()?;
        dir.clean().map_err(|error| dir.failed(error))?;
        Ok(dir)
    }

    /// How long the path of a name here is, in bytes.
    pub(crate) fn path_len(&self, name: &str) -> usize {
        self.path.join(name).as_os_str().len()
    }

    /// Leads smbd to a socket, unless the name is taken.
    pub(crate) fn link(&self, name: &str, socket: &Path) -> io::Result<Linked> {
        let link = self.path.join(name);
        match symlink(socket, &link) {
            Ok(()) => Ok(Linked::Done),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let is_done = fs::read_link(&link).is_ok_and(|target| target == socket);
                Ok(if is_done { Linked::Done } else { Linked::Taken })
            }
            Err(error) => Err(error),
        }
    }

    /// Takes the link to a socket away, if it is there and leads there.
    pub(crate) fn unlink(&self, name: &str, socket: &Path) {
        let link = self.path.join(name);
        if fs::read_link(&link).is_ok_and(|target| target == socket) {
            remove(&link);
        }
    }

    /// Makes it where it is missing, also again after Samba was started anew; an error where it can't be trusted.
    pub(crate) fn keep(&self) -> Result<(), Failure> {
        if !self.path.exists() {
            // smbd's directory for local calls, which everybody may look into. Not what is above it: then there is no Samba.
            if let Some(parent) = self.path.parent().filter(|parent| !parent.exists()) {
                make(parent, 0o755).map_err(|error| self.failed(error))?;
            }
            make(&self.path, 0o700).map_err(|error| self.failed(error))?;
        }
        check_private(&self.path)
    }

    fn failed(&self, error: io::Error) -> Failure {
        Failure::at(format_args!("using {}, where smbd looks for pipes", self.path.display()), error)
    }

    /// Removes every link into our directory.
    pub(crate) fn clean(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            let is_ours = fs::read_link(&path)
                .is_ok_and(|target| target.parent() == Some(&self.run_dir) && is_socket_name(&target));
            if is_ours {
                info!(link = ?path, "removes what another gateway has left");
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }
}

fn is_socket_name(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.ends_with(SOCKET_SUFFIX))
}

fn open_lock(dir: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    // Not emptied before it is locked: it says who runs.
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed()).open(dir.join(LOCK))
}

fn read_process(lock: &mut File) -> Option<String> {
    let mut text = String::new();
    lock.rewind().ok()?;
    lock.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse::<u32>().ok().map(|process| process.to_string())
}

/// Makes a directory, if it is not there yet.
fn make(path: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        // The umask may have taken bits away.
        Ok(()) => fs::set_permissions(path, Permissions::from_mode(mode)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// A directory that only root can look into: smbd itself insists on it.
pub(crate) fn check_private(path: &Path) -> Result<(), Failure> {
    let wrong = |what: &str, mend: &str| {
        let path = path.display();
        Err(Failure::new(format!("{path} {what}: {mend} {path}")))
    };
    let stat = match fs::symlink_metadata(path) {
        Ok(stat) => stat,
        Err(error) => return Err(Failure::at(path.display(), error)),
    };
    if !stat.is_dir() {
        return wrong("is no directory", "look what it is, and remove it: rm");
    }
    if stat.uid() != 0 {
        return wrong("does not belong to root", "chown root");
    }
    if stat.mode() & 0o7777 != 0o700 {
        return wrong("has to be for root alone", "chmod 0700");
    }
    Ok(())
}

/// Removes a file of ours; one that is gone already is no matter, and another failure is one for the log.
pub(crate) fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => warn!(?path, %error, "can't remove"),
        _ => {}
    }
}
