//! Overlapped calls, by which programs with completions of their own serve an instance.
#![allow(unsafe_code, reason = "overlapped calls are unsafe: memory is the kernel's until they end")]

use std::{
    cell::UnsafeCell,
    io::{self, Read, Write},
    os::windows::io::{AsHandle, AsRawHandle, FromRawHandle, OwnedHandle},
    ptr,
};

use pipework::{
    Canceller, ClientOptions, NamedPipe, NamedPipeBuilder, PipeErrorKind, PipeMode, PipeStream,
    os::windows::NamedPipeExt,
};
use windows_sys::Win32::{
    Foundation::{ERROR_IO_INCOMPLETE, INVALID_HANDLE_VALUE, STATUS_PENDING, WAIT_OBJECT_0, WAIT_TIMEOUT},
    System::{
        IO::{CancelIoEx, CreateIoCompletionPort, GetQueuedCompletionStatus, OVERLAPPED},
        Threading::{CreateEventW, INFINITE, WaitForSingleObject},
    },
};

use super::{Case, SHORT, expect, plain};
use crate::harness::unique;

pub(super) fn cases() -> Vec<Case> {
    vec![
        plain("overlapped", overlapped_connect_ends_when_a_client_comes),
        plain("overlapped", overlapped_connect_tells_that_a_client_is_there),
        plain("overlapped", overlapped_connect_tells_that_a_client_was_there),
        plain("overlapped", overlapped_read_ends_at_once_or_later),
        plain("overlapped", overlapped_write_ends_at_once_or_later),
        plain("overlapped", overlapped_read_gets_a_part_of_a_message),
        plain("overlapped", overlapped_calls_without_a_client_fail_at_once),
        plain("overlapped", overlapped_result_tells_why_an_operation_ended),
        plain("overlapped", overlapped_calls_serve_one_client_after_the_other),
        plain("overlapped", overlapped_and_blocking_calls_can_take_turns),
        plain("overlapped", overlapped_calls_alone_reach_a_completion_port),
        plain("F3", f3_an_overlapped_read_ends_with_its_connection),
        plain("F3", f3_an_overlapped_write_ends_with_its_connection),
    ]
}

// ------------------------------------------------------------------ operations

/// Most bytes that an operation reads.
const LEN_MAX: usize = 16;

/// The memory of one operation after the other, and the event that signals their end.
struct Operation {
    overlapped: UnsafeCell<OVERLAPPED>,
    buf: UnsafeCell<[u8; LEN_MAX]>,
    event: OwnedHandle,
}

impl Operation {
    /// In a place of its own, which it keeps.
    fn new() -> Box<Operation> {
        // SAFETY: null stands for default attributes and for no name.
        let event = unsafe { CreateEventW(ptr::null(), 1, 0, ptr::null()) };
        assert!(!event.is_null(), "{}", io::Error::last_os_error());
        // SAFETY: the handle was just made for this caller.
        let event = unsafe { OwnedHandle::from_raw_handle(event) };
        let overlapped = OVERLAPPED { hEvent: event.as_raw_handle(), ..OVERLAPPED::default() };
        Box::new(Operation {
            overlapped: UnsafeCell::new(overlapped),
            buf: UnsafeCell::new([0; LEN_MAX]),
            event,
        })
    }

    fn connect(&self, server: &NamedPipe) -> io::Result<bool> {
        self.expect_nothing_pending();
        // SAFETY: the box lives until the operation has ended, as its drop checks; nothing else is pending.
        let begun = unsafe { server.connect_overlapped(self.overlapped.get().cast()) };
        self.note(matches!(begun, Ok(false)));
        begun
    }

    fn read(&self, server: &NamedPipe, len: usize) -> io::Result<Option<usize>> {
        self.expect_nothing_pending();
        // SAFETY: nothing is pending, and nobody else has a reference.
        let buf = unsafe { &mut *self.buf.get() };
        // SAFETY: as for `connect`; the buffer lives as long, and is looked at only after the end.
        let begun = unsafe { server.read_overlapped(&mut buf[..len], self.overlapped.get().cast()) };
        self.note(matches!(begun, Ok(None)));
        begun
    }

