//! The listener: accepting without a gap, in several threads, up to the maximum.

use std::{io::Write, thread};

use pipework::{Listener, NamedPipeBuilder, PipeErrorKind, PipeMode};

use super::{Case, HOUR, SHORT, every, expect, expect_alive, expect_refused, long, plain};
use crate::{
    child::Other,
    harness::{blocked, unique},
    surface::{OpenSpec, Spec, Surface},
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        plain("listener", listener_tells_its_name),
        every("listener", listener_replaces_the_instance_before_it_hands_one_out),
        every("listener", listener_that_did_not_take_its_client_is_busy),
        every("listener", listener_at_its_maximum_goes_on_when_a_place_is_free),
        every("listener", listener_never_waits_for_a_silent_client),
        every("listener", listener_serves_several_accepting_threads),
        long(every("listener", listener_serves_clients_of_many_processes)),
        every("listener", listeners_of_two_processes_share_a_name),
        every("listener", listener_goes_on_after_another_server_is_killed),
        plain("listener", listener_keeps_what_its_builder_said),
        plain("listener", listener_ends_are_like_any_other),
    ]
}

/// Where a name can be kept without an instance, and creators wait for each other.
#[cfg(unix)]
pub(super) fn cases_of_this_system() -> Vec<Case> {
    vec![
        every("listener", listener_at_its_maximum_keeps_its_name),
        plain("listener", creating::listener_tries_without_waiting_while_another_process_creates),
        plain("listener", creating::listener_times_out_while_another_process_creates),
        plain("listener", creating::listener_threads_wait_apart_while_another_process_creates),
    ]
}

/// The name as it was given.
fn listener_tells_its_name() {
    let name = unique();
    let listener = Listener::bind(&name).unwrap();
    assert_eq!(listener.name().to_string(), format!(r"\\.\pipe\{name}"));
}

/// Between two clients the name is never busy: when one has been accepted, the next can open at once.
fn listener_replaces_the_instance_before_it_hands_one_out(here: &dyn Surface) {
    let name = unique();
    let there = Other::spawn(here);
    let listener = here.listen(&Spec::new(&name)).unwrap();
    let mut kept = Vec::new();
    for _ in 0..20 {
        let client = there.open(&OpenSpec::new(&name)).unwrap();
        let server = listener.accept().unwrap();
        expect_alive(client.as_ref(), server.as_ref());
        kept.push((client, server));
    }
}

/// One client at a time: until it is taken, the next one finds the name busy, however often that was so before.
fn listener_that_did_not_take_its_client_is_busy(here: &dyn Surface) {
    let name = unique();
    let there = Other::spawn(here);
    let listener = here.listen(&Spec::new(&name)).unwrap();
    for _ in 0..5 {
        let client = there.open(&OpenSpec::new(&name)).unwrap();
        expect_refused(here.open(&OpenSpec::new(&name)), PipeErrorKind::Busy);
        expect(here.wait(&name, Some(SHORT)), PipeErrorKind::TimedOut);
        let server = listener.accept().unwrap();
        here.wait(&name, Some(SHORT)).unwrap();
        expect_alive(client.as_ref(), server.as_ref());
    }
}

/// At the maximum it hands out first and listens again when a place is free.
fn listener_at_its_maximum_goes_on_when_a_place_is_free(here: &dyn Surface) {
    let name = unique();
    let there = Other::spawn(here);
    let listener = here.listen(&Spec::new(&name).max(1)).unwrap();
    for _ in 0..3 {
        let client = there.connect(&OpenSpec::new(&name).timeout(HOUR)).unwrap();
        let server = listener.accept().unwrap();
        expect_refused(here.open(&OpenSpec::new(&name)), PipeErrorKind::Busy);
        expect_alive(client.as_ref(), server.as_ref());
        thread::scope(|scope| {
            let accepting = blocked(scope, || listener.accept());
            drop(server);
            // On Windows the name has gone for a moment, with its only instance.
            let next = there.connect(&OpenSpec::new(&name).timeout(HOUR).wait_absent()).unwrap();
            let accepted = accepting.join().unwrap().unwrap();
            expect_alive(next.as_ref(), accepted.as_ref());
        });
        drop(client);
        // The listener notices the free place when it is asked for the next client.
        expect_refused(listener.accept_timeout(std::time::Duration::ZERO), PipeErrorKind::TimedOut);
    }
}

