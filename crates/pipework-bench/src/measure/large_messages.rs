//! Payloads that are larger than the buffers, each answered by one byte.

use std::{io, time::Duration};

use super::{
    one_way::Flow,
    pace::{Pace, Stamp},
};
use crate::endpoint::Endpoint;

pub(super) async fn time(endpoint: &mut impl Endpoint, len: usize, budget: Duration) -> io::Result<Flow> {
    pass(endpoint, len, budget / 5).await?;
    pass(endpoint, len, budget).await
}

async fn pass(endpoint: &mut impl Endpoint, len: usize, budget: Duration) -> io::Result<Flow> {
    let (mut payload, mut answer) = (vec![1; len], vec![0]);
    let mut pace = Pace::new(budget);
    loop {
        let stamp = pace.next();
        stamp.put(&mut payload);
        endpoint.send(&payload).await?;
        endpoint.receive(&mut answer).await?;
        if stamp.is_last {
            let (count, time) = pace.end();
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
            endpoint.send(&[1]).await?;
            if stamp.is_last {
                break;
            }
        }
    }
    Ok(())
}
