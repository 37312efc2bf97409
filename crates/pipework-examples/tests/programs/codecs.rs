//! Messages over a byte pipe.

use crate::process::{Process, connect, example, run, unique};
use std::io::{Read, Write};

pub(crate) fn lines_are_reversed() {
    let name = unique();
    let server = Process::serve(&mut example("codecs", &["serve", &name, "lines"]));
    let answers = run(&mut example("codecs", &["ask", &name, "lines", "one two", "", "näh"]), b"");
    assert_eq!(answers.success(), "owt eno\n\nhän\n");
    server.finish().success();
}

pub(crate) fn frames_are_reversed() {
    let name = unique();
    let server = Process::serve(&mut example("codecs", &["serve", &name, "frames"]));
    let long = "ab\n".repeat(5_000);
    let answers = run(&mut example("codecs", &["ask", &name, "frames", "one\ntwo", "", &long]), b"");
    let expected =
        [r#"b"owt\neno""#.to_owned(), r#"b"""#.to_owned(), format!("b\"{}\"", r"\nba".repeat(5_000))];
    assert!(answers.success().lines().eq(expected), "other frames came back");
    server.finish().success();
}

/// A client that announces a frame beyond the limit loses its connection. Other clients keep theirs.
pub(crate) fn a_frame_too_long_ends_its_own_connection() {
    let name = unique();
    let server = Process::serve(&mut example("codecs", &["serve", &name, "frames"]));
    let mut bystander = connect(&name);
    let mut violator = connect(&name);
    violator.write_all(&u32::MAX.to_be_bytes()).unwrap();
    assert_eq!(violator.read(&mut [0]).unwrap(), 0);

    bystander.write_all(b"\0\0\0\x02ab").unwrap();
    let mut answer = [0; 6];
    bystander.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"\0\0\0\x02ba");
    server.finish().success();
}
