//! The signal that makes the exports thread look at the pipes again.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Wakes the exports thread, to refresh or to stop.
#[derive(Debug, Default)]
pub(crate) struct RefreshSignal {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    requested: bool,
    stopped: bool,
}

/// Why [`RefreshSignal::wait`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    Refresh,
    TimedOut,
    Stop,
}

impl RefreshSignal {
    /// Requests a refresh: a pipe may have come or gone.
    pub(crate) fn request(&self) {
        self.update(|state| state.requested = true);
    }

    /// Stops the thread for good.
    pub(crate) fn stop(&self) {
        self.update(|state| state.stopped = true);
    }

    /// Waits for a request until `deadline`, and consumes it.
    pub(crate) fn wait(&self, deadline: Instant) -> Wake {
        let mut state = self.lock();
        loop {
            if state.stopped {
                return Wake::Stop;
            }
            if std::mem::take(&mut state.requested) {
                return Wake::Refresh;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Wake::TimedOut;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Pauses for `duration` and ignores requests meanwhile. Returns `false` if the signal was stopped.
    pub(crate) fn pause(&self, duration: Duration) -> bool {
        let is_running = |state: &mut State| !state.stopped;
        let paused = self.changed.wait_timeout_while(self.lock(), duration, is_running);
        !paused.unwrap_or_else(PoisonError::into_inner).0.stopped
    }

    fn update(&self, update: impl FnOnce(&mut State)) {
        update(&mut self.lock());
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_kept_until_a_wait_and_stop_ends_all_waits() {
        let signal = RefreshSignal::default();
        let later = || Instant::now() + Duration::from_secs(60);
        assert_eq!(signal.wait(Instant::now()), Wake::TimedOut);
        signal.request();
        signal.request();
        assert_eq!(signal.wait(later()), Wake::Refresh);
        assert_eq!(signal.wait(Instant::now()), Wake::TimedOut, "consumed");
        assert!(signal.pause(Duration::from_millis(1)));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| signal.wait(later()));
            signal.stop();
            assert_eq!(waiting.join().unwrap(), Wake::Stop);
        });
        assert!(!signal.pause(Duration::from_secs(60)));
    }
}
