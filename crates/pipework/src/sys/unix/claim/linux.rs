//! Claiming an instance: a backlog of zero queues exactly one client.

use super::{super::name::directory::Directory, Claim};
use crate::model::dir_format::{EntryName, Taking};
use rustix::{
    io::Errno,
    net::{
        Shutdown,
        sockopt::{self, Timeout},
    },
};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

/// Exactly one client is queued; `connect` returns `EAGAIN` to the next one.
pub(in crate::sys::unix) const BACKLOG: i32 = 0;
/// Whether a socket that has taken its client can take the next: its queue is exact again at once.
pub(in crate::sys::unix) const RENEWS: bool = true;
/// Whether other users may be let in: sealed memory can do no harm.
pub(in crate::sys::unix) const SERVES_OTHERS: bool = true;

/// Makes what clients need to claim the instance; here, nothing.
pub(in crate::sys::unix) fn prepare(_: &Directory, _: EntryName) -> io::Result<()> {
    Ok(())
}

/// Tries to become the client of an instance. The outcome is final: a full instance never becomes free again, but for one
/// whose socket is renewed, and that soon has another name.
pub(in crate::sys::unix) fn claim(
    directory: &Directory,
    leaf: EntryName,
    socket: &OwnedFd,
) -> io::Result<Claim> {
    match directory.connect(socket, leaf)? {
        Ok(()) => {
            take_name(directory, leaf);
            Ok(Claim::Taken)
        }
        Err(Errno::AGAIN) => {
            // The server did not see the client that queued when it gave the name.
            if matches!(leaf, EntryName::Instance { taking: Taking::Next, .. }) {
                take_name(directory, leaf);
            }
            Ok(Claim::Lost)
        }
        Err(Errno::CONNREFUSED | Errno::NOENT) => Ok(Claim::Lost),
        Err(error) => Err(error.into()),
    }
}

/// Waits for at most so long in the kernel's queue of those who want to be the next client of a socket that is renewed.
pub(in crate::sys::unix) fn queue(
    directory: &Directory,
    leaf: EntryName,
    socket: &OwnedFd,
    time: Duration,
) -> io::Result<Claim> {
    // Zero would be for ever.
    sockopt::set_socket_timeout(socket, Timeout::Send, Some(time.max(Duration::from_micros(1))))?;
    rustix::io::ioctl_fionbio(socket, false)?;
    let claim = match directory.connect(socket, leaf)? {
        Ok(()) => {
            // Where the server has renewed it meanwhile, it has seen us, or else the next who tries marks the name.
            take_name(directory, leaf);
            Claim::Taken
        }
        Err(Errno::AGAIN | Errno::INTR | Errno::CONNREFUSED | Errno::NOENT) => Claim::Lost,
        Err(error) => return Err(error.into()),
    };
    rustix::io::ioctl_fionbio(socket, true)?;
    Ok(claim)
}

/// Takes the name of a full instance away, where we may, so that nobody else tries or counts it; else the server does
/// when it accepts. A socket that lives on keeps a name by which its server finds it.
fn take_name(directory: &Directory, leaf: EntryName) {
    match leaf.full() {
        // It fails where the server was quicker.
        Some(full) => drop(directory.publish(leaf, full)),
        None => directory.unlink(&leaf.encode()),
    }
}

/// Ends the queue of a listening socket: newcomers are refused, who is in it can still be accepted.
pub(in crate::sys::unix) fn end_queue(listening: BorrowedFd<'_>) {
    // It fails only on what is not a listening socket.
    rustix::net::shutdown(listening.as_fd(), Shutdown::Read).ok();
}

/// Wakes all that wait at a listening socket when its client was taken; here `end_queue` has done so.
#[derive(Debug)]
pub(in crate::sys::unix) struct Ending;

impl Ending {
    pub(in crate::sys::unix) fn new() -> io::Result<Ending> {
        Ok(Ending)
    }

    pub(in crate::sys::unix) fn signal(&self) {}

