//! One session for many pipes.

use crate::{
    harness::{Case, Place, open, unique, wait_until},
    samba::{Samba, Setup},
    server::{Kind, Served},
};
use pipework::{Credentials, PipeErrorKind, PipeMode};
use std::{
    collections::HashSet,
    io::{Read, Write},
    thread,
    time::Duration,
};

pub(crate) const CASES: &[Case] = &[
    ("fifty_pipes_are_one_connection", fifty_pipes_are_one_connection),
    ("who_is_somebody_else_has_a_session_of_their_own", who_is_somebody_else_has_a_session_of_their_own),
    ("a_session_that_died_is_replaced", a_session_that_died_is_replaced),
    ("pipes_that_nobody_reads_hold_up_no_other", pipes_that_nobody_reads_hold_up_no_other),
    ("many_threads_open_at_once", many_threads_open_at_once),
    ("a_forked_child_is_told", a_forked_child_is_told),
];

const PIPES: u32 = 50;

fn pipes_that_nobody_reads_hold_up_no_other(place: &Place) {
    let full: Vec<_> = (0..20)
        .map(|_| {
            let (mut client, server) = open(place, Kind::Bytes);
            client.set_write_timeout(Some(Duration::from_millis(50))).unwrap();
            while client.write(&vec![0; 3 << 20]).is_ok() {}
            client.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
            assert!(client.read(&mut [0]).unwrap_err() == PipeErrorKind::TimedOut);
            (client, server)
        })
        .collect();
    let (client, server) = open(place, Kind::Messages);
    let echo = thread::spawn(move || server.echo_messages());
    for _ in 0..100 {
        assert_eq!(client.transact(b"not held up", 11).unwrap(), b"not held up");
    }
    drop(client);
    echo.join().unwrap();
    // They end without having been read.
    drop(full);
}

fn fifty_pipes_are_one_connection(_: &Place) {
    let samba = Samba::start(&Setup::default());
    let place = Place::of(&samba);
    let name = unique();
    let served = Served::new(&place.np, &name, Kind::Messages);
    let serving = thread::spawn(move || {
        let servers: Vec<_> = (0..PIPES).map(|_| served.accept()).collect();
        let echoing: Vec<_> =
            servers.into_iter().map(|server| thread::spawn(move || server.echo_messages())).collect();
        echoing.into_iter().for_each(|echo| echo.join().unwrap());
    });
    let mut options = place.options();
    options.read_mode(PipeMode::Message);
    let pipes: Vec<_> = (0..PIPES).map(|_| options.open(place.address(&name)).unwrap()).collect();
    assert_eq!(samba.connection_count(), 1);
    thread::scope(|scope| {
        for (index, pipe) in (0..).zip(&pipes) {
            scope.spawn(move || {
                for round in 0..20_u32 {
                    let question = [u32::to_le_bytes(index), round.to_le_bytes()].concat();
                    assert_eq!(pipe.transact(&question, 8).unwrap(), question);
                    pipe.write_message(&question).unwrap();
                    assert_eq!(pipe.read_message(8).unwrap().unwrap(), question);
                }
            });
        }
    });
    assert_eq!(samba.connection_count(), 1);
    drop(pipes);
    serving.join().unwrap();
    wait_until(|| samba.connection_count() == 0);
}

fn who_is_somebody_else_has_a_session_of_their_own(_: &Place) {
    let mut samba = Samba::start(&Setup::default());
    let place = Place::of(&samba);
    let other = samba.add_user("another one");
    let name = unique();
    let served = Served::new(&place.np, &name, Kind::Bytes);
    let serving = thread::spawn(move || (0..4).map(|_| served.accept().request).collect::<Vec<_>>());
    let mut options = place.options();
    let mut held = vec![options.open(place.address(&name)).unwrap()];
    options.credentials(Credentials::password(&other.name, &other.password));
    held.push(options.open(place.address(&name)).unwrap());
    options.require_encryption(false);
    held.push(options.open(place.address(&name)).unwrap());
    held.push(options.open(place.address(&name)).unwrap());
    assert_eq!(samba.connection_count(), 3);
    // A wrong password gets no part in a session that others have signed in.
    let wrong = options.credentials(Credentials::password(&place.user, "wrong")).open(place.address(&name));
    assert!(wrong.unwrap_err() == PipeErrorKind::AccessDenied);
    let requests = serving.join().unwrap();
    let names =
        |request: &[u8], name: &str| request.windows(name.len()).any(|bytes| bytes == name.as_bytes());
    let who = requests.iter().map(|request| (names(request, &place.user), names(request, &other.name)));
    let who: Vec<_> = who.collect();
    assert_eq!(who, [(true, false), (false, true), (false, true), (false, true)]);
    drop(held);
    wait_until(|| samba.connection_count() == 0);
}

fn a_session_that_died_is_replaced(_: &Place) {
    let samba = Samba::start(&Setup::default());
    let place = Place::of(&samba);
    let (mut old, _server) = open(&place, Kind::Bytes);
    samba.kill_connections();
    // Nobody has looked at the old session yet.
    let (mut client, mut server) = open(&place, Kind::Bytes);
    client.write_all(b"new").unwrap();
    assert_eq!(server.read_exactly(3), b"new");
    assert!(old.read(&mut [0]).unwrap_err() == PipeErrorKind::Broken);
}

fn many_threads_open_at_once(_: &Place) {
    let samba = Samba::start(&Setup::default());
    let place = Place::of(&samba);
    let name = unique();
    let served = Served::new(&place.np, &name, Kind::Bytes);
    let serving = thread::spawn(move || (0..20).map(|_| served.accept()).collect::<Vec<_>>());
    let clients: Vec<_> = thread::scope(|scope| {
        let opening: Vec<_> =
            (0..20).map(|_| scope.spawn(|| place.options().open(place.address(&name)).unwrap())).collect();
        opening.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(samba.connection_count(), 1);
    let ids: HashSet<String> = clients.iter().map(|client| format!("{client:?}")).collect();
    assert_eq!(ids.len(), 20);
    drop((clients, serving.join().unwrap()));
}

#[expect(unsafe_code, reason = "a child without exec is what is tried")]
fn a_forked_child_is_told(place: &Place) {
    let (client, mut server) = open(place, Kind::Bytes);
    // SAFETY: the child calls this crate and nothing that another thread may hold, and leaves by `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let is_told =
            |outcome: std::io::Result<()>| outcome.is_err_and(|error| error == PipeErrorKind::Unsupported);
        let all = [
            is_told((&client).write(b"x").map(drop)),
            is_told((&client).read(&mut [0]).map(drop)),
            is_told(place.options().open(place.address("x")).map(drop)),
        ];
        drop(client);
        // SAFETY: it ends this process.
        unsafe { libc::_exit(if all == [true; 3] { 0 } else { 1 }) };
    }
    let mut status = 0;
    // SAFETY: the child is this process's own and is waited for once.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0);
    (&client).write_all(b"parent").unwrap();
    assert_eq!(server.read_exactly(6), b"parent");
}
