//! Connections on which there was traffic: the shared memory that they hold after it.

use std::io::{self, BufRead, Read, Write};

use super::{
    Figures, Unit,
    idle_connections::{Clients, SPARE_DESCRIPTORS, idle},
};
use crate::{endpoint::Server, peer_process::PeerProcess, sample_args::SampleArgs, system};

// The metrics, by their names in reports and records.
pub(crate) const AFTER_ROUND_TRIPS: &str = "after 5000 round trips";
pub(crate) const AFTER_BURST: &str = "after a burst";

const ROUND_TRIPS: u32 = 5_000;
/// A burst: so many round trips, each with so many bytes in either direction.
const BURST: (u32, usize) = (20, 16 << 10);
/// After a burst the connections rest for so long, and then one small message goes each way.
const REST_MILLIS: u32 = 1_000;

// What the server asks of the process with the clients.
const CONNECT: &str = "connect";
const ECHO: &str = "echo";
const MEMORY: &str = "memory";

pub(super) const UNIT: Unit = Unit { symbol: "KiB", better: "less" };

/// Is the server of this many connections. The figures are KiB of each, in both processes together.
pub(super) fn time_server<S: Server>(count: u32, peer: &mut PeerProcess, len: usize) -> io::Result<Figures> {
    let args = peer.args().clone();
    let count = count.min(args.connections_max);
    system::raise_descriptor_limit((count + SPARE_DESCRIPTORS).into())?;
    let (listener, address) = S::listen()?;
    let mut clients = Clients::new(peer.start_piped(&address)?);
    let before = shared_memory(&mut clients)?;
    clients.send(&format!("{CONNECT} {count}"))?;
    let mut streams = (0..count).map(|_| S::accept(&listener)).collect::<io::Result<Vec<_>>>()?;
    clients.receive()?;

    exchange(&mut streams, &mut clients, ROUND_TRIPS, len)?;
    let after_round_trips = shared_memory(&mut clients)? - before;
    exchange(&mut streams, &mut clients, BURST.0, BURST.1)?;
    idle(args.idle_time().min(std::time::Duration::from_millis(REST_MILLIS.into())));
    exchange(&mut streams, &mut clients, 1, len)?;
    let after_burst = shared_memory(&mut clients)? - before;
    let figures = [(AFTER_ROUND_TRIPS, after_round_trips), (AFTER_BURST, after_burst)];
    Ok(figures.map(|(metric, bytes)| (metric.to_owned(), bytes / 1024.0 / f64::from(count))).into())
}

/// The shared memory of both processes together, in bytes.
fn shared_memory(clients: &mut Clients) -> io::Result<f64> {
    Ok(system::shared_memory()? as f64 + clients.query(MEMORY)?)
}

/// Round trips on each connection, one connection after the other.
fn exchange(
    streams: &mut [impl Read + Write],
    clients: &mut Clients,
    count: u32,
    len: usize,
) -> io::Result<()> {
    clients.send(&format!("{ECHO} {count} {len}"))?;
    let (sent, mut received) = (vec![1; len], vec![0; len]);
    for stream in streams {
        for _ in 0..count {
            stream.write_all(&sent)?;
            stream.read_exact(&mut received)?;
        }
    }
    clients.receive().map(drop)
}

/// Is the process with the clients.
pub(super) fn run_clients<S: Server>(args: &SampleArgs) -> io::Result<()> {
    let mut streams: Vec<S::Stream> = Vec::new();
    for request in io::stdin().lock().lines() {
        let request = request?;
        let invalid = || io::Error::other(format!("invalid request {request:?}"));
        let mut words = request.split(' ');
        let verb = words.next().unwrap_or_default();
        let numbers = words.map(str::parse).collect::<Result<Vec<u32>, _>>().map_err(|_| invalid())?;
        let response = match (verb, numbers.as_slice()) {
            (CONNECT, &[count]) => {
                system::raise_descriptor_limit((count + SPARE_DESCRIPTORS).into())?;
                for _ in 0..count {
                    streams.push(S::connect(&args.address)?);
                }
                0
            }
            (ECHO, &[count, len]) => {
                let mut payload = vec![0; usize::try_from(len).map_err(io::Error::other)?];
                for stream in &mut streams {
                    for _ in 0..count {
                        stream.read_exact(&mut payload)?;
                        stream.write_all(&payload)?;
                    }
                }
                0
            }
            (MEMORY, &[]) => system::shared_memory()?,
            _ => return Err(invalid()),
        };
        writeln!(io::stdout(), "{response}")?;
    }
    Ok(())
}
