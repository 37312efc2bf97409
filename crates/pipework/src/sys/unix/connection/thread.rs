//! The driver for threads: repeats an attempt, spins, sleeps at a futex, then polls the socket.

use super::{
    super::{os, poll},
    Connection, LazyWaitLimit,
    doorbell::RING_AGAIN,
    fd_passing::DESCRIPTORS_PAUSE,
    operation::Operation,
    parking::{DirectionGuard, Sleeper},
    rings::Rings,
    step::{On, Step},
    write::{Progress, ends_pipe, ignore_unless_over},
};
use crate::{
    ring::{PIECE_LEN, WaitKind},
    sys::WaitLimit,
};
use rustix::event::PollFlags;
use std::{
    io::{self, IoSlice},
    os::fd::AsFd,
    time::{Duration, Instant},
};

/// How long a thread sleeps at a word of the memory before it goes to the socket, and so how late it may hear that its
/// peer was killed or its canceller used. Most answers of a program at work come sooner.
const FUTEX_WAIT: Duration = Duration::from_millis(10);

impl Connection {
    /// Waits for the client's hello; whether it came, or the client went away without one.
    pub(super) fn await_hello(&self, limit: &mut LazyWaitLimit<'_>) -> io::Result<bool> {
        self.block_on(None, limit, || Ok(self.attempt_rings()?.map(|rings| rings.is_some())))
    }

    /// Repeats an attempt to read.
    pub(super) fn block_to_read<T>(&self, attempt: impl FnMut() -> io::Result<Step<T>>) -> io::Result<T> {
        let make = || self.options.read_limit();
        let mut limit = LazyWaitLimit::new(&make);
        let lock = self.parking.lock_direction(Operation::Read, &mut limit)?;
        self.block_on(Some(&lock), &mut limit, attempt)
    }

    /// Writes in pieces, so that the reader copies one while the next is copied in. Returns when no more than the quota is
    /// unread, or with what was published when the limit is reached (rule T1).
    pub(super) fn block_to_write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.block_to_write_within(bufs, &|| self.options.write_limit())
    }

    pub(super) fn block_to_write_within(
        &self,
        bufs: &[IoSlice<'_>],
        make: &dyn Fn() -> WaitLimit,
    ) -> io::Result<usize> {
        let mut limit = LazyWaitLimit::new(make);
        let lock = self.parking.lock_direction(Operation::Write, &mut limit)?;
        let len: usize = bufs.iter().map(|buf| buf.len()).sum();
        let mut written = 0;
        loop {
            let progress = Progress { written, len_max: PIECE_LEN, returns_at_once: false };
            let outcome = self.block_on(Some(&lock), &mut limit, || self.attempt_write(bufs, progress));
            let published = match outcome {
                // Published counts as written (rule T1).
                Err(error) if written > 0 && !ends_pipe(&error) => return Ok(written),
                outcome => outcome?,
            };
            written += published.len;
            if written < len {
                continue;
            }
            let settled = self.settle(published.is_settled, &lock, &mut limit);
            return ignore_unless_over(settled).map(|()| written);
        }
    }

    /// Writes messages one after the other, as many at once as there is room for. Returns how many were written before the
    /// limit was reached or the pipe ended; what ended it is an error only if there were none.
    pub(super) fn block_to_write_messages(&self, messages: &[IoSlice<'_>]) -> io::Result<usize> {
        let make = || self.options.write_limit();
        let mut limit = LazyWaitLimit::new(&make);
        let lock = self.parking.lock_direction(Operation::Write, &mut limit)?;
        let (mut written, mut rest) = (0, messages);
        while !rest.is_empty() {
            let outcome = self.block_on(Some(&lock), &mut limit, || self.attempt_write_messages(rest));
            let (published, settled) = match outcome {
                Ok(published) => (published.len, self.settle(published.is_settled, &lock, &mut limit)),
                Err(error) => (0, Err(error)),
            };
            written += published;
            if let Err(error) = settled {
                // The wait was for the last message, which counts as published unless the pipe has ended (rule T1).
                written -= usize::from(published > 0 && ends_pipe(&error));
                return if written > 0 { Ok(written) } else { Err(error) };
            }
            (_, rest) = rest.split_at(published);
        }
        Ok(written)
    }

    fn settle(
        &self,
        is_settled: bool,
        lock: &DirectionGuard<'_>,
        limit: &mut LazyWaitLimit<'_>,
    ) -> io::Result<()> {
        if is_settled { Ok(()) } else { self.block_on(Some(lock), limit, || self.attempt_settled()) }
    }

    /// Repeats `attempt` until it is done or the limit is reached, and then pays what is owed to the peer.
    pub(super) fn block_on<T>(
        &self,
        lock: Option<&DirectionGuard<'_>>,
        limit: &mut LazyWaitLimit<'_>,
        attempt: impl FnMut() -> io::Result<Step<T>>,
    ) -> io::Result<T> {
        let outcome = self.repeat(lock, limit, attempt);
        self.pay_ring_within(limit);
        outcome
    }

    fn repeat<T>(
        &self,
        lock: Option<&DirectionGuard<'_>>,
        limit: &mut LazyWaitLimit<'_>,
        mut attempt: impl FnMut() -> io::Result<Step<T>>,
    ) -> io::Result<T> {
        loop {
            let on = match self.step(lock, &mut attempt)? {
                Step::Done(value) => return Ok(value),
                Step::Blocked(on) => on,
            };
            match on {
                On::Data | On::Rest(_) | On::Space(_) => {
                    if let Some(value) = self.spin_or_sleep(lock, on, limit, &mut attempt)? {
                        return Ok(value);
                    }
                }
                On::Hello | On::Attachment => self.sleep(on, limit.get())?,
                On::Socket => {
                    limit.get().check()?;
                    let ring_again = (!self.pay_ring()).then_some(RING_AGAIN);
                    poll::wait(&[(self.as_fd(), PollFlags::OUT)], limit.get(), ring_again)?;
                }
                On::Descriptors => {
                    limit.get().check()?;
                    self.pay_ring();
                    poll::wait(&[], limit.get(), Some(DESCRIPTORS_PAUSE))?;
                }
            }
        }
    }

    /// Spins for what the peer publishes, while that pays, and else sleeps. `None`: another attempt is due.
    fn spin_or_sleep<T>(
        &self,
        lock: Option<&DirectionGuard<'_>>,
        on: On,
        limit: &mut LazyWaitLimit<'_>,
        attempt: &mut impl FnMut() -> io::Result<Step<T>>,
    ) -> io::Result<Option<T>> {
        // Blocked on the rings, so they are there.
        let Some(rings) = self.rings_known() else { return Ok(None) };
        let (spin, may_spin, is_stream) =
            (self.spin_for(on.interest()), self.may_spin(rings), self.is_stream(on.interest()));
        let mut value = None;
        let look = || {
            Ok(match self.step_again(lock, attempt)? {
                Step::Done(done) => {
                    value = Some(done);
                    true
                }
                Step::Blocked(now) => now != on,
            })
        };
        if may_spin && spin.until(is_stream, look)? {
            return Ok(value);
        }
        let begun = may_spin.then(Instant::now);
        let slept = self.sleep(on, limit.get());
        if let Some(begun) = begun {
            spin.learn(begun.elapsed());
        }
        slept.map(|()| None)
    }

    /// Sleeps until what an attempt needs may have come, or the limit is reached.
    fn sleep(&self, on: On, limit: &WaitLimit) -> io::Result<()> {
        if !self.pay_ring() {
            limit.check()?;
            return poll::wait(&[], limit, Some(RING_AGAIN)).map(drop);
        }
        self.parking.sleep(&mut SleepingThread { connection: self, rings: self.rings_known(), on }, limit)
    }
}

/// A thread that waits at a connection.
struct SleepingThread<'a> {
    connection: &'a Connection,
    rings: Option<&'a Rings>,
    on: On,
}

