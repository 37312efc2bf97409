//! Claiming an instance: a backlog of zero queues exactly one client.

use super::{super::name::directory::Directory, Claim};
use crate::model::dir_format::{EntryName, Taking};
use rustix::{io::Errno, net::Shutdown};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
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

/// Takes a place in the queue of those who wait for an instance of a listener, if one is left.
pub(in crate::sys::unix) fn queue(
    directory: &Directory,
    leaf: EntryName,
    socket: &OwnedFd,
) -> io::Result<Claim> {
    match directory.connect(socket, leaf)? {
        Ok(()) => Ok(Claim::Taken),
        Err(Errno::AGAIN | Errno::CONNREFUSED | Errno::NOENT) => Ok(Claim::Lost),
        Err(error) => Err(error.into()),
    }
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
            os, poll,
            server::listening_socket::ListeningSocket,
        },
        *,
    };
    use crate::{
        access::Access,
        model::{dir_format::Incarnation, hello::ADMITTED},
    };
    use rustix::net::SocketType;
    use std::sync::Arc;

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

        /// The same with a queue.
        fn with_queue() -> Trial {
            let mut trial = Trial::new();
            let permission = Permission::new(&Access::owner()).unwrap();
            let (of, quotas) = (Incarnation::new(7), (1, 2));
            let queue =
                ListeningSocket::open(&trial.directory, of, quotas, Taking::Queue, &permission).unwrap();
            trial.listening = trial.listening.with_queue(Some(Arc::new(queue)));
            trial
        }

        /// The one name of the socket.
        fn name(&self) -> EntryName {
            let mut names = self.directory.listing().unwrap().instances;
            names.retain(|leaf| !leaf.is_queue(Incarnation::new(7)));
            assert_eq!(names.len(), 1);
            names[0]
        }

        fn queue_name(&self) -> EntryName {
            let names = self.directory.listing().unwrap().instances;
            *names.iter().find(|leaf| leaf.is_queue(Incarnation::new(7))).unwrap()
        }

        fn is_shown_as_listening(&self) -> bool {
            self.name().is_listening(Incarnation::new(7))
        }

        fn claim(&self, leaf: EntryName) -> (Claim, OwnedFd) {
            let socket = os::new_socket(SocketType::STREAM).unwrap();
            (claim(&self.directory, leaf, &socket).unwrap(), socket)
        }

        fn queue(&self, leaf: EntryName) -> (Claim, OwnedFd) {
            let socket = os::new_socket(SocketType::STREAM).unwrap();
            (queue(&self.directory, leaf, &socket).unwrap(), socket)
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

    /// The sockets of clients that wait in the queue, each with its name in the order in which they came.
    fn wait_in(trial: &Trial, queue: EntryName, count: usize) -> Vec<OwnedFd> {
        let enter = |_| {
            let (claimed, socket) = trial.queue(queue);
            assert_eq!(claimed, Claim::Taken);
            socket
        };
        (0..count).map(enter).collect()
    }

    fn is_admitted(client: &OwnedFd) -> bool {
        let mut byte = [0];
        matches!(rustix::net::recv(client, &mut byte, os::RECEIVE_FLAGS), Ok((1, _))) && byte == [ADMITTED]
    }

    #[test]
    fn clients_wait_in_the_queue_and_are_admitted_in_order() {
        let trial = Trial::with_queue();
        let (_, _first) = trial.claim(trial.name());
        let waiting = wait_in(&trial, trial.queue_name(), 4);
        let mut accepted = vec![trial.accept()];
        trial.listening.renew().unwrap();
        assert!(trial.is_shown_as_listening(), "a queue is no instance");
        let name = trial.name();
        for (index, client) in waiting.iter().enumerate() {
            accepted.push(trial.accept());
            trial.listening.renew().unwrap();
            assert!(is_admitted(client));
            assert!(!waiting.iter().skip(index + 1).any(is_admitted), "one at a time");
        }
        assert_eq!(trial.name(), name, "nobody came by that name");
        assert!(trial.listening.accept().unwrap().is_none());
    }

    #[test]
    fn who_claims_an_instance_beside_a_long_queue_is_not_forgotten() {
        let trial = Trial::with_queue();
        let _waiting = wait_in(&trial, trial.queue_name(), 200);
        let (claimed, quick) = trial.claim(trial.name());
        assert_eq!(claimed, Claim::Taken);
        let mut accepted = Vec::new();
        let position = (0..200).position(|_| {
            let client = trial.accept();
            // The queue says so to those who waited; the other one knows.
            rustix::net::send(&client, b"x", os::SEND_FLAGS).unwrap();
            accepted.push(client);
            let mut byte = [0];
            rustix::net::recv(&quick, &mut byte, os::RECEIVE_FLAGS).is_ok()
        });
        assert!(position.is_some_and(|position| position <= 64), "{position:?}");
    }

    #[test]
    fn who_leaves_the_queue_is_a_client_that_came_and_left() {
        let trial = Trial::with_queue();
        let mut waiting = wait_in(&trial, trial.queue_name(), 2);
        drop(waiting.remove(0));
        let left = trial.accept();
        assert!(poll::now(left.as_fd(), os::HANGUP).intersects(os::HANGUP));
        let _next = trial.accept();
        assert!(is_admitted(&waiting[0]));
    }

    #[test]
    fn an_ended_socket_leaves_no_name() {
        let trial = Trial::new();
        let leaf = trial.name();
        let (_, _first) = trial.claim(leaf);
        let full = trial.name();
        trial.listening.end();
        assert_eq!(trial.claim(full).0, Claim::Lost);
        assert_eq!(trial.directory.listing().unwrap().instances, []);
        assert!(trial.listening.renew().is_err());
    }

    #[test]
    fn those_who_wait_in_a_queue_notice_its_end() {
        let trial = Trial::with_queue();
        let waiting = wait_in(&trial, trial.queue_name(), 3);
        let queue = trial.queue_name();
        drop(trial.listening);
        for client in &waiting {
            let mut byte = [0];
            let received = rustix::net::recv(client, &mut byte, os::RECEIVE_FLAGS);
            assert!(matches!(received, Ok((0, _)) | Err(Errno::CONNRESET)), "{received:?}");
        }
        assert_eq!(trial.directory.listing().unwrap().instances, []);
        let socket = os::new_socket(SocketType::STREAM).unwrap();
        assert_eq!(super::queue(&trial.directory, queue, &socket).unwrap(), Claim::Lost);
    }
}
