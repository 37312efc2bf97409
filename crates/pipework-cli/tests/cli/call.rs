//! `pipework call`: one question, one answer.

use std::fs::{self, File};

use crate::harness::{Running, Test, TestDir, test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        test(an_answer_is_a_line),
        test(an_answer_is_a_message),
        test(an_answer_may_end_with_the_connection_or_a_pause),
        test(an_answer_that_is_not_whole_is_a_failure),
        test(a_call_of_a_plain_socket_half_closes_it).only_on_unix("a path is not a pipe name"),
        test(a_long_answer_may_begin_before_the_question_ends),
        test(a_missing_answer_is_a_failure),
        #[cfg(unix)]
        test(a_call_of_a_stopped_server_ends_at_the_deadline),
        test(a_call_can_be_interrupted),
        test(a_call_needs_a_question),
    ]
}

fn an_answer_is_a_line() {
    let dir = TestDir::new();
    let hello = &dir.pipe("hello");
    let _server = dir.serve(&[hello]);
    assert_eq!(dir.run(["call", hello, "question"]).success(), "question\n");
    assert_eq!(dir.run_with(["call", hello], b"question\n").success(), "question\n");
    assert_eq!(dir.run(["call", hello, "--line", ""]).success(), "\n");
}

fn an_answer_is_a_message() {
    let dir = TestDir::new();
    let (hello, answer) = (&dir.pipe("hello"), &dir.pipe("answer"));
    let _server = dir.serve(&[hello, "--message"]);
    assert_eq!(dir.run(["call", hello, "--message", "two\nlines"]).success(), "two\nlines\n");
    assert_eq!(dir.run_with(["call", hello, "--message"], b"question\n").success(), "question\n");
    assert_eq!(dir.run(["call", hello, "--message", "--exact", "exact"]).success(), "exact");
    assert_eq!(dir.run(["call", hello, "--message", ""]).success(), "\n");
    let _answer = dir.serve_with(&[answer, "--message"], &["answer"]);
    assert_eq!(dir.run(["call", answer, "--message", "it"]).success(), "got it\n");
}

fn an_answer_may_end_with_the_connection_or_a_pause() {
    let dir = TestDir::new();
    let (hello, lines) = (&dir.pipe("hello"), &dir.pipe("lines"));
    let (_server, _lines) = (dir.serve(&[hello]), dir.serve_with(&[lines], &["say", "one\ntwo\n"]));
    assert_eq!(dir.run(["call", lines, "--close", "question"]).success(), "one\ntwo\n");
    assert_eq!(dir.run(["call", lines, "--idle", "60s", "question"]).success(), "one\ntwo\n");
    assert_eq!(dir.run_with(["call", hello, "--idle", "50ms"], b"a\nb").success(), "a\nb");
    assert_eq!(dir.run_with(["call", hello, "--idle", "0s"], b"a\nb").success(), "a\nb");
}

fn an_answer_that_is_not_whole_is_a_failure() {
    let dir = TestDir::new();
    let hello = &dir.pipe("hello");
    let _server = dir.serve(&[hello]);
    let ended = dir.run_with(["call", hello], b"one\ntwo\n");
    assert_eq!((ended.code, ended.stdout.as_slice()), (Some(1), &b"one\n"[..]), "{ended:?}");
    assert!(ended.stderr.contains("more than one line"), "{ended:?}");
    assert!(ended.stderr.contains("--close"), "{ended:?}");
}

fn a_call_of_a_plain_socket_half_closes_it() {
    let dir = TestDir::new();
    let path = dir.file("socket");
    let path = path.to_str().unwrap();
    let _server = dir.serve_with(&[path], &["upper"]);
    assert_eq!(dir.run_with(["call", path], b"loud\nand clear\n").success(), "LOUD\nAND CLEAR\n");
}

fn a_long_answer_may_begin_before_the_question_ends() {
    let dir = TestDir::new();
    let hello = &dir.pipe("hello");
    let _server = dir.serve(&[hello]);
    let file = dir.file("question");
    let question = [&vec![b'x'; 3 << 20][..], b"\n"].concat();
    fs::write(&file, &question).unwrap();
    let mut command = dir.command(["call", hello]);
    command.stdin(File::open(&file).unwrap());
    let answer = Running::start(command).end();
    assert!(answer.code == Some(0) && answer.stdout == question, "the answer differs");
}

fn a_missing_answer_is_a_failure() {
    let dir = TestDir::new();
    let (bytes, messages, silent) = (&dir.pipe("bytes"), &dir.pipe("messages"), &dir.pipe("silent"));
    let _bytes = dir.serve_with(&[bytes], &["say", ""]);
    let _messages = dir.serve_with(&[messages, "--message"], &["say", ""]);
    let _silent = dir.serve_with(&[silent], &["ignore"]);
    for end in ["--line", "--close", "--idle=60s"] {
        dir.run(["call", bytes, end, "question"]).failure(1, "without an answer");
    }
    dir.run(["call", messages, "--message", "question"]).failure(1, "without an answer");
    // The pause counts from the beginning of the answer.
    let silent = ["call", silent, "--idle", "1ms", "--deadline", "200ms", "question"];
    dir.run(silent).failure(1, "gave up at the deadline of 200ms");
    dir.run(["call", &dir.pipe("nobody"), "question"]).failure(3, "nobody");
}

#[cfg(unix)]
fn a_call_of_a_stopped_server_ends_at_the_deadline() {
    let dir = TestDir::new();
    let (bytes, messages) = (&dir.pipe("bytes"), &dir.pipe("messages"));
    let servers = [dir.serve(&[bytes]), dir.serve(&[messages, "--message"])];
    for server in &servers {
        server.signal("STOP");
    }
    dir.run(["call", bytes, "--deadline", "100ms", "question"]).failure(1, "deadline of 100ms");
    dir.run(["call", messages, "--message", "--deadline", "100ms", "question"]).failure(1, "deadline");
}

fn a_call_can_be_interrupted() {
    let dir = TestDir::new();
    let hello = &dir.pipe("hello");
    let mut server = dir.serve_with(&[hello, "--verbose"], &["ignore"]);
    let client = Running::start(dir.command(["call", hello, "question"]));
    assert!(server.stderr_line().contains("client 1 connected"));
    client.interrupt();
    client.end().failure(130, "interrupted: ");
}

fn a_call_needs_a_question() {
    let dir = TestDir::new();
    let hello = &dir.pipe("hello");
    let _server = dir.serve(&[hello]);
    dir.run(["call", hello]).failure(2, "the question is empty");
    assert_eq!(dir.run(["call", hello, "--message", "--line", "x"]).code, Some(2));
}
