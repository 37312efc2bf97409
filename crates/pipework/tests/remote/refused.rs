//! What goes wrong, and what is said of it.

use crate::{
    harness::{Case, Place, expect_timeout_because, open, unique, wait_until},
    samba::{Samba, Setup},
    server::{Kind, Served},
};
use pipework::{Credentials, PipeErrorKind, PipeMode, ServerCheck};
use std::{
    error::Error,
    fs,
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpListener},
    os::unix::net::{UnixListener, UnixStream},
    process::Command,
    thread,
    time::Duration,
};

pub(crate) const CASES: &[Case] = &[
    ("a_wrong_password_is_told_from_a_refusal", a_wrong_password_is_told_from_a_refusal),
    ("users_are_written_as_they_are_elsewhere", users_are_written_as_they_are_elsewhere),
    ("a_guest_is_never_one", a_guest_is_never_one),
    ("names_are_what_the_server_makes_of_them", names_are_what_the_server_makes_of_them),
    (
        "what_can_be_refused_is_refused_before_anything_is_sent",
        what_can_be_refused_is_refused_before_anything_is_sent,
    ),
    ("encryption_is_had_or_nothing_is_sent", encryption_is_had_or_nothing_is_sent),
    ("every_session_is_signed", every_session_is_signed),
    (
        "a_computer_that_is_out_of_reach_is_told_with_its_code",
        a_computer_that_is_out_of_reach_is_told_with_its_code,
    ),
    ("a_server_that_is_none_is_told", a_server_that_is_none_is_told),
    ("without_a_ticket_there_is_no_identity", without_a_ticket_there_is_no_identity),
    ("smbd_killed_ends_its_pipes", smbd_killed_ends_its_pipes),
    ("a_pipe_with_a_full_queue_is_busy", a_pipe_with_a_full_queue_is_busy),
    ("a_share_that_is_closed_ends_its_pipes", a_share_that_is_closed_ends_its_pipes),
];

fn a_wrong_password_is_told_from_a_refusal(place: &Place) {
    let open_as = |user: &str, password: &str| {
        let mut options = place.options();
        options.credentials(Credentials::password(user, password)).open(place.address("x")).unwrap_err()
    };
    for (user, password) in
        [(place.user.as_str(), "wrong"), ("pipework-nobody", &place.password), (&place.user, "")]
    {
        let error = open_as(user, password);
        assert!(error == PipeErrorKind::AccessDenied, "{error}");
        assert!(error.to_string().contains("the user or the password is wrong"), "{error}");
        assert!(!format!("{error:?}").contains(&place.password));
    }
    // The server of the pipe refuses this account: it closes instead of answering.
    let name = unique();
    let served = Served::new(&place.np, &name, Kind::Bytes);
    let refusing = thread::spawn(move || drop(served.accept_silently()));
    let error = place.options().open(place.address(&name)).unwrap_err();
    refusing.join().unwrap();
    assert!(error == PipeErrorKind::AccessDenied, "{error}");
    assert!(error.to_string().contains("does not admit this account"), "{error}");
}

fn users_are_written_as_they_are_elsewhere(place: &Place) {
    for user in
        [format!(r"WORKGROUP\{}", place.user), format!(r"PIPEWORK\{}", place.user), place.user.to_uppercase()]
    {
        let mut options = place.options();
        let absent =
            options.credentials(Credentials::password(&user, &place.password)).open(place.address("x"));
        assert!(absent.unwrap_err() == PipeErrorKind::Absent, "{user}");
    }
}

fn a_guest_is_never_one(_: &Place) {
    let samba = Samba::start(&Setup { guest: true, ..Setup::default() });
    let place = Place::of(&samba);
    for require_encryption in [true, false] {
        for user in ["pipework-nobody", "Guest", r"DOMAIN\guest", "nobody"] {
            let mut options = place.options();
            options.credentials(Credentials::password(user, "x")).require_encryption(require_encryption);
            let refused = options.open(place.address("x")).unwrap_err();
            assert!(refused == PipeErrorKind::AccessDenied, "{user}: {refused}");
        }
    }
    let absent = place.options().open(place.address("x")).unwrap_err();
    assert!(absent == PipeErrorKind::Absent, "{absent}");
}

