//! The measurements and their peers.

#[allow(dead_code, reason = "shared with the tests, which use more of it")]
#[path = "../../tests/network/network/fixture.rs"]
mod fixture;
#[path = "../../../pipework/tests/remote/samba.rs"]
mod samba;
#[allow(dead_code, reason = "shared with the tests, which use more of it")]
#[path = "../../tests/network/network/server.rs"]
mod server;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::{Child, ChildStdin, Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use pipework::{Access, ClientOptions, Credentials, Listener, NamedPipeBuilder, PipeMode, PipeStream};

use crate::bare::Bare;
use fixture::Fixture;
use samba::Setup;

/// The modules shared with the tests expect these items here.
const TIMEOUT: Duration = Duration::from_secs(30);

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < TIMEOUT, "timed out: {what}");
        thread::park_timeout(Duration::from_millis(10));
    }
}

fn pattern(len: usize) -> Vec<u8> {
    vec![0x5A; len]
}

/// The environment variable that makes this program the server. Its value is the length of a round.
const ROLE: &str = "PIPEWORK_NETWORK_BENCH_SERVER";
/// A message pipe whose server echoes, and a byte pipe whose server discards.
const ECHO_PIPE: &str = "bench-echo";
const SINK_PIPE: &str = "bench-sink";
/// The size of one write.
const WRITE_LEN: usize = 64 * 1024;
/// The argument that cargo passes for `cargo bench`.
const BENCH_ARG: &str = "--bench";

const PIPEWORK: &str = "pipework";
const BARE: &str = "smb2 alone";
const SOCKET: &str = "TCP socket";

/// How much is measured.
#[derive(Clone, Copy)]
struct Size {
    rounds: usize,
    round_trips: u32,
    writes: usize,
}

const FULL: Size = Size { rounds: 9, round_trips: 400, writes: 1024 };
const SMALL: Size = Size { rounds: 1, round_trips: 5, writes: 4 };

pub(crate) fn main() -> ExitCode {
    if let Ok(len) = std::env::var(ROLE) {
        serve(len.parse().unwrap());
        return ExitCode::SUCCESS;
    }
    if let Some(why) = fixture::missing() {
        println!("skipped: the network benchmark: {why}");
        return ExitCode::SUCCESS;
    }
    let is_full = std::env::args().any(|word| word == BENCH_ARG);
    let size = if is_full { FULL } else { SMALL };
    println!(
        "Medians of {} interleaved rounds (minimum to maximum); the ratio is pipework's median over the other's.",
        size.rounds
    );
    let fixture = Fixture::new(&Setup::default(), &[]);
    let server = Server::start(&fixture, size.writes * WRITE_LEN);
    for session in [Session::Signed, Session::Encrypted] {
        measure(&fixture, &server, session, size);
    }
    ExitCode::SUCCESS
}

/// The protection of the sessions of both SMB clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Session {
    Signed,
    Encrypted,
}

fn measure(fixture: &Fixture, server: &Server, session: Session, size: Size) {
    for len in [64, 4096] {
        let message = vec![7; len];
        let mut peers = peers(fixture, session, ECHO_PIPE, server.echo);
        let mut table = Table::new(format!("transact of {len} B; {session:?}; us per round trip"), true);
        for round in 0..size.rounds + 1 {
            for (name, peer) in &mut peers {
                let begun = Instant::now();
                for _ in 0..size.round_trips {
                    assert_eq!(peer.transact(&message), message);
                }
                // The first round is the warm-up.
                if round > 0 {
                    table.add(name, begun.elapsed().as_secs_f64() * 1e6 / f64::from(size.round_trips));
                }
            }
        }
        table.print();
    }
    let data = vec![7; WRITE_LEN];
    let mut peers = peers(fixture, session, SINK_PIPE, server.sink);
    let mut table = Table::new(format!("writes of 64 KiB; {session:?}; MB/s"), false);
    for round in 0..size.rounds + 1 {
        for (name, peer) in &mut peers {
            let begun = Instant::now();
            for _ in 0..size.writes {
                peer.write(&data);
            }
            peer.read_byte();
            if round > 0 {
                let bytes = (size.writes * WRITE_LEN) as f64;
                table.add(name, bytes / 1e6 / begun.elapsed().as_secs_f64());
            }
        }
    }
    table.print();
}

// ------------------------------------------------------------------ the peers

/// A connected client.
enum Peer {
    Pipework(PipeStream),
    Bare(Box<Bare>),
    Socket(TcpStream),
}

fn peers(fixture: &Fixture, session: Session, name: &str, socket: SocketAddr) -> Vec<(&'static str, Peer)> {
    let user = fixture.samba.user();
    let mut options = ClientOptions::new();
    options
        .credentials(Credentials::password(&user.name, &user.password))
        .require_encryption(session == Session::Encrypted)
        .remote_port(fixture.samba.port());
    if name == ECHO_PIPE {
        options.read_mode(PipeMode::Message);
    }
    let pipework_client = options.connect(format!(r"\\127.0.0.1\pipe\{name}")).unwrap();
    let mut peers = vec![(PIPEWORK, Peer::Pipework(pipework_client))];
    if session == Session::Signed {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, fixture.samba.port()));
        let bare = Bare::open(address, &user.name, &user.password, name);
        peers.push((BARE, Peer::Bare(Box::new(bare))));
    }
    let socket = TcpStream::connect(socket).unwrap();
    socket.set_nodelay(true).unwrap();
    peers.push((SOCKET, Peer::Socket(socket)));
    peers
}