    fn write(&self, server: &NamedPipe, data: &'static [u8]) -> io::Result<Option<usize>> {
        self.expect_nothing_pending();
        // SAFETY: as for `connect`; the data lives for ever.
        let begun = unsafe { server.write_overlapped(data, self.overlapped.get().cast()) };
        self.note(matches!(begun, Ok(None)));
        begun
    }

    /// The system leaves its mark also on the `OVERLAPPED` of an operation that never began.
    fn note(&self, is_pending: bool) {
        if !is_pending {
            // SAFETY: the memory is not the kernel's, and nobody else has a reference.
            unsafe { (*self.overlapped.get()).Internal = 0 };
        }
    }

    fn result(&self, server: &NamedPipe) -> io::Result<usize> {
        // SAFETY: the callers have begun an operation of this pipe with it.
        unsafe { server.result(self.overlapped.get().cast()) }
    }

    /// Waits for the end and returns its result.
    fn wait(&self, server: &NamedPipe) -> io::Result<usize> {
        // SAFETY: the event is open while `self` is borrowed.
        let waited = unsafe { WaitForSingleObject(self.event.as_raw_handle(), INFINITE) };
        assert_eq!(waited, WAIT_OBJECT_0);
        self.result(server)
    }

    /// Waits for the end, which is to be a good one, and gives what was read.
    fn wait_for_data(&self, server: &NamedPipe) -> Vec<u8> {
        let len = self.wait(server).unwrap();
        self.data()[..len].to_vec()
    }

    /// Whether the event is signalled.
    fn has_ended(&self) -> bool {
        // SAFETY: the event is open while `self` is borrowed.
        match unsafe { WaitForSingleObject(self.event.as_raw_handle(), 0) } {
            WAIT_OBJECT_0 => true,
            WAIT_TIMEOUT => false,
            other => panic!("{other}: {}", io::Error::last_os_error()),
        }
    }

    fn cancel(&self, server: &NamedPipe) {
        // SAFETY: handle and `OVERLAPPED` are those of the operation, and both are borrowed.
        let cancelled = unsafe { CancelIoEx(server.as_raw_handle(), self.overlapped.get()) };
        assert_ne!(cancelled, 0, "{}", io::Error::last_os_error());
    }

    /// What is in the buffer.
    fn data(&self) -> [u8; LEN_MAX] {
        self.expect_nothing_pending();
        // SAFETY: nothing is pending, so nobody writes it.
        unsafe { *self.buf.get() }
    }

    /// The memory is not the kernel's.
    fn expect_nothing_pending(&self) {
        // SAFETY: only the address is taken, of a field of memory that lives on.
        let status = unsafe { &raw const (*self.overlapped.get()).Internal };
        // SAFETY: it is one word, which the kernel changes once, in the end; the look at it is not left out.
        let status = unsafe { status.read_volatile() };
        assert_ne!(status, usize::try_from(STATUS_PENDING).unwrap(), "an operation is pending");
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        // A failure ends the process, before the memory is anybody else's.
        self.expect_nothing_pending();
    }
}

/// Two ends that are connected, with room for so many bytes to the client.
fn pair(out_len: u32, mode: PipeMode) -> (NamedPipe, PipeStream) {
    let name = unique();
    let server = NamedPipeBuilder::new(&name).pipe_mode(mode).out_buffer_size(out_len).create().unwrap();
    let client = ClientOptions::new().read_mode(mode).open(&name).unwrap();
    server.connect().unwrap();
    (server, client)
}

// ------------------------------------------------------------------ cases

/// Pending until a client connects; its event signals that.
fn overlapped_connect_ends_when_a_client_comes() {
    let name = unique();
    let server = NamedPipe::new(&name).unwrap();
    let operation = Operation::new();
    assert!(!operation.connect(&server).unwrap(), "nobody is there");
    assert!(!operation.has_ended());
    let mut client = pipework::connect(&name).unwrap();
    assert_eq!(operation.wait(&server).unwrap(), 0);
    client.write_all(b"hello").unwrap();
    assert_eq!(operation.read(&server, LEN_MAX).unwrap(), Some(5));
    assert_eq!(&operation.data()[..5], b"hello");
}