fn names_are_what_the_server_makes_of_them(place: &Place) {
    // One pipe by all spellings of its name, as smbd keeps it.
    let name = format!("{}-Ü.Name with {{odd}} things!", unique());
    let served = Served::new(&place.np, &name, Kind::Bytes);
    for spelling in [name.clone(), name.to_uppercase(), name.to_lowercase()] {
        thread::scope(|scope| {
            let accepting = scope.spawn(|| served.accept());
            let mut client = place.options().open(place.address(&spelling)).unwrap();
            client.write_all(b"x").unwrap();
            assert_eq!(accepting.join().unwrap().read_exactly(1), b"x");
        });
    }
    // Nothing outside of the directory of pipes is ever reached.
    let outside = place.np.parent().unwrap().join("outside");
    let _outside = std::os::unix::net::UnixListener::bind(&outside).unwrap();
    let absent =
        ["..", ".", "../outside", "a/b", r"..\outside", r"a\b", "no-such-pipe", "x:y", "q?*", "ü", "CON"];
    for name in absent {
        let error = place.options().open(place.address(name)).unwrap_err();
        assert!(error == PipeErrorKind::Absent, "{name}: {error}");
    }
    let long = place.options().open(place.address(&"n".repeat(247))).unwrap_err();
    assert!(long == PipeErrorKind::Invalid || long == PipeErrorKind::Absent, "{long}");
    for invalid in [r"\x", "", "a\0b", &"n".repeat(248)] {
        let error = place.options().open(place.address(invalid)).unwrap_err();
        assert!(error == PipeErrorKind::Invalid, "{invalid}: {error}");
    }
    // A socket that no process serves any more.
    let stale = unique();
    drop(std::os::unix::net::UnixListener::bind(place.np.join(stale.to_lowercase())).unwrap());
    let error = place.options().open(place.address(&stale)).unwrap_err();
    assert!(error == PipeErrorKind::Absent, "{error}");
    fs::remove_file(place.np.join(stale.to_lowercase())).unwrap();
}

fn what_can_be_refused_is_refused_before_anything_is_sent(place: &Place) {
    // Whoever came here would not be answered.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    silent.set_nonblocking(true).unwrap();
    let mut options = place.options();
    options.remote_port(silent.local_addr().unwrap().port());
    let kind_of =
        |options: &pipework::ClientOptions, name: &str| PipeErrorKind::of(&options.open(name).unwrap_err());
    let address = place.address("x");
    let mut user = options.clone();
    user.server(ServerCheck::User("root".to_owned()));
    assert_eq!(kind_of(&user, &address), Some(PipeErrorKind::Unsupported));
    let mut nobody = options.clone();
    nobody.credentials(Credentials::password("", "x"));
    assert_eq!(kind_of(&nobody, &address), Some(PipeErrorKind::Invalid));
    let mut neither = options.clone();
    neither.read(false).write(false);
    assert_eq!(kind_of(&neither, &address), Some(PipeErrorKind::Invalid));
    assert_eq!(kind_of(&options, &place.address(r"\x")), Some(PipeErrorKind::Invalid));
    // None of these options applies to a local pipe.
    assert_eq!(kind_of(&options, "local"), Some(PipeErrorKind::Invalid));
    let mut port_only = pipework::ClientOptions::new();
    port_only.remote_port(1);
    assert_eq!(kind_of(&port_only, "local"), Some(PipeErrorKind::Invalid));
    assert_eq!(silent.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock, "nobody came");
}

/// The SID by which smbd reports to a server of pipes that its client's session is encrypted: S-1-22-1397571891-…
const ENCRYPTED: [u8; 4] = 1_397_571_891_u32.to_le_bytes();

