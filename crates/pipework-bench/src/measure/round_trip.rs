//! There and back: the other process sends back what it gets.

use std::{
    io,
    time::{Duration, Instant},
};

use super::{
    Figures,
    pace::{Pace, Stamp},
};
use crate::peer::End;

/// The percentiles that a distribution is told by.
pub(crate) const PERCENTILES: [(&str, f64); 11] = [
    ("p1", 0.01),
    ("p10", 0.1),
    ("p25", 0.25),
    ("p50", 0.5),
    ("p75", 0.75),
    ("p90", 0.9),
    ("p95", 0.95),
    ("p99", 0.99),
    ("p99.5", 0.995),
    ("p99.9", 0.999),
    ("p99.99", 0.9999),
];

/// Microseconds for one round trip, on average.
pub(super) async fn near(end: &mut impl End, len: usize, budget: Duration) -> io::Result<f64> {
    // First without the clock: memory is touched, and whatever is made on first use is made.
    pass(end, len, budget / 2, |_| ()).await?;
    let (count, time) = pass(end, len, budget, |_| ()).await?;
    Ok(time.as_secs_f64() * 1e6 / f64::from(count))
}

/// Each round trip by itself, and how they are distributed.
pub(super) async fn latencies(end: &mut impl End, len: usize, budget: Duration) -> io::Result<Figures> {
    pass(end, len, budget / 2, |_| ()).await?;
    let mut all: Vec<u32> = Vec::with_capacity(1 << 20);
    let mut before = Instant::now();
    let take = |now: Instant| {
        all.push(u32::try_from((now - before).as_nanos()).unwrap_or(u32::MAX));
        before = now;
    };
    let mut take = take;
    pass(end, len, budget, |()| take(Instant::now())).await?;
    all.sort_unstable();
    let figures = PERCENTILES.iter().filter_map(|&(name, share)| {
        let nanos = percentile(&all, share)?;
        Some((name.to_owned(), f64::from(nanos) / 1e3))
    });
    Ok(figures.collect())
}

pub(super) async fn far(end: &mut impl End, len: usize) -> io::Result<()> {
    let mut piece = vec![0; len];
    for _pass in 0..2 {
        for number in 0.. {
            end.receive(&mut piece).await?;
            end.send(&piece).await?;
            if Stamp::check(&piece, number)?.is_last {
                break;
            }
        }
    }
    Ok(())
}

/// The smallest of these that this share of all is no larger than.
pub(super) fn percentile(sorted: &[u32], share: f64) -> Option<u32> {
    let below =
        sorted.iter().enumerate().find(|(index, _)| (index + 1) as f64 >= share * sorted.len() as f64);
    below.map(|(_, &value)| value)
}

async fn pass(
    end: &mut impl End,
    len: usize,
    budget: Duration,
    mut each: impl FnMut(()),
) -> io::Result<(u32, Duration)> {
    let (mut sent, mut received) = (vec![1; len], vec![0; len]);
    let mut pace = Pace::new(budget);
    loop {
        let stamp = pace.next();
        stamp.put(&mut sent);
        end.send(&sent).await?;
        end.receive(&mut received).await?;
        Stamp::check(&received, stamp.number)?;
        each(());
        if stamp.is_last {
            return Ok(pace.end());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_list() {
        let sorted: Vec<u32> = (1..=100).collect();
        assert_eq!(percentile(&sorted, 0.5), Some(50));
        assert_eq!(percentile(&sorted, 0.99), Some(99));
        assert_eq!(percentile(&sorted, 0.9999), Some(100));
        assert_eq!(percentile(&[3], 0.01), Some(3));
        assert_eq!(percentile(&[], 0.5), None);
    }
}
