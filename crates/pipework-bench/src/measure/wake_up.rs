//! How long a message takes to one who has been waiting for a while: one way, by the clock that both processes share.

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
use crate::peer::End;

const IDLENESS: Duration = Duration::from_millis(1);

/// Where in a message the time stands: behind the stamp.
const TIME_AT: usize = 8;

pub(super) async fn near(end: &mut impl End, len: usize, budget: Duration) -> io::Result<Figures> {
    let (mut sent, mut received) = (vec![1; len], vec![0; len]);
    let mut all = Vec::new();
    let mut pace = Pace::new(budget);
    // Nobody ever sends on it: waiting for it is idleness.
    let (_silent, idleness) = mpsc::channel::<()>();
    loop {
        let stamp = pace.next();
        stamp.put(&mut sent);
        idleness.recv_timeout(IDLENESS).ok();
        put_time(&mut sent, now()?);
        end.send(&sent).await?;
        end.receive(&mut received).await?;
        Stamp::check(&received, stamp.number)?;
        all.push(u32::try_from(time(&received)?).unwrap_or(u32::MAX));
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

/// Sends back how long each message was on its way.
pub(super) async fn far(end: &mut impl End, len: usize) -> io::Result<()> {
    let mut piece = vec![0; len];
    for number in 0.. {
        end.receive(&mut piece).await?;
        let arrival = now()?;
        let stamp = Stamp::check(&piece, number)?;
        let sent = time(&piece)?;
        let way = arrival.checked_sub(sent).ok_or_else(|| io::Error::other("the clock was set back"))?;
        put_time(&mut piece, way);
        end.send(&piece).await?;
        if stamp.is_last {
            break;
        }
    }
    Ok(())
}

/// Nanoseconds of the clock of the whole system.
fn now() -> io::Result<u64> {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other)?;
    u64::try_from(time.as_nanos()).map_err(io::Error::other)
}

fn put_time(piece: &mut [u8], nanos: u64) {
    for (byte, part) in piece.iter_mut().skip(TIME_AT).zip(nanos.to_le_bytes()) {
        *byte = part;
    }
}

fn time(piece: &[u8]) -> io::Result<u64> {
    let (_, rest) = piece.split_at_checked(TIME_AT).unwrap_or_default();
    let bytes = rest.first_chunk().ok_or_else(|| io::Error::other("a message without a time"))?;
    Ok(u64::from_le_bytes(*bytes))
}
