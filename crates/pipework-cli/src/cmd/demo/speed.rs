//! The measurement: bulk and round trips between two processes, one transport after the other.

use std::{
    io,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use pipework::Canceller;

use crate::{
    args::Transport,
    cmd::demo::{
        parameters::CHUNK_LEN,
        source::Source,
        transport::{self, Connection, Endpoint},
    },
    failure::Failure,
    output::filled,
};

/// Passes; each measures every transport once, and the median counts.
pub(super) const PASSES: usize = 3;

/// The warm-up is this fraction of a pass.
const WARM_UP_SHARE: u64 = 8;

/// The size of a round trip.
pub(super) const PING_LEN: usize = 64;

/// The maximum of round trips in a pass, and the number before them that are not measured.
const ROUND_TRIPS_MAX: u32 = 10_000;
const ROUND_TRIPS_BEFORE: u32 = 500;
/// A measurement of few bytes has fewer round trips: one for this many bytes.
const BYTES_PER_ROUND_TRIP: u64 = 1024;

/// The number of round trips in a pass that sends this many bytes.
fn round_trips(bytes: u64) -> u32 {
    let wanted = u32::try_from(bytes / BYTES_PER_ROUND_TRIP).unwrap_or(u32::MAX);
    wanted.clamp(ROUND_TRIPS_BEFORE, ROUND_TRIPS_MAX)
}

/// The measurement of one transport.
pub(super) struct Speed {
    pub(super) transport: Transport,
    /// Bytes sent in each pass.
    pub(super) bytes: u64,
    /// The time of each pass.
    pub(super) bulk: Vec<Duration>,
    /// The mean round trip of each pass.
    pub(super) round_trip: Vec<Duration>,
}

impl Speed {
    pub(super) fn gigabytes_per_second(&self) -> f64 {
        self.bytes as f64 / median(&self.bulk).as_secs_f64() / 1e9
    }

    pub(super) fn round_trip_median(&self) -> Duration {
        median(&self.round_trip)
    }
}

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

pub(super) fn measure(
    source: &Source,
    transports: &[Transport],
    bytes: u64,
    interrupted: &Canceller,
) -> Result<Vec<Speed>, Failure> {
    let window = source.window()?;
    let progress = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{msg}") {
        progress.set_style(style);
    }
    let new = |&transport| Speed { transport, bytes, bulk: Vec::new(), round_trip: Vec::new() };
    let mut speeds: Vec<Speed> = transports.iter().map(new).collect();
    // The first round warms up and does not count.
    for pass in 0..=PASSES {
        let bytes = if pass == 0 { bytes.div_ceil(WARM_UP_SHARE) } else { bytes };
        for speed in &mut speeds {
            progress.set_message(format!("measuring {}, pass {pass} of {PASSES}", label(speed.transport)));
            progress.tick();
            let Connection { mut endpoint, peer } = transport::open(speed.transport, bytes, interrupted)?;
            let (bulk, round_trip) = time(endpoint.as_mut(), &window, bytes, interrupted)?;
            if pass > 0 {
                speed.bulk.push(bulk);
                speed.round_trip.push(round_trip);
            }
            drop(endpoint);
            if !peer.finish()? {
                return Err(Failure::failed(format!(
                    "the peer process of the {} failed",
                    label(speed.transport)
                )));
            }
        }
    }
    progress.finish_and_clear();
    Ok(speeds)
}

pub(super) fn label(transport: Transport) -> &'static str {
    match transport {
        Transport::PipeworkByte => "pipework byte",
        Transport::PipeworkMessage => "pipework message",
        Transport::KernelPipe => "kernel pipe",
        #[cfg(unix)]
        Transport::UnixSocket => "Unix socket",
    }
}

/// Returns the time from the first write until the peer has received everything, and the mean round trip.
fn time(
    endpoint: &mut dyn Endpoint,
    window: &[u8],
    bytes: u64,
    interrupted: &Canceller,
) -> io::Result<(Duration, Duration)> {
    let mut ping = [0; PING_LEN];
    endpoint.receive_exact(&mut ping)?;
    let start = Instant::now();
    let mut left = usize::try_from(bytes).unwrap_or(usize::MAX);
    for chunk in window.chunks(CHUNK_LEN).cycle() {
        if left == 0 {
            break;
        }
        check_interrupted(interrupted)?;
        let chunk = filled(chunk, left);
        endpoint.send(chunk)?;
        left = left.saturating_sub(chunk.len());
    }
    endpoint.receive_exact(&mut ping)?;
    let bulk = start.elapsed();

    let mut start = Instant::now();
    let round_trips = round_trips(bytes);
    for round in 0..ROUND_TRIPS_BEFORE + round_trips {
        if round == ROUND_TRIPS_BEFORE {
            check_interrupted(interrupted)?;
            start = Instant::now();
        }
        endpoint.send(&ping)?;
        endpoint.receive_exact(&mut ping)?;
    }
    Ok((bulk, start.elapsed() / round_trips))
}

/// Is the other end, in the peer process.
pub(super) fn respond(endpoint: &mut dyn Endpoint, bytes: u64) -> io::Result<()> {
    let mut ping = [0; PING_LEN];
    let mut buffer = vec![0; CHUNK_LEN];
    endpoint.send(&ping)?;
    let mut left = usize::try_from(bytes).unwrap_or(usize::MAX);
    while left > 0 {
        match endpoint.receive(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            len => left = left.saturating_sub(len),
        }
    }
    endpoint.send(&ping)?;
    for _ in 0..ROUND_TRIPS_BEFORE + round_trips(bytes) {
        endpoint.receive_exact(&mut ping)?;
        endpoint.send(&ping)?;
    }
    Ok(())
}

/// Checks for Ctrl-C between the writes of a transport that has no canceller.
fn check_interrupted(interrupted: &Canceller) -> io::Result<()> {
    if interrupted.is_cancelled() { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_whatever_the_order() {
        let times = [9, 1, 5].map(Duration::from_millis);
        assert_eq!(median(&times), Duration::from_millis(5));
    }

    #[test]
    fn a_gigabyte_in_half_a_second_is_two_per_second() {
        let bulk = [500, 1, 900].map(Duration::from_millis).to_vec();
        let speed =
            Speed { transport: Transport::KernelPipe, bytes: 1_000_000_000, bulk, round_trip: Vec::new() };
        assert!((speed.gigabytes_per_second() - 2.0).abs() < 1e-9);
    }
}
