//! The project's targets, and whether a run meets them. They are reported, never asserted: a machine may be busy.

use std::io::{self, Write};

use crate::{
    competitor::{
        ICEORYX_SPINS, MIOW, OURS, OURS_ANONYMOUS, OURS_ANONYMOUS_LARGE, OURS_ASYNC, OURS_LARGE,
        OURS_MESSAGES, SEQPACKET, STD_PIPE, TOKIO_PIPE, TOKIO_STREAM, UNIX_STREAM,
    },
    measure::{
        AFTER_BURST, AFTER_ROUND_TRIPS, CLIENT_DESCRIPTORS, IDLE_CPU_TIME, MEMORY, ONLY, REQUESTS,
        ROUND_TRIP_RATIO, SERVER_DESCRIPTORS,
    },
    placement::Placement::{self, Busy, Defaults, OneCore, Pinned},
    results::Results,
    table::digits,
};

/// A bound for a figure of pipework, or for its ratio to the figure of a competitor.
#[derive(Debug)]
struct Target {
    measure: &'static str,
    placement: Placement,
    metric: &'static str,
    ours: &'static str,
    /// The competitor in the ratio; `None` bounds the figure itself.
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
const ASYNC_ROUND_TRIP: &str = "tasks: round trip of 64 B";
const WRITES_64: &str = "throughput of 64 KiB writes";
const WRITES_1024: &str = "throughput of 1 MiB writes";
const LARGE_1: &str = "large messages of 1 MiB";
const LARGE_16: &str = "large messages of 16 MiB";
const IDLE_CONNECTIONS: &str = "10000 idle connections";

const ALL: &[Target] = if cfg!(windows) { WINDOWS } else { UNIX };

const UNIX: &[Target] = &[
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
    ratio("batches of 32 messages of 64 B", Defaults, OURS_MESSAGES, SEQPACKET, AtLeast(30.0)),
    ratio(LARGE_1, Defaults, OURS_MESSAGES, OURS, AtLeast(0.6)),
    ratio(LARGE_1, Defaults, OURS_MESSAGES, ICEORYX_SPINS, AtLeast(0.8)),
    ratio(LARGE_16, Defaults, OURS_MESSAGES, OURS, AtLeast(0.6)),
    ratio(LARGE_16, Defaults, OURS_MESSAGES, ICEORYX_SPINS, AtLeast(0.8)),
    ratio("connections with a first byte", Defaults, OURS, UNIX_STREAM, AtLeast(0.5)),
    ratio("connections with an answer", Defaults, OURS, UNIX_STREAM, AtLeast(0.5)),
    figure(IDLE_CONNECTIONS, MEMORY, AtMost(16.0)),
    figure(IDLE_CONNECTIONS, SERVER_DESCRIPTORS, AtMost(1.0)),
    figure(IDLE_CONNECTIONS, CLIENT_DESCRIPTORS, AtMost(1.0)),
    figure(IDLE_CONNECTIONS, IDLE_CPU_TIME, AtMost(10.0)),
    figure(IDLE_CONNECTIONS, ROUND_TRIP_RATIO, AtMost(1.2)),
    figure("memory after traffic", AFTER_ROUND_TRIPS, AtMost(24.0)),
    figure("memory after traffic", AFTER_BURST, AtMost(40.0)),
    ratio(ASYNC_ROUND_TRIP, Pinned, OURS_ASYNC, TOKIO_STREAM, AtMost(0.2)),
    ratio(ASYNC_ROUND_TRIP, OneCore, OURS_ASYNC, TOKIO_STREAM, AtMost(1.1)),
    ratio(ASYNC_ROUND_TRIP, Busy, OURS_ASYNC, TOKIO_STREAM, AtMost(1.1)),
    ratio("tasks: 64 KiB writes", Defaults, OURS_ASYNC, TOKIO_STREAM, AtLeast(1.5)),
    of_async_server("many clients: 256", Defaults, REQUESTS, AtLeast(4.0)),
    of_async_server("many clients: 256", Defaults, "p99.9", AtMost(0.8)),
    of_async_server("many clients: 256", Busy, REQUESTS, AtLeast(1.5)),
    of_async_server("many clients: 256", Busy, "p99.9", AtMost(1.0)),
    of_async_server("many clients: 1000", Defaults, REQUESTS, AtLeast(4.0)),
    of_async_server("many clients: 1000", Defaults, "p99.9", AtMost(0.8)),
    of_async_server("many clients: 1000", Busy, REQUESTS, AtLeast(1.5)),
    of_async_server("many clients: 1000", Busy, "p99.9", AtMost(1.0)),
    of_async_server("many processes: 8", Defaults, REQUESTS, AtLeast(4.0)),
    of_async_server("many processes: 8", Defaults, "p99", AtMost(1.0)),
    of_async_server("many processes: 64", Defaults, REQUESTS, AtLeast(3.0)),
    of_async_server("many processes: 64", Defaults, "p99", AtMost(1.0)),
    ratio("anonymous pipes: 64 KiB writes", Defaults, OURS_ANONYMOUS, STD_PIPE, AtLeast(1.0)),
    ratio("anonymous pipes: 64 KiB writes", Defaults, OURS_ANONYMOUS_LARGE, STD_PIPE, AtLeast(2.0)),
    ratio("anonymous pipes: 1 MiB writes", Defaults, OURS_ANONYMOUS_LARGE, STD_PIPE, AtLeast(2.0)),
];

/// On Windows pipework and its competitors all use the pipes of the kernel.
const WINDOWS: &[Target] = &[
    ratio(ROUND_TRIP, Defaults, OURS, MIOW, AtMost(1.0)),
    ratio(ROUND_TRIP, Defaults, OURS, TOKIO_PIPE, AtMost(1.0)),
    ratio(WRITES_64, Defaults, OURS, MIOW, AtLeast(1.0)),
    ratio(WRITES_64, Defaults, OURS, TOKIO_PIPE, AtLeast(1.0)),
    ratio(ASYNC_ROUND_TRIP, Defaults, OURS_ASYNC, TOKIO_PIPE, AtMost(1.0)),
    ratio("tasks: 64 KiB writes", Defaults, OURS_ASYNC, TOKIO_PIPE, AtLeast(1.0)),
];

const fn ratio(
    measure: &'static str,
    placement: Placement,
    ours: &'static str,
    theirs: &'static str,
    bound: Bound,
) -> Target {
    Target { measure, placement, metric: ONLY, ours, theirs: Some(theirs), bound }
}

const fn of_async_server(
    measure: &'static str,
    placement: Placement,
    metric: &'static str,
    bound: Bound,
) -> Target {
    Target { measure, placement, metric, ours: OURS_ASYNC, theirs: Some(TOKIO_STREAM), bound }
}

const fn figure(measure: &'static str, metric: &'static str, bound: Bound) -> Target {
    Target { measure, placement: Defaults, metric, ours: OURS, theirs: None, bound }
}

/// Whether a target needs the figures of this competitor in this measure and placement.
pub(crate) fn is_needed(measure: &str, placement: Placement, competitor: &str) -> bool {
    let mut targets = ALL.iter().filter(|target| target.measure == measure && target.placement == placement);
    targets.any(|target| target.ours == competitor || target.theirs == Some(competitor))
}

/// Prints a row for each target whose figures the run has.
pub(crate) fn print(out: &mut impl Write, results: &Results) -> io::Result<()> {
    writeln!(out, "Targets (ratios of medians in this run, ours over theirs)")?;
    for Target { measure, placement, metric, ours, theirs, bound } in ALL {
        let median =
            |competitor: &str| Some(results.summary(placement.name(), measure, metric, competitor)?.median);
        let Some(mine) = median(ours) else { continue };
        let figure = match theirs.map(median) {
            None => mine,
            Some(Some(theirs)) => mine / theirs,
            Some(None) => continue,
        };
        let verdict = if bound.is_met(figure) { "met" } else { "MISSED" };
        let metric = if metric.is_empty() { String::new() } else { format!(", {metric}") };
        let against = theirs.map_or_else(String::new, |theirs| format!(" / {theirs}"));
        let subject = format!("{measure}{metric}; {}; {ours}{against}", placement.name());
        writeln!(out, "  {verdict:<7}{:>10} {:<8}{subject}", digits(figure), bound.text())?;
    }
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{competitor, measure, results::Row};

    #[test]
    fn every_target_has_a_measure_and_competitors() {
        for target in ALL {
            let measure = measure::named(target.measure).unwrap();
            assert!(measure.placements.contains(&target.placement), "{target:?}");
            for name in [Some(target.ours), target.theirs].into_iter().flatten() {
                let exists = competitor::competitors(measure).any(|competitor| competitor.name == name);
                assert!(exists || !cfg!(any(target_os = "linux", windows)), "{target:?}");
            }
        }
    }

    #[test]
    fn a_bound_is_met_or_missed() {
        let (placement, theirs, bound) = if cfg!(windows) {
            (Placement::Defaults, MIOW, "1")
        } else {
            (Placement::OneCore, STD_PIPE, "1.2")
        };
        let row = |peer: &str, figure| Row {
            setting: placement.name().into(),
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
        assert!(!is_needed(ROUND_TRIP, Placement::OneCore, UNIX_STREAM));
    }
}
