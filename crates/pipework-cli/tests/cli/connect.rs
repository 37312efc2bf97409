//! `pipework connect`, with an echo server.

use std::{
    fs::File,
    io::{Write, pipe},
};
#[cfg(unix)]
use std::{io::Read, thread, time::Duration};

use crate::harness::{Running, Test, TestDir, test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        test(bytes_go_there_and_back),
        test(after_the_end_of_stdin_it_exits_when_idle),
        test(an_answer_that_was_given_up_on_is_a_failure),
        test(an_answer_to_what_was_sent_last_is_waited_for),
        test(it_exits_after_the_replies),
        test(a_missing_reply_is_a_failure),
        test(a_server_that_never_answers_ends_at_the_deadline),
        #[cfg(unix)]
        test(a_stopped_server_ends_at_the_deadline),
        test(a_stdin_that_does_not_end_ends_at_the_deadline),
        test(with_stay_it_exits_when_the_server_closes),
        test(lines_are_messages),
        test(a_long_message_is_one_line),
        test(messages_are_not_for_byte_pipes),
        test(hex_shows_bytes_and_messages),
        test(hex_digits_are_sent),
        test(messages_of_any_bytes_are_framed),
        test(a_frame_that_is_cut_is_a_failure),
        test(a_pipe_to_the_server_is_written_to),
        test(a_pipe_to_the_client_is_read_from),
        test(a_plain_socket_is_half_closed).only_on_unix("a path is not a pipe name"),
        test(an_absent_pipe_is_code_3_and_can_be_waited_for),
        test(a_busy_pipe_is_code_4),
        test(a_busy_pipe_of_one_direction_is_code_4),
        test(a_pipe_to_a_server_that_closes_ends_the_client),
        test(an_unreadable_stdin_is_a_failure).only_on_unix("there a directory can't be opened as a file"),
        #[cfg(unix)]
        test(a_stdin_that_does_not_wait_loses_nothing),
        #[cfg(unix)]
        test(a_stdout_that_does_not_wait_loses_nothing),
        test(a_name_like_a_path_has_a_hint).only_on_unix("a path is not a pipe name"),
        test(wrong_usage_is_code_2),
        test(a_closed_stdout_is_success),
    ]
}

fn bytes_go_there_and_back() {
    let dir = TestDir::new();
    let hello = &dir.pipe("hello");
    let _server = dir.serve(&[hello, "--echo"]);
    let mut client = dir.connect(&[hello]);
    let block: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    client.stdin().write_all(&block).unwrap();
    assert!(client.stdout(block.len()) == block, "the echo differs");
    client.stdin().write_all(b"once more").unwrap();
    assert_eq!(client.stdout(9), b"once more");
    assert_eq!(client.end().code, Some(0));
}

fn after_the_end_of_stdin_it_exits_when_idle() {
    let dir = TestDir::new();
    let hello = &dir.pipe("hello");
    let _server = dir.serve(&[hello]);
    assert_eq!(dir.run_with(["connect", hello], b"hi\n").success(), "hi\n");
    assert_eq!(dir.run(["connect", hello, "--idle", "0s"]).success(), "");
}

/// The answer may come later, and would be lost.
fn an_answer_that_was_given_up_on_is_a_failure() {
    let dir = TestDir::new();
    let (hello, messages) = (&dir.pipe("hello"), &dir.pipe("messages"));
    let _server = dir.serve_with(&[hello], &["ignore"]);
    let _messages = dir.serve_with(&[messages, "--message"], &["ignore"]);
    let given_up = dir.run_with(["connect", hello, "--idle", "50ms"], b"question\n");
    given_up.failure(1, "nothing arrived for 50ms: no answer received");
    assert!(given_up.stderr.contains("--stay"), "{given_up:?}");
    dir.run_with(["connect", hello], b"question\n").failure(1, "no answer received");
    dir.run_with(["connect", messages, "--message", "--idle", "50ms"], b"\n").failure(1, "no answer");
    // Here none is expected.
    assert_eq!(dir.run_with(["connect", hello, "--idle", "0s"], b"no question\n").success(), "");
    assert_eq!(dir.run(["connect", hello, "--idle", "50ms"]).success(), "");
}

