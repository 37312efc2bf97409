//! Round trips: the peer process sends back each payload.

use std::{
    io,
    time::{Duration, Instant},
};

use super::{
    Figures,
    pace::{Pace, Stamp},
};
use crate::endpoint::Endpoint;

/// The percentiles that describe a distribution.
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

/// Microseconds of a round trip, on average.
pub(super) async fn time(endpoint: &mut impl Endpoint, len: usize, budget: Duration) -> io::Result<f64> {
    // The first pass warms up: it touches memory, and creates what is created on first use.
    pass(endpoint, len, budget / 2, |_| ()).await?;
    let (count, time) = pass(endpoint, len, budget, |_| ()).await?;
    Ok(time.as_secs_f64() * 1e6 / f64::from(count))
}

/// Times each round trip. The figures are percentiles in microseconds.
pub(super) async fn time_each(
    endpoint: &mut impl Endpoint,
    len: usize,
    budget: Duration,
) -> io::Result<Figures> {
    pass(endpoint, len, budget / 2, |_| ()).await?;
    let mut all: Vec<u32> = Vec::with_capacity(1 << 20);
    let mut before = Instant::now();
    let take = |now: Instant| {
        all.push(u32::try_from((now - before).as_nanos()).unwrap_or(u32::MAX));
        before = now;
    };
    let mut take = take;
    pass(endpoint, len, budget, |()| take(Instant::now())).await?;
    all.sort_unstable();
    let figures = PERCENTILES.iter().filter_map(|&(name, share)| {
        let nanos = percentile(&all, share)?;
        Some((name.to_owned(), f64::from(nanos) / 1e3))
    });
    Ok(figures.collect())
}

pub(super) async fn run_peer(endpoint: &mut impl Endpoint, len: usize) -> io::Result<()> {
    let mut payload = vec![0; len];
    for _pass in 0..2 {
        for number in 0.. {
            endpoint.receive(&mut payload).await?;
            endpoint.send(&payload).await?;
            if Stamp::check(&payload, number)?.is_last {
                break;
            }
        }
    }
    Ok(())
}

/// The smallest value that is no less than this share of all values.
pub(super) fn percentile(sorted: &[u32], share: f64) -> Option<u32> {
    let below =
        sorted.iter().enumerate().find(|(index, _)| (index + 1) as f64 >= share * sorted.len() as f64);
    below.map(|(_, &value)| value)
}

async fn pass(
    endpoint: &mut impl Endpoint,
    len: usize,
    budget: Duration,
    mut each: impl FnMut(()),
) -> io::Result<(u32, Duration)> {
    let (mut sent, mut received) = (vec![1; len], vec![0; len]);
    let mut pace = Pace::new(budget);
    loop {
        let stamp = pace.next();
        stamp.put(&mut sent);
        endpoint.send(&sent).await?;
        endpoint.receive(&mut received).await?;
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
    fn a_percentile_is_a_value_of_the_list() {
        let sorted: Vec<u32> = (1..=100).collect();
        assert_eq!(percentile(&sorted, 0.5), Some(50));
        assert_eq!(percentile(&sorted, 0.99), Some(99));
        assert_eq!(percentile(&sorted, 0.9999), Some(100));
        assert_eq!(percentile(&[3], 0.01), Some(3));
        assert_eq!(percentile(&[], 0.5), None);
    }
}
