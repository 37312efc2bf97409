//! When a server looks whether its name is still there: something else than its server may remove it.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How often a server that waits looks: often enough for a person who waits, and no more than a few microseconds of work
/// each time.
pub(in crate::sys::unix) const NAME_CHECK_PERIOD: Duration = Duration::from_secs(2);

/// When a name was found last.
#[derive(Debug)]
pub(in crate::sys::unix) struct CheckClock {
    found_at: Mutex<Instant>,
}

impl CheckClock {
    pub(in crate::sys::unix) fn started() -> CheckClock {
        CheckClock { found_at: Mutex::new(Instant::now()) }
    }

    /// How long to wait before the next look; zero once it is due.
    pub(in crate::sys::unix) fn time_left(&self) -> Duration {
        NAME_CHECK_PERIOD.saturating_sub(self.found_at().elapsed())
    }

    pub(in crate::sys::unix) fn is_check_due(&self) -> bool {
        self.time_left().is_zero()
    }

    /// It was found again.
    pub(in crate::sys::unix) fn note_found(&self) {
        *self.found_at() = Instant::now();
    }

    fn found_at(&self) -> MutexGuard<'_, Instant> {
        // It is replaced as a whole.
        self.found_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found_at(at: Instant) -> CheckClock {
        CheckClock { found_at: Mutex::new(at) }
    }

    #[test]
    fn a_check_is_due_when_its_period_is_over() {
        let now = Instant::now();
        let found = found_at(now.checked_sub(NAME_CHECK_PERIOD).unwrap());
        assert!(found.is_check_due());
        // Ahead of the clock, so that no delay of this test makes it due.
        let found = found_at(now + 100 * NAME_CHECK_PERIOD);
        assert!(!found.is_check_due());
        assert_eq!(found.time_left(), NAME_CHECK_PERIOD);
    }

    #[test]
    fn a_name_that_was_found_is_looked_for_a_period_later() {
        let now = Instant::now();
        let found = found_at(now.checked_sub(NAME_CHECK_PERIOD).unwrap());
        found.note_found();
        assert!(*found.found_at() >= now);
    }
}