/// Also between its last instance and the next one: nobody finds it absent, nobody else can take it.
#[cfg(unix)]
fn listener_at_its_maximum_keeps_its_name(here: &dyn Surface) {
    let name = unique();
    let there = Other::spawn(here);
    let listener = here.listen(&Spec::new(&name).max(1)).unwrap();
    let client = there.open(&OpenSpec::new(&name)).unwrap();
    drop(listener.accept().unwrap());
    expect_refused(there.open(&OpenSpec::new(&name)), PipeErrorKind::Busy);
    expect_refused(there.create(&Spec::new(&name)), PipeErrorKind::NameTaken);
    drop(client);
    drop(listener);
    expect_refused(there.open(&OpenSpec::new(&name)), PipeErrorKind::Absent);
}

/// A client that says nothing holds up nobody.
fn listener_never_waits_for_a_silent_client(here: &dyn Surface) {
    let name = unique();
    let there = Other::spawn(here);
    let listener = here.listen(&Spec::new(&name)).unwrap();
    let _silent = there.open(&OpenSpec::new(&name)).unwrap();
    let first = listener.accept().unwrap();
    let client = there.open(&OpenSpec::new(&name)).unwrap();
    let second = listener.accept().unwrap();
    expect_alive(client.as_ref(), second.as_ref());
    drop(first);
}

/// Each client goes to one thread.
fn listener_serves_several_accepting_threads(here: &dyn Surface) {
    let name = unique();
    let there = Other::spawn(here);
    let listener = here.listen(&Spec::new(&name)).unwrap();
    thread::scope(|scope| {
        let accepting: Vec<_> = (0..4)
            .map(|_| {
                blocked(scope, || {
                    let server = listener.accept().unwrap();
                    let request = server.read_exact(1).unwrap();
                    server.write_all(&request).unwrap();
                })
            })
            .collect();
        for number in 0..4 {
            let client = there.connect(&OpenSpec::new(&name)).unwrap();
            client.write_all(&[number]).unwrap();
            assert_eq!(client.read_exact(1).unwrap(), [number]);
        }
        for thread in accepting {
            thread.join().unwrap();
        }
    });
}

/// Eight processes, each with many connections in turn.
fn listener_serves_clients_of_many_processes(here: &dyn Surface) {
    const EACH: usize = 25;
    let name = unique();
    let listener = here.listen(&Spec::new(&name)).unwrap();
    let others: Vec<Other> = (0..8).map(|_| Other::spawn(here)).collect();
    thread::scope(|scope| {
        for (number, other) in (0..).zip(&others) {
            let name = &name;
            scope.spawn(move || {
                for _ in 0..EACH {
                    let client = other.connect(&OpenSpec::new(name)).unwrap();
                    client.write_all(&[number]).unwrap();
                    assert_eq!(client.read_exact(1).unwrap(), [number]);
                }
            });
        }
        for _ in 0..EACH * others.len() {
            let server = listener.accept().unwrap();
            scope.spawn(move || {
                let request = server.read_exact(1).unwrap();
                server.write_all(&request).unwrap();
                assert_eq!(server.read_some(1).unwrap(), b"");
            });
        }
    });
}

