//! How a task waits before it sleeps: it lets other tasks run and looks again, while that pays.

use super::super::spin::{SPIN, Spin};
use std::time::Instant;

/// What a task that waits has done so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Patience {
    /// It does not wait.
    #[default]
    Fresh,
    /// It has looked again and again, since then.
    Looking(Instant),
    /// It sleeps, and has waited since then.
    Sleeping(Instant),
}

impl Patience {
    /// After a look in vain: whether to look again soon, instead of sleeping. `may_look` says whether that can be of use.
    pub(super) fn goes_on(&mut self, spin: &Spin, may_look: impl FnOnce() -> bool) -> bool {
        match *self {
            Patience::Fresh => {
                let now = Instant::now();
                let looks = may_look() && spin.is_due();
                *self = if looks { Patience::Looking(now) } else { Patience::Sleeping(now) };
                looks
            }
            Patience::Looking(begun) => {
                let looks = begun.elapsed() < SPIN;
                if !looks {
                    spin.failed();
                    *self = Patience::Sleeping(begun);
                }
                looks
            }
            Patience::Sleeping(_) => false,
        }
    }

    /// The wait is over.
    pub(super) fn end(&mut self, spin: &Spin) {
        match std::mem::take(self) {
            Patience::Fresh => {}
            Patience::Looking(_) => spin.paid(),
            Patience::Sleeping(begun) => spin.learn(begun.elapsed()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_looks_for_a_time_and_then_sleeps() {
        let (spin, mut patience) = (Spin::default(), Patience::default());
        assert!(patience.goes_on(&spin, || true));
        while patience.goes_on(&spin, || true) {}
        assert!(matches!(patience, Patience::Sleeping(begun) if begun.elapsed() >= SPIN));
        assert!(!patience.goes_on(&spin, || true));
        assert!(!Patience::default().goes_on(&spin, || true), "it was in vain the last time");
    }

    #[test]
    fn a_task_sleeps_at_once_where_looking_is_of_no_use() {
        let (spin, mut patience) = (Spin::default(), Patience::default());
        assert!(!patience.goes_on(&spin, || false));
        patience.end(&spin);
        assert!(patience.goes_on(&spin, || true), "that was no failure");
        patience.end(&spin);
        assert!(patience.goes_on(&spin, || true), "nor was it one to find something");
    }
}
