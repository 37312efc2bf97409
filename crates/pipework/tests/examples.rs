//! Every example runs as a real program: it shows itself between two processes, says what it should, and leaves
//! nothing behind.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use libtest_mimic::{Arguments, Completion, Trial};
use std::{
    any::type_name,
    collections::BTreeSet,
    env, fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Command, ExitCode, ExitStatus, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use tempfile::TempDir;

/// Every example; a test below runs each of them.
const EXAMPLES: [&str; 8] = [
    "desktop_service",
    "echo",
    "group_daemon",
    "parent_child",
    "peer_to_peer",
    "request_reply",
    "single_instance",
    "socket_activation",
];

/// Longer than any example takes, on any machine.
const WATCHDOG: Duration = Duration::from_secs(60);

/// The most lines of an example, which is to be read at a glance.
const LINES_MAX: usize = 60;

/// What an example did.
#[derive(Debug)]
struct Outcome {
    status: ExitStatus,
    stdout: String,
    stderr: String,
}

/// Cargo puts the examples beside the directory of the tests.
fn program(example: &str) -> PathBuf {
    let test = env::current_exe().unwrap();
    let products = test.parent().and_then(Path::parent).unwrap();
    let program = products.join("examples").join(format!("{example}{}", env::consts::EXE_SUFFIX));
    assert!(
        program.is_file(),
        "{} is missing; build it: cargo build --package pipework --examples",
        program.display()
    );
    program
}

/// Runs an example with `dir` as the place of all pipes.
fn run_in(dir: &Path, example: &str, args: &[&str]) -> Outcome {
    let mut child = Command::new(program(example))
        .args(args)
        .env("PIPEWORK_DIR", dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = in_background(child.stdout.take().unwrap());
    let stderr = in_background(child.stderr.take().unwrap());
    // Both end when the example and the processes that it started have ended.
    let texts = [stdout, stderr].map(|text| text.recv_timeout(WATCHDOG));
    if texts.contains(&Err(RecvTimeoutError::Timeout)) {
        child.kill().unwrap();
        panic!("{example} still runs after {WATCHDOG:?}; it said {texts:?}");
    }
    let [stdout, stderr] = texts.map(Result::unwrap);
    Outcome { status: child.wait().unwrap(), stdout, stderr }
}

fn in_background(mut source: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut text = String::new();
        source.read_to_string(&mut text).unwrap();
        sender.send(text)
    });
    receiver
}

/// Runs an example that succeeds and leaves no pipe behind, and gives the lines that it printed.
fn lines_of(dir: &TempDir, example: &str, args: &[&str]) -> Vec<String> {
    let outcome = run_in(dir.path(), example, args);
    assert!(outcome.status.success() && outcome.stderr.is_empty(), "{example}: {outcome:?}");
    let left: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    // The lock of the directory itself stays.
    assert!(left.iter().all(|name| name == ".lock"), "{example} left {left:?} behind");
    outcome.stdout.lines().map(str::to_owned).collect()
}

/// The lines of an example that is run without arguments.
fn shown(example: &str) -> Vec<String> {
    lines_of(&private_dir(), example, &[])
}

/// A place that no other user can reach.
fn private_dir() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    #[cfg(unix)]
    fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    dir
}

fn main() -> ExitCode {
    let tests = [
        test(each_example_is_run_and_is_short),
        test(echo_comes_back_from_another_process),
        test(each_request_has_its_reply),
        test(the_first_start_opens_the_files_of_the_later_one),
        test(peers_greet_each_other),
        test(the_child_sorts_for_its_parent),
        test(a_wrong_argument_is_told),
        test(the_service_serves_also_where_nobody_activates_it),
        #[cfg(unix)]
        test(socket_activation::the_service_is_passed_its_socket),
        #[cfg(unix)]
        test(socket_activation::a_socket_for_another_process_is_left_alone),
        test(the_desktop_service_knows_its_user),
        #[cfg(unix)]
        test(the_desktop_service_says_what_it_would_need_to_serve_all_users),
        #[cfg(unix)]
        test(the_desktop_service_serves_all_users_where_it_may),
        #[cfg(windows)]
        test(the_desktop_service_serves_all_users),
        #[cfg(unix)]
        test(group_daemon::it_says_what_it_would_need_and_serves_its_owner),
        #[cfg(unix)]
        test(group_daemon::it_serves_a_group_where_it_may),
        #[cfg(unix)]
        test(group_daemon::a_group_that_does_not_exist_is_told),
        #[cfg(windows)]
        test(group_daemon::it_serves_a_group),
        #[cfg(windows)]
        test(group_daemon::a_group_that_does_not_exist_is_told),
    ];
    libtest_mimic::run(&Arguments::from_args(), tests.into()).exit_code()
}