/// N7 for listeners.
fn listeners_of_two_processes_share_a_name(here: &dyn Surface) {
    let name = unique();
    let there = Other::spawn(here);
    let mine = here.listen(&Spec::new(&name)).unwrap();
    let theirs = there.listen(&Spec::new(&name).joining()).unwrap();
    let clients = [here.open(&OpenSpec::new(&name)).unwrap(), here.open(&OpenSpec::new(&name)).unwrap()];
    let servers = [mine.accept().unwrap(), theirs.accept().unwrap()];
    for server in &servers {
        server.write_all(b"x").unwrap();
    }
    for client in &clients {
        assert_eq!(client.read_exact(1).unwrap(), b"x");
    }
}

/// N6 for one that stays.
fn listener_goes_on_after_another_server_is_killed(here: &dyn Surface) {
    let name = unique();
    let there = Other::spawn(here);
    let mine = here.listen(&Spec::new(&name)).unwrap();
    let _theirs = there.listen(&Spec::new(&name).joining()).unwrap();
    there.kill();
    for _ in 0..3 {
        let client = here.open(&OpenSpec::new(&name)).unwrap();
        let server = mine.accept().unwrap();
        expect_alive(client.as_ref(), server.as_ref());
    }
}

/// Every instance that it makes is as the first.
fn listener_keeps_what_its_builder_said() {
    let name = unique();
    let listener = NamedPipeBuilder::new(&name)
        .pipe_mode(PipeMode::Message)
        .in_buffer_size(1234)
        .out_buffer_size(4321)
        .max_instances(9)
        .listen()
        .unwrap();
    for _ in 0..3 {
        let client = pipework::connect(&name).unwrap();
        let server = listener.accept().unwrap();
        for info in [client.info().unwrap(), server.info().unwrap()] {
            assert_eq!(info.mode, PipeMode::Message);
            assert_eq!((info.in_buffer_size, info.out_buffer_size, info.max_instances), (1234, 4321, 9));
        }
    }
}

/// `incoming` by `for`, with streams of the ordinary type.
fn listener_ends_are_like_any_other() {
    let name = unique();
    let listener = Listener::bind(&name).unwrap();
    let mut clients = vec![pipework::connect(&name).unwrap()];
    for stream in &listener {
        stream.unwrap().write_all(b"bye").unwrap();
        if clients.len() == 3 {
            break;
        }
        clients.push(pipework::connect(&name).unwrap());
    }
    for client in clients {
        assert_eq!(std::io::read_to_string(client).unwrap(), "bye");
    }
}

/// Another process creates an instance, of whatever pipe of this user, and does not come to its end.
#[cfg(unix)]
mod creating {
    use std::{io, sync::mpsc, thread, time::Duration};

    use pipework::{
        Canceller, ClientOptions, Listener, NamedPipeBuilder, PipeErrorKind, PipeStream,
        os::unix::ListenerExt,
    };

    use super::{HOUR, SHORT, expect, expect_alive};
    use crate::{
        harness::{blocked, creators_lock, unique},
        surface::End,
    };

    /// How long the other process creates at most: much longer than a call takes that does not wait for it, and
    /// shorter than creators wait for each other.
    const CREATION: Duration = Duration::from_secs(5);

