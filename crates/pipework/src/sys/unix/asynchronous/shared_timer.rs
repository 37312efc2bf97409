//! Times at which all tasks of this process that wait for something look again: one timer for all of them.

use super::{
    super::os::Timer,
    reactor::{Descriptor, Reactor},
};
use crate::sys::waiters::Waiter;
use ::tokio::io::Interest;
use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll},
    time::Duration,
};

impl Descriptor for Timer {}

/// A time that comes again and again, as long as a task waits for it.
#[derive(Debug)]
pub(in crate::sys::unix) struct SharedTimer {
    period: Duration,
    /// The next time, as long as a task waits for it.
    next: Mutex<Weak<Time>>,
}

/// A time to look.
#[derive(Debug)]
pub(in crate::sys::unix) struct Time {
    timer: Arc<Timer>,
    reactor: Reactor,
}

/// A task's wait for the next time.
#[derive(Debug)]
pub(in crate::sys::unix) struct SharedTimerWait {
    timer: &'static SharedTimer,
    waiter: Waiter,
    time: Option<Arc<Time>>,
}

impl SharedTimerWait {
    pub(in crate::sys::unix) fn new(timer: &'static SharedTimer) -> SharedTimerWait {
        SharedTimerWait { timer, waiter: Waiter::default(), time: None }
    }

    /// The time that was waited for last. Whoever keeps it spares the next wait a timer: one that is not waited for costs
    /// nothing, and ends once.
    pub(in crate::sys::unix) fn time(&self) -> Option<&Arc<Time>> {
        self.time.as_ref()
    }

    /// Waits for the time to look.
    ///
    /// # Errors
    /// Where no timer can be had.
    pub(in crate::sys::unix) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let time = self.time.insert(self.timer.next()?);
        time.reactor.join(&mut self.waiter, cx);
        match time.reactor.poll(&time.timer, Interest::READABLE, Interest::READABLE)? {
            Poll::Ready(_) => {}
            // The task that sees that it is over lets all look. It may have been before this one joined.
            Poll::Pending if !self.timer.is_next(time) => {}
            Poll::Pending => return Poll::Pending,
        }
        self.timer.retire(time);
        Poll::Ready(Ok(()))
    }
}

impl SharedTimer {
    pub(in crate::sys::unix) const fn new(period: Duration) -> SharedTimer {
        SharedTimer { period, next: Mutex::new(Weak::new()) }
    }

    fn next(&self) -> io::Result<Arc<Time>> {
        let mut next = self.lock();
        if let Some(time) = next.upgrade() {
            return Ok(time);
        }
        let timer = Arc::new(Timer::new(self.period)?);
        let time = Arc::new(Time { timer, reactor: Reactor::default() });
        *next = Arc::downgrade(&time);
        Ok(time)
    }

    fn is_next(&self, time: &Time) -> bool {
        std::ptr::eq(self.lock().as_ptr(), time)
    }

    /// Wakes all tasks that wait here. From now on they wait for the next time.
    fn retire(&self, time: &Time) {
        let mut next = self.lock();
        if std::ptr::eq(next.as_ptr(), time) {
            *next = Weak::new();
        }
        drop(next);
        time.reactor.wake();
    }

    fn lock(&self) -> MutexGuard<'_, Weak<Time>> {
        // It is replaced as a whole.
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_is_kept_serves_the_next_wait() {
        static TIMER: SharedTimer = SharedTimer::new(Duration::from_secs(1000));
        let runtime = ::tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _entered = runtime.enter();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut wait = || {
            let mut wait = SharedTimerWait::new(&TIMER);
            assert!(wait.poll(&mut cx).is_pending());
            Arc::downgrade(wait.time().unwrap())
        };
        assert!(wait().upgrade().is_none(), "nobody waits and nobody keeps it");
        let mut first = SharedTimerWait::new(&TIMER);
        assert!(first.poll(&mut Context::from_waker(std::task::Waker::noop())).is_pending());
        let kept = Arc::clone(first.time().unwrap());
        drop(first);
        assert!(std::ptr::eq(wait().as_ptr(), &raw const *kept));
        TIMER.retire(&kept);
        assert!(!std::ptr::eq(wait().as_ptr(), &raw const *kept), "it is over");
    }
}
