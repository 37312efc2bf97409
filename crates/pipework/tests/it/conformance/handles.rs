//! Ends as handles of Windows: what becomes one, what it keeps, and that none is left behind.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::windows::{
        fs::OpenOptionsExt,
        io::{AsHandle, AsRawHandle, OwnedHandle},
    },
    time::Duration,
};

use pipework::{
    Access, Canceller, ClientOptions, Listener, NamedPipe, NamedPipeBuilder, PipeErrorKind, PipeMode,
    PipeStream, ServerCheck,
    os::windows::{AccessExt, PipeStreamExt},
};
use windows_sys::Win32::Storage::FileSystem::FILE_FLAG_OVERLAPPED;

use super::{Case, SHORT, expect, plain};
use crate::{
    harness::unique,
    windows::{handle_count, is_inherited},
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        plain("handles", handles_of_other_code_become_ends),
        plain("handles", handles_that_hold_each_other_up_are_refused),
        plain("handles", handles_keep_the_read_mode),
        plain("handles", handles_of_servers_keep_client_and_data),
        plain("handles", handles_of_servers_without_a_client_go_on_serving),
        plain("handles", handles_are_not_inherited),
        plain("handles", handles_are_not_left_by_what_fails),
    ]
}

/// A pipe as any program opens it.
fn open_as_file(name: &str, flags: u32) -> File {
    let path = format!(r"\\.\pipe\{name}");
    OpenOptions::new().read(true).write(true).custom_flags(flags).open(path).unwrap()
}

/// Data goes both ways.
#[track_caller]
fn expect_alive(one: &mut (impl Read + Write), other: &mut (impl Read + Write)) {
    one.write_all(b"?").unwrap();
    other.write_all(b"!").unwrap();
    let (mut asked, mut answered) = ([0], [0]);
    other.read_exact(&mut asked).unwrap();
    one.read_exact(&mut answered).unwrap();
    assert_eq!((&asked, &answered), (b"?", b"!"));
}

/// If it was opened for overlapped use.
fn handles_of_other_code_become_ends() {
    let name = unique();
    let mut server = NamedPipe::new(&name).unwrap();
    let file = open_as_file(&name, FILE_FLAG_OVERLAPPED);
    let number = file.as_raw_handle();
    let mut client = PipeStream::try_from(OwnedHandle::from(file)).unwrap();
    assert_eq!(client.as_raw_handle(), number);
    server.connect().unwrap();
    expect_alive(&mut client, &mut server);
    // It has what any end has.
    client.set_read_timeout(Some(SHORT)).unwrap();
    expect(client.read(&mut [0]), PipeErrorKind::TimedOut);
    assert_eq!(client.peer().unwrap().process_id(), Some(std::process::id()));
}

/// Reads and writes of a handle for synchronous use would wait for each other.
fn handles_that_hold_each_other_up_are_refused() {
    let name = unique();
    let server = NamedPipe::new(&name).unwrap();
    let file = open_as_file(&name, 0);
    server.connect().unwrap();
    let fault = expect(PipeStream::try_from(OwnedHandle::from(file)), PipeErrorKind::Invalid);
    assert!(fault.text.contains("FILE_FLAG_OVERLAPPED"), "{}", fault.text);
    assert_eq!((&server).read(&mut [0]).unwrap(), 0, "it was closed with that");
}

/// Bytes or messages, as it was last set, on both sides.
fn handles_keep_the_read_mode() {
    let modes = [PipeMode::Byte, PipeMode::Message];
    for (client_mode, server_mode) in modes.into_iter().zip(modes.into_iter().rev()) {
        let name = unique();
        let server = NamedPipeBuilder::new(&name).pipe_mode(PipeMode::Message).create().unwrap();
        let client = ClientOptions::new().read_mode(client_mode).open(&name).unwrap();
        server.connect().unwrap();
        server.stream().set_read_mode(server_mode).unwrap();
        let server = NamedPipe::try_from(OwnedHandle::from(server)).unwrap();
        let client = PipeStream::try_from(OwnedHandle::from(client)).unwrap();
        expect_read_mode(&client, server.stream(), server_mode);
        expect_read_mode(server.stream(), &client, client_mode);
    }
}

/// In byte read mode messages merge, and none can be read as one.
#[track_caller]
fn expect_read_mode(from: &PipeStream, mut to: &PipeStream, mode: PipeMode) {
    from.write_message(b"ab").unwrap();
    from.write_message(b"cd").unwrap();
    let mut data = [0; 9];
    if mode == PipeMode::Message {
        assert_eq!(to.read(&mut data).unwrap(), 2);
        assert_eq!(to.read_message(9).unwrap(), Some(b"cd".to_vec()));
    } else {
        assert_eq!(to.read(&mut data).unwrap(), 4);
        expect(to.read_message(9), PipeErrorKind::BadPipe);
    }
}

