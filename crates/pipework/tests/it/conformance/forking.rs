//! Forking: a child has copies of what its parent has open.
#![allow(unsafe_code, reason = "a fork, which std does not offer")]

use std::{
    io::{Read, Write},
    panic::{AssertUnwindSafe, catch_unwind},
};

use pipework::{ClientOptions, Listener, NamedPipe};
use rustix::process::{Pid, WaitOptions, waitpid};

use super::{Case, plain};
#[cfg(target_os = "linux")]
use crate::harness::skip;
use crate::harness::{beside_pipes, unique};

pub(super) fn cases() -> Vec<Case> {
    vec![
        plain("forking", forking_a_child_gives_nothing_back),
        #[cfg(target_os = "linux")]
        plain("forking", forking_a_child_with_the_number_of_its_parent_gives_nothing_back),
    ]
}

/// Runs this in a child process, and returns whether it succeeded.
fn succeeds_in_a_child(work: impl FnOnce()) -> bool {
    // SAFETY: the case and its pipes have one thread. The child runs `work` and ends without returning.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let outcome = catch_unwind(AssertUnwindSafe(work));
        // SAFETY: the call has no arguments but a number, and does not return.
        unsafe { libc::_exit(outcome.is_err().into()) };
    }
    let child = Pid::from_raw(child).filter(|_| child > 0).unwrap();
    let (_, status) = waitpid(Some(child), WaitOptions::empty()).unwrap().unwrap();
    status.exit_status() == Some(0)
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