fn encryption_is_had_or_nothing_is_sent(place: &Place) {
    let is_encrypted = |place: &Place, required: Option<bool>| {
        let name = unique();
        let served = Served::new(&place.np, &name, Kind::Bytes);
        let accepting = thread::spawn(move || served.accept());
        let mut options = place.options();
        if let Some(required) = required {
            options.require_encryption(required);
        }
        let mut client = options.open(place.address(&name)).unwrap();
        let mut server = accepting.join().unwrap();
        client.write_all(b"x").unwrap();
        server.socket.write_all(b"y").unwrap();
        assert_eq!(client.read(&mut [0]).unwrap(), 1);
        let is_encrypted = server.request.windows(4).any(|bytes| bytes == ENCRYPTED);
        let peer = client.peer().unwrap();
        let network = peer.network().unwrap();
        assert_eq!((network.address.as_str(), network.encrypted), ("127.0.0.1", Some(is_encrypted)));
        assert!(network.account.is_empty() && !peer.is_same_user());
        assert_eq!((peer.process_id(), peer.user_id(), peer.sid()), (None, None, None));
        assert!(peer.account().unwrap_err() == PipeErrorKind::Unsupported);
        assert!(peer.is_member_of("root").unwrap_err() == PipeErrorKind::Unsupported);
        is_encrypted
    };
    assert!(is_encrypted(place, None), "with a password, by default");
    assert!(is_encrypted(place, Some(true)));
    assert!(!is_encrypted(place, Some(false)));
    let required = Samba::start(&Setup { encrypt: Some("required"), ..Setup::default() });
    assert!(is_encrypted(&Place::of(&required), Some(false)), "as the server wants it");
    let without = Samba::start(&Setup { encrypt: Some("off"), ..Setup::default() });
    let place = Place::of(&without);
    let refused = place.options().open(place.address("x")).unwrap_err();
    assert!(refused == PipeErrorKind::AccessDenied, "{refused}");
    assert!(refused.to_string().contains("does not encrypt"), "{refused}");
    let mut options = place.options();
    let absent = options.require_encryption(false).open(place.address("x")).unwrap_err();
    assert!(absent == PipeErrorKind::Absent, "{absent}");
}

fn every_session_is_signed(_: &Place) {
    for signing in ["mandatory", "auto", "disabled"] {
        let samba = Samba::start(&Setup { signing: Some(signing), ..Setup::default() });
        let place = Place::of(&samba);
        for require_encryption in [false, true] {
            let name = unique();
            let served = Served::new(&place.np, &name, Kind::Messages);
            let answering = thread::spawn(move || served.accept().echo_messages());
            let mut options = place.options();
            options.require_encryption(require_encryption).read_mode(PipeMode::Message);
            let client = options.open(place.address(&name)).unwrap();
            assert_eq!(client.transact(b"signed", 9).unwrap(), b"signed", "{signing}");
            drop(client);
            answering.join().unwrap();
        }
    }
}

fn a_computer_that_is_out_of_reach_is_told_with_its_code(place: &Place) {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let error = place.options().remote_port(port).open(place.address("x")).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    let text = error.to_string();
    assert!(text.contains("127.0.0.1") && text.contains(&port.to_string()), "{text}");
    let source =
        error.get_ref().and_then(Error::source).and_then(|source| source.downcast_ref::<io::Error>());
    assert_eq!(source.and_then(io::Error::raw_os_error), Some(libc::ECONNREFUSED));
    let unknown = place.options().open(r"\\no-such-host.invalid\pipe\x").unwrap_err();
    assert!(unknown.to_string().contains("no-such-host.invalid"), "{unknown}");
}