/// What was written before can be read after, and the next client is served.
fn handles_of_servers_keep_client_and_data() {
    let name = unique();
    let server = NamedPipe::new(&name).unwrap();
    let mut client = pipework::connect(&name).unwrap();
    server.connect().unwrap();
    client.write_all(b"before").unwrap();
    let mut server = NamedPipe::try_from(OwnedHandle::from(server)).unwrap();
    let mut text = [0; 6];
    server.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"before");
    expect_alive(&mut client, &mut server);
    server.disconnect().unwrap();
    expect(server.connect_timeout(Duration::ZERO), PipeErrorKind::TimedOut);
    let mut next = pipework::connect(&name).unwrap();
    server.connect().unwrap();
    expect_alive(&mut next, &mut server);
}

/// One that listens does so still; one that is disconnected needs to be connected.
fn handles_of_servers_without_a_client_go_on_serving() {
    let name = unique();
    let server = NamedPipe::new(&name).unwrap();
    let mut server = NamedPipe::try_from(OwnedHandle::from(server)).unwrap();
    expect(server.read(&mut [0]), PipeErrorKind::Listening);
    let mut client = pipework::connect(&name).unwrap();
    expect_alive(&mut client, &mut server);
    server.disconnect().unwrap();
    let mut server = NamedPipe::try_from(OwnedHandle::from(server)).unwrap();
    expect(server.read(&mut [0]), PipeErrorKind::NotConnected);
    expect(ClientOptions::new().open(&name), PipeErrorKind::Busy);
    expect(server.connect_timeout(Duration::ZERO), PipeErrorKind::TimedOut);
    let mut next = pipework::connect(&name).unwrap();
    server.connect().unwrap();
    expect_alive(&mut next, &mut server);
}

/// By no child, whatever end it is and however it was had.
fn handles_are_not_inherited() {
    let name = unique();
    let listener = Listener::bind(&name).unwrap();
    let client = pipework::connect(&name).unwrap();
    let server = listener.accept().unwrap();
    let instance = NamedPipe::new(unique()).unwrap();
    for end in [client.as_handle(), server.as_handle(), instance.as_handle()] {
        assert!(!is_inherited(end));
    }
    let second = OwnedHandle::from(client.try_clone().unwrap());
    assert_ne!(second.as_raw_handle(), client.as_raw_handle(), "the clone has the first one");
    assert!(!is_inherited(second.as_handle()));
}

