//! What a sweep prints at its end.

use crate::{
    plan::{Fault, Point, Step},
    point::Outcome,
};
use clap::ValueEnum;
use std::{collections::BTreeMap, fmt, time::Duration};

/// The counts of a step, or of all.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    calls: usize,
    kills: usize,
    errors: usize,
    starvations: usize,
    stops: usize,
    not_reached: usize,
    /// Calls of the library that returned an error because of a fault.
    returned: usize,
    failures: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: BTreeMap<Step, Row>,
    notices: Vec<Duration>,
}

impl Table {
    pub(crate) fn add_calls(&mut self, step: Step, calls: usize) {
        self.rows.entry(step).or_default().calls += calls;
    }

    pub(crate) fn add(&mut self, point: &Point, outcome: &Outcome) {
        let row = self.rows.entry(point.setup.step).or_default();
        let was_reached = outcome.report.at.is_some();
        match point.fault {
            _ if !was_reached => row.not_reached += 1,
            Fault::KillBefore | Fault::KillAfter => row.kills += 1,
            Fault::Fail(_) => row.errors += 1,
            Fault::Starve => row.starvations += 1,
            Fault::Stop => row.stops += 1,
        }
        row.returned += outcome.errors;
        row.failures += usize::from(!outcome.findings.is_empty());
        self.notices.extend(outcome.notice);
    }

    pub(crate) fn add_failure(&mut self, step: Step) {
        self.rows.entry(step).or_default().failures += 1;
    }

    pub(crate) fn failures(&self) -> usize {
        self.rows.values().map(|row| row.failures).sum()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<12}{:>7}{:>7}{:>8}{:>9}{:>7}{:>13}{:>10}{:>10}",
            "step", "calls", "kills", "errors", "starved", "stops", "not reached", "returned", "failures"
        )?;
        let mut line = |name: &str, row: &Row| {
            writeln!(
                f,
                "{name:<12}{:>7}{:>7}{:>8}{:>9}{:>7}{:>13}{:>10}{:>10}",
                row.calls,
                row.kills,
                row.errors,
                row.starvations,
                row.stops,
                row.not_reached,
                row.returned,
                row.failures
            )
        };
        let mut all = Row::default();
        for (step, row) in &self.rows {
            line(step.to_possible_value().unwrap().get_name(), row)?;
            all.calls += row.calls;
            all.kills += row.kills;
            all.errors += row.errors;
            all.starvations += row.starvations;
            all.stops += row.stops;
            all.not_reached += row.not_reached;
            all.returned += row.returned;
            all.failures += row.failures;
        }
        line("all", &all)?;
        let mut notices = self.notices.clone();
        notices.sort();
        let Some(last) = notices.last() else { return Ok(()) };
        writeln!(
            f,
            "a survivor saw {} deaths: the median after {:.1?}, the last after {last:.1?}",
            notices.len(),
            notices[notices.len() / 2]
        )
    }
}