fn a_server_that_is_none_is_told(place: &Place) {
    let answer_with = |answer: &'static [u8]| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            assert!(socket.read(&mut [0; 1024]).unwrap() > 0);
            socket.write_all(answer).unwrap();
        });
        let error = place.options().remote_port(port).open(place.address("x")).unwrap_err();
        serving.join().unwrap();
        error
    };
    for answer in [
        &b""[..],
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x00\x00\x00\x04\xfeSMB",
        b"\x00\xff\xff\xff\xfeSMB",
        b"\x00\x00\x00\x00",
        b"\x00\x00\x00\x08\xfdSMB\0\0\0\0",
        b"\x00\x00\x00\x44\xffSMBr\0\0\0\0\x88\x01\x48\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    ] {
        let error = answer_with(answer);
        assert!(error.to_string().contains("127.0.0.1"), "{answer:02x?}: {error}");
    }
}

fn without_a_ticket_there_is_no_identity(place: &Place) {
    let mut options = pipework::ClientOptions::new();
    options.remote_port(place.port);
    for _ in 0..2 {
        let error = options.open(place.address("x")).unwrap_err();
        assert!(error == PipeErrorKind::AccessDenied, "{error}");
        assert!(error.to_string().contains("kinit"), "{error}");
        options.credentials(Credentials::current());
    }
}

fn smbd_killed_ends_its_pipes(_: &Place) {
    let samba = Samba::start(&Setup::default());
    let place = Place::of(&samba);
    let (client, _server) = open(&place, Kind::Messages);
    let (mut bytes, _other) = open(&place, Kind::Bytes);
    let (writer, _silent) = open(&place, Kind::Bytes);
    thread::scope(|scope| {
        let reading = scope.spawn(|| client.read_message(9));
        let writing = scope.spawn(|| (&writer).write_all(&vec![0; 32 << 20]));
        wait_until(|| samba.connection_count() > 0);
        thread::park_timeout(Duration::from_millis(100));
        samba.kill();
        for ended in [reading.join().unwrap().map(drop), writing.join().unwrap()] {
            let error = ended.unwrap_err();
            assert!(error == PipeErrorKind::Broken, "{error}");
            assert!(error.to_string().contains("127.0.0.1"), "{error}");
        }
    });
    for ended in
        [bytes.read(&mut [0]).map(drop), bytes.write(b"x").map(drop), client.transact(b"x", 9).map(drop)]
    {
        assert!(ended.unwrap_err() == PipeErrorKind::Broken);
    }
    let error = place.options().open(place.address("x")).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{error}");
}

/// smbd connects to the pipe's socket without waiting, and reports a full queue with a status of its own.
fn a_pipe_with_a_full_queue_is_busy(place: &Place) {
    let name = unique();
    let path = place.np.join(name.to_lowercase());
    let socket = UnixListener::bind(&path).unwrap();
    // A second call changes the length of the queue.
    rustix::net::listen(&socket, 0).unwrap();
    let queued = UnixStream::connect(&path).unwrap();
    let error = place.options().open(place.address(&name)).unwrap_err();
    assert!(error == PipeErrorKind::Busy, "{error}");
    expect_timeout_because(&place.options(), &place.address(&name), "was busy");
    drop((socket, queued));
    fs::remove_file(path).unwrap();
}

/// The administrator closes the share of pipes: its pipes end, and the next one has a new session.
fn a_share_that_is_closed_ends_its_pipes(_: &Place) {
    let samba = Samba::start(&Setup::default());
    let place = Place::of(&samba);
    let (client, server) = open(&place, Kind::Messages);
    let (mut writer, _silent) = open(&place, Kind::Bytes);
    let mut close = Command::new("smbcontrol");
    close.arg("--configfile").arg(samba.conf()).args(["smbd", "close-share", "IPC$"]);
    assert!(close.status().unwrap().success());
    // smbd closes the sockets of the share's pipes.
    let mut server = server;
    assert_eq!(server.read_message(), None);
    for ended in [client.read_message(9).map(drop), writer.write(b"x").map(drop)] {
        let error = ended.unwrap_err();
        assert!(error == PipeErrorKind::Broken, "{error}");
    }
    let (mut client, mut server) = open(&place, Kind::Bytes);
    client.write_all(b"anew").unwrap();
    assert_eq!(server.read_exactly(4), b"anew");
}
