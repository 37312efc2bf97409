//! Plain Unix sockets by path, as every other language speaks them.

use std::{
    fs,
    io::{Read, Write},
    os::unix::{
        fs::{FileTypeExt, MetadataExt, PermissionsExt},
        net::{UnixListener, UnixStream},
    },
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use pipework::{
    Access, Canceller, ClientOptions, Listener, NamedPipe, NamedPipeBuilder, PipeErrorKind, PipeMode,
    PipeName, PipeStream, os::unix::PipeStreamExt,
};

use super::{Case, SHORT, expect, plain};
use crate::harness::{beside_pipes, blocked, make_file, skip};

pub(super) fn cases() -> Vec<Case> {
    vec![
        plain("socket", socket_served_and_opened_by_path),
        plain("socket", socket_served_to_std),
        plain("socket", socket_opened_from_std),
        plain("socket", socket_served_to_python),
        plain("socket", socket_opened_from_python),
        plain("socket", socket_file_goes_with_its_listener),
        plain("socket", socket_of_a_dead_server_is_replaced),
        plain("socket", socket_of_a_live_server_is_taken),
        plain("socket", socket_of_racing_servers_is_of_exactly_one),
        plain("socket", socket_is_not_removed_by_the_server_before),
        plain("socket", socket_admits_nobody_before_its_permission),
        plain("socket", socket_is_listed_at_its_own_path),
        plain("socket", socket_never_replaces_another_file),
        plain("socket", socket_that_nobody_serves_is_absent),
        plain("socket", socket_has_no_instances),
        plain("socket", socket_has_no_messages),
        plain("socket", socket_can_be_half_closed),
        plain("socket", socket_has_deadlines_and_cancellers),
        plain("socket", socket_write_reports_what_went_before_its_peer_left),
        plain("socket", socket_knows_its_peer),
        plain("socket", socket_is_for_its_owner_unless_told_otherwise),
        plain("socket", socket_becomes_a_unix_stream),
        plain("socket", socket_path_that_is_too_long_is_invalid),
    ]
}

/// A socket in the case's own directory.
fn with_socket(case: impl FnOnce(&Path)) {
    let path = beside_pipes("it.sock");
    case(&path);
    assert!(!path.exists(), "{} is left", path.display());
}

fn served(path: &Path) -> (Listener, PipeStream, PipeStream) {
    let listener = NamedPipeBuilder::new(path).listen().unwrap();
    let client = pipework::connect(path).unwrap();
    let server = listener.accept().unwrap();
    (listener, client, server)
}

fn expect_echo(mut one: impl Write, mut other: impl Read) {
    one.write_all(b"over a socket").unwrap();
    let mut data = [0; 13];
    other.read_exact(&mut data).unwrap();
    assert_eq!(&data, b"over a socket");
}

/// Both ends are ours.
fn socket_served_and_opened_by_path() {
    with_socket(|path| {
        let (listener, client, server) = served(path);
        expect_echo(&client, &server);
        expect_echo(&server, &client);
        assert_eq!(listener.name(), &PipeName::new(path).unwrap());
        assert_eq!(PipeName::new(path).unwrap().location().unwrap(), path);
        assert_eq!(client.info().unwrap().mode, PipeMode::Byte);
        let second = ClientOptions::new().open(path).unwrap();
        expect_echo(&second, listener.accept_timeout(SHORT).unwrap());
        drop(client);
        assert_eq!((&server).read(&mut [0; 9]).unwrap(), 0);
        let error = (&server).write_all(&[0; 9]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
    });
}

/// A foreign client.
fn socket_served_to_std() {
    with_socket(|path| {
        let listener = Listener::bind(path).unwrap();
        let client = UnixStream::connect(path).unwrap();
        let server = listener.accept().unwrap();
        expect_echo(&client, &server);
        expect_echo(&server, &client);
    });
}

/// A foreign server.
fn socket_opened_from_std() {
    with_socket(|path| {
        let listener = UnixListener::bind(path).unwrap();
        let client = pipework::connect(path).unwrap();
        let (server, _) = listener.accept().unwrap();
        expect_echo(&client, &server);
        expect_echo(&server, &client);
        drop(server);
        assert_eq!((&client).read(&mut [0; 9]).unwrap(), 0);
        drop(listener);
        expect(ClientOptions::new().open(path), PipeErrorKind::Absent);
        fs::remove_file(path).unwrap();
    });
}

/// The peer reads a part of a large write and leaves: the write counts what the socket took, and the next one fails.
fn socket_write_reports_what_went_before_its_peer_left() {
    with_socket(|path| {
        let (_listener, client, server) = served(path);
        let (written, read) = thread::scope(|scope| {
            let writing = scope.spawn(|| (&client).write(&vec![7; 16 << 20]));
            let mut part = vec![0; 1 << 20];
            (&server).read_exact(&mut part).unwrap();
            drop(server);
            (writing.join().unwrap().unwrap(), part.len())
        });
        assert!((read..16 << 20).contains(&written), "{written}");
        expect((&client).write(b"x"), PipeErrorKind::NoData);
    });
}

/// A Python program, or a skip where there is none.
fn python(program: &str, path: &Path) -> Command {
    let found = Command::new("python3").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        skip("needs python3, as the foreign peer");
    }
    let mut command = Command::new("python3");
    command.args(["-c", program]).arg(path).stdin(Stdio::null());
    command
}

/// A client in another language.
fn socket_served_to_python() {
    const CLIENT: &str = "
import socket, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall(b'question'); s.shutdown(socket.SHUT_WR)
assert s.recv(99) == b'answer'
";
    with_socket(|path| {
        let listener = Listener::bind(path).unwrap();
        let mut client = python(CLIENT, path).spawn().unwrap();
        let mut server = listener.accept().unwrap();
        let mut text = String::new();
        server.read_to_string(&mut text).unwrap();
        assert_eq!(text, "question");
        server.write_all(b"answer").unwrap();
        assert!(client.wait().unwrap().success());
    });
}

/// A server in another language.
fn socket_opened_from_python() {
    const SERVER: &str = "
import os, socket, sys
s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen()
print('ready', flush=True)
c, _ = s.accept()
assert c.recv(99) == b'question'
c.sendall(b'answer'); c.close(); os.unlink(sys.argv[1])
";
    with_socket(|path| {
        let mut server = python(SERVER, path).stdout(Stdio::piped()).spawn().unwrap();
        let mut ready = [0; 6];
        server.stdout.take().unwrap().read_exact(&mut ready).unwrap();
        let mut client = pipework::connect(path).unwrap();
        client.write_all(b"question").unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        assert_eq!(text, "answer");
        assert!(server.wait().unwrap().success());
    });
}

/// And only with it: accepted streams live on.
fn socket_file_goes_with_its_listener() {
    with_socket(|path| {
        let (listener, client, server) = served(path);
        assert!(fs::symlink_metadata(path).unwrap().file_type().is_socket());
        drop(listener);
        assert!(!path.exists());
        expect_echo(&client, &server);
        expect(ClientOptions::new().open(path), PipeErrorKind::Absent);
        // A file that came later is not this listener's.
        let first = Listener::bind(path).unwrap();
        fs::remove_file(path).unwrap();
        let second = Listener::bind(path).unwrap();
        drop(first);
        drop(pipework::connect(path).unwrap());
        drop(second);
    });
}

/// Nobody has to know what to delete.
fn socket_of_a_dead_server_is_replaced() {
    with_socket(|path| {
        drop(UnixListener::bind(path).unwrap());
        assert!(path.exists());
        expect(ClientOptions::new().open(path), PipeErrorKind::Absent);
        let (_listener, client, server) = served(path);
        expect_echo(&client, &server);
    });
}

/// A foreign server's too.
fn socket_of_a_live_server_is_taken() {
    with_socket(|path| {
        let foreign = UnixListener::bind(path).unwrap();
        expect(Listener::bind(path), PipeErrorKind::NameTaken);
        let client = UnixStream::connect(path).unwrap();
        expect_echo(&client, foreign.accept().unwrap().0);
        drop(foreign);
        let ours = Listener::bind(path).unwrap();
        expect(Listener::bind(path), PipeErrorKind::NameTaken);
        drop(ours);
    });
}

/// Whatever is there and is not a socket stays as it is.
fn socket_never_replaces_another_file() {
    let (file, directory) = (beside_pipes("a-file"), beside_pipes("a-directory"));
    make_file(&file, "precious");
    fs::create_dir(&directory).unwrap();
    for path in [&file, &directory] {
        let error = Listener::bind(path).unwrap_err();
        assert!(error.to_string().contains(path.to_str().unwrap()), "the text names the file: {error}");
        assert_ne!(PipeErrorKind::of(&error), Some(PipeErrorKind::Absent), "{error}");
        let error = pipework::connect(path).unwrap_err();
        assert!(error.to_string().contains(path.to_str().unwrap()), "the text names the file: {error}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    fs::remove_file(file).unwrap();
    fs::remove_dir(directory).unwrap();
}

/// Like a pipe that does not exist.
fn socket_that_nobody_serves_is_absent() {
    with_socket(|path| {
        expect(pipework::connect(path), PipeErrorKind::Absent);
        expect(NamedPipe::wait(path, Some(SHORT)), PipeErrorKind::Absent);
        expect(ClientOptions::new().open(path.join("below")), PipeErrorKind::Absent);
        thread::scope(|scope| {
            let mut options = ClientOptions::new();
            options.wait_absent(true);
            let waiting = blocked(scope, move || options.connect(path));
            let listener = Listener::bind(path).unwrap();
            let client = waiting.join().unwrap().unwrap();
            expect_echo(&client, listener.accept().unwrap());
        });
    });
}

/// So there is none to create.
fn socket_has_no_instances() {
    with_socket(|path| {
        expect(NamedPipe::new(path), PipeErrorKind::Unsupported);
        expect(NamedPipeBuilder::new(path).first(false).create(), PipeErrorKind::Unsupported);
        assert!(!path.exists());
    });
}

/// Bytes only.
fn socket_has_no_messages() {
    with_socket(|path| {
        let refused = NamedPipeBuilder::new(path).pipe_mode(PipeMode::Message).listen();
        let kind = PipeErrorKind::of(&refused.unwrap_err());
        assert!(matches!(kind, Some(PipeErrorKind::Invalid | PipeErrorKind::Unsupported)), "{kind:?}");
        assert!(!path.exists());
        let (_listener, client, server) = served(path);
        expect(client.set_read_mode(PipeMode::Message), PipeErrorKind::Invalid);
        expect(client.read_message(9), PipeErrorKind::BadPipe);
        expect(client.transact(b"x", 9), PipeErrorKind::BadPipe);
        expect(ClientOptions::new().read_mode(PipeMode::Message).open(path), PipeErrorKind::Invalid);
        expect_echo(&client, &server);
    });
}

/// Which a named pipe can't.
fn socket_can_be_half_closed() {
    with_socket(|path| {
        let (_listener, mut client, mut server) = served(path);
        client.write_all(b"question").unwrap();
        client.shutdown_write().unwrap();
        let mut text = String::new();
        server.read_to_string(&mut text).unwrap();
        assert_eq!(text, "question");
        assert!(server.is_connected().unwrap());
        expect_echo(&server, &client);
        assert!(client.write(b"x").is_err());
        drop(client);
        assert!(!server.is_connected().unwrap());
    });
    let name = crate::harness::unique();
    let server = NamedPipe::new(&name).unwrap();
    let client = pipework::connect(&name).unwrap();
    server.connect().unwrap();
    expect(client.shutdown_write(), PipeErrorKind::Unsupported);
    expect(server.stream().shutdown_write(), PipeErrorKind::Unsupported);
    expect_echo(&client, server.stream());
}

/// As every other end.
fn socket_has_deadlines_and_cancellers() {
    with_socket(|path| {
        let (listener, mut client, server) = served(path);
        client.set_read_timeout(Some(SHORT)).unwrap();
        expect(client.read(&mut [0; 9]), PipeErrorKind::TimedOut);
        expect(listener.accept_timeout(SHORT), PipeErrorKind::TimedOut);
        client.set_write_timeout(Some(SHORT)).unwrap();
        let mut sent = 0;
        loop {
            match client.write(&[7; 100_000]) {
                Ok(count) => sent += count,
                Err(error) => {
                    expect(Err::<(), _>(error), PipeErrorKind::TimedOut);
                    break;
                }
            }
        }
        let mut arrived = 0;
        while arrived < sent {
            arrived += (&server).read(&mut [0; 65_536]).unwrap();
        }
        assert_eq!(arrived, sent);
        let canceller = Canceller::new().unwrap();
        server.set_canceller(Some(&canceller));
        listener.set_canceller(Some(&canceller));
        thread::scope(|scope| {
            let reading = blocked(scope, || (&server).read(&mut [0; 9]));
            let accepting = blocked(scope, || listener.accept());
            canceller.cancel();
            expect(reading.join().unwrap(), PipeErrorKind::Aborted);
            expect(accepting.join().unwrap(), PipeErrorKind::Aborted);
        });
        assert!(listener.incoming().next().is_none());
    });
}

/// Whether the path is free, or a dead server's socket lies there. None replaces the one that listens.
fn socket_of_racing_servers_is_of_exactly_one() {
    with_socket(|path| {
        for round in 0..40 {
            if round % 2 == 1 {
                drop(UnixListener::bind(path).unwrap());
            }
            let mut outcomes = thread::scope(|scope| {
                let racers: Vec<_> = (0..8).map(|_| scope.spawn(|| Listener::bind(path))).collect();
                racers.into_iter().map(|racer| racer.join().unwrap()).collect::<Vec<_>>()
            });
            let winner = outcomes.remove(outcomes.iter().position(Result::is_ok).expect("one listens"));
            for outcome in outcomes {
                expect(outcome, PipeErrorKind::NameTaken);
            }
            let _client = pipework::connect(path).unwrap();
            winner.unwrap().accept_timeout(super::HOUR).unwrap();
        }
    });
}

/// One ends while the next one begins.
fn socket_is_not_removed_by_the_server_before() {
    const ROUNDS: u32 = 6000;
    let serve = |path: &Path| {
        for _ in 0..ROUNDS {
            match Listener::bind(path) {
                Ok(_listening) => drop(UnixStream::connect(path).unwrap()),
                error => drop(expect(error, PipeErrorKind::NameTaken)),
            }
        }
    };
    with_socket(|path| {
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| serve(path));
            }
        });
    });
}

