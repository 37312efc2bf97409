//! One way, as fast as it goes. The clock stops when the other process has told that it has everything.

use std::{io, time::Duration};

use super::pace::{Pace, Stamp};
use crate::peer::End;

/// What tells that everything came: a stamp, with room for both its numbers.
const RECEIPT_LEN: usize = 16;

/// What went one way, in what time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    len: usize,
    count: u32,
    time: Duration,
}

/// 10^9 bytes in a second.
pub(super) fn throughput(Flow { len, count, time }: Flow) -> f64 {
    len as f64 * f64::from(count) / time.as_secs_f64() / 1e9
}

/// Pieces in a second.
pub(super) fn rate(Flow { count, time, .. }: Flow) -> f64 {
    f64::from(count) / time.as_secs_f64()
}

pub(super) async fn near(end: &mut impl End, len: usize, budget: Duration) -> io::Result<Flow> {
    pass(end, len, budget / 5).await?;
    pass(end, len, budget).await
}

async fn pass(end: &mut impl End, len: usize, budget: Duration) -> io::Result<Flow> {
    let mut piece = vec![1; len];
    let mut receipt = vec![0; RECEIPT_LEN];
    let mut pace = Pace::new(budget);
    loop {
        let stamp = pace.next();
        stamp.put(&mut piece);
        end.send(&piece).await?;
        if stamp.is_last {
            end.receive(&mut receipt).await?;
            let (count, time) = pace.end();
            Stamp::check(&receipt, stamp.number)?;
            return Ok(Flow { len, count, time });
        }
    }
}

pub(super) async fn far(end: &mut impl End, len: usize) -> io::Result<()> {
    let mut piece = vec![0; len];
    for _pass in 0..2 {
        for number in 0.. {
            end.receive(&mut piece).await?;
            let stamp = Stamp::check(&piece, number)?;
            if stamp.is_last {
                let mut receipt = [0; RECEIPT_LEN];
                stamp.put(&mut receipt);
                end.send(&receipt).await?;
                break;
            }
        }
    }
    Ok(())
}
