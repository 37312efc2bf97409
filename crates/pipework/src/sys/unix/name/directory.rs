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
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
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
        Ok(Some(Directory { path, fd, owner: stat.st_uid, identity: identity(&stat) }))
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
        Ok(Directory { path, fd, owner: self.owner, identity: self.identity })
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
            Ok(file) if file.metadata()?.is_file() => {
                file.take(HEADER_LEN_MAX as u64).read_to_end(&mut text)?;
            }
            // No file is no header, as an empty one is.
            Ok(_) | Err(Errno::LOOP) => {}
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
        let mut listing = Listing::default();
        let entries = match Dir::read_from(&self.fd) {
            Ok(entries) => entries,
            // Removed meanwhile: nothing is there.
            Err(Errno::NOENT) => return Ok(listing),
            Err(error) => return Err(refused(&self.path, error)),
        };
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(Errno::NOENT) => break,
                Err(error) => return Err(refused(&self.path, error)),
            };
            match entry.file_name().to_str().ok().and_then(EntryName::decode) {
                Some(leaf @ EntryName::Server { .. }) => listing.servers.push(leaf),
                Some(leaf @ EntryName::Instance { .. }) => listing.instances.push(leaf),
                Some(leaf) => listing.rest.push(leaf),
                None => {}
            }
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
        view::of(self.fd.as_fd(), device)
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
    use super::{super::namespace::identity, Directory, HEADER};
    use std::fs;

    /// As a server with another view writes it, which the lock does not exclude.
    #[test]
    fn a_header_that_is_put_back_replaces_no_newer_one() {
        let path = std::env::temp_dir().join(format!("pipework-header-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        let fd = std::os::fd::OwnedFd::from(fs::File::open(&path).unwrap());
        let stat = rustix::fs::fstat(&fd).unwrap();
        let directory = Directory { path: path.clone(), fd, owner: stat.st_uid, identity: identity(&stat) };
        fs::write(path.join("aside"), "older").unwrap();
        for expected in ["older", "newer"] {
            directory.put_header_back("aside").unwrap();
            assert_eq!(fs::read_to_string(path.join(HEADER)).unwrap(), expected);
            fs::write(path.join("new"), "newer").unwrap();
            fs::rename(path.join("new"), path.join(HEADER)).unwrap();
        }
        fs::remove_dir_all(&path).unwrap();
    }
}