    /// The descriptor to wait at beside the socket; none.
    pub(in crate::sys::unix) fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::super::{
            name::{namespace::NameDir, permission::Permission},
            os,
            server::listening_socket::ListeningSocket,
        },
        *,
    };
    use crate::{access::Access, model::dir_format::Incarnation};
    use rustix::net::SocketType;
    use std::{sync::Arc, thread};

    /// Long enough for whatever must come.
    const LONG: Duration = Duration::from_secs(60);

    /// A directory with one socket that is renewed.
    struct Trial {
        directory: Arc<Directory>,
        listening: ListeningSocket,
        _place: tempfile::TempDir,
    }

    impl Trial {
        fn new() -> Trial {
            let place = tempfile::tempdir().unwrap();
            let dir = OwnedFd::from(std::fs::File::open(place.path()).unwrap());
            let name_dir = NameDir { path: place.path().to_owned(), dir, is_mine: true, is_open: false };
            let directory = Arc::new(name_dir.make_directory("TRIAL", false).unwrap());
            let permission = Permission::new(&Access::owner()).unwrap();
            let (of, quotas) = (Incarnation::new(7), (1, 2));
            let listening = ListeningSocket::open(&directory, of, quotas, Taking::Next, &permission).unwrap();
            Trial { directory, listening, _place: place }
        }

        /// The one name of the socket.
        fn name(&self) -> EntryName {
            let names = self.directory.listing().unwrap().instances;
            assert_eq!(names.len(), 1);
            names[0]
        }

        fn is_shown_as_listening(&self) -> bool {
            self.name().is_listening(Incarnation::new(7))
        }

        fn claim(&self, leaf: EntryName) -> (Claim, OwnedFd) {
            let socket = os::new_socket(SocketType::STREAM).unwrap();
            (claim(&self.directory, leaf, &socket).unwrap(), socket)
        }

        fn queue(&self, leaf: EntryName, time: Duration) -> (Claim, OwnedFd) {
            let socket = os::new_socket(SocketType::STREAM).unwrap();
            (queue(&self.directory, leaf, &socket, time).unwrap(), socket)
        }

        /// Takes the client.
        fn accept(&self) -> OwnedFd {
            self.listening.accept().unwrap().unwrap()
        }
    }

    #[test]
    fn a_renewed_socket_takes_the_next_client_under_another_name() {
        let trial = Trial::new();
        for _ in 0..3 {
            let leaf = trial.name();
            assert!(trial.is_shown_as_listening());
            let (claimed, _first) = trial.claim(leaf);
            assert_eq!(claimed, Claim::Taken);
            assert!(!trial.is_shown_as_listening(), "its client has come");
            assert_eq!(trial.claim(trial.name()).0, Claim::Lost, "one client at a time");
            let _end = trial.accept();
            trial.listening.renew().unwrap();
            assert_ne!(trial.name().id(), leaf.id());
            assert_eq!(trial.claim(leaf).0, Claim::Lost, "the old name is gone");
            assert!(trial.listening.accept().unwrap().is_none());
        }
    }

    #[test]
    fn who_comes_before_the_new_name_is_seen_in_it() {
        let trial = Trial::new();
        let leaf = trial.name();
        let (_, _first) = trial.claim(leaf);
        let _end = trial.accept();
        let (claimed, _second) = trial.claim(trial.name());
        assert_eq!(claimed, Claim::Taken);
        trial.listening.renew().unwrap();
        assert!(!trial.is_shown_as_listening(), "the second client is in the queue");
        let _end = trial.accept();
        trial.listening.renew().unwrap();
        assert!(trial.is_shown_as_listening());
    }

    #[test]
    fn who_finds_it_full_marks_its_name() {
        let trial = Trial::new();
        // As a client that may not change the directory.
        let quiet = os::new_socket(SocketType::STREAM).unwrap();
        trial.directory.connect(&quiet, trial.name()).unwrap().unwrap();
        assert!(trial.is_shown_as_listening());
        assert_eq!(trial.claim(trial.name()).0, Claim::Lost);
        assert!(!trial.is_shown_as_listening());
        let _end = trial.accept();
        trial.listening.renew().unwrap();
        assert_eq!(trial.claim(trial.name()).0, Claim::Taken);
    }

    #[test]
    fn clients_wait_in_the_queue() {
        let trial = Trial::new();
        let leaf = trial.name();
        let (_, _first) = trial.claim(leaf);
        let full = trial.name();
        assert_eq!(trial.queue(full, Duration::from_millis(1)).0, Claim::Lost, "nobody took the first one");
        thread::scope(|scope| {
            let waiting: Vec<_> = (0..4).map(|_| scope.spawn(|| trial.queue(full, LONG).0)).collect();
            for _ in 0..5 {
                let socket = trial.listening.as_fd();
                rustix::event::poll(&mut [rustix::event::PollFd::new(&socket, POLLIN)], None).unwrap();
                drop(trial.accept());
            }
            for waiting in waiting {
                assert_eq!(waiting.join().unwrap(), Claim::Taken);
            }
        });
    }

    #[test]
    fn an_ended_socket_leaves_no_name_and_nobody_waiting() {
        let trial = Trial::new();
        let leaf = trial.name();
        let (_, _first) = trial.claim(leaf);
        let full = trial.name();
        trial.listening.end();
        assert_eq!(trial.queue(full, LONG).0, Claim::Lost);
        assert_eq!(trial.directory.listing().unwrap().instances, []);
        assert!(trial.listening.renew().is_err());
    }

    const POLLIN: rustix::event::PollFlags = rustix::event::PollFlags::IN;
}
