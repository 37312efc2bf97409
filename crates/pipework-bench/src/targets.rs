//! What this project wants to reach, and whether a run shows it. A report, never an assertion: a machine may be busy.

use std::io::{self, Write};

use crate::{
    measure::{AMONG_OVER_ALONE, CLIENT_DESCRIPTORS, MEMORY, ONLY, REST, SERVER_DESCRIPTORS},
    peer::{
        ICEORYX_SPINS, MIOW, OURS, OURS_ANONYMOUS, OURS_ANONYMOUS_LARGE, OURS_LARGE, OURS_MESSAGES,
        OURS_TASKS, SEQPACKET, STD_PIPE, TOKIO_PIPE, TOKIO_STREAM, UNIX_STREAM,
    },
    results::Results,
    setting::Setting::{self, Busy, Defaults, OneCore, Pinned},
    table::digits,
};

/// A bound for a figure, or for the ratio of ours to that of a peer.
#[derive(Debug)]
struct Target {
    measure: &'static str,
    setting: Setting,
    metric: &'static str,
    ours: &'static str,
    /// With whom ours is compared; the figure itself is bounded if with nobody.
    theirs: Option<&'static str>,
    bound: Bound,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

use Bound::{AtLeast, AtMost};

impl Bound {
    fn is_met(self, figure: f64) -> bool {
        match self {
            AtMost(bound) => figure <= bound,
            AtLeast(bound) => figure >= bound,
        }
    }

