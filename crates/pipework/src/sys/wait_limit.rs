//! How long a call may wait, and the canceller that can end the wait sooner.

use super::{Canceller, errors::timed_out};
use crate::error::{PipeErrorKind, fail};
use std::{
    io,
    time::{Duration, Instant},
};

/// A deadline and a canceller; either may be missing.
#[derive(Clone, Debug, Default)]
pub(crate) struct WaitLimit {
    deadline: Option<Deadline>,
    canceller: Option<Canceller>,
    /// What is waited for, for the text of the error; may be empty.
    awaited: &'static str,
}

/// When a wait has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Deadline {
    end: Instant,
    timeout: Duration,
}

impl Deadline {
    /// So long from now on; `None` if the clock can't express it.
    fn after(timeout: Duration) -> Option<Deadline> {
        Some(Deadline { end: Instant::now().checked_add(timeout)?, timeout })
    }

    fn check(self, awaited: &str) -> io::Result<()> {
        if self.end <= Instant::now() { Err(timed_out(self.timeout, awaited)) } else { Ok(()) }
    }
}

impl WaitLimit {
    /// From now on, at most `timeout`; `None`, and a time that overflows the clock, is for ever.
    pub(crate) fn new(timeout: Option<Duration>, canceller: Option<Canceller>) -> WaitLimit {
        WaitLimit { deadline: timeout.and_then(Deadline::after), canceller, awaited: "" }
    }

    /// The same for a call that waits for this.
    pub(crate) fn awaiting(self, awaited: &'static str) -> WaitLimit {
        WaitLimit { awaited, ..self }
    }

    /// One look, without waiting.
    pub(crate) fn zero() -> WaitLimit {
        WaitLimit::new(Some(Duration::ZERO), None)
    }

    /// The same, at most so long from now on.
    pub(crate) fn at_most(&self, time: Duration) -> WaitLimit {
        let deadline = self.deadline.into_iter().chain(Deadline::after(time)).min();
        WaitLimit { deadline, ..self.clone() }
    }

    /// Until the sooner of two ends. They have one canceller.
    pub(crate) fn sooner_of(self, other: &WaitLimit) -> WaitLimit {
        let deadline = self.deadline.into_iter().chain(other.deadline).min();
        WaitLimit { deadline, ..self }
    }

    pub(crate) fn canceller(&self) -> Option<&Canceller> {
        self.canceller.as_ref()
    }

    /// Whether neither time nor canceller can end the wait.
    pub(crate) fn is_endless(&self) -> bool {
        self.deadline.is_none() && self.canceller.is_none()
    }

    /// What is left of the time; `None` is for ever.
    pub(crate) fn left(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.end.saturating_duration_since(Instant::now()))
    }

    /// Whether one may go on waiting.
    pub(crate) fn check(&self) -> io::Result<()> {
        if self.canceller.as_ref().is_some_and(Canceller::is_cancelled) {
            return Err(fail(PipeErrorKind::Aborted, "the wait was ended by its canceller"));
        }
        self.deadline.map_or(Ok(()), |deadline| deadline.check(self.awaited))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(limit: &WaitLimit) -> String {
        limit.check().unwrap_err().to_string()
    }

    #[test]
    fn a_timeout_names_its_length_and_what_was_awaited() {
        let limit = WaitLimit::new(Some(Duration::from_millis(20)), None);
        while limit.check().is_ok() {
            std::thread::yield_now();
        }
        assert_eq!(text(&limit), "timed out after 20ms");
        assert_eq!(text(&limit.clone().awaiting("data")), "timed out after 20ms waiting for data");
        assert_eq!(
            text(&limit.at_most(Duration::from_secs(9)).awaiting("a client")),
            "timed out after 20ms waiting for a client"
        );
        let sooner = WaitLimit::new(None, None).awaiting("the reader").sooner_of(&limit);
        assert_eq!(text(&sooner), "timed out after 20ms waiting for the reader");
    }

    #[test]
    fn a_timeout_is_shown_in_milliseconds() {
        for (timeout, shown) in [
            (Duration::from_micros(199_987), "200ms"),
            (Duration::from_millis(1_500), "1.5s"),
            (Duration::from_secs(5), "5s"),
            (Duration::from_micros(7), "7µs"),
            (Duration::MAX, "18446744073709551615.999999999s"),
        ] {
            assert_eq!(timed_out(timeout, "").to_string(), format!("timed out after {shown}"));
        }
    }

    #[test]
    fn a_timeout_of_zero_is_named_as_such() {
        assert_eq!(text(&WaitLimit::zero()), "timed out, since the timeout is zero");
        assert_eq!(
            text(&WaitLimit::zero().awaiting("data")),
            "timed out waiting for data, since the timeout is zero"
        );
    }
}
