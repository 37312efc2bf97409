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
struct Time {
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
