//! The measures, and who takes part.

#[path = "../../../pipework/tests/remote/samba.rs"]
mod samba;
#[allow(dead_code, reason = "shared with the tests, which use more of it")]
#[path = "../../tests/network/network/server.rs"]
mod server;
#[allow(dead_code, reason = "shared with the tests, which use more of it")]
#[path = "../../tests/network/network/site.rs"]
mod site;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::{Child, ChildStdin, Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use pipework::{Access, ClientOptions, Credentials, Listener, NamedPipeBuilder, PipeMode, PipeStream};

use crate::bare::Bare;
use samba::Setup;
use site::Site;

/// What is shared with the tests looks for these here.
const PATIENCE: Duration = Duration::from_secs(30);

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        thread::park_timeout(Duration::from_millis(10));
    }
}

fn pattern(len: usize) -> Vec<u8> {
    vec![0x5A; len]
}

/// Tells this program to serve.
const ROLE: &str = "PIPEWORK_NETWORK_BENCH_SERVER";
/// A message pipe that sends back what comes, and a byte pipe that takes it.
const ASKED: &str = "bench-asked";
const TAKEN: &str = "bench-taken";
/// What is written at a time.
const WRITE_LEN: usize = 64 * 1024;
/// What cargo passes to a bench that is run as one.
const AS_BENCH: &str = "--bench";

const OURS: &str = "pipework";
const BARE: &str = "smb2 by itself";
const SOCKET: &str = "TCP socket";

/// How much of everything.
#[derive(Clone, Copy)]
struct Size {
    rounds: usize,
    questions: u32,
    writes: usize,
}

const FULL: Size = Size { rounds: 9, questions: 400, writes: 1024 };
const SMALL: Size = Size { rounds: 1, questions: 5, writes: 4 };

pub(crate) fn main() -> ExitCode {
    if let Ok(len) = std::env::var(ROLE) {
        serve(len.parse().unwrap());
        return ExitCode::SUCCESS;
    }
    if let Some(why) = site::missing() {
        println!("skipped: the benchmark of the network: {why}");
        return ExitCode::SUCCESS;
    }
    let is_full = std::env::args().any(|word| word == AS_BENCH);
    let size = if is_full { FULL } else { SMALL };
    println!(
        "Medians of {} rounds in turn (least to most); a ratio is ours over theirs, of medians.",
        size.rounds
    );
    let site = Site::new(&Setup::default(), &[]);
    let server = Server::start(&site, size.writes * WRITE_LEN);
    for session in [Session::Signed, Session::Encrypted] {
        measure(&site, &server, session, size);
    }
    ExitCode::SUCCESS
}

/// How the two SMB clients talk to smbd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Session {
    Signed,
    Encrypted,
}

