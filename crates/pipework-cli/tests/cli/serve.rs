//! `pipework serve` with commands, options and several processes.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::Write,
    net::{Ipv4Addr, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use crate::{
    harness::{Running, TIMEOUT, Test, TestDir, is_wine, test},
    programs::program,
};

const GROUPS: &str = "only the command itself is ended there";
const FIRST: &str = "Wine creates another first instance of a name";

pub(crate) fn tests() -> Vec<Test> {
    vec![
        test(each_client_has_its_own_command),
        test(a_command_that_exits_has_sent_everything),
        test(lines_of_a_command_are_messages),
        test(a_client_that_disconnects_ends_the_commands_stdin),
        test(a_grandchild_that_keeps_stdout_open_delays_no_client),
        test(a_client_that_left_ends_a_command_that_does_not_read),
        test(a_client_that_left_ends_a_command_that_writes_nothing_more)
            .only_on_unix("the system does not report the client's state to an end that only writes"),
        test(a_client_that_left_ends_a_command_of_a_plain_socket).only_on_unix("a path is not a pipe name"),
        test(a_client_that_left_ends_what_its_command_started).only_on_unix(GROUPS),
        test(a_client_that_left_ends_what_ignores_termination).only_on_unix(GROUPS),
        test(a_command_that_exits_ends_what_it_started).only_on_unix(GROUPS),
        test(a_command_is_started_without_ignored_signals).only_on_unix("Windows has no signals"),
        #[cfg(target_os = "linux")]
        test(a_shortage_of_descriptors_ends_no_command),
        test(a_command_that_cannot_start_is_named),
        test(a_command_that_fails_is_reported),
        test(a_command_that_is_not_there_is_named_at_the_start)
            .only_on_unix("the system decides what it starts"),
        test(a_command_knows_its_client),
        test(verbose_names_the_client),
        test(a_name_is_taken_once).skipped_if(is_wine(), FIRST),
        test(a_name_can_be_joined),
        test(the_servers_of_a_name_are_listed).with_list(),
        test(usage_is_checked_before_anything_is_created),
        test(a_directory_that_is_made_is_reported).only_on_unix("names have no directory"),
    ]
}

fn each_client_has_its_own_command() {
    let dir = TestDir::new();
    let hello = &dir.pipe("hello");
    let _server = dir.serve_with(&[hello], &["echo"]);
    let mut clients: Vec<_> = (0..3).map(|_| dir.connect(&[hello])).collect();
    for (client, word) in clients.iter_mut().zip(["one", "two", "six"]) {
        client.stdin().write_all(word.as_bytes()).unwrap();
    }
    for (client, word) in clients.iter_mut().zip(["one", "two", "six"]) {
        assert_eq!(client.stdout(3), word.as_bytes());
    }
}

fn a_command_that_exits_has_sent_everything() {
    let dir = TestDir::new();
    let (answer, much) = (&dir.pipe("answer"), &dir.pipe("much"));
    let _server = dir.serve_with(&[answer], &["answer"]);
    assert_eq!(dir.run_with(["connect", answer, "--stay"], b"it\n").success(), "got it\n");
    let _server = dir.serve_with(&[much], &["say-bytes", "3000000"]);
    assert_eq!(dir.run(["connect", much, "--stay"]).success().len(), 3_000_000);
}

fn lines_of_a_command_are_messages() {
    let dir = TestDir::new();
    let hello = &dir.pipe("hello");
    let _server = dir.serve_with(&[hello, "--message"], &["echo"]);
    let mut client = dir.connect(&[hello, "--message"]);
    client.stdin().write_all(b"one\n\ntwo\n").unwrap();
    assert_eq!(client.stdout(9), b"one\n\ntwo\n");
}

fn a_client_that_disconnects_ends_the_commands_stdin() {
    let dir = TestDir::new();
    let hello = &dir.pipe("hello");
    let mut server = dir.serve_with(&[hello], &["mourn"]);
    let mut client = dir.connect(&[hello]);
    assert_eq!(client.stdout(5), b"here\n");
    client.kill();
    assert_eq!(server.stderr_line(), "gone");
}

fn a_grandchild_that_keeps_stdout_open_delays_no_client() {
    let dir = TestDir::new();
    let hello = &dir.pipe("hello");
    let _server = dir.serve_with(&[hello], &["leave-holder", "20"]);
    assert_eq!(dir.run(["connect", hello, "--stay"]).success(), "hi\n");
}

/// The number of the port that a program holds, from its output.
fn port(output: &mut Running) -> u16 {
    let mut line = String::new();
    while !line.ends_with('\n') {
        line.push(output.stdout(1)[0].into());
    }
    line.trim_end().parse().unwrap()
}

/// Waits until the program that holds a port has ended.
fn until_free(port: u16) {
    let start = Instant::now();
    while UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_err() {
        assert!(start.elapsed() < TIMEOUT, "the program is not ended");
        thread::park_timeout(Duration::from_millis(10));
    }
}

/// A client that has more input than the pipe and the command's stdin take.
fn client_with_much(dir: &TestDir, name: &str) -> Running {
    let file = dir.file("much");
    fs::write(&file, vec![b'x'; 3 << 20]).unwrap();
    let mut command = dir.command(["connect", name]);
    command.stdin(File::open(&file).unwrap());
    Running::start(command)
}

/// The pipe has room for the next client, and the command has ended.
fn a_client_that_left_ends_a_command_that_does_not_read() {
    let dir = TestDir::new();
    let (duplex, inbound) = (&dir.pipe("duplex"), &dir.pipe("in"));
    let _server = dir.serve_with(&[duplex, "--max-instances", "1"], &["hold-port"]);
    let mut reporting = dir.serve_with(&[inbound, "--direction", "in"], &["hold-port"]);
    let (mut client, mut writer) = (client_with_much(&dir, duplex), client_with_much(&dir, inbound));
    let (one, other) = (port(&mut client), port(&mut reporting));
    client.kill();
    writer.kill();
    until_free(one);
    until_free(other);
    assert_ne!(port(&mut dir.connect(&[duplex])), 0);
}

fn a_client_that_left_ends_a_command_that_writes_nothing_more() {
    let dir = TestDir::new();
    let outbound = &dir.pipe("out");
    let _server = dir.serve_with(&[outbound, "--direction", "out", "--max-instances", "1"], &["hold-port"]);
    let mut client = dir.connect(&[outbound]);
    let held = port(&mut client);
    client.kill();
    until_free(held);
    assert_ne!(port(&mut dir.connect(&[outbound])), 0);
}

/// There the end of the input is not that of the client.
fn a_client_that_left_ends_a_command_of_a_plain_socket() {
    let dir = TestDir::new();
    let path = dir.file("socket");
    let path = path.to_str().unwrap();
    let _server = dir.serve_with(&[path], &["hold-port"]);
    let mut client = dir.connect(&[path]);
    let held = port(&mut client);
    client.kill();
    until_free(held);
}

fn a_client_that_left_ends_what_its_command_started() {
    let dir = TestDir::new();
    let hello = &dir.pipe("hello");
    let _server = dir.serve_with(&[hello], &["let-hold-port", "stay"]);
    let mut client = dir.connect(&[hello]);
    let held = port(&mut client);
    client.kill();
    until_free(held);
}

fn a_client_that_left_ends_what_ignores_termination() {
    let dir = TestDir::new();
    let hello = &dir.pipe("hello");
    let shell = [OsString::from("sh"), "-c".into(), "trap '' TERM; \"$@\"; exit".into(), "sh".into()];
    let line = ["serve", hello, "--"].map(OsString::from).into_iter().chain(shell);
    let _server = TestDir::serving(dir.command(line.chain(program(&["hold-port"]))));
    let mut client = dir.connect(&[hello]);
    let held = port(&mut client);
    client.kill();
    until_free(held);
}

fn a_command_that_exits_ends_what_it_started() {
    let dir = TestDir::new();
    let hello = &dir.pipe("hello");
    let _server = dir.serve_with(&[hello], &["let-hold-port", "exit"]);
    let mut client = dir.connect(&[hello, "--stay"]);
    let held = port(&mut client);
    until_free(held);
    assert_eq!(client.end().code, Some(0));
}

/// Not even with SIGPIPE ignored, as the tool itself has it.
fn a_command_is_started_without_ignored_signals() {
    let dir = TestDir::new();
    let hello = &dir.pipe("hello");
    let endless = "while echo yes; do :; done 2> /dev/null; echo still there >&2";
    let mut server = dir.serve(&[hello, "--verbose", "--", "sh", "-c", endless]);
    let mut client = dir.connect(&[hello]);
    assert!(server.stderr_line().contains("client 1 connected"));
    assert_eq!(client.stdout(4), b"yes\n");
    client.kill();
    assert_eq!(server.stderr_line(), "pipework: client 1 disconnected");
}

/// A message that is longer than the buffer needs a descriptor.
#[cfg(target_os = "linux")]
fn a_shortage_of_descriptors_ends_no_command() {
    use std::path::Path;

    use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

    let dir = TestDir::new();
    let hello = &dir.pipe("hello");
    let mut server = dir.serve_with(&[hello, "--message"], &["echo"]);
    let mut client = dir.connect(&[hello, "--message"]);
    client.stdin().write_all(b"short\n").unwrap();
    assert_eq!(client.stdout(6), b"short\n");
    let id = Pid::from_raw(server.id().try_into().unwrap());
    let limit = getrlimit(Resource::Nofile);
    // All below are taken.
    let free = (0..).find(|fd| !Path::new(&format!("/proc/{}/fd/{fd}", server.id())).exists());
    prlimit(id, Resource::Nofile, Rlimit { current: free, ..limit }).unwrap();
    let mut long = vec![b'x'; 1 << 20];
    long.push(b'\n');
    client.stdin().write_all(&long).unwrap();
    let line = server.stderr_line();
    assert!(
        line.starts_with("pipework: client 1: can't read: ") && line.ends_with("(os error 24); trying again"),
        "{line}"
    );
    prlimit(id, Resource::Nofile, limit).unwrap();
    assert_eq!(client.stdout(long.len()), long);
}

fn a_command_that_cannot_start_is_named() {
    let dir = TestDir::new();
    let hello = &dir.pipe("hello");
    let program = dir.file("program");
    fs::copy(env!("CARGO_BIN_EXE_pipework"), &program).unwrap();
    let mut server = dir.serve(&[hello, "--", program.to_str().unwrap()]);
    fs::remove_file(&program).unwrap();
    assert_eq!(dir.run(["connect", hello, "--stay"]).success(), "");
    let line = server.stderr_line();
    assert!(line.contains(&format!("can't start `{}`", program.display())), "{line}");
}

fn a_command_that_is_not_there_is_named_at_the_start() {
    let dir = TestDir::new();
    let hello = &dir.pipe("hello");
    let file = dir.file("no-program");
    fs::write(&file, "").unwrap();
    let (file, missing) = (file.to_str().unwrap(), dir.file("missing"));
    let commands = [
        ("no-such-program", "it is in no directory of PATH"),
        (file, "it is not an executable file"),
        (missing.to_str().unwrap(), "there is no such file"),
        ("cat -n", "it is in no directory of PATH"),
    ];
    for (command, why) in commands {
        let text = format!("can't start `{command}`: {why}");
        dir.run(["serve", hello, "--", command]).failure(1, &text);
    }
    assert_eq!(fs::read_dir(dir.pipes()).unwrap().count(), 0);
}

fn a_command_that_fails_is_reported() {
    let dir = TestDir::new();
    let (hello, lost) = (&dir.pipe("hello"), &dir.pipe("lost"));
    let mut server = dir.serve_with(&[hello], &["fail", "3"]);
    assert_eq!(dir.run(["connect", hello]).success(), "");
    let line = server.stderr_line();
    assert!(line.starts_with("pipework: client 1: `") && line.contains("` failed: exit "), "{line}");
    assert!(line.ends_with(": 3"), "{line}");
    #[cfg(unix)]
    {
        let mut killed = dir.serve(&[&dir.pipe("killed"), "--", "sh", "-c", "kill -9 $$"]);
        assert_eq!(dir.run(["connect", &dir.pipe("killed"), "--stay"]).success(), "");
        assert_eq!(killed.stderr_line(), "pipework: client 1: `sh` failed: signal: 9 (SIGKILL)");
    }
    // This one fails because its client has left.
    let mut server = dir.serve_with(&[lost, "--verbose"], &["say-yes"]);
    let mut client = dir.connect(&[lost]);
    assert!(server.stderr_line().contains("client 1 connected"));
    assert_eq!(client.stdout(4), b"yes\n");
    client.kill();
    assert_eq!(server.stderr_line(), "pipework: client 1 disconnected");
}

fn a_command_knows_its_client() {
    let dir = TestDir::new();
    let hello = &dir.pipe("hello");
    let line = ["serve", hello, "--"].map(OsString::from).into_iter().chain(program(&["show-peer"]));
    let mut command = dir.command(line);
    // As it would be in the command of another server.
    command.env("PIPEWORK_PEER_PID", "1").env("PIPEWORK_PEER_ADDRESS", "forged");
    let _server = TestDir::serving(command);
    let client = dir.connect(&[hello, "--stay"]);
    let id = client.id();
    let shown = client.end().success();
    let has = |variable: &str, value: &str| shown.lines().any(|line| line == format!("{variable}={value}"));
    assert!(has("PIPEWORK_NAME", hello) && has("PIPEWORK_PEER_PID", &id.to_string()), "{shown}");
    assert!(shown.contains("PIPEWORK_PEER_USER="), "{shown}");
    #[cfg(unix)]
    assert!(has("PIPEWORK_PEER_UID", &rustix::process::getuid().as_raw().to_string()), "{shown}");
    assert!(!shown.contains("PIPEWORK_PEER_ADDRESS"), "{shown}");
}

fn verbose_names_the_client() {
    let dir = TestDir::new();
    let hello = &dir.pipe("hello");
    let mut server = dir.serve(&[hello, "-v"]);
    let mut client = dir.connect(&[hello]);
    let (line, id) = (server.stderr_line(), client.id());
    assert!(
        line.starts_with("pipework: client 1 connected: process ") && line.contains(&id.to_string()),
        "{line}"
    );
    client.stdin().write_all(b"x").unwrap();
    assert_eq!(client.stdout(1), b"x");
    client.end().success();
    assert_eq!(server.stderr_line(), "pipework: client 1 disconnected");
}

fn a_name_is_taken_once() {
    let dir = TestDir::new();
    let hello = &dir.pipe("hello");
    let _first = dir.serve(&[hello]);
    let refused = dir.run(["serve", hello]);
    refused.failure(5, "hello");
    assert!(refused.stderr.contains("--join"), "{refused:?}");
}

fn a_name_can_be_joined() {
    let dir = TestDir::new();
    let hello = &dir.pipe("hello");
    let first = dir.serve(&[hello]);
    let _second = dir.serve(&[hello, "--join"]);
    drop(first);
    assert_eq!(dir.run_with(["connect", hello], b"still here").success(), "still here");
}

fn the_servers_of_a_name_are_listed() {
    let dir = TestDir::new();
    let hello = &dir.pipe("hello");
    let (first, second) = (dir.serve(&[hello]), dir.serve(&[hello, "--join"]));
    let mut servers: Vec<u64> = vec![first.id().into(), second.id().into()];
    servers.sort_unstable();
    let entries = dir.list();
    let mut listed: Vec<u64> =
        entries[0]["servers"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect();
    listed.sort_unstable();
    assert_eq!((entries.len(), entries[0]["instances"].as_u64()), (1, Some(2)));
    // Windows does not report the servers of the instances.
    assert_eq!(listed, if cfg!(unix) { servers } else { Vec::new() });
}

fn usage_is_checked_before_anything_is_created() {
    let dir = TestDir::new();
    let hello = &dir.pipe("hello");
    dir.run(["serve", hello, "--direction", "out"]).failure(2, "echo");
    assert_eq!(dir.run(["serve", hello, "--echo", "--", "cat"]).code, Some(2));
    assert_eq!(dir.run(["serve", hello, "--max-instances", "0"]).code, Some(2));
    dir.run(["serve", r"\\elsewhere\pipe\hello"]).failure(1, "elsewhere");
    assert_eq!(std::fs::read_dir(dir.pipes()).unwrap().count(), 0);
}

/// It may be mistyped.
fn a_directory_that_is_made_is_reported() {
    let dir = TestDir::new();
    std::fs::remove_dir(dir.pipes()).unwrap();
    let missing = format!("PIPEWORK_DIR is `{}`, which does not exist", dir.pipes().display());
    dir.run(["connect", "hello"]).failure(3, &missing);
    let mut server = dir.serve(&["hello"]);
    let line = server.stderr_line();
    assert!(line.contains("PIPEWORK_DIR") && line.contains("was made"), "{line}");
    let mut second = dir.serve(&["another", "--verbose"]);
    let _client = dir.connect(&["another"]);
    let line = second.stderr_line();
    assert!(line.contains("client 1"), "the directory is there: {line}");
}
