//! Ctrl-C and termination signals.

use std::io::Write;
#[cfg(unix)]
use std::{process::Stdio, time::Instant};

#[cfg(unix)]
use crate::harness::TIMEOUT;
use crate::harness::{Test, TestDir, test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        test(a_server_removes_its_name_and_reports_it),
        test(a_server_ends_its_commands),
        test(a_client_can_be_interrupted),
        test(a_second_interruption_ends_commands_at_once)
            .only_on_unix("there Ctrl-C reaches the command itself"),
        #[cfg(unix)]
        test(a_terminated_server_serves_what_is_under_way),
        #[cfg(unix)]
        test(a_terminated_server_cuts_clients_off_after_the_grace),
        #[cfg(unix)]
        test(signals_that_were_ignored_stay_ignored),
    ]
}

fn a_server_removes_its_name_and_reports_it() {
    let dir = TestDir::new();
    let hello = &dir.pipe("hello");
    let server = dir.serve(&[hello]);
    let mut client = dir.connect(&[hello]);
    client.stdin().write_all(b"x").unwrap();
    assert_eq!(client.stdout(1), b"x");
    server.interrupt();
    server.end().failure(130, "interrupted: 1 client served, name removed");
    dir.run(["wait", hello]).failure(3, "hello");
    dir.assert_clean();
    assert_eq!(client.end().code, Some(0));
}

/// As a service manager ends it.
#[cfg(unix)]
fn a_terminated_server_serves_what_is_under_way() {
    for command in [None, Some("echo")] {
        let dir = TestDir::new();
        let hello = &dir.pipe("hello");
        let options = [hello, "--grace", "1000s"];
        let server = match command {
            Some(command) => dir.serve_with(&options, &[command]),
            None => dir.serve(&options),
        };
        let mut client = dir.connect(&[hello]);
        client.stdin().write_all(b"x").unwrap();
        assert_eq!(client.stdout(1), b"x");
        server.signal("TERM");
        let start = Instant::now();
        // The name is there as long as a client is, but takes no more.
        while dir.run(["wait", hello, "--timeout", "50ms"]).code == Some(0) {
            assert!(start.elapsed() < TIMEOUT, "the server accepts clients");
        }
        client.stdin().write_all(b"y").unwrap();
        assert_eq!(client.stdout(1), b"y");
        assert_eq!(client.end().code, Some(0));
        let ended = server.end();
        let text = "pipework: terminated: 1 client served, name removed\n";
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), text));
        dir.assert_clean();
    }
}

#[cfg(unix)]
fn a_terminated_server_cuts_clients_off_after_the_grace() {
    for command in [None, Some("stay")] {
        let dir = TestDir::new();
        let hello = &dir.pipe("hello");
        let options = [hello, "--grace", "10ms", "--verbose"];
        let mut server = match command {
            Some(command) => dir.serve_with(&options, &[command]),
            None => dir.serve(&options),
        };
        let client = dir.connect(&[hello, "--stay"]);
        assert!(server.stderr_line().contains("client 1 connected"));
        server.signal("TERM");
        let ended = server.end();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stderr.contains("1 client served, name removed, 1 of them cut off"), "{ended:?}");
        assert_eq!(client.end().code, Some(0));
    }
}

fn a_server_ends_its_commands() {
    let dir = TestDir::new();
    let hello = &dir.pipe("hello");
    // This command ignores its stdin.
    let server = dir.serve_with(&[hello], &["stay"]);
    let mut client = dir.connect(&[hello, "--stay"]);
    assert_eq!(client.stdout(5), b"here\n");
    server.interrupt();
    // The command shares stderr, so that ends only when the command has exited too.
    let ended = server.end();
    assert_eq!(ended.code, Some(130), "{ended:?}");
    assert!(ended.stderr.ends_with("interrupted: 1 client served, name removed\n"), "{ended:?}");
    assert_eq!(client.end().code, Some(0));
    dir.assert_clean();
}

fn a_client_can_be_interrupted() {
    let dir = TestDir::new();
    let hello = &dir.pipe("hello");
    let _server = dir.serve(&[hello]);
    let mut client = dir.connect(&[hello]);
    client.stdin().write_all(b"x").unwrap();
    assert_eq!(client.stdout(1), b"x");
    client.interrupt();
    client.end().failure(130, "interrupted: 1 byte received");
}

fn a_second_interruption_ends_commands_at_once() {
    let dir = TestDir::new();
    let hello = &dir.pipe("hello");
    let server = dir.serve_with(&[hello], &["stay"]);
    let mut client = dir.connect(&[hello, "--stay"]);
    assert_eq!(client.stdout(5), b"here\n");
    server.interrupt();
    assert_eq!(client.end().code, Some(0));
    server.interrupt();
    // The command shares stderr, so that ends only when the command has exited too.
    assert_eq!(server.end().code, Some(130));
}

/// As under `nohup`, and in a background job of a script.
#[cfg(unix)]
fn signals_that_were_ignored_stay_ignored() {
    let dir = TestDir::new();
    let hello = &dir.pipe("hello");
    let tool = env!("CARGO_BIN_EXE_pipework");
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "trap '' HUP INT; exec \"$@\"", "sh", tool, "serve", hello]);
    command.env("PIPEWORK_DIR", dir.pipes()).env_remove("XDG_RUNTIME_DIR");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let server = TestDir::serving(command);
    server.signal("HUP");
    server.interrupt();
    assert_eq!(dir.run_with(["connect", hello], b"still here").success(), "still here");
    server.signal("TERM");
    let ended = server.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("terminated: 1 client served"), "{ended:?}");
}
