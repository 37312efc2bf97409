//! One way, as fast as it goes. The clock stops when the other process has told that it has everything.

use std::{
    io,
    time::{Duration, Instant},
};

use super::{check, stamp};
use crate::peer::End;

const RECEIPT: [u8; 1] = *b"!";

pub(super) async fn near(end: &mut impl End, len: usize, count: u32) -> io::Result<Duration> {
    let mut buf = vec![1; len];
    let mut receipt = [0; RECEIPT.len()];
    let begin = Instant::now();
    for number in 0..count {
        stamp(&mut buf, number);
        end.send(&buf).await?;
    }
    end.receive(&mut receipt).await?;
    let time = begin.elapsed();
    if receipt == RECEIPT { Ok(time) } else { Err(io::Error::other("the receipt is not one")) }
}

pub(super) async fn far(end: &mut impl End, len: usize, count: u32) -> io::Result<()> {
    let mut buf = vec![0; len];
    for number in 0..count {
        end.receive(&mut buf).await?;
        check(&buf, number)?;
    }
    end.send(&RECEIPT).await
}
