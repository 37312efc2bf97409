//! Remote pipes: the tool at both ends, with a private smbd and the gateway between them.

#[allow(clippy::expect_used, reason = "shared with tests of the library")]
#[path = "../../../pipework/tests/remote/samba.rs"]
mod samba;

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::harness::{Running, Test, TestDir, test};
use samba::{Samba, Setup, User};

/// A wait that takes longer than this fails.
const TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) fn tests() -> Vec<Test> {
    vec![
        test(options_for_remote_pipes_are_rejected_for_local_pipes),
        test(a_byte_arrives_from_a_remote_client).skipped_for(missing()),
        test(a_lost_connection_is_a_failure).skipped_for(missing()),
        test(a_lost_connection_fails_a_call).skipped_for(missing()),
        test(a_command_knows_its_remote_client).skipped_for(missing()),
        test(the_password_is_asked_for_on_the_terminal).skipped_for(missing()),
    ]
}

/// Why the tests that need Samba can't run, if they can't.
fn missing() -> Option<String> {
    if !gateway().exists() {
        return Some("pipework-gateway is not built (cargo build -p pipework-gateway)".to_owned());
    }
    Samba::unavailable()
}

/// The gateway's binary, which the same build puts beside the tool.
fn gateway() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_pipework")).with_file_name("pipework-gateway")
}

/// A directory of pipes that clients of a private smbd can open.
struct Site {
    dir: TestDir,
    samba: Samba,
    _gateway: Running,
}

