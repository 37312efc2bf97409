//! Forking: a child has copies of what its parent has open.
#![allow(unsafe_code, reason = "a fork, which std does not offer")]

use std::{
    collections::BTreeSet,
    fs,
    io::{ErrorKind, Read, Write, pipe},
    os::fd::AsFd,
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use pipework::{
    ClientOptions, Listener, NamedPipe, NamedPipeBuilder, PipeErrorKind, PipeName, list,
    os::unix::ListenerExt,
};
use rustix::{
    event::{PollFd, PollFlags},
    process::{Pid, WaitOptions, waitpid},
};

use super::{Case, plain};
use crate::harness::skip;
use crate::harness::{beside_pipes, unique, wait_until};

pub(super) fn cases() -> Vec<Case> {
    vec![
        plain("forking", forking_a_child_gives_nothing_back),
        plain("forking", forking_a_daemon_adopts_its_parents_listener),
        plain("forking", forking_a_daemon_serves_who_came_before),
        plain("forking", forking_a_daemon_adopts_a_plain_socket),
        plain("forking", forking_a_listener_is_adopted_before_it_is_dropped),
        plain("forking", forking_a_child_accepts_only_what_it_has_adopted),
        plain("forking", forking_an_adoption_that_fails_changes_nothing),
        plain("forking", forking_leaves_the_event_loop_of_the_parent_at_rest),
        #[cfg(target_os = "linux")]
        plain("forking", forking_a_child_with_the_number_of_its_parent_gives_nothing_back),
    ]
}

/// A limit for what must come.
const LONG: Duration = Duration::from_secs(60);

/// Runs this in a child process.
fn fork(work: impl FnOnce()) -> Pid {
    // SAFETY: the case and its pipes have one thread. The child runs `work` and ends without returning.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let outcome = catch_unwind(AssertUnwindSafe(work));
        leave(outcome.is_err().into());
    }
    Pid::from_raw(child).filter(|_| child > 0).unwrap()
}

fn leave(code: i32) -> ! {
    // SAFETY: the call takes a number, and does not return.
    unsafe { libc::_exit(code) }
}

/// Runs this in a child process, and exits without a drop.
fn fork_and_leave(work: impl FnOnce()) {
    fork(work);
    leave(0);
}

/// Waits for the end of a child process.
fn has_succeeded(child: Pid) -> bool {
    let (_, status) = waitpid(Some(child), WaitOptions::empty()).unwrap().unwrap();
    status.exit_status() == Some(0)
}

fn succeeds_in_a_child(work: impl FnOnce()) -> bool {
    has_succeeded(fork(work))
}

/// What a server has open: a listener with a client, an instance with a client, and a listener at a path.
struct Server {
    listener: Listener,
    accepted: pipework::PipeStream,
    client: pipework::PipeStream,
    instance: NamedPipe,
    second: pipework::PipeStream,
    socket: Listener,
}

impl Server {
    fn new() -> Server {
        let (name, other) = (unique(), unique());
        let listener = Listener::bind(&name).unwrap();
        let client = ClientOptions::new().open(&name).unwrap();
        let accepted = listener.accept().unwrap();
        let instance = NamedPipe::new(&other).unwrap();
        let second = ClientOptions::new().open(&other).unwrap();
        instance.connect().unwrap();
        let socket = Listener::bind(beside_pipes("socket")).unwrap();
        Server { listener, accepted, client, instance, second, socket }
    }

    /// Checks that a child has taken nothing away.
    fn expect_whole(&self) {
        for (mut one, mut other) in [
            (&self.accepted, &self.client),
            (&self.client, &self.accepted),
            (self.instance.stream(), &self.second),
        ] {
            one.write_all(b"x").unwrap();
            other.read_exact(&mut [0]).unwrap();
        }
        for listener in [&self.listener, &self.socket] {
            let _client = ClientOptions::new().open(listener.name()).unwrap();
            listener.accept().unwrap();
        }
    }
}

fn forking_a_child_gives_nothing_back() {
    let server = Server::new();
    let mut server = Some(server);
    let name = server.as_ref().map(|server| server.listener.name().clone()).unwrap();
    assert!(succeeds_in_a_child(|| drop(server.take())));
    let server = server.unwrap();
    server.expect_whole();
    drop(server);
    assert!(ClientOptions::new().open(&name).is_err());
}

/// In a child: adopts a listener, serves this many clients one after the other, and drops it.
fn adopt_and_greet(listener: &mut Option<Listener>, count: usize) {
    let mut listener = listener.take().unwrap();
    listener.adopt_after_fork().unwrap();
    for _ in 0..count {
        let mut stream = listener.accept_timeout(LONG).unwrap();
        stream.write_all(b"hi").unwrap();
        stream.drain().ok();
    }
}

