//! An async server and many clients at once: tasks of one process, or a process each with a blocking connection. Each client
//! sends a request, waits for the response, and goes on.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    process::{ChildStdin, ChildStdout},
    time::{Duration, Instant},
};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{Figures, MICROSECONDS, PER_SECOND, Unit, pace::Stamp, round_trip::percentile};
use crate::{
    endpoint::{AsyncServer, run_on_tokio},
    peer_process::PeerProcess,
    sample_args::SampleArgs,
    system,
};

// The metrics, by their names in reports and records.
pub(crate) const REQUESTS: &str = "requests";
const PERCENTILES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];

/// Descriptors that a process needs besides its connections.
const SPARE_DESCRIPTORS: u32 = 100;
/// How much longer it takes than other measures: one request in a thousand is to be a figure.
const BUDGETS: u32 = 5;

pub(super) fn unit(metric: &str) -> Unit {
    if metric == REQUESTS { PER_SECOND } else { MICROSECONDS }
}

/// Is all clients. The server is the peer process.
pub(super) fn time_tasks<S: AsyncServer>(
    count: u32,
    peer: &mut PeerProcess,
    len: usize,
) -> io::Result<Figures> {
    let args = peer.args().clone();
    let (address, _server) = start_server(peer)?;
    system::raise_descriptor_limit((count_of(count, &args) + SPARE_DESCRIPTORS).into())?;
    run_on_tokio(async {
        let mut streams = Vec::new();
        for _ in 0..count_of(count, &args) {
            streams.push(S::connect(&address).await?);
        }
        let begin = Instant::now();
        let tasks: Vec<_> = streams
            .into_iter()
            .map(|stream| tokio::spawn(request(stream, len, begin, budget(&args))))
            .collect();
        let mut times = Vec::new();
        for task in tasks {
            times.append(&mut task.await.map_err(io::Error::other)??);
        }
        Ok(figures(times, count_of(count, &args), budget(&args)))
    })?
}

/// Starts the clients, each a process. The server is one more process.
pub(super) fn time_processes<S: AsyncServer>(count: u32, peer: &mut PeerProcess) -> io::Result<Figures> {
    let args = peer.args().clone();
    let (address, _server) = start_server(peer)?;
    let mut clients = Vec::new();
    for _ in 0..count_of(count, &args) {
        let mut client = PeerProcess::new(&args);
        let (stdin, stdout) = client.start_piped(&address)?;
        clients.push((client, stdin, BufReader::new(stdout)));
    }
    for (_, _, stdout) in &mut clients {
        read_line(stdout)?;
    }
    for (_, stdin, _) in &mut clients {
        writeln!(stdin)?;
    }
    let mut times = Vec::new();
    for (client, _, stdout) in clients {
        for line in stdout.lines() {
            times.push(line?.parse().map_err(io::Error::other)?);
        }
        client.finish()?;
    }
    Ok(figures(times, count_of(count, &args), budget(&args)))
}

/// Is the server, or with an address one of the clients.
pub(super) fn run_peer<S: AsyncServer>(count: u32, args: &SampleArgs, len: usize) -> io::Result<()> {
    if !args.address.is_empty() {
        return run_client(S::connect_blocking(&args.address)?, len, budget(args));
    }
    let count = count_of(count, args);
    system::raise_descriptor_limit((count + SPARE_DESCRIPTORS).into())?;
    run_on_tokio(async {
        let (listener, address) = S::listen().await?;
        writeln!(io::stdout(), "{address}")?;
        let mut tasks = Vec::new();
        for _ in 0..count {
            tasks.push(tokio::spawn(respond(S::accept(&listener).await?, len)));
        }
        for task in tasks {
            task.await.map_err(io::Error::other)??;
        }
        Ok(())
    })?
}

fn start_server(peer: &mut PeerProcess) -> io::Result<(String, (ChildStdin, BufReader<ChildStdout>))> {
    let (stdin, stdout) = peer.start_piped("")?;
    let mut stdout = BufReader::new(stdout);
    Ok((read_line(&mut stdout)?, (stdin, stdout)))
}

fn read_line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim().to_owned())
}

fn count_of(count: u32, args: &SampleArgs) -> u32 {
    count.min(args.connections_max)
}

fn budget(args: &SampleArgs) -> Duration {
    args.budget() * BUDGETS
}

/// The figures of this many clients, by their requests in the second half of the time and one more of each.
fn figures(mut times: Vec<u32>, count: u32, budget: Duration) -> Figures {
    times.sort_unstable();
    let requests = (times.len() as f64 - f64::from(count)).max(1.0);
    let rate = requests / (budget / 2).as_secs_f64();
    let percentiles = PERCENTILES.iter().filter_map(|&(name, share)| {
        let nanos = percentile(&times, share)?;
        Some((name.to_owned(), f64::from(nanos) / 1e3))
    });
    [(REQUESTS.to_owned(), rate)].into_iter().chain(percentiles).collect()
}

/// The times of the requests of one client, in nanoseconds.
#[derive(Debug)]
struct Times {
    begin: Instant,
    budget: Duration,
    sent: Instant,
    nanos: Vec<u32>,
}

impl Times {
    fn new(begin: Instant, budget: Duration) -> Times {
        Times { begin, budget, sent: Instant::now(), nanos: Vec::new() }
    }

    /// The time of a request. Whether there is time for another one.
    fn add(&mut self) -> bool {
        let now = Instant::now();
        let since_begin = now - self.begin;
        // The first half warms up. The last request ends after the time is over, and counts too: it may be one that starved.
        if since_begin >= self.budget / 2 {
            self.nanos.push(u32::try_from((now - self.sent).as_nanos()).unwrap_or(u32::MAX));
        }
        self.sent = now;
        since_begin < self.budget
    }
}

async fn request<S>(mut stream: S, len: usize, begin: Instant, budget: Duration) -> io::Result<Vec<u32>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut payload, mut times) = (vec![1; len], Times::new(begin, budget));
    for number in 0.. {
        Stamp { number, is_last: false }.put(&mut payload);
        stream.write_all(&payload).await?;
        stream.read_exact(&mut payload).await?;
        Stamp::check(&payload, number)?;
        if !times.add() {
            break;
        }
    }
    Ok(times.nanos)
}

async fn respond<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, len: usize) -> io::Result<()> {
    let mut payload = vec![0; len];
    loop {
        match stream.read_exact(&mut payload).await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            read => read?,
        };
        stream.write_all(&payload).await?;
    }
}

fn run_client(mut stream: impl Read + Write, len: usize, budget: Duration) -> io::Result<()> {
    writeln!(io::stdout(), "connected")?;
    read_line(&mut io::stdin().lock())?;
    let (mut payload, mut times) = (vec![1; len], Times::new(Instant::now(), budget));
    for number in 0.. {
        Stamp { number, is_last: false }.put(&mut payload);
        stream.write_all(&payload)?;
        stream.read_exact(&mut payload)?;
        Stamp::check(&payload, number)?;
        if !times.add() {
            break;
        }
    }
    let text: String = times.nanos.iter().map(|nanos| format!("{nanos}\n")).collect();
    io::stdout().lock().write_all(text.as_bytes())
}