/// Something that fails, and as what.
type Failure = (&'static str, PipeErrorKind, fn() -> io::Result<()>);

const OPENING: [Failure; 11] = [
    ("an unknown account", PipeErrorKind::Invalid, || {
        NamedPipeBuilder::new(unique()).access(Access::owner().user("no such user")).create().map(drop)
    }),
    ("a bad descriptor", PipeErrorKind::Invalid, || {
        NamedPipeBuilder::new(unique()).access(Access::from_sddl("nonsense")).create().map(drop)
    }),
    ("one instance too many", PipeErrorKind::Busy, || {
        let name = unique();
        let _server = NamedPipeBuilder::new(&name).max_instances(1).create().unwrap();
        NamedPipeBuilder::new(&name).first(false).max_instances(1).create().map(drop)
    }),
    ("opening nothing", PipeErrorKind::Absent, || ClientOptions::new().open(unique()).map(drop)),
    ("opening a busy pipe", PipeErrorKind::Busy, || {
        let (name, _server, _client) = pair();
        ClientOptions::new().open(&name).map(drop)
    }),
    ("waiting for a busy pipe", PipeErrorKind::TimedOut, || {
        let (name, _server, _client) = pair();
        ClientOptions::new().timeout(SHORT).connect(&name).map(drop)
    }),
    ("waiting for a busy pipe till cancelled", PipeErrorKind::Aborted, || {
        let (name, _server, _client) = pair();
        ClientOptions::new().canceller(&cancelled()).connect(&name).map(drop)
    }),
    ("another server", PipeErrorKind::AccessDenied, || {
        let name = unique();
        let _server = NamedPipe::new(&name).unwrap();
        ClientOptions::new().server(ServerCheck::User("S-1-5-19".to_owned())).open(&name).map(drop)
    }),
    ("messages of a byte pipe", PipeErrorKind::Invalid, || {
        let name = unique();
        let _server = NamedPipe::new(&name).unwrap();
        ClientOptions::new().read_mode(PipeMode::Message).open(&name).map(drop)
    }),
    ("waiting for nothing", PipeErrorKind::Absent, || NamedPipe::wait(unique(), Some(SHORT))),
    ("waiting in vain", PipeErrorKind::TimedOut, || {
        let (name, _server, _client) = pair();
        NamedPipe::wait(&name, Some(SHORT))
    }),
];

const SERVING: [Failure; 7] = [
    ("connecting nobody", PipeErrorKind::TimedOut, || NamedPipe::new(unique())?.connect_timeout(SHORT)),
    ("connecting till cancelled", PipeErrorKind::Aborted, || {
        let server = NamedPipe::new(unique())?;
        server.stream().set_canceller(Some(&cancelled()));
        server.connect()
    }),
    ("a client that left", PipeErrorKind::NoData, || {
        let name = unique();
        let server = NamedPipe::new(&name)?;
        drop(pipework::connect(&name)?);
        server.connect()
    }),
    ("accepting nobody", PipeErrorKind::TimedOut, || {
        Listener::bind(unique())?.accept_timeout(SHORT).map(drop)
    }),
    ("disconnecting twice", PipeErrorKind::NotConnected, || {
        let (_, server, _client) = pair();
        server.disconnect().unwrap();
        server.disconnect()
    }),
    ("acting as nobody", PipeErrorKind::Listening, || NamedPipe::new(unique())?.stream().impersonate(|| ())),
    ("a peer that is not there", PipeErrorKind::Listening, || {
        NamedPipe::new(unique())?.stream().peer().map(drop)
    }),
];

const MOVING: [Failure; 7] = [
    ("reading in vain", PipeErrorKind::TimedOut, || {
        let (_, _server, mut client) = pair();
        client.set_read_timeout(Some(SHORT)).unwrap();
        client.read(&mut [0]).map(drop)
    }),
    ("reading till cancelled", PipeErrorKind::Aborted, || {
        let (_, server, _client) = pair();
        server.stream().set_canceller(Some(&cancelled()));
        (&server).read(&mut [0]).map(drop)
    }),
    ("writing too much", PipeErrorKind::TimedOut, || {
        let (_, _server, mut client) = pair();
        client.set_write_timeout(Some(SHORT)).unwrap();
        client.write_all(&[0; 4]).unwrap();
        client.write(b"more").map(drop)
    }),
    ("draining in vain", PipeErrorKind::TimedOut, || {
        let (_, _server, mut client) = pair();
        client.set_write_timeout(Some(SHORT)).unwrap();
        client.write_all(b"x").unwrap();
        client.drain()
    }),
    ("draining till cancelled", PipeErrorKind::Aborted, || {
        let (_, _server, mut client) = pair();
        client.write_all(b"x").unwrap();
        client.set_canceller(Some(&cancelled()));
        client.drain()
    }),
    ("writing to nobody", PipeErrorKind::NoData, || {
        let (_, server, mut client) = pair();
        drop(server);
        client.write(b"x").map(drop)
    }),
    ("peeking at nobody", PipeErrorKind::Broken, || {
        let (_, server, client) = pair();
        drop(server);
        client.peek(&mut []).map(drop)
    }),
];

const CONVERTING: [Failure; 4] = [
    ("a file as a server", PipeErrorKind::Invalid, || {
        let file = File::open(std::env::current_exe()?)?;
        NamedPipe::try_from(OwnedHandle::from(file)).map(drop)
    }),
    ("a client as a server", PipeErrorKind::Invalid, || {
        let (_, _server, client) = pair();
        NamedPipe::try_from(OwnedHandle::from(client)).map(drop)
    }),
    ("a handle for synchronous use", PipeErrorKind::Invalid, || {
        let name = unique();
        let _server = NamedPipe::new(&name)?;
        PipeStream::try_from(OwnedHandle::from(open_as_file(&name, 0))).map(drop)
    }),
    ("a server without a client as a stream", PipeErrorKind::Invalid, || {
        let server = NamedPipe::new(unique())?;
        PipeStream::try_from(OwnedHandle::from(server)).map(drop)
    }),
];

/// Two ends with little room, and their name.
fn pair() -> (String, NamedPipe, PipeStream) {
    let name = unique();
    let server =
        NamedPipeBuilder::new(&name).max_instances(1).in_buffer_size(4).out_buffer_size(4).create().unwrap();
    let client = pipework::connect(&name).unwrap();
    server.connect().unwrap();
    (name, server, client)
}

fn cancelled() -> Canceller {
    let canceller = Canceller::new().unwrap();
    canceller.cancel();
    canceller
}

/// Neither by opening, serving or moving, nor by converting.
fn handles_are_not_left_by_what_fails() {
    for (what, kind, act) in OPENING.iter().chain(&SERVING).chain(&MOVING).chain(&CONVERTING) {
        let count_before = handle_count();
        for _ in 0..3 {
            let failed = act().expect_err(what);
            assert!(failed == *kind, "{what} is {failed:?}");
        }
        assert_eq!(handle_count(), count_before, "{what} leaves handles");
    }
}
