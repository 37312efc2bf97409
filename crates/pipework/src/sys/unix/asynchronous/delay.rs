//! Waiting for a while, in a runtime that may have no timers.

use super::{
    super::os::Timer,
    reactor::{OwnsFd, register},
};
use ::tokio::io::{Interest, unix::AsyncFd};
use std::{
    io,
    os::fd::{AsFd, AsRawFd, RawFd},
    task::{Context, Poll, ready},
    time::Duration,
};

/// A while that passes.
#[derive(Debug)]
pub(crate) struct Delay {
    timer: AsyncFd<Ringing>,
}

#[derive(Debug)]
struct Ringing(Timer);

impl AsRawFd for Ringing {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl OwnsFd for Ringing {}

impl Delay {
    pub(crate) fn new(time: Duration) -> io::Result<Delay> {
        // No time at all would be no alarm.
        let timer = Timer::new(time.max(Duration::from_nanos(1)))?;
        Ok(Delay { timer: register(Ringing(timer), Interest::READABLE)? })
    }

    /// Whether it is over; from then on it stays so. Wakes one task.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.timer.poll_read_ready(cx))?.retain_ready();
        Poll::Ready(Ok(()))
    }
}
