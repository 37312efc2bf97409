//! Messages in batches, as fast as possible in one direction.

use std::{cell::Cell, io, time::Duration};

use super::{
    one_way::{Flow, RECEIPT_LEN},
    pace::{Pace, Stamp},
};
use crate::endpoint::Endpoint;

pub(super) async fn time(
    endpoint: &mut impl Endpoint,
    len: usize,
    batch_len: usize,
    budget: Duration,
) -> io::Result<Flow> {
    pass(endpoint, len, batch_len, budget / 5).await?;
    pass(endpoint, len, batch_len, budget).await
}

async fn pass(
    endpoint: &mut impl Endpoint,
    len: usize,
    batch_len: usize,
    budget: Duration,
) -> io::Result<Flow> {
    let mut payloads = vec![vec![1; len]; batch_len];
    let mut receipt = vec![0; RECEIPT_LEN];
    let mut pace = Pace::new(budget);
    loop {
        let (mut count, mut last) = (0, None);
        for payload in &mut payloads {
            let stamp = pace.next();
            stamp.put(payload);
            count += 1;
            if stamp.is_last {
                last = Some(stamp);
                break;
            }
        }
        endpoint.send_batch(payloads.get(..count).unwrap_or_default()).await?;
        if let Some(last) = last {
            endpoint.receive(&mut receipt).await?;
            let (count, time) = pace.end();
            Stamp::check(&receipt, last.number)?;
            return Ok(Flow { len, count, time });
        }
    }
}

pub(super) async fn run_peer(endpoint: &mut impl Endpoint, len: usize, batch_len: usize) -> io::Result<()> {
    let mut payload = vec![0; len];
    for _pass in 0..2 {
        let (mut number, last) = (0, Cell::new(None));
        let mut check = |payload: &[u8]| {
            let stamp = Stamp::check(payload, number)?;
            number = number.wrapping_add(1);
            last.set(stamp.is_last.then_some(stamp));
            Ok(())
        };
        let last = loop {
            endpoint.receive_batch(&mut payload, batch_len, &mut check).await?;
            if let Some(last) = last.get() {
                break last;
            }
        };
        let mut receipt = [0; RECEIPT_LEN];
        last.put(&mut receipt);
        endpoint.send(&receipt).await?;
    }
    Ok(())
}
