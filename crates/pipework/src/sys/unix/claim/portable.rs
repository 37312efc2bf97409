//! Claiming an instance, where the system queues more than one client: a lock on a file of the instance's own.
//!
//! Whoever has the lock may connect, and takes the instance's name and the file away before giving the lock back; so
//! whoever gets the lock later finds the file gone. A client that is killed before it connects loses the lock, and the
//! instance is there for the next one. One that is killed between connecting and taking the file away has been the
//! instance's client: another one may then come to stand behind it, and finds its connection closed when the server
//! has taken the dead one.

use super::{
    super::{
        name::directory::Directory,
        os::{self, Event},
    },
    Claim,
};
use crate::{error::context, model::dir_format::EntryName};
use rustix::{
    fs::{FlockOperation, Mode, OFlags},
    io::Errno,
};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

/// One is needed; the rest is for clients that were killed while they claimed.
pub(in crate::sys::unix) const BACKLOG: i32 = 4;
/// Whether a socket that has taken its client can take the next. Here its claim file is gone.
pub(in crate::sys::unix) const RENEWS: bool = false;
/// Whether other users may be let in: only where their memory can do no harm.
pub(in crate::sys::unix) const SERVES_OTHERS: bool = false;

/// Makes what clients need to claim the instance, before they can see it.
pub(in crate::sys::unix) fn prepare(directory: &Directory, leaf: EntryName) -> io::Result<()> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR | os::SPARED;
    rustix::fs::openat(&directory.fd, file_of(leaf), flags, mode)
        // The umask may have taken bits away.
        .and_then(|file| rustix::fs::fchmod(file, mode))
        .map_err(|error| context("making the claim file of an instance", error))
}

/// Tries to become the client of an instance. The outcome is final: whoever else has the lock takes the instance, or
/// dies; after that the next attempt to open finds it.
pub(in crate::sys::unix) fn claim(
    directory: &Directory,
    leaf: EntryName,
    socket: &OwnedFd,
) -> io::Result<Claim> {
    let Some(_lock) = Lock::take(directory, leaf)? else { return Ok(Claim::Lost) };
    match directory.connect(socket, leaf)? {
        Ok(()) => {}
        Err(Errno::AGAIN | Errno::CONNREFUSED | Errno::NOENT) => return Ok(Claim::Lost),
        Err(error) => return Err(error.into()),
    }
    // Before the lock is given back: that is what makes the claim exact.
    directory.unlink(&leaf.encode());
    directory.unlink_claim(leaf);
    Ok(Claim::Taken)
}

/// There is no queue to wait in: no listener makes one.
pub(in crate::sys::unix) fn queue(_: &Directory, _: EntryName, _: &OwnedFd) -> io::Result<Claim> {
    Ok(Claim::Lost)
}

/// Ends the queue of a listening socket. Here only the client that claimed the instance is in it.
pub(in crate::sys::unix) fn end_queue(_: BorrowedFd<'_>) {}

/// Signals to all that wait at a listening socket that its client was taken: no other client will ever come
/// to it.
#[derive(Debug)]
pub(in crate::sys::unix) struct Ending {
    event: Event,
}

impl Ending {
    pub(in crate::sys::unix) fn new() -> io::Result<Ending> {
        Ok(Ending { event: Event::new()? })
    }

    pub(in crate::sys::unix) fn signal(&self) {
        self.event.set();
    }

    /// The descriptor to wait at beside the socket.
    pub(in crate::sys::unix) fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.event.as_fd())
    }
}

fn file_of(leaf: EntryName) -> String {
    EntryName::Claim(leaf.id()).encode()
}

/// The right to connect to an instance.
struct Lock {
    file: OwnedFd,
}

