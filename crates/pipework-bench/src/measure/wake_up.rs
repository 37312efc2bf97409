//! The time of a message to a reader that has waited for a while: one direction, by the clock that both processes share.

use std::{
    io,
    sync::mpsc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{
    Figures,
    pace::{Pace, Stamp},
    round_trip::percentile,
};
use crate::endpoint::Endpoint;

const IDLENESS: Duration = Duration::from_millis(1);

/// The offset of the time in a message, after the stamp.
const TIME_AT: usize = 8;

pub(super) async fn time(endpoint: &mut impl Endpoint, len: usize, budget: Duration) -> io::Result<Figures> {
    let (mut sent, mut received) = (vec![1; len], vec![0; len]);
    let mut all = Vec::new();
    let mut pace = Pace::new(budget);
    // Nothing is ever sent on it, so receiving is idleness.
    let (_sender, receiver) = mpsc::channel::<()>();
    loop {
        let stamp = pace.next();
        stamp.put(&mut sent);
        receiver.recv_timeout(IDLENESS).ok();
        put_time(&mut sent, now()?);
        endpoint.send(&sent).await?;
        endpoint.receive(&mut received).await?;
        Stamp::check(&received, stamp.number)?;
        all.push(u32::try_from(read_time(&received)?).unwrap_or(u32::MAX));
        if stamp.is_last {
            break;
        }
    }
    all.sort_unstable();
    let figures = [("p50", 0.5), ("p90", 0.9)].into_iter().filter_map(|(name, share)| {
        let nanos = percentile(&all, share)?;
        Some((name.to_owned(), f64::from(nanos) / 1e3))
    });
    Ok(figures.collect())
}

/// Sends back the travel time of each message.
pub(super) async fn run_peer(endpoint: &mut impl Endpoint, len: usize) -> io::Result<()> {
    let mut payload = vec![0; len];
    for number in 0.. {
        endpoint.receive(&mut payload).await?;
        let arrival = now()?;
        let stamp = Stamp::check(&payload, number)?;
        let sent = read_time(&payload)?;
        let travel = arrival.checked_sub(sent).ok_or_else(|| io::Error::other("the clock was set back"))?;
        put_time(&mut payload, travel);
        endpoint.send(&payload).await?;
        if stamp.is_last {
            break;
        }
    }
    Ok(())
}

/// Nanoseconds of the system's clock.
fn now() -> io::Result<u64> {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other)?;
    u64::try_from(time.as_nanos()).map_err(io::Error::other)
}

fn put_time(payload: &mut [u8], nanos: u64) {
    for (byte, part) in payload.iter_mut().skip(TIME_AT).zip(nanos.to_le_bytes()) {
        *byte = part;
    }
}

fn read_time(payload: &[u8]) -> io::Result<u64> {
    let (_, rest) = payload.split_at_checked(TIME_AT).unwrap_or_default();
    let bytes = rest.first_chunk().ok_or_else(|| io::Error::other("received a message without a time"))?;
    Ok(u64::from_le_bytes(*bytes))
}