    /// A call while another process creates. It must return before that one has finished.
    fn while_another_creates<T: Send>(call: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let lock = creators_lock();
            let (returned, has_returned) = mpsc::channel();
            let calling = scope.spawn(move || {
                let outcome = call();
                returned.send(()).unwrap();
                outcome
            });
            let waits = has_returned.recv_timeout(CREATION).is_err();
            assert!(!waits, "the call waits for the process that creates");
            drop(lock);
            calling.join().unwrap()
        })
    }

    /// A listener of a pipe whose instances are counted, so that each one needs the lock.
    fn listen(name: &str, max: u8) -> Listener {
        NamedPipeBuilder::new(name).max_instances(max).listen().unwrap()
    }

    /// A listener without an instance: it handed out its only one, which has closed since.
    fn listen_without_instance(name: &str) -> Listener {
        let listener = listen(name, 1);
        let client = ClientOptions::new().open(name).unwrap();
        drop((listener.accept().unwrap(), client));
        listener
    }

    fn expect_would_block(outcome: io::Result<PipeStream>) {
        assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    /// Whether or not it was accepted meanwhile, the client is served in the end, and so is the next one.
    fn expect_served(listener: &Listener, name: &str, client: &PipeStream, accepted: Option<PipeStream>) {
        let server = accepted.unwrap_or_else(|| listener.accept().unwrap());
        expect_alive(client as &dyn End, &server as &dyn End);
        thread::scope(|scope| {
            let accepting = scope.spawn(|| listener.accept().unwrap());
            let next = ClientOptions::new().timeout(HOUR).connect(name).unwrap();
            expect_alive(&next as &dyn End, &accepting.join().unwrap() as &dyn End);
        });
    }

    /// With a client and without, with an instance and without.
    pub(super) fn listener_tries_without_waiting_while_another_process_creates() {
        let name = unique();
        let listener = listen(&name, 5);
        expect_would_block(while_another_creates(|| listener.try_accept()));
        let client = ClientOptions::new().open(&name).unwrap();
        let accepted = while_another_creates(|| match listener.try_accept() {
            Ok(server) => Some(server),
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}");
                None
            }
        });
        expect_served(&listener, &name, &client, accepted);
        let name = unique();
        let listener = listen_without_instance(&name);
        expect_would_block(while_another_creates(|| listener.try_accept()));
        expect_would_block(listener.try_accept());
        let client = ClientOptions::new().open(&name).unwrap();
        expect_alive(&client as &dyn End, &listener.try_accept().unwrap() as &dyn End);
    }

    /// On time, and not later.
    pub(super) fn listener_times_out_while_another_process_creates() {
        let name = unique();
        let listener = listen(&name, 5);
        let client = ClientOptions::new().open(&name).unwrap();
        let accepted = while_another_creates(|| match listener.accept_timeout(SHORT) {
            Ok(server) => Some(server),
            Err(error) => {
                assert!(error == PipeErrorKind::TimedOut, "{error}");
                None
            }
        });
        expect_served(&listener, &name, &client, accepted);
        let name = unique();
        let listener = listen_without_instance(&name);
        let outcome = while_another_creates(|| {
            let begun = std::time::Instant::now();
            let outcome = listener.accept_timeout(SHORT);
            assert!(begun.elapsed() >= SHORT, "it returned too early");
            outcome
        });
        expect(outcome, PipeErrorKind::TimedOut);
        thread::scope(|scope| {
            let lock = creators_lock();
            let accepting = blocked(scope, || listener.accept_timeout(HOUR).unwrap());
            drop(lock);
            let client = ClientOptions::new().timeout(HOUR).connect(&name).unwrap();
            expect_alive(&client as &dyn End, &accepting.join().unwrap() as &dyn End);
        });
    }

    /// A thread that waits for the other process holds up no other thread, and can be cancelled.
    pub(super) fn listener_threads_wait_apart_while_another_process_creates() {
        let name = unique();
        let listener = listen_without_instance(&name);
        let canceller = Canceller::new().unwrap();
        while_another_creates(|| {
            thread::scope(|scope| {
                listener.set_canceller(Some(&canceller));
                let accepting = blocked(scope, || listener.accept());
                listener.set_canceller(None);
                for _ in 0..3 {
                    expect_would_block(listener.try_accept());
                }
                assert!(listener.ready_fd().is_ok());
                expect(listener.accept_timeout(SHORT), PipeErrorKind::TimedOut);
                canceller.cancel();
                expect(accepting.join().unwrap(), PipeErrorKind::Aborted);
            });
        });
        expect_would_block(listener.try_accept());
        let client = ClientOptions::new().open(&name).unwrap();
        expect_alive(&client as &dyn End, &listener.accept().unwrap() as &dyn End);
    }
}