    fn text(self) -> String {
        match self {
            AtMost(bound) => format!("<= {bound}"),
            AtLeast(bound) => format!(">= {bound}"),
        }
    }
}

const ROUND_TRIP: &str = "round trip of 64 B";
const TASKS: &str = "tasks: round trip of 64 B";
const WRITES_64: &str = "throughput of 64 KiB writes";
const WRITES_1024: &str = "throughput of 1 MiB writes";
const CROWD: &str = "10000 idle connections";

const ALL: &[Target] = if cfg!(windows) { OF_WINDOWS } else { OF_UNIX };

const OF_UNIX: &[Target] = &[
    ratio(ROUND_TRIP, Pinned, OURS, ICEORYX_SPINS, AtMost(0.5)),
    ratio(ROUND_TRIP, Pinned, OURS, STD_PIPE, AtMost(0.02)),
    ratio(ROUND_TRIP, Pinned, OURS, UNIX_STREAM, AtMost(0.02)),
    ratio(ROUND_TRIP, OneCore, OURS, STD_PIPE, AtMost(1.2)),
    ratio(ROUND_TRIP, Busy, OURS, STD_PIPE, AtMost(1.2)),
    ratio(WRITES_64, Defaults, OURS, STD_PIPE, AtLeast(2.0)),
    ratio(WRITES_64, Defaults, OURS, UNIX_STREAM, AtLeast(1.3)),
    ratio(WRITES_64, Defaults, OURS, ICEORYX_SPINS, AtLeast(0.9)),
    ratio(WRITES_64, Defaults, OURS_LARGE, ICEORYX_SPINS, AtLeast(1.3)),
    ratio(WRITES_64, Defaults, OURS_LARGE, STD_PIPE, AtLeast(3.0)),
    ratio(WRITES_64, Defaults, OURS_LARGE, UNIX_STREAM, AtLeast(2.0)),
    ratio(WRITES_1024, Defaults, OURS_LARGE, ICEORYX_SPINS, AtLeast(1.3)),
    ratio(WRITES_1024, Defaults, OURS_LARGE, STD_PIPE, AtLeast(3.0)),
    ratio(WRITES_1024, Defaults, OURS_LARGE, UNIX_STREAM, AtLeast(2.0)),
    ratio("messages of 64 B", Defaults, OURS_MESSAGES, SEQPACKET, AtLeast(10.0)),
    ratio("connections with a first byte", Defaults, OURS, UNIX_STREAM, AtLeast(0.5)),
    ratio("connections with an answer", Defaults, OURS, UNIX_STREAM, AtLeast(0.5)),
    figure(CROWD, MEMORY, AtMost(16.0)),
    figure(CROWD, SERVER_DESCRIPTORS, AtMost(1.0)),
    figure(CROWD, CLIENT_DESCRIPTORS, AtMost(1.0)),
    figure(CROWD, REST, AtMost(10.0)),
    figure(CROWD, AMONG_OVER_ALONE, AtMost(1.2)),
    ratio(TASKS, Pinned, OURS_TASKS, TOKIO_STREAM, AtMost(0.2)),
    ratio(TASKS, OneCore, OURS_TASKS, TOKIO_STREAM, AtMost(1.1)),
    ratio(TASKS, Busy, OURS_TASKS, TOKIO_STREAM, AtMost(1.1)),
    ratio("tasks: 64 KiB writes", Defaults, OURS_TASKS, TOKIO_STREAM, AtLeast(1.5)),
    ratio("anonymous pipes: 64 KiB writes", Defaults, OURS_ANONYMOUS, STD_PIPE, AtLeast(1.0)),
    ratio("anonymous pipes: 64 KiB writes", Defaults, OURS_ANONYMOUS_LARGE, STD_PIPE, AtLeast(2.0)),
    ratio("anonymous pipes: 1 MiB writes", Defaults, OURS_ANONYMOUS_LARGE, STD_PIPE, AtLeast(2.0)),
];

/// Where both are the system's pipes.
const OF_WINDOWS: &[Target] = &[
    ratio(ROUND_TRIP, Defaults, OURS, MIOW, AtMost(1.0)),
    ratio(ROUND_TRIP, Defaults, OURS, TOKIO_PIPE, AtMost(1.0)),
    ratio(WRITES_64, Defaults, OURS, MIOW, AtLeast(1.0)),
    ratio(WRITES_64, Defaults, OURS, TOKIO_PIPE, AtLeast(1.0)),
    ratio(TASKS, Defaults, OURS_TASKS, TOKIO_PIPE, AtMost(1.0)),
    ratio("tasks: 64 KiB writes", Defaults, OURS_TASKS, TOKIO_PIPE, AtLeast(1.0)),
];

const fn ratio(
    measure: &'static str,
    setting: Setting,
    ours: &'static str,
    theirs: &'static str,
    bound: Bound,
) -> Target {
    Target { measure, setting, metric: ONLY, ours, theirs: Some(theirs), bound }
}

const fn figure(measure: &'static str, metric: &'static str, bound: Bound) -> Target {
    Target { measure, setting: Defaults, metric, ours: OURS, theirs: None, bound }
}

/// Whether a target needs this peer's figures there.
pub(crate) fn need(measure: &str, setting: Setting, peer: &str) -> bool {
    let mut there = ALL.iter().filter(|target| target.measure == measure && target.setting == setting);
    there.any(|target| target.ours == peer || target.theirs == Some(peer))
}

/// A row for each target whose figures are there.
pub(crate) fn print(out: &mut impl Write, results: &Results) -> io::Result<()> {
    writeln!(out, "Targets (ratios of medians in this run, ours over theirs)")?;
    for Target { measure, setting, metric, ours, theirs, bound } in ALL {
        let median = |peer: &str| Some(results.summary(setting.name(), measure, metric, peer)?.median);
        let Some(mine) = median(ours) else { continue };
        let figure = match theirs.map(median) {
            None => mine,
            Some(Some(theirs)) => mine / theirs,
            Some(None) => continue,
        };
        let verdict = if bound.is_met(figure) { "met" } else { "MISSED" };
        let metric = if metric.is_empty() { String::new() } else { format!(", {metric}") };
        let against = theirs.map_or_else(String::new, |theirs| format!(" / {theirs}"));
        let what = format!("{measure}{metric}; {}; {ours}{against}", setting.name());
        writeln!(out, "  {verdict:<7}{:>10} {:<8}{what}", digits(figure), bound.text())?;
    }
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{measure, peer, results::Row};

    #[test]
    fn targets_speak_of_what_is_measured() {
        for target in ALL {
            let measure = measure::named(target.measure).unwrap();
            assert!(measure.settings.contains(&target.setting), "{target:?}");
            for name in [Some(target.ours), target.theirs].into_iter().flatten() {
                let is_there = peer::contenders(measure).any(|contender| contender.name == name);
                assert!(is_there || !cfg!(any(target_os = "linux", windows)), "{target:?}");
            }
        }
    }

    #[test]
    fn a_bound_is_met_or_missed() {
        let (setting, theirs, bound) =
            if cfg!(windows) { (Setting::Defaults, MIOW, "1") } else { (Setting::OneCore, STD_PIPE, "1.2") };
        let row = |peer: &str, figure| Row {
            setting: setting.name().into(),
            measure: ROUND_TRIP.into(),
            metric: ONLY.into(),
            unit: "us".into(),
            peer: peer.into(),
            round: 1,
            figure,
        };
        let report = |mine| {
            let rows = vec![row(OURS, mine), row(theirs, 10.0)];
            let mut text = Vec::new();
            print(&mut text, &Results { rows, declined: Vec::new() }).unwrap();
            String::from_utf8(text).unwrap()
        };
        let met = report(10.0);
        let shown = format!("1.000 <= {bound} ");
        assert!(met.lines().any(|line| line.contains("met") && line.contains(&shown)), "{met}");
        assert_eq!(met.lines().filter(|line| line.contains("round trip")).count(), 1, "{met}");
        assert!(report(12.5).contains("MISSED"));
        assert!(!need(ROUND_TRIP, Setting::OneCore, UNIX_STREAM));
    }
}
