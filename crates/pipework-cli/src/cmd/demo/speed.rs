//! How fast: bulk and round trips, between two processes, each transport in turn.

use std::{
    io,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use pipework::Canceller;

use crate::{
    args::Transport,
    cmd::demo::{
        CHUNK_LEN,
        conduit::{self, Conduit, Link},
        source::Source,
    },
    failure::Failure,
    output::filled,
};

/// The transports take turns so often; the median counts.
pub(super) const PASSES: usize = 3;

/// The part of a pass that a warm-up is.
const WARM_UP_SHARE: u64 = 8;

/// What goes there and back in a round trip.
pub(super) const PING_LEN: usize = 64;

/// Round trips of each pass at most, and those before them that do not count.
const ROUND_TRIPS_MAX: u32 = 10_000;
const ROUND_TRIPS_BEFORE: u32 = 500;
/// A measurement of few bytes is to be short: it has one round trip for so many of them.
const BYTES_PER_ROUND_TRIP: u64 = 1024;

/// Round trips of a pass in which so many bytes are sent.
fn round_trips(bytes: u64) -> u32 {
    let wanted = u32::try_from(bytes / BYTES_PER_ROUND_TRIP).unwrap_or(u32::MAX);
    wanted.clamp(ROUND_TRIPS_BEFORE, ROUND_TRIPS_MAX)
}

/// What was measured of one transport.
pub(super) struct Speed {
    pub(super) transport: Transport,
    /// Sent in each pass.
    pub(super) bytes: u64,
    /// Of each pass.
    pub(super) bulk: Vec<Duration>,
    /// The mean of each pass.
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
            let Link { mut near, peer } = conduit::start(speed.transport, bytes, interrupted)?;
            let (bulk, round_trip) = ask(near.as_mut(), &window, bytes, interrupted)?;
            if pass > 0 {
                speed.bulk.push(bulk);
                speed.round_trip.push(round_trip);
            }
            drop(near);
            if !peer.finish()? {
                return Err(Failure::failed(format!(
                    "the process at the other end of the {} failed",
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

/// The near end: the time from the first write until the far end has everything, and the mean round trip.
fn ask(
    near: &mut dyn Conduit,
    window: &[u8],
    bytes: u64,
    interrupted: &Canceller,
) -> io::Result<(Duration, Duration)> {
    let mut ping = [0; PING_LEN];
    near.receive_exact(&mut ping)?;
    let start = Instant::now();
    let mut left = usize::try_from(bytes).unwrap_or(usize::MAX);
    for chunk in window.chunks(CHUNK_LEN).cycle() {
        if left == 0 {
            break;
        }
        stop_if(interrupted)?;
        let chunk = filled(chunk, left);
        near.send(chunk)?;
        left = left.saturating_sub(chunk.len());
    }
    near.receive_exact(&mut ping)?;
    let bulk = start.elapsed();

    let mut start = Instant::now();
    let round_trips = round_trips(bytes);
    for round in 0..ROUND_TRIPS_BEFORE + round_trips {
        if round == ROUND_TRIPS_BEFORE {
            stop_if(interrupted)?;
            start = Instant::now();
        }
        near.send(&ping)?;
        near.receive_exact(&mut ping)?;
    }
    Ok((bulk, start.elapsed() / round_trips))
}

/// The far end.
pub(super) fn answer(far: &mut dyn Conduit, bytes: u64) -> io::Result<()> {
    let mut ping = [0; PING_LEN];
    let mut buffer = vec![0; CHUNK_LEN];
    far.send(&ping)?;
    let mut left = usize::try_from(bytes).unwrap_or(usize::MAX);
    while left > 0 {
        match far.receive(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            len => left = left.saturating_sub(len),
        }
    }
    far.send(&ping)?;
    for _ in 0..ROUND_TRIPS_BEFORE + round_trips(bytes) {
        far.receive_exact(&mut ping)?;
        far.send(&ping)?;
    }
    Ok(())
}

/// A transport that knows no canceller is asked between its writes.
fn stop_if(interrupted: &Canceller) -> io::Result<()> {
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
