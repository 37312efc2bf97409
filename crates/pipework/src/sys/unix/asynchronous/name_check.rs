//! When the tasks that wait for clients look whether their names are still there: one timer for all of them.

use super::{
    super::{name::check_clock::NAME_CHECK_PERIOD, os::Timer},
    reactor::{Descriptor, Reactor},
};
use crate::sys::waiters::Waiter;
use ::tokio::io::Interest;
use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll},
};

impl Descriptor for Timer {}

/// A time to look.
#[derive(Debug)]
struct NameCheck {
    timer: Arc<Timer>,
    reactor: Reactor,
}

/// The next time, as long as a task waits for it.
static NEXT: Mutex<Weak<NameCheck>> = Mutex::new(Weak::new());

/// A task's wait for the time to look.
#[derive(Debug, Default)]
pub(in crate::sys::unix) struct NameCheckWait {
    waiter: Waiter,
    check: Option<Arc<NameCheck>>,
}

impl NameCheckWait {
    /// Waits for the time to look. Where no timer can be had, it does not come.
    pub(in crate::sys::unix) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Ok(check) = NameCheck::next() else { return Poll::Pending };
        let check = self.check.insert(check);
        check.reactor.join(&mut self.waiter, cx);
        match check.reactor.poll(&check.timer, Interest::READABLE, Interest::READABLE) {
            Poll::Ready(Ok(_)) => {}
            // The task that sees that it is over lets all look. It may have been before this one joined.
            Poll::Pending if !check.is_next() => {}
            Poll::Pending | Poll::Ready(Err(_)) => return Poll::Pending,
        }
        check.retire();
        Poll::Ready(())
    }
}

impl NameCheck {
    fn next() -> io::Result<Arc<NameCheck>> {
        let mut next = next();
        if let Some(check) = next.upgrade() {
            return Ok(check);
        }
        let timer = Arc::new(Timer::new(NAME_CHECK_PERIOD)?);
        let check = Arc::new(NameCheck { timer, reactor: Reactor::default() });
        *next = Arc::downgrade(&check);
        Ok(check)
    }

    fn is_next(&self) -> bool {
        std::ptr::eq(next().as_ptr(), self)
    }

    /// Wakes all tasks that wait here. From now on they wait for the next time.
    fn retire(&self) {
        let mut next = next();
        if std::ptr::eq(next.as_ptr(), self) {
            *next = Weak::new();
        }
        drop(next);
        self.reactor.wake();
    }
}

fn next() -> MutexGuard<'static, Weak<NameCheck>> {
    // It is replaced as a whole.
    NEXT.lock().unwrap_or_else(PoisonError::into_inner)
}
