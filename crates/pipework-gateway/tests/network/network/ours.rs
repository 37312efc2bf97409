//! This library's own client as the caller.

use std::{
    io::{Read, Write},
    sync::Barrier,
    thread,
    time::Duration,
};

use pipework::{ClientOptions, Credentials, PipeErrorKind, PipeMode, PipeStream, is_gone};

use super::{
    Alone, Shared, matrix, pattern,
    samba::{Setup, User},
    server::{Deed, Plan},
    site::{Gateway, Site},
    wait_until,
};

const WHO: &str = "pipework";

pub(crate) const CASES: &[(&str, Shared)] = &[
    ("our_bytes_come_back", bytes),
    ("our_streams_keep_their_tails", streams),
    ("our_messages_keep_their_ends", messages),
    ("our_transactions_are_answered", transactions),
    ("our_directions_do_not_wait_for_each_other", both_ways),
    ("our_two_hundred_pipes_are_one_session", instances),
    ("our_refusals_are_told_apart", refusals),
    ("our_busy_pipe_is_waited_for", busy),
];

pub(crate) const ENDS: &[(&str, Alone)] = &[
    ("our_end_of_a_killed_server", server_killed),
    ("our_end_of_a_killed_gateway", gateway_killed),
    ("our_end_of_a_killed_smbd", smbd_killed),
];

/// How to open a pipe at a site as this user.
fn options(site: &Site, user: &User) -> ClientOptions {
    let mut options = ClientOptions::new();
    options.credentials(Credentials::password(&user.name, &user.password)).remote_port(site.samba.port());
    options
}

fn address(name: &str) -> String {
    format!(r"\\127.0.0.1\pipe\{name}")
}

fn open(site: &Site, plan: &Plan) -> PipeStream {
    let mut options = options(site, site.samba.user());
    if plan.messages {
        options.read_mode(PipeMode::Message);
    }
    options.connect(address(&plan.name)).unwrap()
}

fn bytes(site: &Site) {
    let plan = Plan::new("our-bytes", false, Deed::Echo);
    let server = site.serve(&plan);
    let pipe = open(site, &plan);
    for len in [1, 2, 1000, 65_535, 65_536, 65_537, 1 << 20, 16 << 20] {
        let data = pattern(len);
        let mut back = vec![0; len];
        thread::scope(|scope| {
            scope.spawn(|| (&pipe).write_all(&data).unwrap());
            (&pipe).read_exact(&mut back).unwrap();
        });
        assert!(back == data, "{len}");
    }
    let user = site.samba.user();
    let seen = server.line();
    assert!(seen.contains(&user.name) && seen.contains("127.0.0.1 encrypted=true"), "{seen}");
    let network = pipe.peer().unwrap().network().cloned().unwrap();
    assert_eq!((network.address.as_str(), network.encrypted), ("127.0.0.1", Some(true)));
    drop(pipe);
    assert_eq!(server.line(), "done echo");
    matrix::note(WHO, "bytes", "echo of 1 B to 16 MiB, encrypted", "same bytes");
}

fn streams(site: &Site) {
    for len in [1, 65_537, 16 << 20] {
        let plan = Plan { len, ..Plan::new(&format!("our-give-{len}"), false, Deed::Give) };
        let _server = site.serve(&plan);
        let mut back = Vec::new();
        open(site, &plan).read_to_end(&mut back).unwrap();
        assert!(back == pattern(len), "{len}");
        let plan = Plan::new(&format!("our-take-{len}"), false, Deed::Take);
        let server = site.serve(&plan);
        open(site, &plan).write_all(&pattern(len)).unwrap();
        server.line();
        assert_eq!(server.line(), format!("done took {len} bytes, right"));
    }
    matrix::note(WHO, "bytes", "1 B to 16 MiB one way, then close", "all of it, then the end");
}