/// Connects, and expects the greeting.
fn expect_greeting(name: &PipeName) {
    let mut client = ClientOptions::new().timeout(LONG).connect(name).unwrap();
    let mut text = [0; 2];
    client.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"hi");
}

/// Waits until the daemon has ended, and nothing is left of its name.
fn until_absent(name: &PipeName) {
    wait_until(|| ClientOptions::new().open(name).is_err_and(|error| error == PipeErrorKind::Absent));
}

/// The parent exits at once, as that of a daemon does.
fn forking_a_daemon_adopts_its_parents_listener() {
    let name = PipeName::new(unique()).unwrap();
    assert!(succeeds_in_a_child(|| {
        let mut listener = Some(NamedPipeBuilder::new(&name).max_instances(1).listen().unwrap());
        fork_and_leave(|| adopt_and_greet(&mut listener, 4));
    }));
    for _ in 0..3 {
        expect_greeting(&name);
    }
    let entry = &list().unwrap()[0];
    assert_eq!((entry.servers.len(), entry.max_instances), (1, 1), "{entry:?}");
    assert_ne!(entry.servers, [std::process::id()]);
    expect_greeting(&name);
    until_absent(&name);
}

/// A client that connected before the fork, and one after the parent has dropped its listener.
fn forking_a_daemon_serves_who_came_before() {
    for max in [1, 255] {
        let name = PipeName::new(unique()).unwrap();
        let mut listener = Some(NamedPipeBuilder::new(&name).max_instances(max).listen().unwrap());
        let mut early = ClientOptions::new().open(&name).unwrap();
        let child = fork(|| adopt_and_greet(&mut listener, 2));
        let mut text = [0; 2];
        early.read_exact(&mut text).unwrap();
        drop(early);
        drop(listener);
        expect_greeting(&name);
        assert!(has_succeeded(child));
        until_absent(&name);
    }
}

fn forking_a_daemon_adopts_a_plain_socket() {
    let path = beside_pipes("socket");
    let name = PipeName::new(&path).unwrap();
    assert!(succeeds_in_a_child(|| {
        let mut listener = Some(Listener::bind(&path).unwrap());
        fork_and_leave(|| adopt_and_greet(&mut listener, 2));
    }));
    expect_greeting(&name);
    expect_greeting(&name);
    wait_until(|| !path.exists());
}

fn forking_a_listener_is_adopted_before_it_is_dropped() {
    let (name, path) = (unique(), beside_pipes("socket"));
    for address in [name.as_ref(), path.as_os_str()] {
        let mut listener = Listener::bind(address).unwrap();
        // Where it was made, there is nothing to adopt.
        listener.adopt_after_fork().unwrap();
        let _client = ClientOptions::new().open(address).unwrap();
        listener.accept().unwrap();
        let (mut reader, mut writer) = pipe().unwrap();
        let child = fork(|| {
            reader.read_exact(&mut [0]).unwrap();
            let error = listener.adopt_after_fork().unwrap_err();
            assert!(error == PipeErrorKind::Absent, "{error}");
        });
        drop(listener);
        writer.write_all(b"x").unwrap();
        assert!(has_succeeded(child));
    }
}

/// Taking the client would end the instance that listens, which is the parent's.
fn forking_a_child_accepts_only_what_it_has_adopted() {
    for max in [1, 255] {
        let name = unique();
        let mut listener = NamedPipeBuilder::new(&name).max_instances(max).listen().unwrap();
        let early = ClientOptions::new().open(&name).unwrap();
        let refused = |listener: &Listener| {
            assert!(listener.try_accept().unwrap_err() == PipeErrorKind::Invalid);
            assert!(listener.accept().unwrap_err() == PipeErrorKind::Invalid);
        };
        assert!(succeeds_in_a_child(|| refused(&listener)));
        let (accepted, other) = (listener.accept().unwrap(), early);
        (&accepted).write_all(b"x").unwrap();
        (&other).read_exact(&mut [0]).unwrap();
        drop((accepted, other));
        assert_eq!(listener.try_accept().unwrap_err().kind(), ErrorKind::WouldBlock);
        let late = ClientOptions::new().open(&name).unwrap();
        assert!(succeeds_in_a_child(|| {
            refused(&listener);
            listener.adopt_after_fork().unwrap();
            listener.accept().unwrap().write_all(b"x").unwrap();
        }));
        (&late).read_exact(&mut [0]).unwrap();
    }
}