impl Lock {
    /// Takes it, if it is free and the instance was not claimed.
    fn take(directory: &Directory, leaf: EntryName) -> io::Result<Option<Lock>> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&directory.fd, file_of(leaf), flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        match rustix::io::retry_on_intr(|| rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive))
        {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let lock = Lock { file };
        // The previous holder of the lock may have claimed the instance after the file was opened here.
        let is_linked = rustix::fs::fstat(&lock.file)?.st_nlink > 0;
        Ok(is_linked.then_some(lock))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Said aloud, since a forked child may still hold the descriptor.
        rustix::fs::flock(&self.file, FlockOperation::Unlock).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::super::{
            name::{directory::Rest, namespace::NameDir, permission::Permission},
            os,
            server::listening_socket::{ListeningSocket, bind_aside},
        },
        *,
    };
    use crate::{
        access::Access,
        model::dir_format::{Id, Incarnation, Taking, View},
    };
    use rustix::net::SocketType;
    use std::{
        sync::{Arc, Barrier},
        thread,
    };

    struct Trial {
        directory: Arc<Directory>,
        permission: Permission,
        _place: tempfile::TempDir,
    }

    impl Trial {
        fn new() -> Trial {
            let place = tempfile::tempdir().unwrap();
            let dir = OwnedFd::from(std::fs::File::open(place.path()).unwrap());
            let name_dir = NameDir { path: place.path().to_owned(), dir, is_mine: true, is_open: false };
            let directory = Arc::new(name_dir.make_directory("TRIAL", false).unwrap());
            Trial { directory, permission: Permission::new(&Access::owner()).unwrap(), _place: place }
        }

        fn listen(&self) -> (ListeningSocket, EntryName) {
            let before = self.directory.listing().unwrap().instances;
            let listening = ListeningSocket::open(
                &self.directory,
                Incarnation::new(7),
                (1, 2),
                Taking::One,
                &self.permission,
            )
            .unwrap();
            let mut now = self.directory.listing().unwrap().instances;
            now.retain(|leaf| !before.contains(leaf));
            assert_eq!(now.len(), 1);
            (listening, now[0])
        }

        fn claim(&self, leaf: EntryName) -> (Claim, OwnedFd) {
            let socket = os::new_socket(SocketType::STREAM).unwrap();
            (claim(&self.directory, leaf, &socket).unwrap(), socket)
        }

        fn names(&self) -> Vec<String> {
            let entries = std::fs::read_dir(&self.directory.path).unwrap();
            let mut names: Vec<String> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }
    }

    #[test]
    fn one_of_many_claims_an_instance() {
        let trial = Trial::new();
        for _ in 0..50 {
            let (listening, leaf) = trial.listen();
            let start = Barrier::new(6);
            let claims: Vec<(Claim, OwnedFd)> = thread::scope(|scope| {
                let claiming = || {
                    start.wait();
                    trial.claim(leaf)
                };
                let threads: Vec<_> = (0..6).map(|_| scope.spawn(claiming)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert_eq!(claims.iter().filter(|(claim, _)| *claim == Claim::Taken).count(), 1);
            assert!(listening.accept().unwrap().is_some());
            assert!(listening.accept().unwrap().is_none(), "a second client is in the queue");
            assert_eq!(trial.names(), [""; 0], "the claim leaves nothing");
        }
    }

    #[test]
    fn a_client_that_dies_with_the_lock_leaves_the_instance() {
        let trial = Trial::new();
        let (listening, leaf) = trial.listen();
        let lock = Lock::take(&trial.directory, leaf).unwrap().unwrap();
        assert_eq!(trial.claim(leaf).0, Claim::Lost);
        drop(lock);
        let (claim, _socket) = trial.claim(leaf);
        assert_eq!(claim, Claim::Taken);
        assert!(listening.accept().unwrap().is_some());
    }

    #[test]
    fn an_instance_that_ends_can_not_be_claimed() {
        let trial = Trial::new();
        let (listening, leaf) = trial.listen();
        drop(listening);
        assert_eq!(trial.claim(leaf).0, Claim::Lost);
        assert_eq!(trial.names(), [""; 0]);
    }

    #[test]
    fn cleaning_spares_the_files_of_what_lives() {
        let trial = Trial::new();
        let (directory, id) = (&trial.directory, Id::new(1, 1, View::LOCAL));
        let server = EntryName::Server { id, incarnation: Incarnation::new(7), process: std::process::id() };
        let liveness = bind_aside(directory, EntryName::Temporary(id), &trial.permission).unwrap();
        directory.publish(EntryName::Temporary(id), server).unwrap();
        let (listening, leaf) = trial.listen();
        assert_eq!(directory.remove_dead().unwrap(), Rest::Served);
        let (claim, _socket) = trial.claim(leaf);
        assert_eq!(claim, Claim::Taken);
        let (other, leaf) = trial.listen();
        // As after a kill: the sockets are gone, and the names are not.
        let names = trial.names();
        drop((listening, other));
        prepare(directory, leaf).unwrap();
        drop(liveness);
        assert!(names.contains(&file_of(leaf)) && trial.names().contains(&file_of(leaf)));
        assert_eq!(directory.remove_dead().unwrap(), Rest::Nothing);
        assert_eq!(trial.names(), [""; 0]);
    }
}
