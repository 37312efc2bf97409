//! Blocking waits for async operations.

use super::background::background;
use crate::sys::WaitLimit;
use ::tokio::time;
use std::{
    future::{pending, poll_fn},
    io,
    pin::{Pin, pin},
    sync::{Arc, Condvar, Mutex, PoisonError},
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

/// How often to look at a canceller: it does not signal the runtime.
const CANCELLER_PAUSE: Duration = Duration::from_millis(10);

thread_local! {
    /// Made once for each thread. A late wake-up costs one look without success.
    static SLEEP: Arc<Sleep> = Arc::default();
}

#[derive(Debug, Default)]
struct Sleep {
    woken: Mutex<bool>,
    changed: Condvar,
}

/// Runs something to its end, or drops it when the limit is reached: that is the error.
pub(super) fn wait<F: Future>(limit: &WaitLimit, work: F) -> io::Result<F::Output> {
    let background = background()?;
    let mut work = pin!(work);
    // A future that is ready already needs no wait.
    if let Poll::Ready(output) = work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        return Ok(output);
    }
    if background.lets_guests_in() {
        background.run_here(up_to(limit, work))
    } else {
        sleep_up_to(limit, work)
    }
}

/// The same in the runtime, whose timers signal the limit.
async fn up_to<F: Future>(limit: &WaitLimit, mut work: Pin<&mut F>) -> io::Result<F::Output> {
    let mut end = pin!(end_of(limit));
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Ok(output)),
        Poll::Pending => end.as_mut().poll(cx).map(Err),
    })
    .await
}

/// Why a wait ends, once the limit is reached.
async fn end_of(limit: &WaitLimit) -> io::Error {
    if limit.is_endless() {
        return pending().await;
    }
    loop {
        if let Err(error) = limit.check() {
            return error;
        }
        match pause(limit) {
            Some(pause) => time::sleep(pause).await,
            None => pending().await,
        }
    }
}

/// The same on a thread that sleeps, while another one runs the runtime.
fn sleep_up_to<F: Future>(limit: &WaitLimit, mut work: Pin<&mut F>) -> io::Result<F::Output> {
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

/// How long to wait before looking at the limit; `None` is for ever.
fn pause(limit: &WaitLimit) -> Option<Duration> {
    let look = limit.canceller().map(|_| CANCELLER_PAUSE);
    [limit.left(), look].into_iter().flatten().min()
}

impl Sleep {
    /// Sleeps until it is woken, or for so long as the limit allows.
    fn until_woken(&self, limit: &WaitLimit) {
        let mut woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
        if !*woken {
            woken = match pause(limit) {
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