/// `true`, and no completion comes.
fn overlapped_connect_tells_that_a_client_is_there() {
    let name = unique();
    let server = NamedPipe::new(&name).unwrap();
    let _client = pipework::connect(&name).unwrap();
    let operation = Operation::new();
    for _ in 0..2 {
        assert!(operation.connect(&server).unwrap(), "a client is there");
        assert!(!operation.has_ended(), "no completion comes");
    }
}

/// Then what it wrote can be read, and the end after it.
fn overlapped_connect_tells_that_a_client_was_there() {
    let name = unique();
    let server = NamedPipe::new(&name).unwrap();
    let mut client = pipework::connect(&name).unwrap();
    client.write_all(b"bye").unwrap();
    drop(client);
    let operation = Operation::new();
    assert!(operation.connect(&server).unwrap(), "a client was there");
    assert!(!operation.has_ended(), "no completion comes");
    assert_eq!(operation.read(&server, LEN_MAX).unwrap(), Some(3));
    assert_eq!(&operation.data()[..3], b"bye");
    expect(operation.read(&server, LEN_MAX), PipeErrorKind::Broken);
}

/// At once what is there, else later what comes.
fn overlapped_read_ends_at_once_or_later() {
    let (server, mut client) = pair(64, PipeMode::Byte);
    let operation = Operation::new();
    client.write_all(b"at once").unwrap();
    assert_eq!(operation.read(&server, 3).unwrap(), Some(3));
    assert_eq!(operation.read(&server, LEN_MAX).unwrap(), Some(4));
    assert_eq!(&operation.data()[..4], b"once", "it goes on where the last one ended");
    assert_eq!(operation.read(&server, LEN_MAX).unwrap(), None);
    assert!(!operation.has_ended());
    client.write_all(b"later").unwrap();
    assert_eq!(operation.wait_for_data(&server), b"later");
    assert_eq!(operation.result(&server).unwrap(), 5, "it can be asked again");
}

/// At once what has room, else when it was read.
fn overlapped_write_ends_at_once_or_later() {
    let (server, mut client) = pair(8, PipeMode::Byte);
    let operation = Operation::new();
    assert_eq!(operation.write(&server, b"at once").unwrap(), Some(7));
    assert_eq!(operation.write(&server, b"has no room").unwrap(), None);
    assert!(!operation.has_ended());
    let mut text = [0; 18];
    client.read_exact(&mut text).unwrap();
    assert_eq!(operation.wait(&server).unwrap(), 11);
    assert_eq!(&text, b"at oncehas no room");
}

/// And says so, as reading a message with too small a buffer does; the rest comes next.
fn overlapped_read_gets_a_part_of_a_message() {
    let (server, mut client) = pair(64, PipeMode::Message);
    let operation = Operation::new();
    client.write_all(b"one message").unwrap();
    expect(operation.read(&server, 3), PipeErrorKind::MoreData);
    assert_eq!(&operation.data()[..3], b"one");
    assert_eq!(operation.read(&server, LEN_MAX).unwrap(), Some(8));
    assert_eq!(&operation.data()[..8], b" message");
    // The same for one that has to wait.
    assert_eq!(operation.read(&server, 3).unwrap(), None);
    client.write_all(b"another").unwrap();
    expect(operation.wait(&server), PipeErrorKind::MoreData);
    assert_eq!(&operation.data()[..3], b"ano");
    assert_eq!(operation.read(&server, LEN_MAX).unwrap(), Some(4));
}

/// Listening before the first, not connected after the last.
fn overlapped_calls_without_a_client_fail_at_once() {
    let (server, _client) = pair(64, PipeMode::Byte);
    let listening = NamedPipe::new(unique()).unwrap();
    server.disconnect().unwrap();
    let operation = Operation::new();
    for (pipe, kind) in [(&listening, PipeErrorKind::Listening), (&server, PipeErrorKind::NotConnected)] {
        expect(operation.read(pipe, LEN_MAX), kind);
        expect(operation.write(pipe, b"to nobody"), kind);
    }
}