/// A5 in the first moment: the umask lets everybody in, and the file is there before it has its permission.
fn socket_admits_nobody_before_its_permission() {
    crate::harness::needs_root();
    super::users::open_directory();
    with_socket(|path| {
        rustix::process::umask(rustix::fs::Mode::empty());
        let (done, lets_in) = (AtomicBool::new(false), super::users::TWO.to_string());
        // The file has the group of its maker before it has that of those who are let in.
        let (user, group) = (super::users::ONE, rustix::process::getegid().as_raw());
        thread::scope(|scope| {
            scope.spawn(|| {
                // Of this thread alone.
                let (user, group) =
                    (rustix::process::Uid::from_raw(user), rustix::process::Gid::from_raw(group));
                rustix::thread::set_thread_groups(&[]).unwrap();
                rustix::thread::set_thread_res_gid(group, group, group).unwrap();
                rustix::thread::set_thread_res_uid(user, user, user).unwrap();
                while !done.load(Ordering::Relaxed) {
                    UnixStream::connect(path).expect_err("another user is not let in");
                }
            });
            for _ in 0..300 {
                drop(NamedPipeBuilder::new(path).access(Access::owner().group(&lets_in)).listen().unwrap());
            }
            done.store(true, Ordering::Relaxed);
        });
    });
}

