//! The two directories: the gateway's own with its sockets, and smbd's with links to them.
//!
//! The gateway's files in smbd's directory are exactly the symbolic links into the gateway's directory. The gateway
//! touches no other file there.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Read, Seek, Write},
    os::unix::{
        fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink},
        net::UnixListener,
    },
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::FlockOperation,
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType},
};
use tracing::{info, warn};

use super::failure::Failure;

const LOCK: &str = "lock";
const SOCKET_SUFFIX: &str = ".sock";
/// How long `--check` of another process may hold the lock.
const LOCK_TIME: Duration = Duration::from_millis(500);
const LOCK_POLL_INTERVAL: Duration = Duration::from_millis(10);
/// smbd waits for the gateway without a timeout, so a full queue must not make it fail. The system may have a lower
/// limit.
const BACKLOG: i32 = 4096;

/// The gateway's directory. Its lock admits one gateway.
#[derive(Debug)]
pub(crate) struct RunDir {
    path: PathBuf,
    /// Locked while it is open.
    _lock: File,
    /// The number in the next socket's name.
    next: u64,
}

impl RunDir {
    /// Creates the directory if it is missing, locks it, and removes the sockets of a killed gateway.
    pub(crate) fn open(path: &Path) -> Result<RunDir, Failure> {
        let failed = |error| Failure::from_error(format_args!("using {}", path.display()), error);
        create_dir(path, 0o700).map_err(failed)?;
        check_root_only(path)?;
        // Links of a killed gateway are recognized by this path, however the directory was spelled.
        let path = &fs::canonicalize(path).map_err(failed)?;
        let mut lock = open_lock(path).map_err(failed)?;
        match lock_patiently(&lock) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let owner = read_process_id(&mut lock).unwrap_or_else(|| "unknown".into());
                let text =
                    format!("another gateway is already running in {}: process {owner}", path.display());
                return Err(Failure::new(text));
            }
            Err(error) => return Err(failed(error.into())),
        }
        lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id())).map_err(failed)?;
        let dir = RunDir { path: path.to_owned(), _lock: lock, next: 0 };
        dir.remove_sockets().map_err(failed)?;
        Ok(dir)
    }

    /// Creates a listening socket under an unused name.
    pub(crate) fn listen(&mut self) -> io::Result<(PathBuf, UnixListener)> {
        let path = self.path.join(format!("{}{SOCKET_SUFFIX}", self.next));
        self.next += 1;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        rustix::net::bind(&socket, &SocketAddrUnix::new(&path)?)?;
        rustix::net::listen(&socket, BACKLOG).inspect_err(|_| remove_file(&path))?;
        Ok((path, socket.into()))
    }

    /// Removes every socket.
    pub(crate) fn remove_sockets(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if is_socket_name(Path::new(&entry.file_name())) && entry.file_type()?.is_socket() {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

/// The process id of the gateway that runs in a directory, if one does.
pub(crate) fn find_running_gateway(run_dir: &Path) -> Option<String> {
    let mut lock = OpenOptions::new().read(true).open(run_dir.join(LOCK)).ok()?;
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockShared) {
        Err(Errno::WOULDBLOCK) => read_process_id(&mut lock),
        _ => None,
    }
}

/// The directory in which smbd looks for the sockets of pipes.
#[derive(Debug)]
pub(crate) struct NpDir {
    path: PathBuf,
    /// The directory into which the gateway's links point.
    run_dir: PathBuf,
}

/// The result of creating a link in smbd's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkOutcome {
    Linked,
    /// A file that is not the gateway's has this name.
    NameTaken,
}

impl NpDir {
    /// Creates the directory as smbd does if it is missing, and removes the links of a killed gateway.
    pub(crate) fn open(path: &Path, run_dir: &RunDir) -> Result<NpDir, Failure> {
        let dir = NpDir { path: path.to_owned(), run_dir: run_dir.path.clone() };
        dir.ensure_exists()?;
        dir.remove_stale_links().map_err(|error| dir.failure(error))?;
        Ok(dir)
    }

    /// The length in bytes of the path that a name has here.
    pub(crate) fn path_len(&self, name: &str) -> usize {
        self.path.join(name).as_os_str().len()
    }

