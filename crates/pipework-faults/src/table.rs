//! What a sweep prints at its end.

use crate::{plan::Fault, point::Outcome};
use clap::ValueEnum;
use std::{collections::BTreeMap, fmt, time::Duration};

/// So many points say something about how many are reached. How often a thread waits differs, so some never are.
const ENOUGH: usize = 20;

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

/// A row for each step, or for each victim.
#[derive(Debug)]
pub(crate) struct Table<K> {
    rows: BTreeMap<K, Row>,
    notices: Vec<Duration>,
}

impl<K> Default for Table<K> {
    fn default() -> Table<K> {
        Table { rows: BTreeMap::new(), notices: Vec::new() }
    }
}

impl<K: ValueEnum + Ord> Table<K> {
    pub(crate) fn add_calls(&mut self, step: K, calls: usize) {
        self.rows.entry(step).or_default().calls += calls;
    }

    pub(crate) fn add(&mut self, step: K, fault: Fault, outcome: &Outcome) {
        let row = self.rows.entry(step).or_default();
        let was_reached = outcome.report.at.is_some();
        match fault {
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

    pub(crate) fn add_failure(&mut self, step: K) {
        self.rows.entry(step).or_default().failures += 1;
    }

    pub(crate) fn failures(&self) -> usize {
        self.rows.values().map(|row| row.failures).sum()
    }

    /// Why a sweep without a failure may have tested nothing.
    pub(crate) fn untested(&self) -> Vec<String> {
        let silent = self.rows.iter().filter(|(_, row)| row.calls == 0);
        let mut why: Vec<String> =
            silent.map(|(step, _)| format!("no system call was counted for {}", name(step))).collect();
        let not_reached: usize = self.rows.values().map(|row| row.not_reached).sum();
        let reached: usize =
            self.rows.values().map(|row| row.kills + row.errors + row.starvations + row.stops).sum();
        if reached == 0 {
            why.push("no fault happened".into());
        } else if reached + not_reached >= ENOUGH && not_reached > reached {
            why.push(format!("{not_reached} points were not reached, and only {reached} were"));
        }
        why
    }
}

impl<K: ValueEnum + Ord> fmt::Display for Table<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<12}{:>7}{:>7}{:>8}{:>9}{:>7}{:>13}{:>10}{:>10}",
            "", "calls", "kills", "errors", "starved", "stops", "not reached", "returned", "failures"
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
            line(&name(step), row)?;
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

fn name(step: &impl ValueEnum) -> String {
    step.to_possible_value().unwrap().get_name().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Step;

    fn table(calls: usize, kills: usize, not_reached: usize) -> Table<Step> {
        let row = Row { calls, kills, not_reached, ..Row::default() };
        Table { rows: BTreeMap::from([(Step::List, row)]), notices: Vec::new() }
    }

    #[test]
    fn a_sweep_that_tests_nothing_does_not_pass() {
        assert_eq!(table(9, 10, 10).untested(), [""; 0]);
        assert_eq!(table(9, 1, 3).untested(), [""; 0], "a small sample");
        assert_eq!(table(0, 1, 0).untested(), ["no system call was counted for list"]);
        assert_eq!(table(9, 0, 3).untested(), ["no fault happened"]);
        assert_eq!(table(9, 9, 11).untested(), ["11 points were not reached, and only 9 were"]);
        assert_eq!(Table::<Step>::default().untested(), ["no fault happened"]);
    }
}