fn measure(site: &Site, server: &Server, session: Session, size: Size) {
    for len in [64, 4096] {
        let message = vec![7; len];
        let mut peers = peers(site, session, ASKED, server.echo);
        let mut table = Table::new(format!("transact of {len} B; {session:?}; us a round trip"), true);
        for round in 0..size.rounds + 1 {
            for (name, peer) in &mut peers {
                let begun = Instant::now();
                for _ in 0..size.questions {
                    assert_eq!(peer.transact(&message), message);
                }
                // The first round warms up.
                if round > 0 {
                    table.add(name, begun.elapsed().as_secs_f64() * 1e6 / f64::from(size.questions));
                }
            }
        }
        table.print();
    }
    let data = vec![7; WRITE_LEN];
    let mut peers = peers(site, session, TAKEN, server.take);
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

// ------------------------------------------------------------------ who takes part

/// Somebody who is connected.
enum Peer {
    Ours(PipeStream),
    Bare(Box<Bare>),
    Socket(TcpStream),
}

fn peers(site: &Site, session: Session, name: &str, socket: SocketAddr) -> Vec<(&'static str, Peer)> {
    let user = site.samba.user();
    let mut options = ClientOptions::new();
    options
        .credentials(Credentials::password(&user.name, &user.password))
        .require_encryption(session == Session::Encrypted)
        .remote_port(site.samba.port());
    if name == ASKED {
        options.read_mode(PipeMode::Message);
    }
    let ours = options.connect(format!(r"\\127.0.0.1\pipe\{name}")).unwrap();
    let mut peers = vec![(OURS, Peer::Ours(ours))];
    if session == Session::Signed {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, site.samba.port()));
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
            Peer::Ours(pipe) => pipe.transact(message, 65_536).unwrap(),
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
            Peer::Ours(pipe) => pipe.write_all(data).unwrap(),
            Peer::Bare(bare) => bare.write(data),
            Peer::Socket(socket) => socket.write_all(data).unwrap(),
        }
    }

    /// Waits until the server has everything of this round.
    fn read_byte(&mut self) {
        match self {
            Peer::Ours(pipe) => pipe.read_exact(&mut [0]).unwrap(),
            Peer::Bare(bare) => bare.read_byte(),
            Peer::Socket(socket) => socket.read_exact(&mut [0]).unwrap(),
        }
    }
}

// ------------------------------------------------------------------ the server

/// The process that serves all of them.
struct Server {
    child: Child,
    _leash: ChildStdin,
    echo: SocketAddr,
    take: SocketAddr,
}

impl Server {
    fn start(site: &Site, len: usize) -> Server {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .env(ROLE, len.to_string())
            .env("PIPEWORK_DIR", site.places.pipes())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let leash = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut address = || lines.next().unwrap().unwrap().parse().unwrap();
        let server = Server { echo: address(), take: address(), child, _leash: leash };
        site.await_export(ASKED);
        site.await_export(TAKEN);
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Serves until the standard input ends; takes `len` bytes in a round.
fn serve(len: usize) {
    let listen = |name, mode| {
        let mut builder = NamedPipeBuilder::new(name);
        builder.accept_remote(true).access(Access::everyone()).pipe_mode(mode).listen().unwrap()
    };
    let sockets = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    for socket in &sockets {
        println!("{}", socket.local_addr().unwrap());
    }
    let [echo, take] = sockets;
    let (asked, taken) = (listen(ASKED, PipeMode::Message), listen(TAKEN, PipeMode::Byte));
    thread::spawn(move || each_pipe(&asked, |pipe| echo_messages(&pipe)));
    thread::spawn(move || each_pipe(&taken, move |pipe| take_rounds(pipe, len)));
    thread::spawn(move || each_socket(&echo, echo_bytes));
    thread::spawn(move || each_socket(&take, move |socket| take_rounds(socket, len)));
    std::io::stdin().read_to_end(&mut Vec::new()).ok();
}

fn each_pipe(listener: &Listener, serve: impl Fn(PipeStream) + Clone + Send + 'static) {
    for pipe in listener {
        let serve = serve.clone();
        thread::spawn(move || serve(pipe.unwrap()));
    }
}

fn each_socket(listener: &TcpListener, serve: impl Fn(TcpStream) + Clone + Send + 'static) {
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

/// Takes rounds of so many bytes, and says after each that it has them.
fn take_rounds(mut end: impl Read + Write, len: usize) {
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

// ------------------------------------------------------------------ what came of it

/// The samples of one measure.
struct Table {
    title: String,
    /// Whether less is better.
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
        let ours = median(&self.rows[0].1);
        for (name, samples) in &self.rows {
            let (least, most, theirs) = (samples[0], samples[samples.len() - 1], median(samples));
            // Of times in both cases: what it costs.
            let ratio = if self.is_time { ours / theirs } else { theirs / ours };
            println!(
                "  {name:<16} {theirs:>9.1} ({least:.1} to {most:.1})  ours takes {ratio:.2} of its time"
            );
        }
    }
}
