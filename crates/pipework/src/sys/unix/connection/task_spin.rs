//! How a task waits before it sleeps: it lets other tasks run and looks again, while that pays.

use super::spin::{SPIN, Spin};
use std::time::{Duration, Instant};

/// The longest spin for the next part of a stream. If it has not come by then, the task sleeps: a task that
/// looks takes time from all others of its runtime.
const SPIN_IN_STREAM: Duration = Duration::from_micros(5);

/// The spinning that a waiting task has done so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum TaskSpin {
    /// It does not wait.
    #[default]
    Fresh,
    /// It has looked again and again, since then.
    Looking(Instant),
    /// The same, but what it waits for comes in a stream.
    Glancing(Instant),
    /// It sleeps, and has waited since then.
    Sleeping(Instant),
}

impl TaskSpin {
    /// After a look without success: whether to look again soon, instead of sleeping. When a wait begins,
    /// `is_stream` says whether it is for the next part of a stream, and no answer, and `may_look` whether to
    /// look can be of use.
    pub(crate) fn goes_on(
        &mut self,
        spin: &Spin,
        is_stream: impl FnOnce() -> bool,
        may_look: impl FnOnce() -> bool,
    ) -> bool {
        match *self {
            TaskSpin::Fresh => {
                let (now, is_stream) = (Instant::now(), is_stream());
                let looks = may_look() && spin.is_due();
                *self = match (looks, is_stream) {
                    (false, _) => TaskSpin::Sleeping(now),
                    (true, false) => TaskSpin::Looking(now),
                    (true, true) => TaskSpin::Glancing(now),
                };
                looks
            }
            TaskSpin::Looking(begun) => self.looks_on(begun, SPIN, spin),
            TaskSpin::Glancing(begun) => self.looks_on(begun, SPIN_IN_STREAM, spin),
            TaskSpin::Sleeping(_) => false,
        }
    }

    fn looks_on(&mut self, begun: Instant, longest: Duration, spin: &Spin) -> bool {
        let looks = begun.elapsed() < longest;
        if !looks {
            spin.failed();
            *self = TaskSpin::Sleeping(begun);
        }
        looks
    }

    /// The task sleeps, without a spin of its own.
    pub(crate) fn sleep(&mut self) {
        if matches!(self, TaskSpin::Fresh) {
            *self = TaskSpin::Sleeping(Instant::now());
        }
    }

    /// The wait is over.
    pub(crate) fn end(&mut self, spin: &Spin) {
        match std::mem::take(self) {
            TaskSpin::Fresh => {}
            TaskSpin::Looking(_) | TaskSpin::Glancing(_) => spin.paid(),
            TaskSpin::Sleeping(begun) => spin.learn(begun.elapsed()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long a task looks that is never served.
    fn looked(is_stream: bool) -> Duration {
        let (spin, mut policy) = (Spin::default(), TaskSpin::default());
        assert!(policy.goes_on(&spin, || is_stream, || true));
        while policy.goes_on(&spin, || panic!("asked when a wait begins"), || true) {}
        let TaskSpin::Sleeping(begun) = policy else { panic!("{policy:?}") };
        let looked = begun.elapsed();
        assert!(!policy.goes_on(&spin, || is_stream, || true));
        assert!(
            !TaskSpin::default().goes_on(&spin, || is_stream, || true),
            "it had no success the last time"
        );
        looked
    }

    #[test]
    fn a_task_looks_for_a_time_and_then_sleeps() {
        assert!(looked(false) >= SPIN);
        assert!(looked(true) >= SPIN_IN_STREAM);
    }

    #[test]
    fn a_task_looks_less_long_for_a_stream() {
        let begun = |is_stream| {
            let mut policy = TaskSpin::default();
            policy.goes_on(&Spin::default(), || is_stream, || true);
            policy
        };
        assert!(matches!(begun(false), TaskSpin::Looking(_)));
        assert!(matches!(begun(true), TaskSpin::Glancing(_)));
    }

    #[test]
    fn a_task_sleeps_at_once_where_looking_is_of_no_use() {
        let (spin, mut policy) = (Spin::default(), TaskSpin::default());
        assert!(!policy.goes_on(&spin, || false, || false));
        policy.end(&spin);
        assert!(policy.goes_on(&spin, || false, || true), "that was no failure");
        policy.end(&spin);
        assert!(policy.goes_on(&spin, || false, || true), "nor was it one to find something");
    }
}