/// Not at all yet, because it was cancelled, or because the client has gone.
fn overlapped_result_tells_why_an_operation_ended() {
    let (server, client) = pair(8, PipeMode::Byte);
    let (reading, writing) = (Operation::new(), Operation::new());
    assert_eq!(reading.read(&server, LEN_MAX).unwrap(), None);
    assert_eq!(writing.write(&server, b"has no room").unwrap(), None);
    for operation in [&reading, &writing] {
        let error = operation.result(&server).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(ERROR_IO_INCOMPLETE.cast_signed()), "{error}");
        operation.cancel(&server);
        expect(operation.wait(&server), PipeErrorKind::Aborted);
    }
    assert_eq!(reading.read(&server, LEN_MAX).unwrap(), None);
    drop(client);
    expect(reading.wait(&server), PipeErrorKind::Broken);
    expect(reading.read(&server, LEN_MAX), PipeErrorKind::Broken);
    expect(writing.write(&server, b"to nobody"), PipeErrorKind::NoData);
}

/// And the instance is connected and disconnected as often as there are clients.
fn overlapped_calls_serve_one_client_after_the_other() {
    let name = unique();
    let server = NamedPipe::new(&name).unwrap();
    let operation = Operation::new();
    for _ in 0..3 {
        assert!(!operation.connect(&server).unwrap(), "nobody is there");
        let mut client = pipework::connect(&name).unwrap();
        operation.wait(&server).unwrap();
        assert_eq!(operation.read(&server, LEN_MAX).unwrap(), None);
        client.write_all(b"question").unwrap();
        assert_eq!(operation.wait_for_data(&server), b"question");
        assert_eq!(operation.write(&server, b"answer").unwrap(), Some(6));
        let mut answer = [0; 6];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"answer");
        server.disconnect().unwrap();
    }
}

/// Whoever connects an instance, both kinds of calls find it connected.
fn overlapped_and_blocking_calls_can_take_turns() {
    let name = unique();
    let server = NamedPipe::new(&name).unwrap();
    let operation = Operation::new();
    for both_connect in [false, false, true, true] {
        assert!(!operation.connect(&server).unwrap(), "nobody is there");
        if both_connect {
            expect(server.connect_timeout(SHORT), PipeErrorKind::TimedOut);
        }
        let mut client = pipework::connect(&name).unwrap();
        operation.wait(&server).unwrap();
        if both_connect {
            server.connect().unwrap();
        }
        client.write_all(b"question").unwrap();
        let mut question = [0; 8];
        (&server).read_exact(&mut question).unwrap();
        assert_eq!(&question, b"question");
        (&server).write_all(b"ans").unwrap();
        assert_eq!(operation.write(&server, b"wer").unwrap(), Some(3));
        let mut answer = [0; 6];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"answer");
        assert_eq!(server.stream().peer().unwrap().process_id(), Some(std::process::id()));
        server.disconnect().unwrap();
        expect((&server).read(&mut question), PipeErrorKind::NotConnected);
    }
}

/// A program's own completion port hears of its own calls, and of nothing that the crate does on the same handle.
fn overlapped_calls_alone_reach_a_completion_port() {
    let name = unique();
    let server = NamedPipe::new(&name).unwrap();
    let port = Port::of(&server);
    expect(server.connect_timeout(SHORT), PipeErrorKind::TimedOut);
    let mut client = pipework::connect(&name).unwrap();
    server.connect().unwrap();
    server.stream().set_read_timeout(Some(SHORT)).unwrap();
    expect((&server).read(&mut [0]), PipeErrorKind::TimedOut);
    server.stream().set_read_timeout(None).unwrap();
    client.write_all(b"x").unwrap();
    (&server).read_exact(&mut [0]).unwrap();
    (&server).write_all(b"y").unwrap();
    let canceller = Canceller::new().unwrap();
    server.stream().set_canceller(Some(&canceller));
    canceller.cancel();
    expect((&server).read(&mut [0]), PipeErrorKind::Aborted);
    assert_eq!(port.next(0), None, "blocking calls make no completion");
    let operation = Operation::new();
    assert_eq!(operation.read(&server, LEN_MAX).unwrap(), None);
    client.write_all(b"data").unwrap();
    assert_eq!(port.next(INFINITE), Some((4, operation.overlapped.get())));
    assert_eq!(operation.wait_for_data(&server), b"data");
}