impl Peer {
    fn transact(&mut self, message: &[u8]) -> Vec<u8> {
        match self {
            Peer::Pipework(pipe) => pipe.transact(message, 65_536).unwrap(),
            Peer::Bare(bare) => bare.transact(message),
            Peer::Socket(socket) => {
                let mut reply = vec![0; message.len()];
                socket.write_all(message).unwrap();
                socket.read_exact(&mut reply).unwrap();
                reply
            }
        }
    }

    fn write(&mut self, data: &[u8]) {
        match self {
            Peer::Pipework(pipe) => pipe.write_all(data).unwrap(),
            Peer::Bare(bare) => bare.write(data),
            Peer::Socket(socket) => socket.write_all(data).unwrap(),
        }
    }

    /// Waits until the server has received the whole round.
    fn read_byte(&mut self) {
        match self {
            Peer::Pipework(pipe) => pipe.read_exact(&mut [0]).unwrap(),
            Peer::Bare(bare) => bare.read_byte(),
            Peer::Socket(socket) => socket.read_exact(&mut [0]).unwrap(),
        }
    }
}

// ------------------------------------------------------------------ the server

/// The server process of all peers.
struct Server {
    child: Child,
    _lifeline: ChildStdin,
    echo: SocketAddr,
    sink: SocketAddr,
}

impl Server {
    fn start(fixture: &Fixture, len: usize) -> Server {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .env(ROLE, len.to_string())
            .env("PIPEWORK_DIR", fixture.directories.pipes())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lifeline = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut address = || lines.next().unwrap().unwrap().parse().unwrap();
        let server = Server { echo: address(), sink: address(), child, _lifeline: lifeline };
        fixture.await_export(ECHO_PIPE);
        fixture.await_export(SINK_PIPE);
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Serves until standard input is closed. A round has `len` bytes.
fn serve(len: usize) {
    let listen = |name, mode| {
        let mut builder = NamedPipeBuilder::new(name);
        builder.accept_remote(true).access(Access::everyone()).pipe_mode(mode).listen().unwrap()
    };
    let sockets = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    for socket in &sockets {
        println!("{}", socket.local_addr().unwrap());
    }
    let [echo, sink] = sockets;
    let (echo_pipe, sink_pipe) = (listen(ECHO_PIPE, PipeMode::Message), listen(SINK_PIPE, PipeMode::Byte));
    thread::spawn(move || serve_pipes(&echo_pipe, |pipe| echo_messages(&pipe)));
    thread::spawn(move || serve_pipes(&sink_pipe, move |pipe| sink_rounds(pipe, len)));
    thread::spawn(move || serve_sockets(&echo, echo_bytes));
    thread::spawn(move || serve_sockets(&sink, move |socket| sink_rounds(socket, len)));
    std::io::stdin().read_to_end(&mut Vec::new()).ok();
}

fn serve_pipes(listener: &Listener, serve: impl Fn(PipeStream) + Clone + Send + 'static) {
    for pipe in listener {
        let serve = serve.clone();
        thread::spawn(move || serve(pipe.unwrap()));
    }
}

fn serve_sockets(listener: &TcpListener, serve: impl Fn(TcpStream) + Clone + Send + 'static) {
    for socket in listener.incoming() {
        let (serve, socket) = (serve.clone(), socket.unwrap());
        socket.set_nodelay(true).unwrap();
        thread::spawn(move || serve(socket));
    }
}

fn echo_messages(pipe: &PipeStream) {
    while let Ok(Some(message)) = pipe.read_message(65_536) {
        pipe.write_message(&message).ok();
    }
}

fn echo_bytes(mut socket: TcpStream) {
    let mut data = vec![0; WRITE_LEN];
    while let Ok(len) = socket.read(&mut data)
        && len > 0
    {
        socket.write_all(&data[..len]).ok();
    }
}

/// Reads rounds of `len` bytes, and confirms each with one byte.
fn sink_rounds(mut end: impl Read + Write, len: usize) {
    let (mut data, mut taken) = (vec![0; WRITE_LEN], 0);
    while let Ok(part) = end.read(&mut data)
        && part > 0
    {
        taken += part;
        if taken == len {
            taken = 0;
            end.write_all(&[1]).ok();
        }
    }
}

// ------------------------------------------------------------------ the results

/// The samples of one measurement.
struct Table {
    title: String,
    /// Whether lower is better.
    is_time: bool,
    rows: Vec<(&'static str, Vec<f64>)>,
}

impl Table {
    fn new(title: String, is_time: bool) -> Table {
        Table { title, is_time, rows: Vec::new() }
    }

    fn add(&mut self, name: &'static str, sample: f64) {
        match self.rows.iter_mut().find(|(known, _)| *known == name) {
            Some((_, samples)) => samples.push(sample),
            None => self.rows.push((name, vec![sample])),
        }
    }

    fn print(&mut self) {
        println!("\n{}", self.title);
        for (_, samples) in &mut self.rows {
            samples.sort_by(f64::total_cmp);
        }
        let median = |samples: &[f64]| samples[samples.len() / 2];
        let pipework_client = median(&self.rows[0].1);
        for (name, samples) in &self.rows {
            let (min, max, theirs) = (samples[0], samples[samples.len() - 1], median(samples));
            // A ratio of durations in both cases.
            let ratio = if self.is_time { pipework_client / theirs } else { theirs / pipework_client };
            println!("  {name:<16} {theirs:>9.1} ({min:.1} to {max:.1})  ratio {ratio:.2}");
        }
    }
}
