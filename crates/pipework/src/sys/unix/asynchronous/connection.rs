//! How a task waits at a connection.

use super::{
    super::{connection::Connection, link::Link, waiting::Operation},
    tasks::Waiter,
};
use crate::ring::{Interest, Sleep};
use ::tokio::{io::Interest as Readiness, runtime::Handle, task::coop};
use std::{
    io,
    task::{Context, Poll, ready},
};

/// How often a poll looks at most before it lets other tasks run.
const LOOKS_MAX: usize = 3;

impl Connection {
    /// Polls for what `attempt` takes. Each attempt has the turn of its operation, if there is one to take.
    ///
    /// Try, say that somebody is about to sleep, fence, try again, and only then sleep: what comes after the last try is
    /// told through the socket.
    pub(super) fn poll_for<T>(
        &self,
        cx: &mut Context<'_>,
        waiter: &mut Waiter,
        operation: Option<Operation>,
        interest: Interest,
        mut attempt: impl FnMut() -> io::Result<Option<T>>,
    ) -> Poll<io::Result<T>> {
        let progress = ready!(coop::poll_proceed(cx));
        let outcome = self.poll_unbounded(cx, waiter, operation, interest, &mut attempt);
        if outcome.is_ready() {
            waiter.patience.end(self.spin_for(interest));
            progress.made_progress();
        }
        outcome
    }

    fn poll_unbounded<T>(
        &self,
        cx: &mut Context<'_>,
        waiter: &mut Waiter,
        operation: Option<Operation>,
        interest: Interest,
        attempt: &mut impl FnMut() -> io::Result<Option<T>>,
    ) -> Poll<io::Result<T>> {
        if let Some(value) = self.attempt_in_turn(operation, false, attempt)? {
            return Poll::Ready(Ok(value));
        }
        let (is_stream, may_look) = (|| self.is_stream(interest), || self.may_look_again());
        if waiter.patience.goes_on(self.spin_for(interest), is_stream, may_look) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let reactor = &self.readiness().reactor;
        for _ in 0..LOOKS_MAX {
            reactor.join(waiter, cx);
            self.waiting.tasks.get_or_init(|| reactor.waker());
            let link = self.link_now()?;
            if let Some(link) = link {
                announce(link, interest);
            }
            if let Some(value) = self.attempt_in_turn(operation, true, attempt)? {
                return Poll::Ready(Ok(value));
            }
            if link.is_none() && self.link_now()?.is_some() {
                // The hello came just now: nothing was said in its memory yet.
                continue;
            }
            let news = ready!(reactor.poll(&self.socket, Readiness::READABLE, Readiness::READABLE))?;
            if news.is_read_closed() {
                // Seen at once, also where the doorbell has to be emptied first to find it there.
                self.look_whether_closed();
            }
            self.waiting.drain_now(|| self.drain())?;
        }
        // Whatever keeps it coming back, other tasks run first.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether the other end can run while a task of this one keeps looking, and something runs this task again.
    fn may_look_again(&self) -> bool {
        Handle::try_current().is_ok()
            && self.link_now().is_ok_and(|link| link.is_some_and(|link| self.may_spin(link)))
    }

    /// Attempts something in its turn; `None` also where another operation of the kind is under way, in the end of which the
    /// tasks are woken if that is asked for.
    fn attempt_in_turn<T>(
        &self,
        operation: Option<Operation>,
        is_woken: bool,
        attempt: &mut impl FnMut() -> io::Result<Option<T>>,
    ) -> io::Result<Option<T>> {
        let Some(operation) = operation else { return attempt() };
        let turn =
            if is_woken { self.waiting.turn_or_wake(operation) } else { self.waiting.try_turn(operation) };
        let Some(_turn) = turn else { return Ok(None) };
        attempt()
    }
}

/// Says that a task of this end is about to sleep in its reactor.
fn announce(link: &Link, interest: Interest) {
    link.sleepers.announce(interest, Sleep::Deep);
}
