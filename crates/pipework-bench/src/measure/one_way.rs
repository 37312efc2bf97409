//! As fast as possible in one direction. The clock stops when the receipt of the peer arrives.

use std::{io, time::Duration};

use super::pace::{Pace, Stamp};
use crate::endpoint::Endpoint;

/// A receipt is a payload with the last stamp.
pub(super) const RECEIPT_LEN: usize = 16;

/// Payloads sent in one direction, and the time they took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    pub(super) len: usize,
    pub(super) count: u32,
    pub(super) time: Duration,
}

/// 10^9 bytes per second.
pub(super) fn throughput(Flow { len, count, time }: Flow) -> f64 {
    len as f64 * f64::from(count) / time.as_secs_f64() / 1e9
}

/// Payloads per second.
pub(super) fn rate(Flow { count, time, .. }: Flow) -> f64 {
    f64::from(count) / time.as_secs_f64()
}

pub(super) async fn time(endpoint: &mut impl Endpoint, len: usize, budget: Duration) -> io::Result<Flow> {
    pass(endpoint, len, budget / 5).await?;
    pass(endpoint, len, budget).await
}

async fn pass(endpoint: &mut impl Endpoint, len: usize, budget: Duration) -> io::Result<Flow> {
    let mut payload = vec![1; len];
    let mut receipt = vec![0; RECEIPT_LEN];
    let mut pace = Pace::new(budget);
    loop {
        let stamp = pace.next();
        stamp.put(&mut payload);
        endpoint.send(&payload).await?;
        if stamp.is_last {
            endpoint.receive(&mut receipt).await?;
            let (count, time) = pace.end();
            Stamp::check(&receipt, stamp.number)?;
            return Ok(Flow { len, count, time });
        }
    }
}

pub(super) async fn run_peer(endpoint: &mut impl Endpoint, len: usize) -> io::Result<()> {
    let mut payload = vec![0; len];
    for _pass in 0..2 {
        for number in 0.. {
            endpoint.receive(&mut payload).await?;
            let stamp = Stamp::check(&payload, number)?;
            if stamp.is_last {
                let mut receipt = [0; RECEIPT_LEN];
                stamp.put(&mut receipt);
                endpoint.send(&receipt).await?;
                break;
            }
        }
    }
    Ok(())
}
