//! There and back: the other process sends back what it gets.

use std::{
    io,
    time::{Duration, Instant},
};

use super::{check, stamp};
use crate::peer::End;

pub(super) async fn near(end: &mut impl End, len: usize, count: u32) -> io::Result<Duration> {
    let (mut sent, mut received) = (vec![1; len], vec![0; len]);
    let begin = Instant::now();
    for number in 0..count {
        stamp(&mut sent, number);
        end.send(&sent).await?;
        end.receive(&mut received).await?;
        check(&received, number)?;
    }
    Ok(begin.elapsed())
}

pub(super) async fn far(end: &mut impl End, len: usize, count: u32) -> io::Result<()> {
    let mut buf = vec![0; len];
    for _ in 0..count {
        end.receive(&mut buf).await?;
        end.send(&buf).await?;
    }
    Ok(())
}