fn an_answer_to_what_was_sent_last_is_waited_for() {
    let dir = TestDir::new();
    let hello = &dir.pipe("hello");
    let _server = dir.serve_with(&[hello], &["echo-once"]);
    let mut client = dir.connect(&[hello, "--idle", "50ms"]);
    client.stdin().write_all(b"one\n").unwrap();
    assert_eq!(client.stdout(4), b"one\n");
    client.stdin().write_all(b"two\n").unwrap();
    client.end().failure(1, "no answer received");
}

fn it_exits_after_the_replies() {
    let dir = TestDir::new();
    let (hello, messages) = (&dir.pipe("hello"), &dir.pipe("messages"));
    let (_server, _messages) = (dir.serve(&[hello]), dir.serve(&[messages, "--message"]));
    for command in
        [&["connect", hello, "--replies", "2"][..], &["connect", messages, "--message", "--replies", "2"]]
    {
        // Its stdin does not end.
        let (reader, mut writer) = pipe().unwrap();
        let mut command = dir.command(command);
        command.stdin(reader);
        writer.write_all(b"one\ntwo\nthree\n").unwrap();
        assert_eq!(Running::start(command).end().success(), "one\ntwo\n");
    }
}

fn a_missing_reply_is_a_failure() {
    let dir = TestDir::new();
    let (one, silent) = (&dir.pipe("one"), &dir.pipe("silent"));
    let _one = dir.serve_with(&[one], &["answer"]);
    let _silent = dir.serve_with(&[silent], &["ignore"]);
    let ended = dir.run_with(["connect", one, "--replies", "2"], b"it\n");
    assert_eq!((ended.code, ended.stdout.as_slice()), (Some(1), &b"got it\n"[..]), "{ended:?}");
    assert!(ended.stderr.contains("the server closed the pipe: 1 of 2 replies received"), "{ended:?}");
    let silent = ["connect", silent, "--replies", "1", "--idle", "50ms"];
    dir.run_with(silent, b"it\n").failure(1, "nothing arrived for 50ms: 0 of 1 reply received");
}

fn a_server_that_never_answers_ends_at_the_deadline() {
    let dir = TestDir::new();
    let hello = &dir.pipe("hello");
    let _server = dir.serve_with(&[hello], &["ignore"]);
    for limit in ["--stay", "--replies=1"] {
        let ended = dir.run_with(["connect", hello, limit, "--deadline", "100ms"], b"question\n");
        ended.failure(1, "gave up at the deadline of 100ms: ");
    }
    dir.run(["connect", "nobody", "--wait", "--deadline", "100ms"]).failure(1, "not connected yet");
}

#[cfg(unix)]
fn a_stopped_server_ends_at_the_deadline() {
    let dir = TestDir::new();
    let hello = &dir.pipe("hello");
    let server = dir.serve(&[hello]);
    let mut connected = dir.connect(&[hello, "--deadline", "2s"]);
    server.signal("STOP");
    connected.stdin().write_all(b"question\n").unwrap();
    connected.end().failure(1, "gave up at the deadline of 2s");
    dir.run_with(["connect", hello, "--deadline", "100ms"], b"question\n").failure(1, "deadline");
}

fn a_stdin_that_does_not_end_ends_at_the_deadline() {
    let dir = TestDir::new();
    let hello = &dir.pipe("hello");
    let _server = dir.serve_with(&[hello, "--direction", "in"], &["ignore"]);
    let (reader, _writer) = pipe().unwrap();
    let mut command = dir.command(["connect", hello, "--deadline", "100ms"]);
    command.stdin(reader);
    Running::start(command).end().failure(1, "gave up at the deadline of 100ms");
}

fn with_stay_it_exits_when_the_server_closes() {
    let dir = TestDir::new();
    let hello = &dir.pipe("hello");
    let _server = dir.serve_with(&[hello], &["answer"]);
    assert_eq!(dir.run_with(["connect", hello, "--stay"], b"it\n").success(), "got it\n");
}

