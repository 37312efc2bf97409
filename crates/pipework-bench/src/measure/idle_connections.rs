//! A server with many idle connections: the cost of each, and their effect on the others.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    process::{ChildStdin, ChildStdout},
    sync::mpsc,
    thread,
    time::Duration,
};

use super::{
    Figures, MICROSECONDS, Unit,
    pace::{Pace, Stamp},
};
use crate::{endpoint::Server, peer_process::PeerProcess, sample_args::SampleArgs, system};

// The metrics, by their names in reports and records.
pub(crate) const MEMORY: &str = "memory of each";
pub(crate) const SERVER_DESCRIPTORS: &str = "descriptors of each at the server";
pub(crate) const CLIENT_DESCRIPTORS: &str = "descriptors of each at the client";
pub(crate) const IDLE_CPU_TIME: &str = "processor time at rest";
pub(crate) const ROUND_TRIP_ALONE: &str = "round trip alone";
pub(crate) const ROUND_TRIP_AMONG_IDLE: &str = "round trip among them";
pub(crate) const ROUND_TRIP_RATIO: &str = "among them over alone";

/// Descriptors that a process needs besides its connections.
pub(super) const SPARE_DESCRIPTORS: u32 = 100;

// What the server asks of the process with the clients.
const CONNECT_FIRST: &str = "connect-first";
const CONNECT_IDLE: &str = "connect-idle";
const CONNECT_LAST: &str = "connect-last";
const COUNT_DESCRIPTORS: &str = "count-descriptors";
const CPU_TIME: &str = "cpu-time";
const ECHO: &str = "echo";

pub(super) fn unit(metric: &str) -> Unit {
    match metric {
        MEMORY => Unit { symbol: "KiB", better: "less" },
        SERVER_DESCRIPTORS | CLIENT_DESCRIPTORS => Unit { symbol: "fd", better: "less" },
        IDLE_CPU_TIME => Unit { symbol: "ms in 10 s", better: "less" },
        ROUND_TRIP_RATIO => Unit { symbol: "ratio", better: "less" },
        _ => MICROSECONDS,
    }
}

/// Is the server of this many idle connections.
pub(super) fn time_server<S: Server>(count: u32, peer: &mut PeerProcess, len: usize) -> io::Result<Figures> {
    let args = peer.args().clone();
    let count = count.min(args.connections_max);
    let each = |total: f64| total / f64::from(count);
    system::raise_descriptor_limit((count + SPARE_DESCRIPTORS).into())?;
    let (listener, address) = S::listen()?;
    let mut clients = Clients::new(peer.start_piped(&address)?);

    clients.send(&format!("{CONNECT_FIRST} {count}"))?;
    let mut first = S::accept(&listener)?;
    clients.receive()?;
    let time_alone = time_round_trips(&mut first, &mut clients, 0, len, args.budget())?;

    let memory = settled_memory(&args)?;
    let descriptors = (system::descriptor_count()?, clients.query(COUNT_DESCRIPTORS)?);
    clients.send(CONNECT_IDLE)?;
    let mut idle = (0..count).map(|_| S::accept(&listener)).collect::<io::Result<Vec<_>>>()?;
    clients.receive()?;
    let descriptors_now = (system::descriptor_count()?, clients.query(COUNT_DESCRIPTORS)?);

    let memory = memory - settled_memory(&args)?;
    let cpu_time = idle_cpu_time::<S>(&listener, &mut clients, &args)?;

    let middle = count / 2;
    let one = usize::try_from(middle).ok().and_then(|middle| idle.get_mut(middle));
    let one = one.ok_or_else(|| io::Error::other("there are no idle connections"))?;
    let time_among = time_round_trips(one, &mut clients, middle + 1, len, args.budget())?;
    let figures = [
        (MEMORY, each(memory as f64 / 1024.0)),
        (SERVER_DESCRIPTORS, each(descriptors_now.0 as f64 - descriptors.0 as f64)),
        (CLIENT_DESCRIPTORS, each(descriptors_now.1 - descriptors.1)),
        (IDLE_CPU_TIME, cpu_time),
        (ROUND_TRIP_ALONE, time_alone),
        (ROUND_TRIP_AMONG_IDLE, time_among),
        (ROUND_TRIP_RATIO, time_among / time_alone),
    ];
    Ok(figures.map(|(metric, figure)| (metric.to_owned(), figure)).into())
}

/// Available memory, once the counters of all processors are added up.
fn settled_memory(args: &SampleArgs) -> io::Result<i64> {
    if !system::refresh_memory_counts() {
        // The kernel adds them up each second.
        idle(args.idle_time().min(Duration::from_millis(1100)));
    }
    system::available_memory()
}

pub(super) fn idle(time: Duration) {
    // Nothing is ever sent on it.
    let (_sender, receiver) = mpsc::channel::<()>();
    receiver.recv_timeout(time).ok();
}