    /// Creates the link by which smbd finds a socket, unless the name is taken.
    pub(crate) fn link(&self, name: &str, socket: &Path) -> io::Result<LinkOutcome> {
        let link = self.path.join(name);
        match symlink(socket, &link) {
            Ok(()) => Ok(LinkOutcome::Linked),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let is_linked = fs::read_link(&link).is_ok_and(|target| target == socket);
                Ok(if is_linked { LinkOutcome::Linked } else { LinkOutcome::NameTaken })
            }
            Err(error) => Err(error),
        }
    }

    /// Removes the link to a socket. A file that is not this link stays.
    pub(crate) fn unlink(&self, name: &str, socket: &Path) {
        let link = self.path.join(name);
        if fs::read_link(&link).is_ok_and(|target| target == socket) {
            remove_file(&link);
        }
    }

    /// Creates the directory if it is missing, which happens again when Samba restarts. Fails if others can access
    /// it.
    pub(crate) fn ensure_exists(&self) -> Result<(), Failure> {
        if !self.path.exists() {
            // The parent is smbd's directory for local RPC, which everyone may read. Its parent is never created:
            // without it Samba is not installed.
            if let Some(parent) = self.path.parent().filter(|parent| !parent.exists()) {
                create_dir(parent, 0o755).map_err(|error| self.failure(error))?;
            }
            create_dir(&self.path, 0o700).map_err(|error| self.failure(error))?;
        }
        check_root_only(&self.path)
    }

    fn failure(&self, error: io::Error) -> Failure {
        Failure::from_error(format_args!("using {}, where smbd looks for pipes", self.path.display()), error)
    }

    /// Removes every link into the gateway's directory.
    fn remove_stale_links(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            let is_own = fs::read_link(&path)
                .is_ok_and(|target| target.parent() == Some(&self.run_dir) && is_socket_name(&target));
            if is_own {
                info!(link = ?path, "removing a stale link of another gateway");
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }
}

/// Whether a gateway gave this name to a socket: a number and the suffix.
fn is_socket_name(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let number = name.and_then(|name| name.strip_suffix(SOCKET_SUFFIX));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Locks the file. A gateway that runs holds the lock for good, `--check` for a moment.
fn lock_patiently(lock: &File) -> Result<(), Errno> {
    let start = Instant::now();
    loop {
        match rustix::fs::flock(lock, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) if start.elapsed() < LOCK_TIME => thread::park_timeout(LOCK_POLL_INTERVAL),
            outcome => return outcome,
        }
    }
}

fn open_lock(dir: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    // Not truncated before it is locked: it contains the process id of the running gateway.
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed()).open(dir.join(LOCK))
}

fn read_process_id(lock: &mut File) -> Option<String> {
    let mut text = String::new();
    lock.rewind().ok()?;
    lock.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse::<u32>().ok().map(|process| process.to_string())
}

/// Creates a directory, unless it exists.
fn create_dir(path: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        // The umask may have cleared some bits.
        Ok(()) => fs::set_permissions(path, Permissions::from_mode(mode)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Checks that only root can access a directory. smbd checks the same before it uses its directory.
pub(crate) fn check_root_only(path: &Path) -> Result<(), Failure> {
    let wrong = |what: &str, fix: &str| {
        let path = path.display();
        Err(Failure::new(format!("{path} {what}: {fix} {path}")))
    };
    let stat = match fs::symlink_metadata(path) {
        Ok(stat) => stat,
        Err(error) => return Err(Failure::from_error(path.display(), error)),
    };
    if !stat.is_dir() {
        return wrong("is not a directory", "check what it is, then remove it: rm");
    }
    if stat.uid() != 0 {
        return wrong("is not owned by root", "chown root");
    }
    if stat.mode() & 0o7777 != 0o700 {
        return wrong("must be accessible to root only", "chmod 0700");
    }
    Ok(())
}

/// Removes one of the gateway's files. A missing file is no error; any other error is logged.
pub(crate) fn remove_file(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => warn!(?path, %error, "can't remove a file"),
        _ => {}
    }
}
