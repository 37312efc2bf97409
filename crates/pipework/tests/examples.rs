//! Every example runs as a real program: it shows itself between two processes, says what it should, and leaves
//! nothing behind.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    env, fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use tempfile::TempDir;

/// Every example; a test below runs each of them.
const EXAMPLES: [&str; 6] =
    ["echo", "group_daemon", "parent_child", "peer_to_peer", "request_reply", "single_instance"];

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

#[test]
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

#[test]
fn echo_comes_back_from_another_process() {
    let lines = shown("echo");
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("server: a client, process Some("), "{lines:?}");
    assert_eq!(lines[1], "client: hello, pipe");
}

#[test]
fn each_request_has_its_reply() {
    let expected = [r#""one two three": 3 words"#, r#""": 0 words"#, r#""the end": 2 words"#];
    assert_eq!(shown("request_reply"), expected);
}

#[test]
fn the_first_start_opens_the_files_of_the_later_one() {
    let expected = [
        r#"first start: opens ["a.txt"]"#,
        r#"later start: hands ["b.txt", "c.txt"] over"#,
        r#"first start: opens ["b.txt", "c.txt"]"#,
    ];
    assert_eq!(shown("single_instance"), expected);
}

#[test]
fn peers_greet_each_other() {
    let lines = shown("peer_to_peer");
    let words: Vec<Vec<&str>> = lines.iter().map(|line| line.split(' ').collect()).collect();
    let [greeting, thanks] = words.as_slice() else { panic!("{lines:?}") };
    // Each tells its own number and that of the other.
    let (one, other) = (greeting[1], greeting[6]);
    assert_ne!(one, other);
    assert_eq!(*greeting, ["process", one, "received:", "greetings", "from", "process", other]);
    assert_eq!(*thanks, ["process", other, "received:", "thanks", "from", "process", one]);
}

#[test]
fn the_child_sorts_for_its_parent() {
    let lines = shown("parent_child");
    assert!(lines[0].starts_with("process ") && lines[0].ends_with(" sorted:"), "{lines:?}");
    assert_eq!(lines[1..], ["apple", "cherry", "pear"]);
}

#[test]
fn a_wrong_argument_is_told() {
    let dir = private_dir();
    for example in ["echo", "parent_child", "request_reply"] {
        let outcome = run_in(dir.path(), example, &["nonsense"]);
        assert_eq!(outcome.status.code(), Some(1), "{example}: {outcome:?}");
        assert!(outcome.stderr.contains("nothing"), "{example}: {outcome:?}");
    }
}

#[cfg(unix)]
mod group_daemon {
    use std::os::unix::fs::PermissionsExt;

    use super::{fs, lines_of, private_dir, run_in};

    /// Whether a pipe can be for other users here; else it is an error that says so.
    const SERVES_OTHERS: bool = cfg!(all(target_os = "linux", not(pipework_portable)));

    #[test]
    fn it_says_what_it_would_need_and_serves_its_owner() {
        let dir = private_dir();
        let group = nix::unistd::getegid().to_string();
        let lines = lines_of(&dir, "group_daemon", &[&group]);
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines[0].starts_with(&format!("server: not for the group {group}: ")), "{lines:?}");
        let needed = format!("chmod 0711 {}", dir.path().display());
        assert_eq!(lines[0].contains(&needed), SERVES_OTHERS, "{lines:?}");
        assert_eq!(lines[1], "server: so for the owner only");
        assert!(lines[2].starts_with("client: welcome, "), "{lines:?}");
    }

    #[test]
    fn it_serves_a_group_where_it_may() {
        let dir = private_dir();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o711)).unwrap();
        let group = nix::unistd::getegid().to_string();
        let lines = lines_of(&dir, "group_daemon", &[&group]);
        assert_eq!(lines.len(), if SERVES_OTHERS { 1 } else { 3 }, "{lines:?}");
        assert!(lines[lines.len() - 1].starts_with("client: welcome, "), "{lines:?}");
    }

    #[test]
    fn a_group_that_does_not_exist_is_told() {
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

    #[test]
    fn it_serves_a_group() {
        let lines = lines_of(&private_dir(), "group_daemon", &[GROUP]);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].starts_with("client: welcome, "), "{lines:?}");
    }

    #[test]
    fn a_group_that_does_not_exist_is_told() {
        let dir = private_dir();
        let lines = lines_of(&dir, "group_daemon", &["no such group"]);
        assert!(lines[0].starts_with("server: not for the group no such group: "), "{lines:?}");
        let outcome = run_in(dir.path(), "group_daemon", &["serve", "no such group", "daemon"]);
        assert_eq!(outcome.status.code(), Some(1), "{outcome:?}");
    }
}
