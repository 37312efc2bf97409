//! Plain sockets for tasks.

use super::{
    super::{os, plain::PlainEnd, poll},
    pause::Pause,
    tasks::Waiter,
};
use crate::error::{PipeErrorKind, fail};
use ::tokio::{io::Interest, task::coop};
use rustix::event::PollFlags;
use std::{
    future::poll_fn,
    io::{self, IoSlice, IoSliceMut},
    os::fd::AsFd,
    task::{Context, Poll, ready},
    time::Duration,
};

/// How long to sleep before the second look whether everything was read; from then on twice as long each time.
const PAUSE_MIN: Duration = Duration::from_micros(50);
/// How long to sleep at most between two looks.
const PAUSE_MAX: Duration = Duration::from_millis(5);

impl PlainEnd {
    pub(super) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        waiter: &mut Waiter,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_for(cx, waiter, Interest::READABLE, || self.read_now(bufs))
    }

    pub(super) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        waiter: &mut Waiter,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_for(cx, waiter, Interest::WRITABLE, || self.write_now(bufs))
    }

    /// Reads what is there, else `WouldBlock`.
    pub(super) fn read_now(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let mut read = 0;
        for buf in bufs.iter_mut().filter(|buf| !buf.is_empty()) {
            match self.try_read(buf) {
                Ok(len) => {
                    read += len;
                    if len < buf.len() {
                        break;
                    }
                }
                // What was read counts; the error comes again.
                Err(_) if read > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    /// Writes what fits, else `WouldBlock`.
    pub(super) fn write_now(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut written = 0;
        for buf in bufs.iter().filter(|buf| !buf.is_empty()) {
            match self.try_write(buf) {
                Ok(len) => {
                    written += len;
                    if len < buf.len() {
                        break;
                    }
                }
                // What was written counts; the error comes again.
                Err(_) if written > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }

    /// Whether a read or a write would not wait, be it for an error.
    pub(super) fn poll_ready(
        &self,
        cx: &mut Context<'_>,
        waiter: &mut Waiter,
        interest: Interest,
    ) -> Poll<io::Result<()>> {
        let events = if interest.is_readable() { PollFlags::IN } else { PollFlags::OUT };
        self.poll_for(cx, waiter, interest, || {
            let is_ready = !poll::now(self.as_fd(), events).is_empty();
            if is_ready { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
        })
    }

    /// Waits until the other end has read everything. The kernel tells how much is left, and not when that changes.
    pub(super) async fn drain_in_task(&self) -> io::Result<()> {
        let mut pause = PAUSE_MIN;
        while os::unread_bytes(self.as_fd())? > 0 {
            let seen = poll::now(self.as_fd(), PollFlags::empty());
            if seen.intersects(PollFlags::HUP | PollFlags::ERR) {
                let text = "the other end closed before it had read everything";
                return Err(fail(PipeErrorKind::Broken, text));
            }
            let sleep = Pause::new(pause)?;
            poll_fn(|cx| sleep.poll(cx)).await?;
            pause = (pause * 2).min(PAUSE_MAX);
        }
        Ok(())
    }

    fn poll_for<T>(
        &self,
        cx: &mut Context<'_>,
        waiter: &mut Waiter,
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
            self.reactor.join(waiter, cx);
            let both = Interest::READABLE | Interest::WRITABLE;
            ready!(self.reactor.poll(&self.socket, both, interest))?;
        }
    }
}
