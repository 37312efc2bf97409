//! P1 and P2: anonymous pipes.

use std::{
    fs::File,
    io::{self, Read, Write},
    process::Stdio,
};

use pipework::{AnonRead, AnonWrite, anonymous};

use super::{Case, expect_same, pattern, plain};
use crate::child;

pub(super) fn cases() -> Vec<Case> {
    vec![
        plain("P1", p1_one_way_from_writer_to_reader),
        plain("P1", p1_the_buffer_size_is_a_suggestion),
        plain("P1", p1_ends_convert_to_and_from_std),
        plain("P1", p1_clones_are_the_same_end),
        plain("P2", p2_after_the_writer_everything_then_the_end),
        plain("P1", p1_ends_become_a_childs_streams),
        plain("P1", p1_ends_come_from_a_childs_streams),
        plain("P2", p2_without_a_reader_writing_is_a_broken_pipe),
        plain("P2", p2_children_do_not_inherit_an_end),
    ]
}

/// The handles of the system.
pub(super) fn cases_of_this_system() -> Vec<Case> {
    #[cfg(unix)]
    let cases = vec![plain("P1", p1_ends_are_descriptors)];
    #[cfg(windows)]
    let cases = vec![plain("P1", p1_ends_are_handles)];
    cases
}

/// P1: bytes go one way; flush has nothing to do.
fn p1_one_way_from_writer_to_reader() {
    let (mut reader, mut writer) = anonymous(0).unwrap();
    writer.write_all(b"hello ").unwrap();
    assert_eq!(writer.write_vectored(&[io::IoSlice::new(b"wor"), io::IoSlice::new(b"ld")]).unwrap(), 5);
    writer.flush().unwrap();
    let mut data = [0; 11];
    reader.read_exact(&mut data).unwrap();
    assert_eq!(&data, b"hello world");
    (&writer).write_all(b"by reference").unwrap();
    drop(writer);
    let mut text = String::new();
    (&reader).read_to_string(&mut text).unwrap();
    assert_eq!(text, "by reference");
}

/// P1: what the system can't give is not an error.
fn p1_the_buffer_size_is_a_suggestion() {
    for len in [0, 1, 4096, 65_536, 300_000, u32::MAX] {
        let (mut reader, mut writer) = anonymous(len).unwrap();
        // Whatever was suggested, this much always fits.
        writer.write_all(&[7; 1000]).unwrap();
        reader.read_exact(&mut [0; 1000]).unwrap();
    }
    let (mut reader, mut writer) = anonymous(300_000).unwrap();
    let data = pattern(1, 300_000);
    writer.write_all(&data).unwrap();
    drop(writer);
    let mut arrived = Vec::new();
    reader.read_to_end(&mut arrived).unwrap();
    expect_same(&arrived, &data);
}

/// P1: to and from what std has.
fn p1_ends_convert_to_and_from_std() {
    let (reader, writer) = anonymous(0).unwrap();
    let reader = AnonRead::from(io::PipeReader::from(reader));
    let writer = AnonWrite::from(io::PipeWriter::from(writer));
    let (mut reader, mut writer) = (File::from(reader), File::from(writer));
    writer.write_all(b"x").unwrap();
    drop(writer);
    assert_eq!(reader.read(&mut [0; 9]).unwrap(), 1);
}

/// P1: the pipe ends with the last clone.
fn p1_clones_are_the_same_end() {
    let (mut reader, writer) = anonymous(0).unwrap();
    let mut second = writer.try_clone().unwrap();
    drop(writer);
    second.write_all(b"xy").unwrap();
    reader.try_clone().unwrap().read_exact(&mut [0; 1]).unwrap();
    drop(second);
    assert_eq!(reader.read(&mut [0; 9]).unwrap(), 1);
    assert_eq!(reader.read(&mut [0; 9]).unwrap(), 0);
}