impl Sleeper for SleepingThread<'_> {
    fn first_sleep(&self) -> WaitKind {
        let can_sleep_at_word = os::HAS_FUTEX && self.rings.is_some();
        if can_sleep_at_word && self.on != On::Attachment { WaitKind::Futex } else { WaitKind::Poll }
    }

    fn announce(&self, sleep: WaitKind) -> u64 {
        let Some(rings) = self.rings else { return 0 };
        if sleep == WaitKind::Poll {
            // The thread that leads sleeps at the futex no more. A task that announces itself knows nothing of that.
            rings.wait_words.withdraw(self.on.interest(), WaitKind::Futex);
        }
        rings.wait_words.announce(self.on.interest(), sleep)
    }

    fn is_ready(&mut self) -> io::Result<bool> {
        let connection = self.connection;
        Ok(connection.is_over()
            || match self.rings {
                Some(rings) => connection.has_come(rings, self.on)?,
                None => connection.rings_known().is_some(),
            })
    }

    fn sleep_at_futex(&self, value: u64, limit: &WaitLimit) -> WaitKind {
        let Some(rings) = self.rings else { return WaitKind::Poll };
        let time = limit.left().unwrap_or(FUTEX_WAIT).min(FUTEX_WAIT);
        #[expect(clippy::cast_possible_truncation, reason = "the kernel compares the half with the bits")]
        let is_over = os::futex_wait(rings.wait_words.own_futex_word(), value as u32, time);
        if is_over { WaitKind::Poll } else { WaitKind::Futex }
    }

    fn sleep_at_socket(&self, limit: &WaitLimit) -> io::Result<()> {
        let connection = self.connection;
        // Nothing ended the sleep at the futex, so this one may be long.
        self.rings.map(Rings::release_unused);
        // Memory that is still kept may go later, so this sleep ends then.
        let kept_for = connection.release_large();
        let is_endless = kept_for.is_none() && limit.is_endless();
        if self.rings.is_some() && is_endless && connection.can_receive_blocking() {
            // One call waits and receives: nothing but the socket can end this wait.
            return connection.receive_blocking();
        }
        poll::wait(&[(connection.as_fd(), PollFlags::IN)], limit, kept_for)?;
        connection.empty_doorbell().map(drop)
    }
}