fn lines_are_messages() {
    let dir = TestDir::new();
    let hello = &dir.pipe("hello");
    let _server = dir.serve(&[hello, "--message", "--echo"]);
    let mut client = dir.connect(&[hello, "--message"]);
    client.stdin().write_all(b"one\n\nthree words here\n").unwrap();
    assert_eq!(client.stdout(22), b"one\n\nthree words here\n");
    // The last line needs no line end.
    client.stdin().write_all(b"last").unwrap();
    assert_eq!(client.end().success(), "last\n");
}

fn a_long_message_is_one_line() {
    let dir = TestDir::new();
    let hello = &dir.pipe("hello");
    let _server = dir.serve(&[hello, "--message", "--echo"]);
    let mut client = dir.connect(&[hello, "--message"]);
    let line = [&[b'x'; 200_000][..], b"\n"].concat();
    client.stdin().write_all(&line).unwrap();
    assert!(client.stdout(line.len()) == line, "the echo differs");
}

fn messages_are_not_for_byte_pipes() {
    let dir = TestDir::new();
    let hello = &dir.pipe("hello");
    let _server = dir.serve(&[hello]);
    let ended = dir.run(["connect", hello, "--message"]);
    assert_ne!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("omit --message"), "{ended:?}");
}

fn hex_shows_bytes_and_messages() {
    let dir = TestDir::new();
    let (bytes, messages) = (&dir.pipe("bytes"), &dir.pipe("messages"));
    let _bytes = dir.serve_with(&[bytes], &["say", "hello\n"]);
    assert_eq!(
        dir.run(["connect", bytes, "--hex", "--stay"]).success(),
        "00000000  68 65 6c 6c 6f 0a                                 |hello.|\n"
    );
    let _messages = dir.serve_with(&[messages, "--message"], &["say", "hi\n\n"]);
    assert_eq!(
        dir.run(["connect", messages, "--hex", "--message", "--stay"]).success(),
        "00000000  68 69                                             |hi|\n\
         00000002  end of message\n\
         00000000  end of message\n"
    );
}

fn hex_digits_are_sent() {
    let dir = TestDir::new();
    let (bytes, messages) = (&dir.pipe("bytes"), &dir.pipe("messages"));
    let (_bytes, _messages) = (dir.serve(&[bytes]), dir.serve(&[messages, "--message"]));
    let line = "00000000  68 69                                             |hi|\n";
    let ended = dir.run_with(["connect", bytes, "--hex", "--replies", "1"], b"68 69 0A\n");
    assert_eq!(ended.success(), "00000000  68 69 0a                                          |hi.|\n");
    let ended = dir.run_with(["connect", messages, "--hex", "--message", "--replies", "2"], b"6869\n\n");
    assert_eq!(ended.success(), format!("{line}00000002  end of message\n00000000  end of message\n"));
    dir.run_with(["connect", bytes, "--hex"], b"hi\n").failure(1, "`hi` is not hexadecimal bytes");
}

fn messages_of_any_bytes_are_framed() {
    let dir = TestDir::new();
    let hello = &dir.pipe("hello");
    let _server = dir.serve(&[hello, "--message"]);
    let nulls = b"two\nlines\0\0last\0";
    assert_eq!(dir.run_with(["connect", hello, "-0", "--replies", "3"], nulls).success().as_bytes(), nulls);
    let long = [b'x'; 200_000];
    let frame = |message: &[u8]| {
        let length = u32::try_from(message.len()).unwrap();
        [&length.to_le_bytes()[..], message].concat()
    };
    let frames = [frame(b"a\n\0b"), frame(b""), frame(&long)].concat();
    let mut client = dir.connect(&[hello, "--framed", "--replies", "3"]);
    client.stdin().write_all(&frames).unwrap();
    let ended = client.end();
    assert!(ended.code == Some(0) && ended.stdout == frames, "{}", ended.stderr);
    // It has no messages.
    let bytes = &dir.pipe("bytes");
    let _bytes = dir.serve(&[bytes]);
    assert_ne!(dir.run(["connect", bytes, "--framed"]).code, Some(0));
}