/// P1: standard input, output and error of a child.
fn p1_ends_become_a_childs_streams() {
    let (input, mut to_child) = anonymous(0).unwrap();
    let (mut from_child, output) = anonymous(0).unwrap();
    let (mut errors_of_child, errors) = anonymous(0).unwrap();
    let mut command = child::echo();
    command.stdin(input).stdout(output).stderr(errors);
    let mut child = command.spawn().unwrap();
    // The command holds the child's ends, and with them the end of the pipe back.
    drop(command);
    to_child.write_all(b"through a child").unwrap();
    drop(to_child);
    let (mut text, mut error_text) = (String::new(), String::new());
    from_child.read_to_string(&mut text).unwrap();
    errors_of_child.read_to_string(&mut error_text).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!((text.as_str(), error_text.as_str()), ("through a child", "end of input"));
}

/// P1: and the ends that a child's streams are.
fn p1_ends_come_from_a_childs_streams() {
    let mut child =
        child::echo().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut to_child = AnonWrite::from(child.stdin.take().unwrap());
    let mut from_child = AnonRead::from(child.stdout.take().unwrap());
    let mut errors_of_child = AnonRead::from(child.stderr.take().unwrap());
    to_child.write_all(b"hello").unwrap();
    drop(to_child);
    let (mut text, mut error_text) = (String::new(), String::new());
    from_child.read_to_string(&mut text).unwrap();
    errors_of_child.read_to_string(&mut error_text).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!((text.as_str(), error_text.as_str()), ("hello", "end of input"));
}

/// P1: on Unix an end is one descriptor, closed when a new process image begins.
#[cfg(unix)]
fn p1_ends_are_descriptors() {
    use std::os::fd::{AsFd, AsRawFd, OwnedFd};
    let (reader, writer) = anonymous(0).unwrap();
    assert_eq!(reader.as_fd().as_raw_fd(), reader.as_raw_fd());
    for end in [reader.as_fd(), writer.as_fd()] {
        assert!(rustix::io::fcntl_getfd(end).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
    }
    let (mut reader, mut writer) =
        (AnonRead::from(OwnedFd::from(reader)), AnonWrite::from(OwnedFd::from(writer)));
    writer.write_all(b"x").unwrap();
    drop(writer);
    assert_eq!(reader.read(&mut [0; 9]).unwrap(), 1);
}

/// P1: on Windows an end is one handle, which no child inherits.
#[cfg(windows)]
fn p1_ends_are_handles() {
    use std::os::windows::io::{AsHandle, AsRawHandle, OwnedHandle};
    let (reader, writer) = anonymous(0).unwrap();
    assert_eq!(reader.as_handle().as_raw_handle(), reader.as_raw_handle());
    for end in [reader.as_handle(), writer.as_handle()] {
        assert!(!crate::windows::is_inherited(end));
    }
    let (mut reader, mut writer) =
        (AnonRead::from(OwnedHandle::from(reader)), AnonWrite::from(OwnedHandle::from(writer)));
    writer.write_all(b"x").unwrap();
    drop(writer);
    assert_eq!(reader.read(&mut [0; 9]).unwrap(), 1);
}

/// P2: then the end, again and again.
fn p2_after_the_writer_everything_then_the_end() {
    let (mut reader, mut writer) = anonymous(0).unwrap();
    writer.write_all(&[3; 4000]).unwrap();
    drop(writer);
    let mut data = Vec::new();
    reader.read_to_end(&mut data).unwrap();
    assert_eq!(data, [3; 4000]);
    assert_eq!(reader.read(&mut [0; 9]).unwrap(), 0);
}

/// P2: an error and nothing more.
fn p2_without_a_reader_writing_is_a_broken_pipe() {
    let (reader, mut writer) = anonymous(0).unwrap();
    drop(reader);
    for _ in 0..2 {
        assert_eq!(writer.write(b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}

/// P2: a child that was given nothing holds nothing: the end comes while it lives.
fn p2_children_do_not_inherit_an_end() {
    let (mut reader, writer) = anonymous(0).unwrap();
    let mut child = child::echo().stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    drop(writer);
    assert_eq!(reader.read(&mut [0; 9]).unwrap(), 0);
    assert!(child.try_wait().unwrap().is_none(), "the child lives");
    drop(child.stdin.take());
    child.wait().unwrap();
}