/// Something has removed the socket of the instance: another call finds all as the first did.
fn forking_an_adoption_that_fails_changes_nothing() {
    let name = PipeName::new(unique()).unwrap();
    let mut listener = Listener::bind(&name).unwrap();
    let directory = name.location().unwrap();
    let leaves = || -> BTreeSet<_> {
        fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    };
    for leaf in leaves().iter().filter(|leaf| leaf.to_str().unwrap().starts_with(['i', 'n', 'f'])) {
        fs::remove_file(directory.join(leaf)).unwrap();
    }
    assert!(succeeds_in_a_child(|| {
        let before = leaves();
        let first = listener.adopt_after_fork().unwrap_err();
        assert_eq!(leaves(), before);
        assert_eq!(listener.adopt_after_fork().unwrap_err().to_string(), first.to_string());
    }));
    // The parent restores its name.
    let time = Duration::from_millis(2500).try_into().unwrap();
    rustix::event::poll(&mut [], Some(&time)).unwrap();
    assert_eq!(listener.try_accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    ClientOptions::new().open(&name).unwrap();
}

/// Polls these listeners for a time as an event loop does, and returns how often it was woken.
fn count_wakes(listeners: &[Listener], time: Duration) -> usize {
    let begun = Instant::now();
    let mut count = 0;
    while let Some(left) = time.checked_sub(begun.elapsed()) {
        let fds: Vec<_> = listeners.iter().map(|listener| listener.ready_fd().unwrap()).collect();
        let mut polled: Vec<_> = fds.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        if rustix::event::poll(&mut polled, Some(&left.try_into().unwrap())).unwrap() > 0 {
            count += 1;
            for listener in listeners {
                assert_eq!(listener.try_accept().unwrap_err().kind(), ErrorKind::WouldBlock);
            }
        }
    }
    count
}

/// The child has copies of the sockets, watches and timers that signal the parent's listeners, and closes none.
fn forking_leaves_the_event_loop_of_the_parent_at_rest() {
    /// Two checks of the names.
    const TIME: Duration = Duration::from_millis(5000);
    if cfg!(any(pipework_portable, not(target_os = "linux"))) {
        skip("other Unix systems look for a place again and again, since they have no watch");
    }
    let limited = |max| NamedPipeBuilder::new(unique()).max_instances(max).listen().unwrap();
    let path = Listener::bind(beside_pipes("socket")).unwrap();
    let listeners = [limited(255), limited(3), limited(2), path];
    for listener in &listeners {
        listener.ready_fd().unwrap();
        assert_eq!(listener.try_accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    }
    let (reader, writer) = pipe().unwrap();
    let child = fork(|| {
        let fd = reader.as_fd();
        // It takes part for as long as the first check is due, which is no business of its own.
        let wait = |time: Duration| {
            let mut polled = [PollFd::new(&fd, PollFlags::IN)];
            rustix::event::poll(&mut polled, Some(&time.try_into().unwrap())).unwrap()
        };
        assert_eq!(wait(Duration::from_millis(2500)), 0);
        for listener in &listeners {
            listener.try_accept().unwrap_err();
        }
        assert_eq!(wait(LONG), 1);
    });
    // Of the three limits one is never reached, one is not, and one is.
    let mut connected = Vec::new();
    for listener in &listeners {
        for _ in 0..2 {
            let client = ClientOptions::new().open(listener.name()).unwrap();
            connected.push((client, listener.accept().unwrap()));
        }
    }
    let count = count_wakes(&listeners, TIME);
    // A few checks of the name, and a look for a place each 200 ms.
    assert!(count < 200, "woken {count} times");
    (&writer).write_all(b"x").unwrap();
    assert!(has_succeeded(child));
}

/// As the first process of a container may have one: both are process 1, each in its own namespace.
#[cfg(target_os = "linux")]
fn forking_a_child_with_the_number_of_its_parent_gives_nothing_back() {
    let into_new_namespace = || {
        // SAFETY: the call has no arguments but a number. Children that follow are in a new namespace.
        if unsafe { libc::unshare(libc::CLONE_NEWPID) } != 0 {
            skip("needs the right to make PID namespaces");
        }
    };
    into_new_namespace();
    assert!(succeeds_in_a_child(|| {
        assert_eq!(std::process::id(), 1);
        let mut server = Some(Server::new());
        into_new_namespace();
        assert!(succeeds_in_a_child(|| {
            assert_eq!(std::process::id(), 1);
            drop(server.take());
        }));
        let server = server.unwrap();
        server.expect_whole();
    }));
}