fn a_frame_that_is_cut_is_a_failure() {
    let dir = TestDir::new();
    let hello = &dir.pipe("hello");
    let _server = dir.serve(&[hello, "--message"]);
    for cut in [&b"\x01\0"[..], b"\x03\0\0\0ab"] {
        dir.run_with(["connect", hello, "--framed"], cut)
            .failure(1, "can't read stdin: it ends within a message");
    }
}

fn a_pipe_to_the_server_is_written_to() {
    let dir = TestDir::new();
    let inbound = &dir.pipe("in");
    let mut server = dir.serve_with(&[inbound, "--direction", "in"], &["echo"]);
    let mut line = vec!["connect", inbound];
    if cfg!(windows) {
        // Wine also opens the direction that the pipe does not have, and nothing says that no answer can come.
        line.extend(["--idle", "0s"]);
    }
    assert_eq!(dir.run_with(line, b"to the server").success(), "");
    assert_eq!(server.stdout(13), b"to the server");
}

fn a_pipe_to_the_client_is_read_from() {
    let dir = TestDir::new();
    let outbound = &dir.pipe("out");
    let _server = dir.serve_with(&[outbound, "--direction", "out"], &["say", "to the client\n"]);
    assert_eq!(dir.run(["connect", outbound]).success(), "to the client\n");
}

fn a_plain_socket_is_half_closed() {
    let dir = TestDir::new();
    let path = dir.file("socket");
    let path = path.to_str().unwrap();
    let _server = dir.serve_with(&[path], &["upper"]);
    // The command responds only after the end of its stdin.
    assert_eq!(dir.run_with(["connect", path], b"loud\n").success(), "LOUD\n");
}

fn an_absent_pipe_is_code_3_and_can_be_waited_for() {
    let dir = TestDir::new();
    let hello = &dir.pipe("hello");
    let ended = dir.run(["connect", hello]);
    ended.failure(3, "hello");
    assert!(ended.stderr.contains("--wait"), "{ended:?}");
    dir.run(["connect", hello, "--wait", "--timeout", "50ms"]).failure(4, "did not exist");

    let mut client = dir.connect(&[hello, "--wait"]);
    client.stdin().write_all(b"early").unwrap();
    let _server = dir.serve(&[hello]);
    assert_eq!(client.stdout(5), b"early");
}

fn a_busy_pipe_is_code_4() {
    let dir = TestDir::new();
    let hello = &dir.pipe("hello");
    let _server = dir.serve(&[hello, "--max-instances", "1"]);
    let mut first = dir.connect(&[hello]);
    first.stdin().write_all(b"x").unwrap();
    assert_eq!(first.stdout(1), b"x");
    let second = dir.run(["connect", hello, "--timeout", "50ms"]);
    second.failure(4, "timed out after ");
    second.failure(4, "was busy");
    assert!(second.stderr.contains("--timeout"), "{second:?}");
}

fn a_busy_pipe_of_one_direction_is_code_4() {
    for direction in ["in", "out"] {
        let dir = TestDir::new();
        let hello = &dir.pipe("hello");
        let args = [hello, "--direction", direction, "--max-instances", "1", "--verbose"];
        let mut server = dir.serve_with(&args, &["stay"]);
        let _first = dir.connect(&[hello]);
        server.stderr_line();
        dir.run(["connect", hello, "--timeout", "50ms"]).failure(4, "hello");
        dir.run(["connect", hello, "--wait", "--timeout", "50ms"]).failure(4, "hello");
    }
}

/// The client waits for its stdin, which does not end.
fn a_pipe_to_a_server_that_closes_ends_the_client() {
    let dir = TestDir::new();
    let hello = &dir.pipe("hello");
    let mut server = dir.serve_with(&[hello, "--direction", "in", "--verbose"], &["say", "x"]);
    let (reader, _writer) = pipe().unwrap();
    let mut command = dir.command(["connect", hello]);
    command.stdin(reader);
    let client = Running::start(command);
    assert_eq!(server.stdout(1), b"x");
    let ended = client.end();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
}