impl Site {
    fn new() -> Site {
        let (dir, samba) = (TestDir::new(), Samba::start(&Setup::default()));
        fs::set_permissions(dir.pipes(), fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = Command::new(gateway());
        command.env("PIPEWORK_DIR", dir.pipes()).arg("--smb-conf").arg(samba.conf());
        command.arg("--run-dir").arg(dir.file("run"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut gateway = Running::start(command);
        while !gateway.stderr_line().contains("lets callers of smbd in") {}
        Site { dir, samba, _gateway: gateway }
    }

    /// Serves a pipe for the first user of smbd, and waits until the gateway has exported it.
    fn serve(&self, name: &str) -> Running {
        let user = &self.samba.user().name;
        let server = self.dir.serve(&[name, "--accept-remote", "--user", user, "--echo", "--verbose"]);
        self.wait_until_exported(name);
        server
    }

    fn wait_until_exported(&self, name: &str) {
        let (link, start) = (self.samba.np().join(name), Instant::now());
        while !link.is_symlink() {
            assert!(start.elapsed() < TIMEOUT, "the pipe is not exported");
            thread::park_timeout(Duration::from_millis(10));
        }
    }

    /// The arguments that open a pipe through smbd as its first user, whose password is in a file.
    fn arguments_with_password(&self, name: &str) -> Vec<String> {
        let (user, file) = (self.samba.user(), self.dir.file("password"));
        fs::write(&file, format!("{}\n", user.password)).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let mut arguments = self.arguments(name, user);
        arguments.extend(["--password-file", file.to_str().unwrap()].map(str::to_owned));
        arguments
    }

    /// The arguments that open a pipe through smbd as this user.
    fn arguments(&self, name: &str, user: &User) -> Vec<String> {
        let (address, port) = (format!(r"\\127.0.0.1\pipe\{name}"), self.samba.port().to_string());
        ["connect", &address, "--port", &port, "--user", &user.name].map(str::to_owned).to_vec()
    }
}

fn options_for_remote_pipes_are_rejected_for_local_pipes() {
    let dir = TestDir::new();
    dir.run(["connect", "hello", "--user", "eve"]).failure(2, "is a local pipe");
    dir.run(["connect", "hello", "--port", "4455"]).failure(2, "is a local pipe");
    assert_eq!(dir.run(["connect", "hello", "--password-file", "x"]).code, Some(2));
    let file = dir.file("password");
    dir.run([r"connect", r"\\host\pipe\hello", "--user", "eve", "--password-file", file.to_str().unwrap()])
        .failure(1, "can't read the password");
}

fn a_byte_arrives_from_a_remote_client() {
    let site = Site::new();
    let (dir, user) = (&site.dir, site.samba.user());
    let mut server = site.serve("hello");
    assert_eq!(dir.list()[0]["accept_remote"], true);

    let file = dir.file("password");
    fs::write(&file, format!("{}\n", user.password)).unwrap();
    let by_file = |name: &str| {
        let mut arguments = site.arguments(name, user);
        arguments.extend(["--password-file".to_owned(), file.to_str().unwrap().to_owned()]);
        arguments
    };
    let ended = dir.run_with(by_file("hello"), b"hi there");
    assert!(ended.stderr.contains("other users can read"), "{ended:?}");
    assert_eq!(ended.success(), "hi there");
    let line = server.stderr_line();
    assert!(line.contains(&user.name) && line.contains("at 127.0.0.1, encrypted"), "{line}");

    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let absent = dir.run(by_file("nobody"));
    absent.failure(3, "nobody");
    assert!(!absent.stderr.contains("other users can read"), "{absent:?}");
    fs::write(&file, "mistaken\n").unwrap();
    let refused = dir.run(by_file("hello"));
    refused.failure(5, "password");
    assert!(!refused.stderr.contains("mistaken"), "{refused:?}");
}

/// Output that was cut off must not look complete.
fn a_lost_connection_is_a_failure() {
    let site = Site::new();
    let (dir, user) = (&site.dir, site.samba.user());
    let _server = site.serve("hello");
    let file = dir.file("password");
    fs::write(&file, format!("{}\n", user.password)).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let mut arguments = site.arguments("hello", user);
    arguments.extend(["--stay", "--password-file", file.to_str().unwrap()].map(str::to_owned));
    // One whose stdin has ended, and one that waits for more.
    let mut clients = [(); 2].map(|()| Running::start_with_stdin(dir.command(&arguments)));
    for client in &mut clients {
        client.stdin().write_all(b"first part").unwrap();
        assert_eq!(client.stdout(10), b"first part");
    }
    let [mut waiting, other] = clients;
    let ended = thread::spawn(move || other.end());
    site.samba.kill_connections();
    assert!(waiting.stderr_line().contains("was lost"));
    for ended in [ended.join().unwrap(), waiting.end()] {
        assert_eq!(ended.code, Some(1), "{ended:?}");
    }
}

fn a_lost_connection_fails_a_call() {
    let site = Site::new();
    let dir = &site.dir;
    let _server = site.serve("hello");
    let mut arguments = site.arguments_with_password("hello");
    "call".clone_into(&mut arguments[0]);
    arguments.push("question".to_owned());
    assert_eq!(dir.run(&arguments).success(), "question\n");
    arguments.push("--close".to_owned());
    let mut client = Running::start(dir.command(&arguments));
    assert_eq!(client.stdout(9), b"question\n");
    site.samba.kill_connections();
    let ended = client.end();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("was lost"), "{ended:?}");
}

fn a_command_knows_its_remote_client() {
    let site = Site::new();
    let (dir, user) = (&site.dir, site.samba.user());
    let _server = dir.serve_with(&["who", "--accept-remote", "--user", &user.name], &["show-peer"]);
    site.wait_until_exported("who");
    let mut arguments = site.arguments_with_password("who");
    arguments.push("--stay".to_owned());
    let shown = dir.run(&arguments).success();
    let value = |variable: &str| {
        let start = format!("PIPEWORK_PEER_{variable}=");
        shown.lines().find_map(|line| line.strip_prefix(&start))
    };
    assert!(value("ACCOUNT").is_some_and(|account| account.ends_with(&user.name)), "{shown}");
    assert_eq!((value("ADDRESS"), value("PID")), (Some("127.0.0.1"), None), "{shown}");
    assert_eq!(value("USER"), value("ACCOUNT"), "{shown}");
}

/// `script` provides a terminal. The password is not shown, and Ctrl-C ends the prompt.
fn the_password_is_asked_for_on_the_terminal() {
    let site = Site::new();
    let (dir, user) = (&site.dir, site.samba.user());
    let _server = site.serve("hello");
    let line: Vec<String> = [env!("CARGO_BIN_EXE_pipework").to_owned()]
        .into_iter()
        .chain(site.arguments("hello", user))
        .map(|word| format!("'{word}'"))
        .collect();
    let on_terminal = || {
        let mut command = Command::new("script");
        command.args(["--quiet", "--return", "--echo", "never", "--command", &line.join(" "), "/dev/null"]);
        command.env("PIPEWORK_DIR", dir.pipes()).env("SHELL", "/bin/sh");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut terminal = Running::start(command);
        let question = format!("Password of {} on 127.0.0.1: ", user.name);
        assert_eq!(String::from_utf8(terminal.stdout(question.len())).unwrap(), question);
        terminal
    };
    let mut terminal = on_terminal();
    writeln!(terminal.stdin(), "{}", user.password).unwrap();
    terminal.stdin().write_all(b"hi\n\x04").unwrap();
    let ended = terminal.end();
    let shown = String::from_utf8(ended.stdout).unwrap();
    assert_eq!(ended.code, Some(0), "{shown}");
    assert!(shown.contains("hi"), "{shown}");
    assert!(!shown.contains(&user.password), "{shown}");

    let mut terminal = on_terminal();
    terminal.stdin().write_all(b"\x03").unwrap();
    let ended = terminal.end();
    assert_eq!(ended.code, Some(130), "{ended:?}");
}