fn messages(site: &Site) {
    let plan = Plan::new("our-messages", true, Deed::Echo);
    let _server = site.serve(&plan);
    let pipe = open(site, &plan);
    let lengths = [1, 2, 255, 256, 4096, 65_534, 65_535];
    for len in lengths {
        pipe.write_message(&pattern(len)).unwrap();
    }
    for len in lengths {
        assert!(pipe.read_message(1 << 20).unwrap().unwrap() == pattern(len), "{len}");
    }
    for len in [0, 65_536] {
        let refused = pipe.write_message(&vec![0; len]).unwrap_err();
        assert!(refused == PipeErrorKind::Invalid, "{len}: {refused}");
    }
    assert!(pipe.peek(&mut []).unwrap_err() == PipeErrorKind::Unsupported);
    matrix::note(WHO, "messages", "1 B to 65,535 B", "same messages, one by one");
    matrix::note(WHO, "messages", "0 B and 65,536 B", "Invalid before anything is sent");
}

fn transactions(site: &Site) {
    let plan = Plan::new("our-questions", true, Deed::Echo);
    let _server = site.serve(&plan);
    let pipe = open(site, &plan);
    for len in [1, 64, 4096, 65_535] {
        assert!(pipe.transact(&pattern(len), 1 << 16).unwrap() == pattern(len), "{len}");
    }
    let longer = pipe.transact(&pattern(100), 10).unwrap_err();
    assert!(longer == PipeErrorKind::MoreData, "{longer}");
    assert_eq!(pipe.read_message(100).unwrap().unwrap(), pattern(100));
    matrix::note(WHO, "messages", "transact of 1 B to 65,535 B", "answered; a reply that is too long stays");
}

fn both_ways(site: &Site) {
    let plan = Plan { len: 4 << 20, ..Plan::new("our-both", false, Deed::Both) };
    let server = site.serve(&plan);
    let pipe = open(site, &plan);
    let mut back = vec![0; plan.len];
    thread::scope(|scope| {
        scope.spawn(|| (&pipe).write_all(&pattern(plan.len)).unwrap());
        (&pipe).read_exact(&mut back).unwrap();
    });
    assert!(back == pattern(plan.len));
    drop(pipe);
    server.line();
    assert_eq!(server.line(), format!("done took {} bytes, right", plan.len));
    matrix::note(WHO, "bytes", "4 MiB both ways at once", "same bytes");
}

fn instances(site: &Site) {
    const COUNT: usize = 200;
    let plan = Plan::new("our-crowd", true, Deed::Echo);
    let _server = site.serve(&plan);
    let all_open = Barrier::new(COUNT);
    thread::scope(|scope| {
        for index in 0..COUNT {
            let (plan, all_open) = (&plan, &all_open);
            scope.spawn(move || {
                let pipe = open(site, plan);
                all_open.wait();
                let message = format!("{index}");
                assert_eq!(pipe.transact(message.as_bytes(), 10).unwrap(), message.as_bytes());
            });
        }
    });
    matrix::note(WHO, "messages", "200 instances at once", "each its own answer");
}

fn refusals(site: &Site) {
    let user = site.samba.user();
    let expect = |user: &User, name: &str, kind: PipeErrorKind, said: &str| {
        let error = options(site, user).open(address(name)).unwrap_err();
        assert!(error == kind && error.to_string().contains(said), "{name}: {error}");
        assert!(!format!("{error} {error:?}").contains(&user.password));
    };
    let wrong = User { password: "not the one".to_owned(), ..user.clone() };
    expect(&wrong, "our-bytes", PipeErrorKind::AccessDenied, "password is wrong");
    expect(user, "our-nobody", PipeErrorKind::Absent, "our-nobody");
    let denied =
        site.serve(&Plan { user: Some("root".to_owned()), ..Plan::new("our-denied", false, Deed::Echo) });
    expect(user, "our-denied", PipeErrorKind::AccessDenied, "our-denied");
    let local = site.serve(&Plan { is_local: true, ..Plan::new("our-local", false, Deed::Echo) });
    expect(user, "our-local", PipeErrorKind::Absent, "our-local");
    for name in ["..", "a/b", r"..\our-local", "our-local/"] {
        expect(user, name, PipeErrorKind::Absent, "");
    }
    assert!(denied.is_silent() && local.is_silent(), "a server heard of who was refused");
    matrix::note(WHO, "any", "wrong password", "AccessDenied, and says so");
    matrix::note(WHO, "any", "no such pipe; local only; odd names", "Absent; the server saw nothing");
    matrix::note(WHO, "any", "a user without access", "AccessDenied; the server saw nothing");
}