/// A function as a test.
fn test<F: Fn() + Send + 'static>(run: F) -> Trial {
    let path = type_name::<F>();
    let name = path.split_once("::").map_or(path, |(_, name)| name);
    Trial::ignorable_test(name, move || {
        if name == "the_first_start_opens_the_files_of_the_later_one" && is_wine() {
            return Ok(Completion::ignored_with("Wine makes another first instance of a name"));
        }
        run();
        Ok(Completion::Completed)
    })
}

/// Whether this is Wine, which brings a program that Windows does not have.
fn is_wine() -> bool {
    cfg!(windows) && Path::new(r"C:\windows\system32\winecfg.exe").exists()
}

fn each_example_is_run_and_is_short() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        assert!(text.starts_with("//! "), "{name} does not begin by saying what it shows");
        assert!(text.contains(&format!("cargo run --example {name}")), "{name} does not say how to run it");
        assert!(!text.contains("cfg("), "{name} has code for one system only");
        assert!(text.lines().count() < LINES_MAX, "{name} has {LINES_MAX} lines or more");
        found.insert(name);
    }
    assert_eq!(found, EXAMPLES.map(str::to_owned).into());
}

fn echo_comes_back_from_another_process() {
    let lines = shown("echo");
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("server: a client, process Some("), "{lines:?}");
    assert_eq!(lines[1], "client: hello, pipe");
}

fn each_request_has_its_reply() {
    let expected = [r#""one two three": 3 words"#, r#""": 0 words"#, r#""the end": 2 words"#];
    assert_eq!(shown("request_reply"), expected);
}

fn the_first_start_opens_the_files_of_the_later_one() {
    let expected = [
        r#"first start: opens ["a.txt"]"#,
        r#"later start: hands ["b.txt", "c.txt"] over"#,
        r#"first start: opens ["b.txt", "c.txt"]"#,
    ];
    assert_eq!(shown("single_instance"), expected);
}

fn peers_greet_each_other() {
    let lines = shown("peer_to_peer");
    let words: Vec<Vec<&str>> = lines.iter().map(|line| line.split(' ').collect()).collect();
    let [greeting, thanks] = words.as_slice() else { panic!("{lines:?}") };
    // Each prints its own number and that of its peer.
    let (one, other) = (greeting[1], greeting[6]);
    assert_ne!(one, other);
    assert_eq!(*greeting, ["process", one, "received:", "greetings", "from", "process", other]);
    assert_eq!(*thanks, ["process", other, "received:", "thanks", "from", "process", one]);
}

fn the_child_sorts_for_its_parent() {
    let lines = shown("parent_child");
    assert!(lines[0].starts_with("process ") && lines[0].ends_with(" sorted:"), "{lines:?}");
    assert_eq!(lines[1..], ["apple", "cherry", "pear"]);
}

fn a_wrong_argument_is_told() {
    let dir = private_dir();
    for example in ["desktop_service", "echo", "parent_child", "request_reply"] {
        let outcome = run_in(dir.path(), example, &["nonsense"]);
        assert_eq!(outcome.status.code(), Some(1), "{example}: {outcome:?}");
        assert!(outcome.stderr.contains("nothing"), "{example}: {outcome:?}");
    }
}

fn the_service_serves_also_where_nobody_activates_it() {
    let lines = shown("socket_activation");
    assert_eq!(lines, ["server: made its own name", "client: hello from the service"]);
}

/// An activator as systemd is one: it listens, starts the service at the first client, and passes it the socket.
#[cfg(unix)]
mod socket_activation {
    use super::{Command, Read, Stdio, TempDir, WATCHDOG, in_background, private_dir, program};
    use std::{
        os::{
            fd::OwnedFd,
            unix::net::{UnixListener, UnixStream},
        },
        path::PathBuf,
        process::Child,
    };

    /// The socket becomes descriptor 3. The shell, which keeps its process id, names the process that it is for.
    const ACTIVATE: &str = r#"exec 3<&0 0</dev/null; export LISTEN_FDS=1 LISTEN_PID="$1"; exec "$0" serve"#;

    struct Activated {
        service: Child,
        path: PathBuf,
        _dir: TempDir,
    }

    fn activate(listen_pid: &str) -> Activated {
        let dir = private_dir();
        let path = dir.path().join("service.sock");
        let socket = UnixListener::bind(&path).unwrap();
        let script = ACTIVATE.replace("$1", listen_pid);
        let service = Command::new("sh")
            .args(["-c", &script])
            .arg(program("socket_activation"))
            .env("PIPEWORK_DIR", dir.path())
            .stdin(OwnedFd::from(socket))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Activated { service, path, _dir: dir }
    }

    pub(super) fn the_service_is_passed_its_socket() {
        let mut activated = activate("$$");
        let mut client = UnixStream::connect(&activated.path).unwrap();
        client.set_read_timeout(Some(WATCHDOG)).unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello from the service");
        let said = in_background(activated.service.stdout.take().unwrap());
        let status = activated.service.wait().unwrap();
        let said = said.recv_timeout(WATCHDOG).unwrap();
        assert!(status.success() && said.starts_with("server: was passed "), "{status}: {said}");
        // The file is the activator's, who goes on listening with it.
        assert!(activated.path.exists());
    }

    pub(super) fn a_socket_for_another_process_is_left_alone() {
        let mut activated = activate("1");
        let said = in_background(activated.service.stderr.take().unwrap());
        let status = activated.service.wait().unwrap();
        let said = said.recv_timeout(WATCHDOG).unwrap();
        assert!(!status.success() && said.contains("no socket was passed"), "{status}: {said}");
    }
}

/// Whether a pipe can be for other users here; else it is an error that says so.
#[cfg(unix)]
const SERVES_OTHERS: bool = cfg!(all(target_os = "linux", not(pipework_portable)));

fn the_desktop_service_knows_its_user() {
    let lines = shown("desktop_service");
    let last = lines.last().unwrap();
    assert!(last.starts_with("client: ") && last.ends_with(" may read and change the theme"), "{lines:?}");
}

#[cfg(unix)]
fn the_desktop_service_says_what_it_would_need_to_serve_all_users() {
    let dir = private_dir();
    let lines = lines_of(&dir, "desktop_service", &[]);
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[0].starts_with("server: not for all users: "), "{lines:?}");
    let needed = format!("chmod 0755 {}", dir.path().display());
    assert_eq!(lines[0].contains(&needed), SERVES_OTHERS, "{lines:?}");
    assert_eq!(lines[1], "server: so for the owner only");
}