/// So that others see that it is in use: cleaners of temporary files, and people.
fn socket_is_listed_at_its_own_path() {
    let Ok(before) = fs::read_to_string("/proc/net/unix") else { skip("needs the kernel's list of sockets") };
    with_socket(|path| {
        assert!(!before.contains(path.to_str().unwrap()));
        let _listener = Listener::bind(path).unwrap();
        let list = fs::read_to_string("/proc/net/unix").unwrap();
        assert!(list.lines().any(|line| line.ends_with(path.to_str().unwrap())), "{list}");
    });
}

/// By the kernel's word.
fn socket_knows_its_peer() {
    with_socket(|path| {
        let (_listener, client, server) = served(path);
        for end in [&client, &server] {
            let peer = end.peer().unwrap();
            assert_eq!(peer.process_id(), Some(std::process::id()));
            assert!(peer.is_same_user());
        }
        drop(client);
        assert!(server.peer().unwrap().is_same_user());
    });
}

/// A5 for a file.
fn socket_is_for_its_owner_unless_told_otherwise() {
    with_socket(|path| {
        let mode = |listener: Listener| {
            let mode = fs::metadata(path).unwrap().permissions().mode() & 0o777;
            drop(listener);
            mode
        };
        rustix::process::umask(rustix::fs::Mode::empty());
        assert_eq!(mode(Listener::bind(path).unwrap()) & 0o077, 0);
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
        let listener = NamedPipeBuilder::new(path).access(Access::everyone()).listen().unwrap();
        assert_eq!(fs::metadata(path).unwrap().uid(), rustix::process::geteuid().as_raw());
        assert_eq!(mode(listener) & 0o006, 0o006);
    });
}

/// For what only a socket can.
fn socket_becomes_a_unix_stream() {
    with_socket(|path| {
        let (_listener, client, server) = served(path);
        let client = client.into_socket().expect("a plain socket");
        client.set_nonblocking(false).unwrap();
        expect_echo(&client, &server);
        expect_echo(&server, &client);
    });
    let name = crate::harness::unique();
    let server = NamedPipe::new(&name).unwrap();
    let client = pipework::connect(&name).unwrap();
    server.connect().unwrap();
    let client = client.into_socket().expect_err("a named pipe is more than a socket");
    expect_echo(&client, server.stream());
}

/// Longer than an address of a socket has room for: never cut short.
fn socket_path_that_is_too_long_is_invalid() {
    let directory = beside_pipes(&"d".repeat(150));
    fs::create_dir(&directory).unwrap();
    let path = directory.join("long.sock");
    expect(Listener::bind(&path), PipeErrorKind::Invalid);
    expect(ClientOptions::new().open(&path), PipeErrorKind::Invalid);
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
    fs::remove_dir(directory).unwrap();
}
