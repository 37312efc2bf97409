//! The exchange with smbd, played by hand: what smbd says, and what only an enemy would.

use std::{
    io::{self, Read, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use super::{
    PATIENCE, Shared,
    server::{Deed, Plan},
    site::Site,
};

pub(crate) const CASES: &[(&str, Shared)] = &[
    ("levels_7_and_8_are_answered", both_levels),
    ("who_is_not_root_is_not_believed", not_root),
    ("requests_that_are_no_requests_are_refused", malformed),
    ("a_slow_request_is_given_up", slow),
    ("silent_connections_hold_nobody_up", silent_crowd),
    ("frames_that_smbd_would_not_send_end_the_connection", wrong_frames),
];

/// Tells this program to connect to a path and send a request.
const ROLE: &str = "PIPEWORK_NETWORK_IMPOSTOR";
const LEVEL_7: &[u8] = include_bytes!("../../samples/npa-request-level7.bin");
const LEVEL_8: &[u8] = include_bytes!("../../samples/npa-request-level8.bin");
const REPLY_LEN: usize = 36;

fn connect(site: &Site, name: &str) -> UnixStream {
    let socket = UnixStream::connect(site.link(name)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Sends a request, and gives the answer; an empty one is a refusal.
fn ask(mut socket: &UnixStream, request: &[u8]) -> Vec<u8> {
    // Where it is refused before all of it was read, the rest can't be sent.
    socket.write_all(request).ok();
    let mut reply = vec![0; REPLY_LEN];
    match socket.read_exact(&mut reply) {
        Ok(()) => reply,
        Err(error) if is_closed(&error) => Vec::new(),
        Err(error) => panic!("neither answered nor closed: {error}"),
    }
}

fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}

fn both_levels(site: &Site) {
    let bytes = site.serve(&Plan::new("by-hand-bytes", false, Deed::Echo));
    let messages = site.serve(&Plan::new("by-hand-messages", true, Deed::Echo));
    for (level, request) in [(7, LEVEL_7), (8, LEVEL_8)] {
        let mut socket = connect(site, "by-hand-bytes");
        let reply = ask(&socket, request);
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

        let mut socket = connect(site, "by-hand-messages");
        let reply = ask(&socket, request);
        assert_eq!((reply[8], reply[16]), (level, 2));
        // Two in one piece, and one in two.
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

/// Becomes another user who may reach the socket in spite of its mode, as nobody is in earnest.
fn not_root(site: &Site) {
    let server = site.serve(&Plan::new("for-smbd-alone", false, Deed::Echo));
    let status = Command::new("setpriv")
        .args(["--reuid=65534", "--clear-groups", "--inh-caps=+dac_override", "--ambient-caps=+dac_override"])
        .arg(std::env::current_exe().unwrap())
        .env(ROLE, site.link("for-smbd-alone"))
        .status();
    assert!(status.expect("setpriv, of util-linux").success());
    site.gateway.await_log(&["WARN", "for-smbd-alone", "user 65534 is not smbd"]);
    assert!(server.is_silent());
}

/// The other user: succeeds if it is refused.
pub(crate) fn run_if_told() -> Option<ExitCode> {
    let path = std::env::var_os(ROLE)?;
    let socket = UnixStream::connect(path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    Some(if ask(&socket, LEVEL_7).is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn malformed(site: &Site) {
    let server = site.serve(&Plan::new("malformed", false, Deed::Echo));
    let changed = |offset: usize, bytes: &[u8]| {
        let mut request = LEVEL_7.to_vec();
        request[offset..offset + bytes.len()].copy_from_slice(bytes);
        request
    };
    let mut longer = LEVEL_8.to_vec();
    longer.extend([0; 4]);
    longer[..4].copy_from_slice(&u32::try_from(LEVEL_8.len()).unwrap().to_be_bytes());
    for (request, words) in [
        (changed(8, &[6, 0, 0, 0, 6]), "level 6 of the exchange is unknown"),
        (changed(8, &[9, 0, 0, 0, 9]), "level 9 of the exchange is unknown"),
        (changed(8, &[0xff; 8]), "level 4294967295"),
        (changed(4, b"NOPE"), "no named-pipe-auth request"),
        (changed(0, &[0xff; 4]), "a request of"),
        (changed(0, &[0; 4]), "an early end"),
        (changed(0xcc, &[0xff; 4]), "a count"),
        (changed(0x34, &[1]), "does not begin at its beginning"),
        (changed(0x1e, &[7]), "padding that is not zero"),
        (longer, "more than a request"),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "a request of"),
    ] {
        assert!(ask(&connect(site, "malformed"), &request).is_empty(), "{words}");
        site.gateway.await_log(&["WARN", "malformed", words]);
    }
    // Cut off at each length, and gone.
    for len in (0..LEVEL_8.len()).step_by(37) {
        let socket = connect(site, "malformed");
        (&socket).write_all(&LEVEL_8[..len]).unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
        assert!(ask(&socket, &[]).is_empty());
    }
    assert!(server.is_silent());
    // A name that would write a line of its own into the log.
    let mut request = LEVEL_7.to_vec();
    let at = request.windows(7).position(|window| window == b"smbtest").unwrap();
    request[at..at + 7].copy_from_slice(b"a\nINFO\x1b");
    assert!(ask(&connect(site, "malformed"), &request).is_empty(), "no server gets such a name");
    let line = site.gateway.await_log(&["WARN", "malformed", r"a\nINFO\u{1b}"]);
    assert!(!line.contains('\u{1b}'));
    assert!(server.is_silent());
    assert_eq!(ask(&connect(site, "malformed"), LEVEL_7).len(), REPLY_LEN, "and it goes on");
}

fn slow(site: &Site) {
    let server = site.serve(&Plan::new("slow", false, Deed::Echo));
    let start = Instant::now();
    let mut socket = connect(site, "slow");
    let mut byte = LEVEL_7.iter();
    // A byte now and then, for as long as somebody takes them.
    let closed = loop {
        assert!(start.elapsed() < PATIENCE, "a slow request is waited for");
        if socket.write_all(&[*byte.next().unwrap()]).is_err() {
            break true;
        }
        std::thread::park_timeout(Duration::from_millis(50));
    };
    assert!(closed);
    site.gateway.await_log(&["WARN", "slow", "no request came in time"]);
    assert!(server.is_silent());
}

fn silent_crowd(site: &Site) {
    let _server = site.serve(&Plan::new("crowded", false, Deed::Echo));
    let silent: Vec<UnixStream> = (0..500).map(|_| connect(site, "crowded")).collect();
    assert_eq!(ask(&connect(site, "crowded"), LEVEL_7).len(), REPLY_LEN);
    drop(silent);
}

fn wrong_frames(site: &Site) {
    let server = site.serve(&Plan::new("frames", true, Deed::Take));
    let mut socket = connect(site, "frames");
    assert_eq!(ask(&socket, LEVEL_7).len(), REPLY_LEN);
    socket.write_all(b"\x01\x00\x00\x00\x00").unwrap();
    assert_eq!(socket.read(&mut [0; 8]).unwrap_or(0), 0, "closed");
    site.gateway.await_log(&["frames", "smbd sent a message without a byte"]);
    server.line();
    assert_eq!(server.line(), "done took 1 messages");
    // A part of a message is none.
    let mut socket = connect(site, "frames");
    ask(&socket, LEVEL_7);
    socket.write_all(b"\x01\x00\x00\xff\xffnot all of it").unwrap();
    drop(socket);
    server.line();
    assert_eq!(server.line(), "done took 1 messages");
}