fn an_unreadable_stdin_is_a_failure() {
    let dir = TestDir::new();
    let hello = &dir.pipe("hello");
    let _server = dir.serve(&[hello]);
    let mut command = dir.command(["connect", hello, "--stay"]);
    command.stdin(File::open(dir.pipes()).unwrap());
    Running::start(command).end().failure(1, "can't read stdin");
}

#[cfg(unix)]
fn a_stdin_that_does_not_wait_loses_nothing() {
    let dir = TestDir::new();
    let (bytes, messages) = (&dir.pipe("bytes"), &dir.pipe("messages"));
    let mut servers = [dir.serve(&[bytes, "--verbose"]), dir.serve(&[messages, "--message", "--verbose"])];
    for (name, message) in [(bytes, None), (messages, Some("--message"))] {
        let (reader, mut writer) = pipe().unwrap();
        rustix::io::ioctl_fionbio(&reader, true).unwrap();
        let mut command = dir.command(["connect", name].into_iter().chain(message));
        command.stdin(reader);
        let mut client = Running::start(command);
        let server = &mut servers[usize::from(message.is_some())];
        assert!(server.stderr_line().contains("connected"));
        // It may be slower than this; then it finds the first part.
        writer.write_all(b"half a ").unwrap();
        thread::park_timeout(Duration::from_millis(100));
        writer.write_all(b"line\n").unwrap();
        assert_eq!(client.stdout(12), b"half a line\n");
        drop(writer);
        assert_eq!(client.end().success(), "");
    }
}

#[cfg(unix)]
fn a_stdout_that_does_not_wait_loses_nothing() {
    let dir = TestDir::new();
    let much = &dir.pipe("much");
    let _server = dir.serve_with(&[much], &["say-bytes", "3000000"]);
    let (mut reader, writer) = pipe().unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    let mut command = dir.command(["connect", much, "--stay"]);
    command.stdout(writer);
    let client = Running::start(command);
    // Until then it has filled the pipe, unless it is slower.
    thread::park_timeout(Duration::from_millis(300));
    let mut received = Vec::new();
    reader.read_to_end(&mut received).unwrap();
    assert_eq!(client.end().success(), "");
    assert_eq!(received.len(), 3_000_000);
}

/// It is the name of a pipe, and mostly not meant as one.
fn a_name_like_a_path_has_a_hint() {
    let dir = TestDir::new();
    for name in ["./x", "../x", "~/x", "x.sock"] {
        let hint =
            format!("`{name}` is the name of a pipe; for a Unix domain socket use its absolute path, /");
        for command in ["connect", "wait"] {
            dir.run([command, name]).failure(3, &hint);
        }
        dir.run(["connect", name, "--wait", "--deadline", "100ms"]).failure(1, &hint);
        let mut server = dir.serve(&[name]);
        let line = server.stderr_line();
        assert!(line.contains(&hint), "{line}");
    }
    assert!(!dir.run(["connect", r"\\.\pipe\x.sock"]).stderr.contains("absolute path"));
}

fn wrong_usage_is_code_2() {
    let dir = TestDir::new();
    let hello = &dir.pipe("hello");
    assert_eq!(dir.run(["connect"]).code, Some(2));
    assert_eq!(dir.run(["connect", hello, "--timeout", "soon"]).code, Some(2));
    dir.run(["connect", ""]).failure(2, "name");
    dir.run(["connect", &"x".repeat(300)]).failure(2, "name");
}

fn a_closed_stdout_is_success() {
    let dir = TestDir::new();
    let endless = &dir.pipe("endless");
    let _server = dir.serve_with(&[endless], &["say-yes"]);
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let mut command = dir.command(["connect", endless, "--stay"]);
    command.stdout(writer);
    let client = Running::start(command);
    let ended = client.end();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
}