/// Milliseconds of processor time of both processes together, in ten seconds in which the server waits for a client.
fn idle_cpu_time<S: Server>(
    listener: &S::Listener,
    clients: &mut Clients,
    args: &SampleArgs,
) -> io::Result<f64> {
    thread::scope(|scope| {
        let accepting = scope.spawn(|| S::accept(listener).map(drop));
        // Work that opening has deferred ends in this time.
        idle(args.idle_time() / 10);
        let before = system::cpu_time()?.as_secs_f64() * 1e9 + clients.query(CPU_TIME)?;
        idle(args.idle_time());
        let after = system::cpu_time()?.as_secs_f64() * 1e9 + clients.query(CPU_TIME)?;
        clients.send(CONNECT_LAST)?;
        accepting.join().map_err(|_| io::Error::other("the accepting thread panicked"))??;
        clients.receive()?;
        Ok((after - before) / 1e6 * 10.0 / args.idle_time().as_secs_f64())
    })
}

/// Microseconds of a round trip on the connection of the client with this index.
fn time_round_trips(
    stream: &mut (impl Read + Write),
    clients: &mut Clients,
    index: u32,
    len: usize,
    budget: Duration,
) -> io::Result<f64> {
    clients.send(&format!("{ECHO} {index}"))?;
    let (mut sent, mut received) = (vec![1; len], vec![0; len]);
    let mut figure = 0.0;
    // A processor that was idle is slow at first. The first pass keeps that out of both figures.
    for budget in [budget * 2, budget] {
        let mut pace = Pace::new(budget);
        loop {
            let stamp = pace.next();
            stamp.put(&mut sent);
            stream.write_all(&sent)?;
            stream.read_exact(&mut received)?;
            Stamp::check(&received, stamp.number)?;
            if stamp.is_last {
                break;
            }
        }
        let (count, time) = pace.end();
        figure = time.as_secs_f64() * 1e6 / f64::from(count);
    }
    clients.receive()?;
    Ok(figure)
}

/// The process with the clients. It answers each request with a number when it has done it.
#[derive(Debug)]
pub(super) struct Clients {
    requests: ChildStdin,
    responses: BufReader<ChildStdout>,
}

impl Clients {
    pub(super) fn new((requests, responses): (ChildStdin, ChildStdout)) -> Clients {
        Clients { requests, responses: BufReader::new(responses) }
    }

    pub(super) fn send(&mut self, request: &str) -> io::Result<()> {
        writeln!(self.requests, "{request}")
    }

    pub(super) fn receive(&mut self) -> io::Result<f64> {
        let mut line = String::new();
        self.responses.read_line(&mut line)?;
        line.trim()
            .parse()
            .map_err(|_| io::Error::other(format!("invalid response of the clients: {line:?}")))
    }

    pub(super) fn query(&mut self, request: &str) -> io::Result<f64> {
        self.send(request)?;
        self.receive()
    }
}

/// Is the process with the clients.
pub(super) fn run_clients<S: Server>(args: &SampleArgs, len: usize) -> io::Result<()> {
    let mut streams: Vec<S::Stream> = Vec::new();
    let mut count = 0;
    let connect = |streams: &mut Vec<S::Stream>, count: u32| {
        (0..count).try_for_each(|_| {
            streams.push(S::connect(&args.address)?);
            io::Result::Ok(())
        })
    };
    for request in io::stdin().lock().lines() {
        let request = request?;
        let invalid = || io::Error::other(format!("invalid request {request:?}"));
        let (verb, number) = request.split_once(' ').unwrap_or((&request, "0"));
        let number: u32 = number.parse().map_err(|_| invalid())?;
        let mut response = 0.0;
        match verb {
            CONNECT_FIRST => {
                count = number;
                system::raise_descriptor_limit((count + SPARE_DESCRIPTORS).into())?;
                streams.reserve_exact(usize::try_from(count).map_err(io::Error::other)? + 2);
                connect(&mut streams, 1)?;
            }
            CONNECT_IDLE => connect(&mut streams, count)?,
            CONNECT_LAST => connect(&mut streams, 1)?,
            COUNT_DESCRIPTORS => response = system::descriptor_count()? as f64,
            CPU_TIME => response = system::cpu_time()?.as_secs_f64() * 1e9,
            ECHO => {
                let stream = usize::try_from(number).ok().and_then(|index| streams.get_mut(index));
                echo(stream.ok_or_else(|| io::Error::other("no such connection"))?, len)?;
            }
            _ => return Err(invalid()),
        }
        writeln!(io::stdout(), "{response}")?;
    }
    Ok(())
}

fn echo(stream: &mut (impl Read + Write), len: usize) -> io::Result<()> {
    let mut payload = vec![0; len];
    for _pass in 0..2 {
        for number in 0.. {
            stream.read_exact(&mut payload)?;
            stream.write_all(&payload)?;
            if Stamp::check(&payload, number)?.is_last {
                break;
            }
        }
    }
    Ok(())
}