fn busy(site: &Site) {
    let plan = Plan { instances: 1, ..Plan::new("our-busy", true, Deed::Echo) };
    let server = site.serve(&plan);
    let first = open(site, &plan);
    assert_eq!(first.transact(b"1", 9).unwrap(), b"1");
    server.line();
    thread::scope(|scope| {
        let second = scope.spawn(|| open(site, &plan).transact(b"2", 9).unwrap());
        thread::park_timeout(Duration::from_millis(200));
        drop(first);
        assert_eq!(second.join().unwrap(), b"2");
    });
    matrix::note(WHO, "messages", "a busy pipe", "served when it is free, within 5 s");
}

/// A pipe that has said something, and waits for more.
fn waiting(site: &Site) -> PipeStream {
    let pipe = open(site, &Plan::new("ends", true, Deed::Echo));
    assert_eq!(pipe.transact(b"alive", 9).unwrap(), b"alive");
    pipe
}

/// What a read that waits meanwhile comes to.
fn ended(pipe: &PipeStream, end: impl FnOnce()) -> std::io::Result<Option<Vec<u8>>> {
    thread::scope(|scope| {
        let reading = scope.spawn(|| pipe.read_message(9));
        thread::park_timeout(Duration::from_millis(100));
        end();
        reading.join().unwrap()
    })
}

fn expect_over(pipe: &PipeStream) {
    let error = pipe.write_message(b"x").and_then(|()| pipe.write_message(b"x")).unwrap_err();
    assert!(is_gone(&error) || error == PipeErrorKind::Broken, "{error}");
}

fn server_killed() {
    let site = Site::new(&Setup::default(), &[]);
    let mut server = site.serve(&Plan::new("ends", true, Deed::Echo));
    let pipe = waiting(&site);
    assert_eq!(ended(&pipe, || server.kill()).unwrap(), None);
    expect_over(&pipe);
    matrix::note(WHO, "any", "server killed", "the end of the pipe; writes fail");
}

fn gateway_killed() {
    let mut site = Site::new(&Setup::default(), &[]);
    let _server = site.serve(&Plan::new("ends", true, Deed::Echo));
    let pipe = waiting(&site);
    assert_eq!(ended(&pipe, || site.gateway.signal("KILL")).unwrap(), None);
    expect_over(&pipe);
    site.gateway.wait();
    let stale = options(&site, site.samba.user()).open(address("ends")).unwrap_err();
    assert!(stale == PipeErrorKind::Absent, "{stale}");
    site.gateway = Gateway::start(&site.samba.conf(), &site.places, &[]);
    site.await_export("ends");
    drop(waiting(&site));
    matrix::note(
        WHO,
        "any",
        "gateway killed",
        "the end of the pipe, then Absent; found again after its restart",
    );
}

fn smbd_killed() {
    let site = Site::new(&Setup::default(), &[]);
    let _server = site.serve(&Plan::new("ends", true, Deed::Echo));
    let pipe = waiting(&site);
    let error = ended(&pipe, || site.samba.kill()).unwrap_err();
    assert!(error == PipeErrorKind::Broken, "{error}");
    expect_over(&pipe);
    wait_until("nobody listens", || {
        let error = options(&site, site.samba.user()).open(address("ends")).unwrap_err();
        error.kind() == std::io::ErrorKind::ConnectionRefused
    });
    matrix::note(WHO, "any", "smbd killed", "Broken, then connection refused");
}
