//! This project's library as the remote client.

use std::{
    fs,
    io::{Read, Write},
    process::{Child, Command, Stdio},
    sync::Barrier,
    thread,
    time::Duration,
};

use pipework::{ClientOptions, Credentials, PipeErrorKind, PipeMode, PipeStream, is_gone};

use super::{
    Exclusive, Shared,
    fixture::{Fixture, Gateway},
    matrix, pattern,
    samba::{Setup, User},
    server::{Behavior, ServerPlan},
    wait_until,
};

const CLIENT: &str = "pipework";

pub(crate) const CASES: &[(&str, Shared)] = &[
    ("pipework_bytes_come_back", bytes),
    ("pipework_streams_arrive_up_to_their_ends", streams),
    ("pipework_messages_keep_their_boundaries", messages),
    ("pipework_transactions_get_their_replies", transactions),
    ("pipework_directions_are_independent", both_directions),
    ("pipework_opens_two_hundred_instances", instances),
    ("pipework_refusals_have_different_kinds", refusals),
    ("pipework_waits_for_a_busy_pipe", busy),
];

pub(crate) const FAILURES: &[(&str, Exclusive)] = &[
    ("an_smbd_that_is_held_up_at_the_close_loses_nothing", smbd_held_up),
    ("pipework_sees_the_end_after_a_killed_server", server_killed),
    ("pipework_sees_the_end_after_a_killed_gateway", gateway_killed),
    ("pipework_sees_an_error_after_a_killed_smbd", smbd_killed),
];

/// The options to open a pipe of the fixture as a user.
fn options(fixture: &Fixture, user: &User) -> ClientOptions {
    let mut options = ClientOptions::new();
    options.credentials(Credentials::password(&user.name, &user.password)).remote_port(fixture.samba.port());
    options
}

fn address(name: &str) -> String {
    format!(r"\\127.0.0.1\pipe\{name}")
}

fn open(fixture: &Fixture, plan: &ServerPlan) -> PipeStream {
    let mut options = options(fixture, fixture.samba.user());
    if plan.messages {
        options.read_mode(PipeMode::Message);
    }
    options.connect(address(&plan.name)).unwrap()
}

fn bytes(fixture: &Fixture) {
    let plan = ServerPlan::new("our-bytes", false, Behavior::Echo);
    let server = fixture.serve(&plan);
    let pipe = open(fixture, &plan);
    for len in [1, 2, 1000, 65_535, 65_536, 65_537, 1 << 20, 16 << 20] {
        let data = pattern(len);
        let mut back = vec![0; len];
        thread::scope(|scope| {
            scope.spawn(|| (&pipe).write_all(&data).unwrap());
            (&pipe).read_exact(&mut back).unwrap();
        });
        assert!(back == data, "{len}");
    }
    let user = fixture.samba.user();
    let seen = server.line();
    assert!(seen.contains(&user.name) && seen.contains("127.0.0.1 encrypted=true"), "{seen}");
    let network = pipe.peer().unwrap().network().cloned().unwrap();
    assert_eq!((network.address.as_str(), network.encrypted), ("127.0.0.1", Some(true)));
    drop(pipe);
    assert_eq!(server.line(), "done echo");
    matrix::note(CLIENT, "bytes", "echo of 1 B to 16 MiB, encrypted", "same bytes");
}

fn streams(fixture: &Fixture) {
    for len in [1, 65_537, 16 << 20] {
        let plan = ServerPlan { len, ..ServerPlan::new(&format!("our-give-{len}"), false, Behavior::Give) };
        let _server = fixture.serve(&plan);
        let mut back = Vec::new();
        open(fixture, &plan).read_to_end(&mut back).unwrap();
        assert!(back == pattern(len), "{len}");
        let plan = ServerPlan::new(&format!("our-take-{len}"), false, Behavior::Take);
        let server = fixture.serve(&plan);
        open(fixture, &plan).write_all(&pattern(len)).unwrap();
        server.line();
        assert_eq!(server.line(), format!("done took {len} bytes, right"));
    }
    matrix::note(CLIENT, "bytes", "1 B to 16 MiB one way, then close", "all of it, then the end");
}

/// smbd looks for the end between its read of the last bytes and the answer to its client. There it is stopped.
fn smbd_held_up() {
    const LEN: usize = 1000;
    let fixture = Fixture::new(&Setup::default(), &[]);
    let beside = ServerPlan::new("beside-held-up", false, Behavior::Wait);
    let _beside = fixture.serve(&beside);
    let session = open(&fixture, &beside);
    let _tracer = Tracer::slow_down(&fixture.samba.connection_processes(), Duration::from_millis(250));
    for messages in [false, true] {
        let name = if messages { "held-up-messages" } else { "held-up-bytes" };
        let plan = ServerPlan { len: LEN, ..ServerPlan::new(name, messages, Behavior::Give) };
        let _server = fixture.serve(&plan);
        let mut pipe = open(&fixture, &plan);
        let mut back = Vec::new();
        if messages {
            let messages = std::iter::from_fn(|| pipe.read_message(LEN).unwrap());
            back.extend(messages.last().unwrap());
        } else {
            pipe.read_to_end(&mut back).unwrap();
        }
        assert!(back == pattern(LEN), "{name}: {} bytes", back.len());
    }
    drop(session);
}

