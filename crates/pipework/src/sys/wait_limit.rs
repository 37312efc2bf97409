//! How long a call may wait, and the canceller that can end the wait sooner.

use super::Canceller;
use crate::error::{PipeErrorKind, fail};
use std::{
    io,
    time::{Duration, Instant},
};

/// A deadline and a canceller; either may be missing.
#[derive(Clone, Debug, Default)]
pub(crate) struct WaitLimit {
    deadline: Option<Instant>,
    canceller: Option<Canceller>,
}

impl WaitLimit {
    /// From now on, at most `timeout`; `None`, and a time that overflows the clock, is for ever.
    pub(crate) fn new(timeout: Option<Duration>, canceller: Option<Canceller>) -> WaitLimit {
        WaitLimit { deadline: timeout.and_then(|timeout| Instant::now().checked_add(timeout)), canceller }
    }

    /// One look, without waiting.
    pub(crate) fn zero() -> WaitLimit {
        WaitLimit::new(Some(Duration::ZERO), None)
    }

    /// The same, at most so long from now on.
    pub(crate) fn at_most(&self, time: Duration) -> WaitLimit {
        let end = Instant::now().checked_add(time);
        let deadline = self.deadline.into_iter().chain(end).min();
        WaitLimit { deadline, canceller: self.canceller.clone() }
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
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Whether one may go on waiting.
    pub(crate) fn check(&self) -> io::Result<()> {
        if self.canceller.as_ref().is_some_and(Canceller::is_cancelled) {
            return Err(fail(PipeErrorKind::Aborted, "the wait was ended by its canceller"));
        }
        if self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Err(fail(PipeErrorKind::TimedOut, "the time is over"));
        }
        Ok(())
    }
}
