//! `pipework serve` with commands, options and several processes.

use std::io::Write;

use crate::harness::Place;

#[test]
fn each_client_has_its_own_command() {
    let place = Place::new();
    let _server = place.serve(&["hello", "--", "cat"]);
    let mut clients: Vec<_> = (0..3).map(|_| place.connect(&["hello"])).collect();
    for (client, word) in clients.iter_mut().zip(["one", "two", "six"]) {
        client.stdin().write_all(word.as_bytes()).unwrap();
    }
    for (client, word) in clients.iter_mut().zip(["one", "two", "six"]) {
        assert_eq!(client.stdout(3), word.as_bytes());
    }
}

#[test]
fn a_command_that_ends_has_said_everything() {
    let place = Place::new();
    let _server = place.serve(&["upper", "--", "sh", "-c", "head -n 1 | tr a-z A-Z"]);
    assert_eq!(place.run_with(["connect", "upper", "--stay"], b"loud\n").success(), "LOUD\n");
    let _server = place.serve(&["much", "--", "sh", "-c", "yes | head -c 3000000"]);
    assert_eq!(place.run(["connect", "much", "--stay"]).success().len(), 3_000_000);
}

#[test]
fn lines_of_a_command_are_messages() {
    let place = Place::new();
    let _server = place.serve(&["hello", "--message", "--", "cat"]);
    let mut client = place.connect(&["hello", "--message"]);
    client.stdin().write_all(b"one\n\ntwo\n").unwrap();
    assert_eq!(client.stdout(9), b"one\n\ntwo\n");
}

#[test]
fn a_client_that_leaves_ends_the_commands_stdin() {
    let place = Place::new();
    let mut server = place.serve(&["hello", "--", "sh", "-c", "echo here; cat >&2; echo gone >&2"]);
    let mut client = place.connect(&["hello"]);
    assert_eq!(client.stdout(5), b"here\n");
    client.signal("KILL");
    assert_eq!(server.stderr_line(), "gone");
}

#[test]
fn a_grandchild_that_keeps_stdout_keeps_nobody_waiting() {
    let place = Place::new();
    let _server = place.serve(&["hello", "--", "sh", "-c", "echo hi; sleep 20 & exit"]);
    assert_eq!(place.run(["connect", "hello", "--stay"]).success(), "hi\n");
}

#[test]
fn a_command_that_cannot_start_is_named() {
    let place = Place::new();
    let mut server = place.serve(&["hello", "--", "no-such-program"]);
    assert_eq!(place.run(["connect", "hello", "--stay"]).success(), "");
    let line = server.stderr_line();
    assert!(line.contains("can't start `no-such-program`"), "{line}");
}

#[test]
fn verbose_names_the_client() {
    let place = Place::new();
    let mut server = place.serve(&["hello", "-v"]);
    let mut client = place.connect(&["hello"]);
    let (line, id) = (server.stderr_line(), client.id());
    assert!(
        line.starts_with("pipework: client 1 came: process ") && line.contains(&id.to_string()),
        "{line}"
    );
    client.stdin().write_all(b"x").unwrap();
    assert_eq!(client.stdout(1), b"x");
    client.end().success();
    assert_eq!(server.stderr_line(), "pipework: client 1 left");
}

#[test]
fn a_name_is_taken_once_or_joined() {
    let place = Place::new();
    let first = place.serve(&["hello"]);
    let refused = place.run(["serve", "hello"]);
    refused.failure(5, "hello");
    assert!(refused.stderr.contains("--join"), "{refused:?}");

    let second = place.serve(&["hello", "--join"]);
    let mut servers: Vec<u64> = vec![first.id().into(), second.id().into()];
    servers.sort_unstable();
    let entries = place.list();
    let mut listed: Vec<u64> =
        entries[0]["servers"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect();
    listed.sort_unstable();
    assert_eq!((entries.len(), listed), (1, servers));
    drop(first);
    assert_eq!(place.run_with(["connect", "hello"], b"still here").success(), "still here");
}

#[test]
fn usage_is_checked_before_anything_is_made() {
    let place = Place::new();
    place.run(["serve", "hello", "--direction", "out"]).failure(2, "echo");
    assert_eq!(place.run(["serve", "hello", "--echo", "--", "cat"]).code, Some(2));
    assert_eq!(place.run(["serve", "hello", "--max-instances", "0"]).code, Some(2));
    place.run(["serve", r"\\elsewhere\pipe\hello"]).failure(1, "elsewhere");
    assert!(!place.pipes().exists());
}
