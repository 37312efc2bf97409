//! A pipe's directory: its entries, its live servers, and the removal of our own dead files.

use super::{
    super::{address, os},
    lock::Lock,
    namespace::{self, NameDir, identity, refused},
    view,
};
use crate::{
    error::{PipeErrorKind, context, fail},
    model::dir_format::{
        self, EntryName, HEADER, HEADER_LEN_MAX, Header, Id, Incarnation, Unreadable, VERSION, View,
    },
};
use rustix::{
    fs::{AtFlags, Dir, Mode, OFlags, Stat, Timespec, Timestamps},
    io::Errno,
    net::SocketType,
};
use std::{
    ffi::CStr,
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    sync::OnceLock,
    time::{Duration, SystemTime},
};

/// A pipe's directory, opened and checked.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) path: PathBuf,
    pub(crate) fd: OwnedFd,
    pub(crate) owner: u32,
    /// Distinguishes two directories of one path.
    pub(crate) identity: (u64, u64),
    /// The view by which this process sees it: a property of the open file, which nothing changes.
    view: OnceLock<View>,
}

/// The mode of a pipe's directory.
fn mode_for(others: bool) -> Mode {
    Mode::from_bits_truncate(if others { 0o755 } else { 0o700 })
}

/// The number of instances that a server process noted at its liveness socket.
fn noted_count(stat: &Stat) -> Option<u32> {
    let nanoseconds = i64::try_from(stat.st_mtime_nsec).ok()?;
    let count = u32::try_from(nanoseconds / NANOSECONDS_OF_ONE).ok()?;
    (nanoseconds % NANOSECONDS_OF_ONE == 0).then_some(count)
}

/// The name of a pipe's directory.
pub(crate) fn name_of(folded: &str) -> String {
    dir_format::directory_name(folded, address::DIRECTORY_NAME_LEN_MAX)
}

/// The entries of a pipe's directory.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) servers: Vec<EntryName>,
    pub(crate) instances: Vec<EntryName>,
    /// Files of ours that are only means to an end.
    rest: Vec<EntryName>,
}

/// What is known of the process that bound a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Alive,
    /// Proved: it may be removed.
    Dead,
    /// It bound the socket by another view of the directory, by which alone the socket can be reached.
    Unknown,
    /// There is no such socket any more.
    Gone,
}

/// What a pipe's directory holds after the dead were removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// A live server.
    Served,
    /// Something of another view or version.
    Unknown,
    /// Nothing of ours.
    Nothing,
}

/// A server process of a pipe.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Server {
    pub(crate) process: u32,
    /// How many instances it has; `None` where something has changed the time that says it.
    pub(crate) instances: Option<u32>,
}

/// Which file it is, and in which state: each change of it gives another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileState {
    identity: (u64, u64),
    len: u64,
    changed: (i64, i64),
}

/// The part of a file's time that stands for one instance: a microsecond, since not every file system keeps less.
const NANOSECONDS_OF_ONE: i64 = 1_000;
/// The most that fit into a second, and more than a process may have descriptors.
const COUNT_MAX: u32 = 999_999;

impl NameDir {
    /// The directory of a pipe, if there is one.
    pub(crate) fn directory(&self, folded: &str) -> io::Result<Option<Directory>> {
        let leaf = name_of(folded);
        self.open_directory(&leaf)
    }

