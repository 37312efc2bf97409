//! Async Unix domain sockets.

use super::{
    super::{asynchronous::delay::Delay, connection::task::TaskWait, os, poll},
    SocketEnd,
};
use crate::sys::errors::unread;
use ::tokio::{io::Interest, task::coop};
use rustix::event::PollFlags;
use std::{
    future::poll_fn,
    io,
    os::fd::AsFd,
    task::{Context, Poll, ready},
    time::Duration,
};

/// How long to sleep before the second look whether everything was read; from then on twice as long each time.
const PAUSE_MIN: Duration = Duration::from_micros(50);
/// How long to sleep at most between two looks.
const PAUSE_MAX: Duration = Duration::from_millis(5);

impl SocketEnd {
    /// Whether a read or a write would not wait, be it for an error.
    pub(in crate::sys::unix) fn poll_ready(
        &self,
        cx: &mut Context<'_>,
        wait: &mut TaskWait,
        interest: Interest,
    ) -> Poll<io::Result<()>> {
        let events = if interest.is_readable() { PollFlags::IN } else { PollFlags::OUT };
        self.poll_for(cx, wait, interest, || {
            let is_ready = !poll::now(self.as_fd(), events).is_empty();
            if is_ready { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
        })
    }

    /// Waits until the other end has read everything. The kernel reports how much is left, and not when that
    /// changes.
    pub(in crate::sys::unix) async fn drain_in_task(&self) -> io::Result<()> {
        let mut pause = PAUSE_MIN;
        while os::unread_bytes(self.as_fd())? > 0 {
            let seen = poll::now(self.as_fd(), PollFlags::empty());
            if seen.intersects(PollFlags::HUP | PollFlags::ERR) {
                return Err(unread());
            }
            let sleep = Delay::new(pause)?;
            poll_fn(|cx| sleep.poll(cx)).await?;
            pause = (pause * 2).min(PAUSE_MAX);
        }
        Ok(())
    }

    pub(in crate::sys::unix) fn poll_for<T>(
        &self,
        cx: &mut Context<'_>,
        wait: &mut TaskWait,
        interest: Interest,
        mut attempt: impl FnMut() -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        let progress = ready!(coop::poll_proceed(cx));
        loop {
            match attempt() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => {
                    progress.made_progress();
                    return Poll::Ready(outcome);
                }
            }
            self.reactor.join(&mut wait.waiter, cx);
            let both = Interest::READABLE | Interest::WRITABLE;
            ready!(self.reactor.poll(&self.socket, both, interest))?;
        }
    }
}
