//! The named-pipe-auth exchange, with requests as smbd sends them and with hostile ones.

use std::{
    io::{self, Read, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use super::{
    Exclusive, Shared, TIMEOUT,
    fixture::Fixture,
    samba::Setup,
    server::{Behavior, ServerPlan},
};

pub(crate) const CASES: &[(&str, Shared)] = &[
    ("levels_7_and_8_get_a_reply", both_levels),
    ("a_peer_that_is_not_root_is_refused", not_root),
    ("malformed_requests_are_refused", malformed),
    ("a_slow_request_times_out", slow),
    ("invalid_frames_close_the_connection", wrong_frames),
];

/// With a gateway of their own: the log of refused clients is limited in rate, and these are many.
pub(crate) const CROWDS: &[(&str, Exclusive)] = &[("silent_connections_do_not_block_others", silent_crowd)];

/// The environment variable that makes this program connect to a path and send a request.
const ROLE: &str = "PIPEWORK_NETWORK_IMPOSTOR";
const LEVEL_7: &[u8] = include_bytes!("../../samples/npa-request-level7.bin");
const LEVEL_8: &[u8] = include_bytes!("../../samples/npa-request-level8.bin");
const REPLY_LEN: usize = 36;

fn connect(fixture: &Fixture, name: &str) -> UnixStream {
    let socket = UnixStream::connect(fixture.link(name)).unwrap();
    socket.set_read_timeout(Some(TIMEOUT)).unwrap();
    socket.set_write_timeout(Some(TIMEOUT)).unwrap();
    socket
}

/// Sends a request and returns the reply, which is empty if the gateway closes the socket.
fn send_request(mut socket: &UnixStream, request: &[u8]) -> Vec<u8> {
    // The write fails if the gateway refuses before it has read everything.
    socket.write_all(request).ok();
    let mut reply = vec![0; REPLY_LEN];
    match socket.read_exact(&mut reply) {
        Ok(()) => reply,
        Err(error) if is_closed(&error) => Vec::new(),
        Err(error) => panic!("neither a reply nor a close: {error}"),
    }
}

fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}

fn both_levels(fixture: &Fixture) {
    let bytes = fixture.serve(&ServerPlan::new("by-hand-bytes", false, Behavior::Echo));
    let messages = fixture.serve(&ServerPlan::new("by-hand-messages", true, Behavior::Echo));
    for (level, request) in [(7, LEVEL_7), (8, LEVEL_8)] {
        let mut socket = connect(fixture, "by-hand-bytes");
        let reply = send_request(&socket, request);
        assert_eq!((reply[8], reply[16]), (level, 1));
        socket.write_all(b"as it is").unwrap();
        let mut echo = [0; 8];
        socket.read_exact(&mut echo).unwrap();
        assert_eq!(&echo, b"as it is");
        let encrypted = level == 7;
        let expected = format!(r"client SCOUT\smbtest 127.0.0.1 encrypted={encrypted} uid=1001 groups=1");
        let seen = bytes.line();
        assert!(seen.starts_with(&expected), "{seen}");
        drop(socket);
        assert_eq!(bytes.line(), "done echo");

        let mut socket = connect(fixture, "by-hand-messages");
        let reply = send_request(&socket, request);
        assert_eq!((reply[8], reply[16]), (level, 2));
        // Two messages in one write, and one message in two writes.
        socket.write_all(b"\x03\x00one\x04\x00four\x05").unwrap();
        socket.write_all(b"\x00f").unwrap();
        socket.write_all(b"ive!").unwrap();
        let mut echo = [0; 18];
        socket.read_exact(&mut echo).unwrap();
        assert_eq!(&echo, b"\x03\x00one\x04\x00four\x05\x00five!");
        messages.line();
        drop(socket);
        assert_eq!(messages.line(), "done echo");
    }
}

/// Connects as another user, with a capability that opens the socket despite its mode.
fn not_root(fixture: &Fixture) {
    let server = fixture.serve(&ServerPlan::new("for-smbd-alone", false, Behavior::Echo));
    let status = Command::new("setpriv")
        .args(["--reuid=65534", "--clear-groups", "--inh-caps=+dac_override", "--ambient-caps=+dac_override"])
        .arg(std::env::current_exe().unwrap())
        .env(ROLE, fixture.link("for-smbd-alone"))
        .status();
    assert!(status.expect("setpriv, of util-linux").success());
    fixture.gateway.await_log(&["WARN", "for-smbd-alone", "the peer runs as user 65534, so it is not smbd"]);
    assert!(server.is_silent());
}

/// Runs as the other user. Succeeds if the gateway refuses.
pub(crate) fn run_role() -> Option<ExitCode> {
    let path = std::env::var_os(ROLE)?;
    let socket = UnixStream::connect(path).unwrap();
    socket.set_read_timeout(Some(TIMEOUT)).unwrap();
    Some(if send_request(&socket, LEVEL_7).is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn malformed(fixture: &Fixture) {
    let server = fixture.serve(&ServerPlan::new("malformed", false, Behavior::Echo));
    let changed = |offset: usize, bytes: &[u8]| {
        let mut request = LEVEL_7.to_vec();
        request[offset..offset + bytes.len()].copy_from_slice(bytes);
        request
    };
    let mut longer = LEVEL_8.to_vec();
    longer.extend([0; 4]);
    longer[..4].copy_from_slice(&u32::try_from(LEVEL_8.len()).unwrap().to_be_bytes());
    for (request, words) in [
        (changed(8, &[6, 0, 0, 0, 6]), "level 6 of the exchange is not supported"),
        (changed(8, &[9, 0, 0, 0, 9]), "level 9 of the exchange is not supported"),
        (changed(8, &[0xff; 8]), "level 4294967295"),
        (changed(4, b"NOPE"), "not a named-pipe-auth request"),
        (changed(0, &[0xff; 4]), "no request has"),
        (changed(0, &[0; 4]), "an unexpected end"),
        (changed(0xcc, &[0xff; 4]), "a count"),
        (changed(0x34, &[1]), "a string with an offset"),
        (changed(0x1e, &[7]), "padding that is not zero"),
        (longer, "bytes after the end of the request"),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "no request has"),
    ] {
        assert!(send_request(&connect(fixture, "malformed"), &request).is_empty(), "{words}");
        let level = if words.starts_with("level") { "ERROR" } else { "WARN" };
        fixture.gateway.await_log(&[level, "malformed", words]);
    }
    // Requests that end early.
    for len in (0..LEVEL_8.len()).step_by(37) {
        let socket = connect(fixture, "malformed");
        (&socket).write_all(&LEVEL_8[..len]).unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
        assert!(send_request(&socket, &[]).is_empty());
    }
    assert!(server.is_silent());
    // A name that would forge a line of the log.
    let mut request = LEVEL_7.to_vec();
    let at = request.windows(7).position(|window| window == b"smbtest").unwrap();
    request[at..at + 7].copy_from_slice(b"a\nINFO\x1b");
    assert!(
        send_request(&connect(fixture, "malformed"), &request).is_empty(),
        "a name with control characters is refused"
    );
    let line = fixture.gateway.await_log(&["WARN", "malformed", r"a\nINFO\u{1b}"]);
    assert!(!line.contains('\u{1b}'));
    assert!(server.is_silent());
    assert_eq!(
        send_request(&connect(fixture, "malformed"), LEVEL_7).len(),
        REPLY_LEN,
        "the gateway still works"
    );
}

fn slow(fixture: &Fixture) {
    let server = fixture.serve(&ServerPlan::new("slow", false, Behavior::Echo));
    let start = Instant::now();
    let mut socket = connect(fixture, "slow");
    let mut byte = LEVEL_7.iter();
    // Sends single bytes until the gateway closes the socket.
    let closed = loop {
        assert!(start.elapsed() < TIMEOUT, "the slow request did not time out");
        if socket.write_all(&[*byte.next().unwrap()]).is_err() {
            break true;
        }
        std::thread::park_timeout(Duration::from_millis(50));
    };
    assert!(closed);
    fixture.gateway.await_log(&["WARN", "slow", "the exchange with smbd timed out"]);
    assert!(server.is_silent());
}

fn silent_crowd() {
    let fixture = &Fixture::new(&Setup::default(), &[]);
    let _server = fixture.serve(&ServerPlan::new("crowded", false, Behavior::Echo));
    let silent: Vec<UnixStream> = (0..500).map(|_| connect(fixture, "crowded")).collect();
    assert_eq!(send_request(&connect(fixture, "crowded"), LEVEL_7).len(), REPLY_LEN);
    drop(silent);
}

fn wrong_frames(fixture: &Fixture) {
    let server = fixture.serve(&ServerPlan::new("frames", true, Behavior::Take));
    let mut socket = connect(fixture, "frames");
    assert_eq!(send_request(&socket, LEVEL_7).len(), REPLY_LEN);
    socket.write_all(b"\x01\x00\x00\x00\x00").unwrap();
    assert_eq!(socket.read(&mut [0; 8]).unwrap_or(0), 0, "closed");
    fixture.gateway.await_log(&["frames", "smbd sent an empty message"]);
    server.line();
    assert_eq!(server.line(), "done took 1 messages");
    // An incomplete message is not delivered.
    let mut socket = connect(fixture, "frames");
    send_request(&socket, LEVEL_7);
    socket.write_all(b"\x01\x00\x00\xff\xffnot all of it").unwrap();
    drop(socket);
    server.line();
    assert_eq!(server.line(), "done took 1 messages");
}
