//! A thread that waits for what is told to tasks.

use super::super::super::Limit;
use std::{
    io,
    pin::pin,
    sync::{Arc, Condvar, Mutex, PoisonError},
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

/// How often to look at a canceller, of which nothing here is told.
const CANCELLER_PAUSE: Duration = Duration::from_millis(10);

thread_local! {
    /// Made once for each thread. Being woken for what is over costs one look in vain.
    static SLEEP: Arc<Sleep> = Arc::default();
}

#[derive(Debug, Default)]
struct Sleep {
    woken: Mutex<bool>,
    changed: Condvar,
}

/// Runs something to its end, or drops it when the limit is reached: that is the error. It has no need of a runtime.
pub(super) fn wait<F: Future>(limit: &Limit, work: F) -> io::Result<F::Output> {
    let mut work = pin!(work);
    // A thread that is about to end may have lost its own.
    let sleep = SLEEP.try_with(Arc::clone).unwrap_or_default();
    let waker = Waker::from(Arc::clone(&sleep));
    let mut cx = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = work.as_mut().poll(&mut cx) {
            return Ok(output);
        }
        limit.check()?;
        sleep.until_woken(limit);
    }
}

impl Sleep {
    /// Sleeps until it is woken, or for so long as the limit allows.
    fn until_woken(&self, limit: &Limit) {
        let pause = limit.canceller().map(|_| CANCELLER_PAUSE);
        let time = [limit.left(), pause].into_iter().flatten().min();
        let mut woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
        if !*woken {
            woken = match time {
                Some(time) => {
                    self.changed.wait_timeout(woken, time).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(woken).unwrap_or_else(PoisonError::into_inner),
            };
        }
        *woken = false;
    }
}

impl Wake for Sleep {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        *self.woken.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_one();
    }
}