    /// The directory of this name in the file system, if there is one.
    pub(crate) fn open_directory(&self, leaf: &str) -> io::Result<Option<Directory>> {
        let path = self.path.join(leaf);
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
        let fd = match rustix::fs::openat(&self.dir, leaf, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::NOTDIR | Errno::LOOP) => {
                let text =
                    format!("{} is not the directory of a pipe; move it out of the way", path.display());
                return Err(fail(PipeErrorKind::AccessDenied, text));
            }
            Err(error) => return Err(refused(&path, error)),
        };
        let stat = rustix::fs::fstat(&fd)?;
        if namespace::others_may_write(&stat) {
            let text = format!("{} can't be trusted: others may write into it", path.display());
            return Err(fail(PipeErrorKind::AccessDenied, text));
        }
        let (owner, identity) = (stat.st_uid, identity(&stat));
        Ok(Some(Directory { path, fd, owner, identity, view: OnceLock::new() }))
    }

    /// The directory of a pipe to be created, made if that is ours to do.
    pub(crate) fn make_directory(&self, folded: &str, for_others: bool) -> io::Result<Directory> {
        let leaf = name_of(folded);
        if self.is_mine {
            let mode = mode_for(for_others);
            match rustix::fs::mkdirat(&self.dir, leaf.as_str(), mode) {
                Ok(()) => {
                    // The umask may have taken bits away.
                    rustix::fs::chmodat(&self.dir, leaf.as_str(), mode, AtFlags::empty())?;
                }
                Err(Errno::EXIST) => {}
                Err(error) => return Err(refused(&self.path.join(leaf), error)),
            }
        }
        let user = namespace::my_user();
        let path = self.path.join(&leaf);
        match self.open_directory(&leaf)? {
            Some(directory) if directory.owner == user => Ok(directory),
            Some(directory) => {
                let text = format!("{} belongs to user {}", path.display(), directory.owner);
                Err(fail(PipeErrorKind::AccessDenied, text))
            }
            None => {
                let path = path.display();
                let text = format!(
                    "{path} is where this pipe would live; root has to give it to user {user}: \
                     install -d -m 0755 -o {user} '{path}'"
                );
                Err(fail(PipeErrorKind::AccessDenied, text))
            }
        }
    }

    /// Gives a directory in which no pipe lives its mode: one that was left may have that of another pipe.
    pub(crate) fn set_mode(&self, directory: &Directory, for_others: bool) -> io::Result<()> {
        let (mode, now) = (mode_for(for_others), namespace::mode_of(&rustix::fs::fstat(&directory.fd)?));
        if !self.is_mine || now == mode {
            return Ok(());
        }
        let path = directory.path.display();
        if for_others && !directory.is_empty()? {
            let text = format!(
                "{path} is not open to other users, and has files of another program: move these, or chmod 0755 {path}"
            );
            return Err(fail(PipeErrorKind::AccessDenied, text));
        }
        Ok(rustix::fs::fchmod(&directory.fd, mode)?)
    }

    /// Whether this directory is still in its place. Seen from the descriptor, since the process may have changed its root.
    pub(crate) fn still_has(&self, directory: &Directory) -> bool {
        let Some(leaf) = directory.path.file_name() else { return true };
        match rustix::fs::statat(&self.dir, leaf, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => identity(&stat) == directory.identity,
            Err(error) => error != Errno::NOENT,
        }
    }

    /// Removes what dead processes left of a pipe, and all of it if no process serves it, unless a creator is
    /// at work: then that one, or the next, does.
    pub(crate) fn sweep(&self, directory: &Directory) {
        if directory.owner != namespace::my_user() {
            return;
        }
        if let Ok(mut lock) = self.lock_for(directory)
            && matches!(lock.try_take(), Ok(true))
            && matches!(directory.remove_dead(), Ok(Rest::Nothing))
        {
            self.remove_directory(directory);
        }
    }

    /// The lock under which a pipe is made and what is dead removed: of the whole root, or of the one directory that is ours.
    pub(crate) fn lock_for(&self, directory: &Directory) -> io::Result<Lock> {
        if self.is_mine {
            Lock::open(&self.dir, &self.path)
        } else {
            Lock::open(&directory.fd, &directory.path)
        }
    }

    /// Whether an empty directory here can be one that root is about to give to another user: root makes it, and then
    /// changes its owner. Nobody takes an hour between the two.
    pub(crate) fn may_be_a_gift(&self, directory: &Directory) -> bool {
        const LONG: Duration = Duration::from_secs(60 * 60);
        let is_old = || {
            let changed = File::from(directory.fd.try_clone().ok()?).metadata().ok()?.modified().ok()?;
            changed.elapsed().ok().map(|age| age > LONG)
        };
        namespace::my_user() == 0 && self.is_open && is_old() != Some(true)
    }

    /// Removes the directory of a pipe if it is empty and ours to remove.
    fn remove_directory(&self, directory: &Directory) {
        if self.is_mine
            && let Some(leaf) = directory.path.file_name()
        {
            // It fails where a foreign file lies in it, which is right.
            rustix::fs::unlinkat(&self.dir, leaf, AtFlags::REMOVEDIR).ok();
        }
    }
}

impl Directory {
    pub(crate) fn try_clone(&self) -> io::Result<Directory> {
        let (path, fd) = (self.path.clone(), self.fd.try_clone()?);
        Ok(Directory { path, fd, owner: self.owner, identity: self.identity, view: self.view.clone() })
    }

    /// Whether there is such an entry, as far as this process can see.
    pub(crate) fn may_have(&self, leaf: &str) -> bool {
        !matches!(rustix::fs::statat(&self.fd, leaf, AtFlags::SYMLINK_NOFOLLOW), Err(Errno::NOENT))
    }

