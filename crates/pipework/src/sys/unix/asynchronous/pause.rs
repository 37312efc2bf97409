//! Waiting for a while, in a runtime that may have no timers.

use super::{
    super::os::Alarm,
    reactor::{Keeper, register},
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
pub(crate) struct Pause {
    alarm: AsyncFd<Ringing>,
}

#[derive(Debug)]
struct Ringing(Alarm);

impl AsRawFd for Ringing {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Keeper for Ringing {}

impl Pause {
    pub(crate) fn new(time: Duration) -> io::Result<Pause> {
        // No time at all would be no alarm.
        let alarm = Alarm::new(time.max(Duration::from_nanos(1)))?;
        Ok(Pause { alarm: register(Ringing(alarm), Interest::READABLE)? })
    }

    /// Whether it is over; from then on it stays so. Tells one task.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.alarm.poll_read_ready(cx))?.retain_ready();
        Poll::Ready(Ok(()))
    }
}