/// A completion port.
struct Port(OwnedHandle);

impl Port {
    /// One that hears of this handle.
    fn of(server: &NamedPipe) -> Port {
        // SAFETY: no memory is involved; the handle is open while it is borrowed.
        let port =
            unsafe { CreateIoCompletionPort(server.as_handle().as_raw_handle(), ptr::null_mut(), 0, 1) };
        assert!(!port.is_null() && port != INVALID_HANDLE_VALUE, "{}", io::Error::last_os_error());
        // SAFETY: the handle was just made for this caller.
        Port(unsafe { OwnedHandle::from_raw_handle(port) })
    }

    /// The next completion that comes in time: how many bytes, and of which operation.
    fn next(&self, milliseconds: u32) -> Option<(u32, *mut OVERLAPPED)> {
        let (mut len, mut key, mut overlapped) = (0, 0, ptr::null_mut());
        let port = self.0.as_raw_handle();
        // SAFETY: the port is open while it is borrowed; all three are locals that the call writes.
        unsafe { GetQueuedCompletionStatus(port, &mut len, &mut key, &mut overlapped, milliseconds) };
        (!overlapped.is_null()).then_some((len, overlapped))
    }
}

/// F3: with an error, and not with the data of the next one.
fn f3_an_overlapped_read_ends_with_its_connection() {
    let name = unique();
    let server = NamedPipe::new(&name).unwrap();
    let first = pipework::connect(&name).unwrap();
    let (old, new) = (Operation::new(), Operation::new());
    assert!(old.connect(&server).unwrap(), "a client is there");
    assert_eq!(old.read(&server, LEN_MAX).unwrap(), None);
    server.disconnect().unwrap();
    assert!(!new.connect(&server).unwrap(), "nobody is there");
    let mut second = pipework::connect(&name).unwrap();
    new.wait(&server).unwrap();
    second.write_all(b"mine").unwrap();
    let error = old.wait(&server).unwrap_err();
    assert!(error == PipeErrorKind::NotConnected || error == PipeErrorKind::Broken, "{error}");
    assert_eq!(old.data(), [0; LEN_MAX]);
    assert_eq!(new.read(&server, LEN_MAX).unwrap(), Some(4));
    assert_eq!(&new.data()[..4], b"mine");
    drop((first, second));
}

/// F3: with an error, and the next client reads nothing of it.
fn f3_an_overlapped_write_ends_with_its_connection() {
    let name = unique();
    let server = NamedPipeBuilder::new(&name).out_buffer_size(4).create().unwrap();
    let first = pipework::connect(&name).unwrap();
    let (old, new) = (Operation::new(), Operation::new());
    assert!(old.connect(&server).unwrap(), "a client is there");
    assert_eq!(old.write(&server, b"for the first").unwrap(), None);
    server.disconnect().unwrap();
    let error = old.wait(&server).unwrap_err();
    assert!(error == PipeErrorKind::NotConnected || error == PipeErrorKind::Broken, "{error}");
    assert!(!new.connect(&server).unwrap(), "nobody is there");
    let mut second = pipework::connect(&name).unwrap();
    new.wait(&server).unwrap();
    assert_eq!(second.peek(&mut []).unwrap().available, 0);
    assert_eq!(new.write(&server, b"2nd").unwrap(), Some(3));
    let mut data = [0; 3];
    second.read_exact(&mut data).unwrap();
    assert_eq!(&data, b"2nd");
    drop((first, second));
}