    /// The header; `None` where no pipe was made.
    pub(crate) fn header(&self) -> io::Result<Option<Header>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut text = Vec::with_capacity(512);
        match rustix::fs::openat(&self.fd, HEADER, flags, Mode::empty()).map(File::from) {
            Ok(file) => {
                let metadata = file.metadata()?;
                // It came into its place whole, so there is no more of it. What is no file is no header, as an empty one is.
                let len = if metadata.is_file() { metadata.len().min(HEADER_LEN_MAX as u64) } else { 0 };
                file.take(len).read_to_end(&mut text)?;
            }
            Err(Errno::LOOP) => {}
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(refused(&self.path, error)),
        }
        let header = std::str::from_utf8(&text).map_err(|_| Unreadable::Malformed).and_then(Header::decode);
        let path = self.path.display();
        header.map(Some).map_err(|unreadable| match unreadable {
            Unreadable::Malformed => fail(
                PipeErrorKind::Corrupt,
                format!("{path}/{HEADER} is not the header of a pipe; remove it if it is not needed"),
            ),
            Unreadable::Version(version) => fail(
                PipeErrorKind::Unsupported,
                format!(
                    "{path} is a pipe of version {version}, and this program speaks version {VERSION}; update the \
                     older, or remove the directory if no server of it runs"
                ),
            ),
        })
    }

    /// The state of the header's file, if that is there to be seen.
    pub(crate) fn header_state(&self) -> Option<FileState> {
        let stat = rustix::fs::statat(&self.fd, HEADER, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        #[allow(
            clippy::unnecessary_cast,
            clippy::cast_sign_loss,
            clippy::cast_possible_wrap,
            reason = "the types differ between systems"
        )]
        let (len, changed) = (stat.st_size as u64, (stat.st_ctime as i64, stat.st_ctime_nsec as i64));
        Some(FileState { identity: identity(&stat), len, changed })
    }

    /// Writes the header aside and puts it into place; under the lock.
    pub(crate) fn write_header(&self, header: &Header, for_others: bool) -> io::Result<()> {
        let temporary = EntryName::Temporary(self.new_id()?).encode();
        let mode = Mode::from_bits_truncate(if for_others { 0o644 } else { 0o600 }) | os::SPARED;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let making = || format!("making the pipe in {}", self.path.display());
        let header = header.encode();
        os::check_file_size(header.len()).map_err(|error| context(making(), error))?;
        let file = rustix::fs::openat(&self.fd, temporary.as_str(), flags, mode)
            .map_err(|error| context(making(), error))?;
        let written = rustix::fs::fchmod(&file, mode)
            .map_err(io::Error::from)
            .and_then(|()| File::from(file).write_all(header.as_bytes()))
            .and_then(|()| Ok(rustix::fs::renameat(&self.fd, temporary.as_str(), &self.fd, HEADER)?));
        written.map_err(|error| {
            self.unlink(&temporary);
            context(making(), error)
        })
    }

    /// The current entries.
    pub(crate) fn listing(&self) -> io::Result<Listing> {
        let read = |each: &mut dyn FnMut(&CStr)| {
            Dir::read_from(&self.fd)?.try_for_each(|entry| entry.map(|entry| each(entry.file_name())))
        };
        self.listing_by(read)
    }

    /// The same, read by the descriptor of this directory itself: once, and before anything shares that.
    pub(crate) fn first_listing(&mut self) -> io::Result<Listing> {
        self.listing_by(|each| os::read_directory_once(self.fd.as_fd(), each))
    }

    fn listing_by(
        &self,
        read: impl FnOnce(&mut dyn FnMut(&CStr)) -> rustix::io::Result<()>,
    ) -> io::Result<Listing> {
        let mut listing = Listing::default();
        let outcome = read(&mut |name| match name.to_str().ok().and_then(EntryName::decode) {
            Some(leaf @ EntryName::Server { .. }) => listing.servers.push(leaf),
            Some(leaf @ EntryName::Instance { .. }) => listing.instances.push(leaf),
            Some(leaf) => listing.rest.push(leaf),
            None => {}
        });
        match outcome {
            // Removed meanwhile: nothing more is there.
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(refused(&self.path, error)),
        }
        listing.instances.sort_unstable_by_key(|leaf| leaf.id());
        Ok(listing)
    }

    /// Whether nothing was ever made in it, or everything was taken away.
    pub(crate) fn is_empty(&self) -> io::Result<bool> {
        for entry in Dir::read_from(&self.fd)? {
            match entry {
                Ok(entry) if matches!(entry.file_name().to_bytes(), b"." | b"..") => {}
                Ok(_) => return Ok(false),
                Err(Errno::NOENT) => break,
                Err(error) => return Err(refused(&self.path, error)),
            }
        }
        Ok(true)
    }

    /// The server processes of this incarnation that live.
    pub(crate) fn servers(&self, listing: &Listing, of: Incarnation) -> io::Result<Vec<Server>> {
        let mut servers = Vec::new();
        for leaf in &listing.servers {
            if let EntryName::Server { incarnation, process, .. } = *leaf
                && incarnation == of
                && self.is_alive(*leaf)?
                && let Ok(stat) = rustix::fs::statat(&self.fd, leaf.encode(), AtFlags::SYMLINK_NOFOLLOW)
            {
                servers.push(Server { process, instances: noted_count(&stat) });
            }
        }
        Ok(servers)
    }

    /// Whether one server of this incarnation lives. An error where that can't be seen.
    pub(crate) fn is_served(&self, listing: &Listing, of: Incarnation) -> io::Result<bool> {
        let mut is_unknown = false;
        for leaf in &listing.servers {
            if matches!(leaf, EntryName::Server { incarnation, .. } if *incarnation == of) {
                match self.life(*leaf)? {
                    Life::Alive => return Ok(true),
                    Life::Unknown => is_unknown = true,
                    Life::Dead | Life::Gone => {}
                }
            }
        }
        if is_unknown { Err(self.of_another_view()) } else { Ok(false) }
    }

    /// Whether a process serves another incarnation.
    pub(crate) fn is_served_by_others(&self, than: Incarnation) -> io::Result<bool> {
        for leaf in self.listing()?.servers {
            if !matches!(leaf, EntryName::Server { incarnation, .. } if incarnation == than)
                && self.is_alive(leaf)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The view by which this process sees the directory.
    fn view(&self) -> View {
        let (device, _) = self.identity;
        *self.view.get_or_init(|| view::of(self.fd.as_fd(), device))
    }

    pub(crate) fn of_another_view(&self) -> io::Error {
        let path = self.path.display();
        let text = format!(
            "{path} has sockets that were made by another view of this directory (over NFS, FUSE or an overlay, or \
             below one): from here it can't be seen whether their server lives; use the path that the server uses, or \
             remove {path} if no server of it runs"
        );
        fail(PipeErrorKind::Unsupported, text)
    }

    /// Notes how many instances a server process has, in the time of its liveness socket's last change: one system
    /// call that needs no lock, and that a reader of the directory sees whole.
    ///
    /// The count is the microseconds of that time. The seconds are those of now, since a cleaner removes files that look
    /// old. Both times are set, because file systems in user space keep none that is set alone.
    pub(crate) fn note_count(&self, server: EntryName, instances: u32) -> io::Result<()> {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let time = Timespec {
            tv_sec: i64::try_from(now.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(instances.min(COUNT_MAX)) * NANOSECONDS_OF_ONE,
        };
        let times = Timestamps { last_access: time, last_modification: time };
        Ok(rustix::fs::utimensat(&self.fd, server.encode(), &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Reads back what was noted; an error where the file system has not kept it.
    pub(crate) fn check_count(&self, server: EntryName, instances: u32) -> io::Result<()> {
        let stat = rustix::fs::statat(&self.fd, server.encode(), AtFlags::SYMLINK_NOFOLLOW)?;
        if noted_count(&stat) == Some(instances) {
            return Ok(());
        }
        let text = format!(
            "the file system of {} keeps no file times, in which the instances of a pipe are counted: set \
             PIPEWORK_DIR to a directory on another one",
            self.path.display()
        );
        Err(fail(PipeErrorKind::Unsupported, text))
    }

    /// The number of instances of all these servers.
    pub(crate) fn instances(&self, servers: &[Server]) -> io::Result<u32> {
        servers.iter().map(|server| server.instances).sum::<Option<u32>>().ok_or_else(|| {
            let text = format!(
                "the number of instances of {} can't be read: something has changed the time of its socket",
                self.path.display()
            );
            fail(PipeErrorKind::Corrupt, text)
        })
    }

    /// Whether the process that bound a socket is known to live; takes no place of it.
    pub(crate) fn is_alive(&self, leaf: EntryName) -> io::Result<bool> {
        Ok(self.life(leaf)? == Life::Alive)
    }

    /// A datagram socket can't connect to a stream socket, and the kernel says so only after it found a live one.
    fn life(&self, leaf: EntryName) -> io::Result<Life> {
        let probe = os::new_socket(SocketType::DGRAM)?;
        match self.connect(&probe, leaf)? {
            Err(Errno::PROTOTYPE) => Ok(Life::Alive),
            Err(Errno::CONNREFUSED | Errno::NOTSOCK) => {
                let is_proved = self.view().proves_death_by(leaf.id().view());
                Ok(if is_proved { Life::Dead } else { Life::Unknown })
            }
            Err(Errno::NOENT) => Ok(Life::Gone),
            // Connected: no socket of ours. Or not for us to know: then it is not for us to remove either.
            Ok(()) | Err(Errno::ACCESS | Errno::PERM) => Ok(Life::Alive),
            Err(error) => Err(context(format!("looking at {}", self.path.display()), error)),
        }
    }

    /// Removes what is proved dead; says what remains. Under the lock.
    pub(crate) fn remove_dead(&self) -> io::Result<Rest> {
        let listing = self.listing()?;
        let mut remains = Rest::Nothing;
        let (claims, rest): (Vec<EntryName>, Vec<EntryName>) =
            listing.rest.iter().partition(|leaf| matches!(leaf, EntryName::Claim(_)));
        for leaf in listing.servers.iter().chain(&listing.instances).chain(&rest) {
            match self.life(*leaf)? {
                Life::Dead => {
                    self.unlink(&leaf.encode());
                    self.unlink_claim(*leaf);
                }
                Life::Alive if matches!(leaf, EntryName::Server { .. }) => remains = Rest::Served,
                Life::Unknown if remains == Rest::Nothing => remains = Rest::Unknown,
                Life::Alive | Life::Unknown | Life::Gone => {}
            }
        }
        if remains == Rest::Nothing {
            if !self.remove_header()? {
                return Ok(Rest::Unknown);
            }
            // They are no sockets, so one can't ask whether they live: they do while a server may have use for them.
            claims.iter().for_each(|claim| self.unlink(&claim.encode()));
        }
        Ok(remains)
    }

    /// Removes the header of a pipe without servers; says whether nothing of one is left. The lock does not exclude a server
    /// with another view, which is there before its header is: so the header is taken away before the last look.
    fn remove_header(&self) -> io::Result<bool> {
        // Only what is seen to be ours: the files of another version have names that this one does not know, and a
        // foreign file may have this name.
        if self.header()?.is_none() {
            return Ok(true);
        }
        let aside = EntryName::Temporary(self.new_id()?).encode();
        match rustix::fs::renameat(&self.fd, HEADER, &self.fd, &aside) {
            Ok(()) => {}
            Err(Errno::NOENT) => return Ok(true),
            Err(error) => return Err(refused(&self.path, error)),
        }
        let is_unserved = self.listing().map(|listing| listing.servers.is_empty());
        if !matches!(is_unserved, Ok(true)) {
            self.put_header_back(&aside)?;
        }
        self.unlink(&aside);
        is_unserved
    }

    /// Puts a header that was taken aside back, unless a server has written a newer one meanwhile, which a link does not
    /// replace.
    fn put_header_back(&self, aside: &str) -> io::Result<()> {
        match rustix::fs::linkat(&self.fd, aside, &self.fd, HEADER, AtFlags::empty()) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            // A file system without links.
            Err(_) => Ok(rustix::fs::renameat(&self.fd, aside, &self.fd, HEADER)?),
        }
    }

    /// Whether a process that can't be seen from here made a file here.
    pub(crate) fn has_unknown(&self) -> io::Result<bool> {
        let Listing { servers, instances, rest } = self.listing()?;
        let view = self.view();
        for leaf in servers.iter().chain(&instances).chain(&rest) {
            if !view.proves_death_by(leaf.id().view()) && self.life(*leaf)? == Life::Unknown {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Connects a socket to one here, whatever the length of the directory's path.
    pub(crate) fn connect(&self, socket: &OwnedFd, leaf: EntryName) -> io::Result<rustix::io::Result<()>> {
        let connect = |address: &_| rustix::net::connect(socket, address);
        address::with_address(&self.fd, &self.path, &leaf.encode(), connect)
    }

    /// Binds a socket here.
    pub(crate) fn bind(&self, socket: &OwnedFd, leaf: EntryName) -> io::Result<rustix::io::Result<()>> {
        let bind = |address: &_| rustix::net::bind(socket, address);
        address::with_address(&self.fd, &self.path, &leaf.encode(), bind)
    }

    /// An identifier that was never used before, for a file here.
    pub(crate) fn new_id(&self) -> io::Result<Id> {
        let time = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_micros();
        Ok(Id::new(u64::try_from(time).unwrap_or(0), os::random()?, self.view()))
    }

    /// Removes a name that is known to be ours.
    pub(crate) fn unlink(&self, leaf: &str) {
        // It fails where another process removed it first, which is right.
        rustix::fs::unlinkat(&self.fd, leaf, AtFlags::empty()).ok();
    }

    /// Removes the file for the claims of an instance, where there is one.
    pub(crate) fn unlink_claim(&self, instance: EntryName) {
        if address::HAS_CLAIM_FILES {
            self.unlink(&EntryName::Claim(instance.id()).encode());
        }
    }

    /// Gives a file its final name.
    pub(crate) fn publish(&self, from: EntryName, to: EntryName) -> rustix::io::Result<()> {
        rustix::fs::renameat(&self.fd, from.encode(), &self.fd, to.encode())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::FdFlags;
    use std::{fs, os::unix::fs::symlink};
    use tempfile::TempDir;

    fn ours() -> Incarnation {
        Incarnation::new(1)
    }

    fn theirs() -> Incarnation {
        Incarnation::new(2)
    }

    fn name_dir() -> (TempDir, NameDir) {
        let home = tempfile::tempdir().unwrap();
        let dir = File::open(home.path()).unwrap().into();
        let name_dir = NameDir { path: home.path().to_owned(), dir, is_mine: true, is_open: false };
        (home, name_dir)
    }

    fn directory() -> (TempDir, NameDir, Directory) {
        let (home, name_dir) = name_dir();
        let directory = name_dir.make_directory("ECHO", false).unwrap();
        (home, name_dir, directory)
    }

    fn header() -> Header {
        Header {
            incarnation: ours(),
            messages: false,
            inbound: true,
            outbound: true,
            max_instances: 255,
            default_timeout_ms: 50,
            access: "owner".into(),
            accept_remote: false,
            name: "echo".into(),
        }
    }

    fn server(id: Id, incarnation: Incarnation) -> EntryName {
        EntryName::Server { id, incarnation, process: 7 }
    }

    fn instance(id: Id, incarnation: Incarnation) -> EntryName {
        EntryName::Instance { id, incarnation, inbound: 1, outbound: 2, taking: dir_format::Taking::One }
    }

    impl Directory {
        /// A socket of this kind: it lives until it is dropped.
        fn live(&self, leaf: EntryName) -> OwnedFd {
            let socket = os::new_socket(SocketType::STREAM).unwrap();
            self.bind(&socket, leaf).unwrap().unwrap();
            socket
        }

        /// An identifier of a file that another view of the directory made.
        fn foreign_id(&self) -> Id {
            Id::new(1, os::random().unwrap(), View::UNKNOWN)
        }

        fn has(&self, leaf: EntryName) -> bool {
            self.path.join(leaf.encode()).symlink_metadata().is_ok()
        }

        fn mode(&self) -> u32 {
            namespace::mode_of(&rustix::fs::fstat(&self.fd).unwrap()).bits()
        }
    }

    fn is_closed_on_exec(fd: &OwnedFd) -> bool {
        rustix::io::fcntl_getfd(fd).unwrap().contains(FdFlags::CLOEXEC)
    }

    #[test]
    fn a_directory_is_opened_as_it_is() {
        let (home, name_dir) = name_dir();
        assert!(name_dir.directory("ECHO").unwrap().is_none());
        let made = name_dir.make_directory("ECHO", false).unwrap();
        let opened = name_dir.directory("ECHO").unwrap().unwrap();
        assert_eq!(opened.path, home.path().join("echo"));
        assert_eq!((opened.owner, opened.identity), (namespace::my_user(), made.identity));
        assert!(is_closed_on_exec(&opened.fd));
        assert!(opened.header().unwrap().is_none());
    }

    #[test]
    fn what_is_no_trusted_directory_is_refused() {
        let (home, name_dir, directory) = directory();
        fs::write(home.path().join("file"), "").unwrap();
        symlink(&directory.path, home.path().join("link")).unwrap();
        for leaf in ["file", "link"] {
            let error = name_dir.open_directory(leaf).unwrap_err();
            assert!(error == PipeErrorKind::AccessDenied, "{leaf}: {error}");
            assert!(error.to_string().contains("move it out of the way"), "{leaf}: {error}");
        }
        rustix::fs::fchmod(&directory.fd, Mode::RWXU | Mode::WOTH).unwrap();
        let error = name_dir.open_directory("echo").unwrap_err();
        assert!(error == PipeErrorKind::AccessDenied, "{error}");
    }

    #[test]
    fn a_directory_is_made_only_where_this_user_may() {
        let (_home, mut name_dir) = name_dir();
        assert_eq!(name_dir.make_directory("MINE", false).unwrap().mode(), 0o700);
        assert_eq!(name_dir.make_directory("OPEN", true).unwrap().mode(), 0o755);
        assert_eq!(name_dir.make_directory("OPEN", false).unwrap().mode(), 0o755, "it was there");
        name_dir.is_mine = false;
        let error = name_dir.make_directory("ROOTS", false).unwrap_err();
        assert!(error == PipeErrorKind::AccessDenied && error.to_string().contains("install -d"), "{error}");
    }

    #[test]
    fn no_pipe_is_made_in_the_directory_of_another_user() {
        let (_home, name_dir, directory) = directory();
        let other = rustix::fs::Uid::from_raw(namespace::my_user() + 12_345);
        if rustix::fs::fchown(&directory.fd, Some(other), None).is_err() {
            // Only root gives a directory away.
            return;
        }
        let error = name_dir.make_directory("ECHO", false).unwrap_err();
        assert!(
            error == PipeErrorKind::AccessDenied && error.to_string().contains("belongs to user"),
            "{error}"
        );
    }

    #[test]
    fn a_directory_that_was_left_gets_the_mode_of_the_next_pipe() {
        let (_home, mut name_dir, directory) = directory();
        name_dir.set_mode(&directory, true).unwrap();
        assert_eq!(directory.mode(), 0o755);
        fs::write(directory.path.join("foreign"), "").unwrap();
        name_dir.set_mode(&directory, true).unwrap();
        name_dir.is_mine = false;
        name_dir.set_mode(&directory, false).unwrap();
        assert_eq!(directory.mode(), 0o755, "the mode of a directory of root's is root's");
        name_dir.is_mine = true;
        name_dir.set_mode(&directory, false).unwrap();
        assert_eq!(directory.mode(), 0o700);
        let error = name_dir.set_mode(&directory, true).unwrap_err();
        assert!(error == PipeErrorKind::AccessDenied, "{error}");
        assert_eq!(directory.mode(), 0o700, "others would see the foreign file");
    }

    #[test]
    fn a_directory_in_the_place_of_another_is_noticed() {
        let (home, name_dir, mut directory) = directory();
        assert!(name_dir.still_has(&directory));
        fs::rename(&directory.path, home.path().join("moved")).unwrap();
        assert!(!name_dir.still_has(&directory));
        name_dir.make_directory("ECHO", false).unwrap();
        assert!(!name_dir.still_has(&directory));
        directory.path.set_file_name("e".repeat(1000));
        assert!(name_dir.still_has(&directory), "what can't be seen is taken to be there");
    }

    #[test]
    fn a_sweep_removes_a_directory_without_servers() {
        let (_home, name_dir, directory) = directory();
        drop(directory.live(server(directory.new_id().unwrap(), ours())));
        directory.write_header(&header(), false).unwrap();
        name_dir.sweep(&directory);
        assert!(!directory.path.exists());
    }

    #[test]
    fn a_sweep_leaves_what_it_may_not_remove() {
        let (_home, mut name_dir, mut directory) = directory();
        let dead = server(directory.new_id().unwrap(), ours());
        drop(directory.live(dead));
        directory.owner += 1;
        name_dir.sweep(&directory);
        assert!(directory.has(dead), "it is another user's");
        directory.owner -= 1;
        let lock = name_dir.lock_for(&directory).unwrap().take().unwrap();
        name_dir.sweep(&directory);
        assert!(directory.has(dead), "a creator is at work");
        drop(lock);
        let live = server(directory.new_id().unwrap(), ours());
        let socket = directory.live(live);
        name_dir.sweep(&directory);
        assert!(!directory.has(dead) && directory.has(live));
        drop(socket);
        name_dir.is_mine = false;
        name_dir.sweep(&directory);
        assert!(!directory.has(live) && directory.path.exists(), "root gave the directory");
    }

    #[test]
    fn an_empty_directory_may_be_a_gift_for_an_hour() {
        let (_home, mut name_dir, directory) = directory();
        let mut may_be = |is_open, minutes: u64| {
            name_dir.is_open = is_open;
            let changed = SystemTime::now() - Duration::from_secs(60 * minutes);
            let dir = File::from(directory.fd.try_clone().unwrap());
            dir.set_times(fs::FileTimes::new().set_modified(changed)).unwrap();
            name_dir.may_be_a_gift(&directory)
        };
        let is_root = namespace::my_user() == 0;
        assert_eq!([may_be(true, 0), may_be(true, 50)], [is_root; 2]);
        assert_eq!([may_be(true, 70), may_be(false, 0), may_be(false, 70)], [false; 3]);
    }

    #[test]
    fn an_entry_that_can_not_be_seen_may_be_there() {
        let (_home, _name_dir, directory) = directory();
        fs::write(directory.path.join("there"), "").unwrap();
        assert!(directory.may_have("there"));
        assert!(!directory.may_have("absent"));
        assert!(directory.may_have(&"a".repeat(1000)));
    }

    #[test]
    fn a_header_is_read_as_it_was_written() {
        let (_home, _name_dir, directory) = directory();
        for (for_others, mode) in [(false, 0o600), (true, 0o644)] {
            directory.write_header(&header(), for_others).unwrap();
            assert_eq!(directory.header().unwrap(), Some(header()));
            let stat = rustix::fs::statat(&directory.fd, HEADER, AtFlags::empty()).unwrap();
            assert_eq!(namespace::mode_of(&stat), Mode::from_bits_truncate(mode) | os::SPARED);
            assert_eq!(fs::read_dir(&directory.path).unwrap().count(), 1);
        }
    }

    #[test]
    fn a_header_that_can_not_be_placed_leaves_nothing() {
        let (_home, _name_dir, directory) = directory();
        fs::create_dir(directory.path.join(HEADER)).unwrap();
        directory.write_header(&header(), false).unwrap_err();
        assert_eq!(fs::read_dir(&directory.path).unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_file_is_no_header() {
        let (_home, _name_dir, directory) = directory();
        let path = directory.path.join(HEADER);
        let corrupt = |what: &str| {
            let error = directory.header().expect_err(what);
            assert!(error == PipeErrorKind::Corrupt, "{what}: {error}");
        };
        fs::create_dir(&path).unwrap();
        corrupt("a directory");
        fs::remove_dir(&path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        corrupt("a FIFO, which nobody writes to");
        fs::remove_file(&path).unwrap();
        fs::write(directory.path.join("elsewhere"), header().encode()).unwrap();
        symlink("elsewhere", &path).unwrap();
        corrupt("a link");
    }

    #[test]
    fn no_more_of_a_header_is_read_than_it_may_have() {
        let (_home, _name_dir, directory) = directory();
        let text = header().encode() + &"x".repeat(HEADER_LEN_MAX);
        fs::write(directory.path.join(HEADER), text).unwrap();
        assert_eq!(directory.header().unwrap().unwrap().encode().len(), HEADER_LEN_MAX);
    }

    #[test]
    fn entries_are_listed_by_their_kind_and_age() {
        let (_home, _name_dir, directory) = directory();
        let id = |time| Id::new(time, 0, View::LOCAL);
        let (late, early) = (instance(id(2), ours()), instance(id(1), theirs()));
        let (process, rest) = (server(id(3), ours()), EntryName::Temporary(id(4)));
        for leaf in [late, early, process, rest] {
            fs::write(directory.path.join(leaf.encode()), "").unwrap();
        }
        fs::write(directory.path.join("foreign"), "").unwrap();
        let listing = directory.listing().unwrap();
        assert_eq!((listing.servers, listing.instances), (vec![process], vec![early, late]));
        assert_eq!(listing.rest, [rest]);
    }

    #[test]
    fn the_first_listing_has_all_that_later_ones_have() {
        let (_home, name_dir, directory) = directory();
        // More than the system gives at a time.
        let leaves: Vec<EntryName> =
            (0..300).map(|time| instance(Id::new(time, 0, View::LOCAL), ours())).collect();
        for leaf in &leaves {
            fs::write(directory.path.join(leaf.encode()), "").unwrap();
        }
        let mut opened = name_dir.directory("ECHO").unwrap().unwrap();
        assert_eq!(opened.first_listing().unwrap().instances, leaves);
        assert_eq!(opened.listing().unwrap().instances, leaves);
        fs::remove_dir_all(&directory.path).unwrap();
        let mut removed = opened;
        assert_eq!(removed.listing().unwrap().instances, []);
        assert_eq!(removed.first_listing().unwrap().instances, []);
    }

    #[test]
    fn a_directory_with_any_file_is_not_empty() {
        let (_home, _name_dir, directory) = directory();
        assert!(directory.is_empty().unwrap());
        fs::write(directory.path.join(".hidden"), "").unwrap();
        assert!(!directory.is_empty().unwrap());
    }

    #[test]
    fn a_count_is_read_as_it_was_noted() {
        let (_home, _name_dir, directory) = directory();
        let leaf = server(directory.new_id().unwrap(), ours());
        let _live = directory.live(leaf);
        let counted = || {
            let servers = directory.servers(&directory.listing().unwrap(), ours()).unwrap();
            assert_eq!(servers.len(), 1);
            (servers[0].instances, directory.instances(&servers))
        };
        for (noted, kept) in [(0, 0), (1, 1), (7, 7), (999_999, 999_999), (1_000_000, 999_999)] {
            directory.note_count(leaf, noted).unwrap();
            assert_eq!((counted().0, counted().1.unwrap()), (Some(kept), kept));
            directory.check_count(leaf, kept).unwrap();
            let error = directory.check_count(leaf, kept + 1).unwrap_err();
            assert!(error == PipeErrorKind::Unsupported, "{error}");
        }
        let time = Timespec { tv_sec: 1, tv_nsec: 1_500 };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(&directory.fd, leaf.encode(), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
        let (none, error) = counted();
        assert!(none.is_none() && error.unwrap_err() == PipeErrorKind::Corrupt);
    }

    #[test]
    fn a_server_lives_until_its_socket_is_closed() {
        let (_home, _name_dir, directory) = directory();
        let leaf = server(directory.new_id().unwrap(), ours());
        let alive = || directory.is_alive(leaf).unwrap();
        let is_served = |of| directory.is_served(&directory.listing().unwrap(), of).unwrap();
        let servers = |of| directory.servers(&directory.listing().unwrap(), of).unwrap().len();
        let by_others = |than| directory.is_served_by_others(than).unwrap();
        assert!(!alive());
        let socket = directory.live(leaf);
        assert!(alive() && is_served(ours()) && by_others(theirs()));
        assert!(!is_served(theirs()) && !by_others(ours()));
        assert_eq!((servers(ours()), servers(theirs())), (1, 0));
        drop(socket);
        assert!(!alive() && !is_served(ours()) && !by_others(theirs()));
        assert_eq!(servers(ours()), 0);
    }

    #[test]
    fn what_another_view_made_is_not_known_to_be_dead() {
        let (_home, _name_dir, directory) = directory();
        let foreign = server(directory.foreign_id(), ours());
        let is_served = || directory.is_served(&directory.listing().unwrap(), ours());
        let socket = directory.live(foreign);
        assert!(is_served().unwrap());
        assert!(!directory.has_unknown().unwrap());
        drop(socket);
        drop(directory.live(server(directory.new_id().unwrap(), ours())));
        let error = is_served().unwrap_err();
        assert!(error == PipeErrorKind::Unsupported, "{error}");
        assert!(directory.has_unknown().unwrap());
        directory.unlink(&foreign.encode());
        assert!(!directory.has_unknown().unwrap());
        assert!(!is_served().unwrap());
    }

    #[test]
    fn cleaning_removes_all_that_is_dead() {
        let (_home, _name_dir, directory) = directory();
        let id = || directory.new_id().unwrap();
        for leaf in [server(id(), ours()), instance(id(), ours()), EntryName::Temporary(id())] {
            drop(directory.live(leaf));
        }
        fs::write(directory.path.join(EntryName::Claim(id()).encode()), "").unwrap();
        directory.write_header(&header(), false).unwrap();
        assert_eq!(directory.remove_dead().unwrap(), Rest::Nothing);
        assert!(directory.is_empty().unwrap());
    }

    #[test]
    fn cleaning_leaves_the_pipe_of_a_live_server() {
        let (_home, _name_dir, directory) = directory();
        let id = || directory.new_id().unwrap();
        let (live, dead) = (server(id(), ours()), instance(id(), ours()));
        let (claim, unknown) = (EntryName::Claim(id()), instance(directory.foreign_id(), ours()));
        let _socket = directory.live(live);
        drop([directory.live(dead), directory.live(unknown)]);
        fs::write(directory.path.join(claim.encode()), "").unwrap();
        directory.write_header(&header(), false).unwrap();
        assert_eq!(directory.remove_dead().unwrap(), Rest::Served);
        assert!(!directory.has(dead));
        assert!([live, claim, unknown].into_iter().all(|leaf| directory.has(leaf)));
        assert!(directory.header().unwrap().is_some());
    }

    #[test]
    fn cleaning_leaves_what_may_live() {
        let (_home, _name_dir, directory) = directory();
        let unknown = instance(directory.foreign_id(), ours());
        drop(directory.live(unknown));
        directory.write_header(&header(), false).unwrap();
        assert_eq!(directory.remove_dead().unwrap(), Rest::Unknown);
        assert!(directory.has(unknown) && directory.header().unwrap().is_some());
    }

    #[test]
    fn only_a_server_keeps_a_pipe() {
        let (_home, _name_dir, directory) = directory();
        let making = EntryName::Temporary(directory.new_id().unwrap());
        let _socket = directory.live(making);
        directory.write_header(&header(), false).unwrap();
        assert_eq!(directory.remove_dead().unwrap(), Rest::Nothing);
        assert!(directory.has(making) && directory.header().unwrap().is_none());
    }

    #[test]
    fn cleaning_leaves_a_foreign_header() {
        let (_home, _name_dir, directory) = directory();
        let path = directory.path.join(HEADER);
        fs::write(&path, "precious").unwrap();
        assert!(directory.remove_dead().unwrap_err() == PipeErrorKind::Corrupt);
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn a_server_that_comes_while_a_header_is_removed_keeps_it() {
        let (_home, _name_dir, directory) = directory();
        directory.write_header(&header(), false).unwrap();
        let leaf = server(directory.new_id().unwrap(), ours());
        let _socket = directory.live(leaf);
        assert!(!directory.remove_header().unwrap());
        assert_eq!(directory.header().unwrap(), Some(header()));
        assert_eq!(fs::read_dir(&directory.path).unwrap().count(), 2);
        directory.unlink(&leaf.encode());
        assert!(directory.remove_header().unwrap());
        assert!(directory.is_empty().unwrap());
        assert!(directory.remove_header().unwrap(), "nothing is left of it");
    }

    #[test]
    fn a_file_is_published_under_its_final_name() {
        let (_home, _name_dir, directory) = directory();
        let id = directory.new_id().unwrap();
        let (from, to) = (EntryName::Temporary(id), server(id, ours()));
        let _socket = directory.live(from);
        directory.publish(from, to).unwrap();
        assert!(!directory.has(from) && directory.is_alive(to).unwrap());
    }
    /// As a server with another view writes it, which the lock does not exclude.
    #[test]
    fn a_header_that_is_put_back_replaces_no_newer_one() {
        let (_home, _name_dir, directory) = directory();
        let path = &directory.path;
        fs::write(path.join("aside"), "older").unwrap();
        for expected in ["older", "newer"] {
            directory.put_header_back("aside").unwrap();
            assert_eq!(fs::read_to_string(path.join(HEADER)).unwrap(), expected);
            fs::write(path.join("new"), "newer").unwrap();
            fs::rename(path.join("new"), path.join(HEADER)).unwrap();
        }
    }
}