/// A strace that stops processes for a while after each read from a socket.
struct Tracer(Child);

impl Tracer {
    fn slow_down(processes: &[u32], delay: Duration) -> Tracer {
        assert!(!processes.is_empty());
        let mut strace = Command::new("strace");
        strace.args(["-f", "-o", "/dev/null", "-e", "trace=readv", "-e"]);
        strace.arg(format!("inject=readv:delay_exit={}", delay.as_micros()));
        strace.args(processes.iter().flat_map(|process| ["-p".to_owned(), process.to_string()]));
        let tracer = Tracer(strace.stderr(Stdio::null()).spawn().expect("strace"));
        let is_traced = |process: &u32| {
            let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
            status.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0"))
        };
        wait_until("strace is attached", || processes.iter().all(is_traced));
        tracer
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn messages(fixture: &Fixture) {
    let plan = ServerPlan::new("our-messages", true, Behavior::Echo);
    let _server = fixture.serve(&plan);
    let pipe = open(fixture, &plan);
    let lengths = [1, 2, 255, 256, 4096, 65_534, 65_535];
    for len in lengths {
        pipe.write_message(&pattern(len)).unwrap();
    }
    for len in lengths {
        assert!(pipe.read_message(1 << 20).unwrap().unwrap() == pattern(len), "{len}");
    }
    let odd = ServerPlan::new("our-odd", true, Behavior::Odd);
    let _odd = fixture.serve(&odd);
    let from_odd = open(fixture, &odd);
    from_odd.write_message(b"go").unwrap();
    let received: Vec<usize> =
        std::iter::from_fn(|| from_odd.read_message(1 << 20).unwrap()).map(|message| message.len()).collect();
    assert_eq!(received, [0, 1, 65_535]);
    matrix::note(CLIENT, "messages", "an empty one from the server", "an empty message");
    for len in [0, 65_536] {
        let refused = pipe.write_message(&vec![0; len]).unwrap_err();
        assert!(refused == PipeErrorKind::Invalid, "{len}: {refused}");
    }
    assert!(pipe.peek(&mut []).unwrap_err() == PipeErrorKind::Unsupported);
    matrix::note(CLIENT, "messages", "1 B to 65,535 B", "same messages, one by one");
    matrix::note(CLIENT, "messages", "0 B and 65,536 B", "Invalid before anything is sent");
}

fn transactions(fixture: &Fixture) {
    let plan = ServerPlan::new("our-questions", true, Behavior::Echo);
    let _server = fixture.serve(&plan);
    let pipe = open(fixture, &plan);
    for len in [1, 64, 4096, 65_535] {
        assert!(pipe.transact(&pattern(len), 1 << 16).unwrap() == pattern(len), "{len}");
    }
    let longer = pipe.transact(&pattern(100), 10).unwrap_err();
    assert!(longer == PipeErrorKind::MoreData, "{longer}");
    assert_eq!(pipe.read_message(100).unwrap().unwrap(), pattern(100));
    matrix::note(
        CLIENT,
        "messages",
        "transact of 1 B to 65,535 B",
        "a reply each; a reply that is too long stays",
    );
}

fn both_directions(fixture: &Fixture) {
    let plan = ServerPlan { len: 4 << 20, ..ServerPlan::new("our-both", false, Behavior::Both) };
    let server = fixture.serve(&plan);
    let pipe = open(fixture, &plan);
    let mut back = vec![0; plan.len];
    thread::scope(|scope| {
        scope.spawn(|| (&pipe).write_all(&pattern(plan.len)).unwrap());
        (&pipe).read_exact(&mut back).unwrap();
    });
    assert!(back == pattern(plan.len));
    drop(pipe);
    server.line();
    assert_eq!(server.line(), format!("done took {} bytes, right", plan.len));
    matrix::note(CLIENT, "bytes", "4 MiB both ways at once", "same bytes");
}

fn instances(fixture: &Fixture) {
    const COUNT: usize = 200;
    let plan = ServerPlan::new("our-crowd", true, Behavior::Echo);
    let _server = fixture.serve(&plan);
    let all_open = Barrier::new(COUNT);
    thread::scope(|scope| {
        for index in 0..COUNT {
            let (plan, all_open) = (&plan, &all_open);
            scope.spawn(move || {
                let pipe = open(fixture, plan);
                all_open.wait();
                let message = format!("{index}");
                assert_eq!(pipe.transact(message.as_bytes(), 10).unwrap(), message.as_bytes());
            });
        }
    });
    matrix::note(CLIENT, "messages", "200 instances at once", "each its own reply");
}

fn refusals(fixture: &Fixture) {
    let user = fixture.samba.user();
    let expect = |user: &User, name: &str, kind: PipeErrorKind, said: &str| {
        let error = options(fixture, user).open(address(name)).unwrap_err();
        assert!(error == kind && error.to_string().contains(said), "{name}: {error}");
        assert!(!format!("{error} {error:?}").contains(&user.password));
    };
    let wrong = User { password: "not the one".to_owned(), ..user.clone() };
    expect(&wrong, "our-bytes", PipeErrorKind::AccessDenied, "password is wrong");
    expect(user, "our-nobody", PipeErrorKind::Absent, "our-nobody");
    let denied = fixture.serve(&ServerPlan {
        user: Some("root".to_owned()),
        ..ServerPlan::new("our-denied", false, Behavior::Echo)
    });
    expect(user, "our-denied", PipeErrorKind::AccessDenied, "our-denied");
    let local =
        fixture.serve(&ServerPlan { is_local: true, ..ServerPlan::new("our-local", false, Behavior::Echo) });
    expect(user, "our-local", PipeErrorKind::Absent, "our-local");
    for name in ["..", "a/b", r"..\our-local", "our-local/"] {
        expect(user, name, PipeErrorKind::Absent, "");
    }
    assert!(denied.is_silent() && local.is_silent(), "a server noticed a refused client");
    matrix::note(CLIENT, "any", "wrong password", "AccessDenied, the text names the password");
    matrix::note(CLIENT, "any", "no such pipe; local only; odd names", "Absent; the server saw nothing");
    matrix::note(CLIENT, "any", "a user without access", "AccessDenied; the server saw nothing");
}

fn busy(fixture: &Fixture) {
    let plan = ServerPlan { instances: 1, ..ServerPlan::new("our-busy", true, Behavior::Echo) };
    let server = fixture.serve(&plan);
    let first = open(fixture, &plan);
    assert_eq!(first.transact(b"1", 9).unwrap(), b"1");
    server.line();
    thread::scope(|scope| {
        let second = scope.spawn(|| open(fixture, &plan).transact(b"2", 9).unwrap());
        thread::park_timeout(Duration::from_millis(200));
        drop(first);
        assert_eq!(second.join().unwrap(), b"2");
    });
    matrix::note(CLIENT, "messages", "a busy pipe", "opens when an instance is free, within 5 s");
}

/// Opens a pipe and completes one round trip.
fn open_idle(fixture: &Fixture) -> PipeStream {
    let pipe = open(fixture, &ServerPlan::new("ends", true, Behavior::Echo));
    assert_eq!(pipe.transact(b"alive", 9).unwrap(), b"alive");
    pipe
}

/// Returns the result of a read that waits while `end` runs.
fn read_across(pipe: &PipeStream, end: impl FnOnce()) -> std::io::Result<Option<Vec<u8>>> {
    thread::scope(|scope| {
        let reading = scope.spawn(|| pipe.read_message(9));
        thread::park_timeout(Duration::from_millis(100));
        end();
        reading.join().unwrap()
    })
}

fn expect_closed(pipe: &PipeStream) {
    let error = pipe.write_message(b"x").and_then(|()| pipe.write_message(b"x")).unwrap_err();
    assert!(is_gone(&error) || error == PipeErrorKind::Broken, "{error}");
}

fn server_killed() {
    let fixture = Fixture::new(&Setup::default(), &[]);
    let mut server = fixture.serve(&ServerPlan::new("ends", true, Behavior::Echo));
    let pipe = open_idle(&fixture);
    assert_eq!(read_across(&pipe, || server.kill()).unwrap(), None);
    expect_closed(&pipe);
    matrix::note(CLIENT, "any", "server killed", "the end of the pipe; writes fail");
}

fn gateway_killed() {
    let mut fixture = Fixture::new(&Setup::default(), &[]);
    let _server = fixture.serve(&ServerPlan::new("ends", true, Behavior::Echo));
    let pipe = open_idle(&fixture);
    assert_eq!(read_across(&pipe, || fixture.gateway.signal("KILL")).unwrap(), None);
    expect_closed(&pipe);
    fixture.gateway.wait();
    let stale = options(&fixture, fixture.samba.user()).open(address("ends")).unwrap_err();
    assert!(stale == PipeErrorKind::Absent, "{stale}");
    fixture.gateway = Gateway::start(&fixture.samba.conf(), &fixture.directories, &[]);
    fixture.await_export("ends");
    drop(open_idle(&fixture));
    matrix::note(
        CLIENT,
        "any",
        "gateway killed",
        "the end of the pipe, then Absent; found again after its restart",
    );
}

fn smbd_killed() {
    let fixture = Fixture::new(&Setup::default(), &[]);
    let _server = fixture.serve(&ServerPlan::new("ends", true, Behavior::Echo));
    let pipe = open_idle(&fixture);
    let error = read_across(&pipe, || fixture.samba.kill()).unwrap_err();
    assert!(error == PipeErrorKind::Broken, "{error}");
    expect_closed(&pipe);
    wait_until("smbd no longer listens", || {
        let error = options(&fixture, fixture.samba.user()).open(address("ends")).unwrap_err();
        error.kind() == std::io::ErrorKind::ConnectionRefused
    });
    matrix::note(CLIENT, "any", "smbd killed", "Broken, then connection refused");
}
