//! The log of refused clients: each of them once, and a limited number of lines.
//!
//! smbd asks twice for a pipe that is refused if it starts its helper programs on demand: it starts them after the first
//! refusal. And a client that is refused can try again as fast as it likes.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// The time that the limit on the number of lines applies to.
const PERIOD: Duration = Duration::from_secs(10);
/// The number of lines in a period.
const LINES_MAX: u32 = 100;
/// How long smbd may take until it asks again.
const REPEAT_TIME: Duration = Duration::from_secs(3);

/// Decides which refusals are logged.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Refusals that were logged, and when. The second request of smbd for the same client removes its entry.
    once: HashMap<String, Instant>,
    period: Option<Instant>,
    lines: u32,
    /// Repeated refusals of this period. They are in its summary, if it has one.
    repeated: u64,
    unlogged: u64,
}

/// What to do with a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Log,
    /// It was logged: smbd asks a second time for the same client, or the client tries again. A summary counts it.
    IsRepeated,
    /// There are too many. Whoever gets this has to log a summary after this time.
    BeginSummary(Duration),
    /// There are too many, and they will be part of a summary.
    Count,
}

impl Refusals {
    /// Decides about a refusal with this text, which names the client, the pipe and the reason.
    pub(crate) fn add(&self, text: &str, now: Instant) -> Decision {
        let mut state = self.lock();
        state.once.retain(|_, logged| now.duration_since(*logged) < REPEAT_TIME);
        let begun = *state.period.get_or_insert(now);
        let elapsed = now.duration_since(begun);
        if elapsed >= PERIOD && state.unlogged == 0 {
            (state.period, state.lines, state.repeated) = (Some(now), 0, 0);
        }
        if state.once.remove(text).is_some() {
            state.repeated += 1;
            return Decision::IsRepeated;
        }
        if state.lines < LINES_MAX {
            state.lines += 1;
            state.once.insert(text.to_owned(), now);
            return Decision::Log;
        }
        state.unlogged += 1;
        if state.unlogged == 1 {
            Decision::BeginSummary(PERIOD.saturating_sub(elapsed))
        } else {
            Decision::Count
        }
    }

    /// Begins a new period. Returns how many refusals of the last one were not logged.
    pub(crate) fn take_summary(&self) -> u64 {
        let mut state = self.lock();
        (state.period, state.lines) = (None, 0);
        std::mem::take(&mut state.unlogged) + std::mem::take(&mut state.repeated)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_second_request_for_a_client_is_no_refusal_of_its_own() {
        let (refusals, start) = (Refusals::default(), Instant::now());
        assert_eq!(refusals.add("eve", start), Decision::Log);
        assert_eq!(refusals.add("bob", start), Decision::Log);
        assert_eq!(refusals.add("eve", start + SECOND), Decision::IsRepeated);
        assert_eq!(refusals.add("eve", start + SECOND), Decision::Log, "she tries again");
        assert_eq!(refusals.add("bob", start + 4 * SECOND), Decision::Log, "too late for smbd");
    }

    #[test]
    fn a_summary_counts_repeated_refusals() {
        let (refusals, start) = (Refusals::default(), Instant::now());
        for _ in 0..LINES_MAX {
            assert_eq!(refusals.add("eve", start), Decision::Log);
            assert_eq!(refusals.add("eve", start), Decision::IsRepeated);
        }
        assert_eq!(refusals.add("eve", start), Decision::BeginSummary(PERIOD));
        assert_eq!(refusals.take_summary(), u64::from(LINES_MAX) + 1);
        // Those of a period without a summary are in no later one.
        assert_eq!(refusals.add("bob", start), Decision::Log);
        assert_eq!(refusals.add("bob", start), Decision::IsRepeated);
        let later = start + PERIOD;
        assert!((0..LINES_MAX).all(|index| refusals.add(&index.to_string(), later) == Decision::Log));
        assert_eq!(refusals.add("bob", later), Decision::BeginSummary(PERIOD));
        assert_eq!(refusals.take_summary(), 1);
    }

    #[test]
    fn a_burst_is_logged_and_the_rest_is_counted() {
        let (refusals, start) = (Refusals::default(), Instant::now());
        let add = |index: u32, time: Duration| refusals.add(&index.to_string(), start + time);
        assert!((0..LINES_MAX).all(|index| add(index, SECOND * (index / 50)) == Decision::Log));
        assert_eq!(add(1000, 4 * SECOND), Decision::BeginSummary(6 * SECOND));
        assert!((1001..1010).all(|index| add(index, 5 * SECOND) == Decision::Count));
        // Nothing is logged before the summary, even if it is late.
        assert_eq!(add(1010, 11 * SECOND), Decision::Count);
        assert_eq!(refusals.take_summary(), 11);
        assert_eq!(add(1011, 12 * SECOND), Decision::Log);
        // A new period begins.
        assert!((0..LINES_MAX - 1).all(|index| add(index, 13 * SECOND) == Decision::Log));
        assert_eq!(add(2000, 13 * SECOND), Decision::BeginSummary(9 * SECOND));
        assert_eq!(refusals.take_summary(), 1);
        assert!((0..LINES_MAX).all(|index| add(index, 30 * SECOND) == Decision::Log));
        assert_eq!(add(3000, 40 * SECOND), Decision::Log);
    }
}