#[cfg(unix)]
fn the_desktop_service_serves_all_users_where_it_may() {
    let dir = private_dir();
    fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let lines = lines_of(&dir, "desktop_service", &[]);
    assert_eq!(lines.len(), if SERVES_OTHERS { 1 } else { 3 }, "{lines:?}");
}

#[cfg(windows)]
fn the_desktop_service_serves_all_users() {
    assert_eq!(shown("desktop_service").len(), 1);
}

#[cfg(unix)]
mod group_daemon {
    use std::os::unix::fs::PermissionsExt;

    use super::{SERVES_OTHERS, fs, lines_of, private_dir, run_in};

    pub(super) fn it_says_what_it_would_need_and_serves_its_owner() {
        let dir = private_dir();
        let group = nix::unistd::getegid().to_string();
        let lines = lines_of(&dir, "group_daemon", &[&group]);
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines[0].starts_with(&format!("server: not for the group {group}: ")), "{lines:?}");
        let needed = format!("chmod 0755 {}", dir.path().display());
        assert_eq!(lines[0].contains(&needed), SERVES_OTHERS, "{lines:?}");
        assert_eq!(lines[1], "server: so for the owner only");
        assert!(lines[2].starts_with("client: welcome, "), "{lines:?}");
    }

    pub(super) fn it_serves_a_group_where_it_may() {
        let dir = private_dir();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        let group = nix::unistd::getegid().to_string();
        let lines = lines_of(&dir, "group_daemon", &[&group]);
        assert_eq!(lines.len(), if SERVES_OTHERS { 1 } else { 3 }, "{lines:?}");
        assert!(lines[lines.len() - 1].starts_with("client: welcome, "), "{lines:?}");
    }

    pub(super) fn a_group_that_does_not_exist_is_told() {
        let dir = private_dir();
        let lines = lines_of(&dir, "group_daemon", &["no such group"]);
        assert!(lines[0].contains("no group named"), "{lines:?}");
        let outcome = run_in(dir.path(), "group_daemon", &["serve", "no such group", "daemon"]);
        assert_eq!(outcome.status.code(), Some(1), "{outcome:?}");
    }
}

#[cfg(windows)]
mod group_daemon {
    use super::{lines_of, private_dir, run_in};

    /// Everyone, by the number that is the same in every language.
    const GROUP: &str = "S-1-1-0";

    pub(super) fn it_serves_a_group() {
        let lines = lines_of(&private_dir(), "group_daemon", &[GROUP]);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].starts_with("client: welcome, "), "{lines:?}");
    }

    pub(super) fn a_group_that_does_not_exist_is_told() {
        let dir = private_dir();
        let lines = lines_of(&dir, "group_daemon", &["no such group"]);
        assert!(lines[0].starts_with("server: not for the group no such group: "), "{lines:?}");
        let outcome = run_in(dir.path(), "group_daemon", &["serve", "no such group", "daemon"]);
        assert_eq!(outcome.status.code(), Some(1), "{outcome:?}");
    }
}
