//! Plots of a run, as SVG. A plot without figures is omitted.

mod chart;

use std::{fs, io, path::Path};

use crate::{
    measure::{self, Kind, MEMORY, Measure, ONLY, PERCENTILES, REQUESTS, ROUND_TRIP_AMONG_IDLE, Role},
    placement::Placement,
    plot::chart::{Axis, Chart, Line, draw},
    results::Results,
};

/// Writes all plots to a directory.
pub(crate) fn draw_all(results: &Results, directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let write = |name: &str, charts: &[Chart]| {
        let charts: Vec<_> = charts.iter().filter(|chart| !chart.lines.is_empty()).collect();
        if charts.is_empty() { Ok(()) } else { draw(&directory.join(name), &charts) }
    };
    write("latency.svg", &[latencies(results)])?;
    write("throughput.svg", &[throughput(results, Role::Bulk)])?;
    write("buffers.svg", &[buffers(results)])?;
    write(
        "connections.svg",
        &[idle_connections(results, MEMORY), idle_connections(results, ROUND_TRIP_AMONG_IDLE)],
    )?;
    write("clients.svg", &[many_clients(results), crowds(results)])?;
    write("messages.svg", &[messages(results)])
}

/// The distribution of round trips, with a core for each process if that was measured.
fn latencies(results: &Results) -> Chart {
    const MEASURE: &str = "latencies of 64 B round trips";
    let placements = [Placement::Pinned, Placement::Defaults].map(Placement::name);
    let placement =
        placements.into_iter().find(|placement| !results.competitors(placement, MEASURE).is_empty());
    let placement = placement.unwrap_or_default();
    let line = |competitor: &&str| {
        let point = |&(metric, share): &(&str, f64)| {
            let summary = results.summary(placement, MEASURE, metric, competitor)?;
            Some((-(1.0 - share).log10(), summary.median))
        };
        Line::new(competitor, PERCENTILES.iter().filter_map(point))
    };
    Chart {
        title: format!("Round trips of 64 B, {placement}"),
        x: Axis::new("of 100 round trips so many are no slower", percentile),
        y: Axis::new("µs", plain),
        lines: results.competitors(placement, MEASURE).iter().filter_map(line).collect(),
    }
}

/// Throughput by the size of a write, where the scheduler places both processes.
fn throughput(results: &Results, role: Role) -> Chart {
    Chart {
        title: "Throughput, data copied in and out".to_owned(),
        x: Axis::new("bytes of a write", bytes),
        y: Axis::new("GB/s", plain),
        lines: lines(results, ONLY, |measure| {
            let selected = measure.kind == Kind::Throughput && measure.role == role;
            selected.then(|| (measure.len as f64).log2())
        }),
    }
}

/// The time of a message by its size, one after the other in one direction.
fn messages(results: &Results) -> Chart {
    let mut lines =
        lines(results, ONLY, |measure| (measure.kind == Kind::Messages).then(|| (measure.len as f64).log2()));
    lines.iter_mut().for_each(|line| line.map(|per_second| 1e6 / per_second));
    Chart {
        title: "Time of a message, copied in and out".to_owned(),
        x: Axis::new("bytes of a message", bytes),
        y: Axis::new("µs", plain),
        lines,
    }
}

/// Requests to one server by the number of its clients, all busy.
fn many_clients(results: &Results) -> Chart {
    Chart {
        title: "Requests of 64 B to an async server, all clients busy".to_owned(),
        x: Axis::new("clients, tasks of one process", power_of_two),
        y: Axis::new("thousand requests per second", thousands),
        lines: lines(results, REQUESTS, |measure| {
            if let Kind::ManyClients(count) = measure.kind { Some(f64::from(count).log2()) } else { None }
        }),
    }
}

/// The time until a crowd of clients is connected, by its size.
fn crowds(results: &Results) -> Chart {
    Chart {
        title: "Time until all clients that connect at once have an answer".to_owned(),
        x: Axis::new("clients, tasks of one process", power_of_two),
        y: Axis::new("ms", plain),
        lines: lines(results, ONLY, |measure| {
            if let Kind::Burst(count) = measure.kind { Some(f64::from(count).log2()) } else { None }
        }),
    }
}

/// A line for each competitor through the measures that have an x, where the scheduler places the processes.
fn lines(results: &Results, metric: &str, x: impl Fn(&Measure) -> Option<f64>) -> Vec<Line> {
    let placement = Placement::Defaults.name();
    let measures: Vec<_> = measure::all().filter_map(|measure| Some((measure, x(measure)?))).collect();
    let mut competitors: Vec<&str> = Vec::new();
    for (measure, _) in &measures {
        for competitor in results.competitors(placement, measure.name) {
            if !competitors.contains(&competitor) {
                competitors.push(competitor);
            }
        }
    }
    let line = |competitor: &str| {
        let points = measures.iter().filter_map(|&(measure, x)| {
            Some((x, results.summary(placement, measure.name, metric, competitor)?.median))
        });
        Line::new(competitor, points)
    };
    competitors.into_iter().filter_map(line).collect()
}

/// Throughput of pipework by the size of its buffers.
fn buffers(results: &Results) -> Chart {
    let placement = Placement::Defaults.name();
    let measures = measure::all().filter(|measure| measure.role == Role::Buffers);
    let lines = measures.filter_map(|measure| {
        let points = results.competitors(placement, measure.name).into_iter().filter_map(|competitor| {
            Some((
                buffer_len(competitor)?.log2(),
                results.summary(placement, measure.name, ONLY, competitor)?.median,
            ))
        });
        Line::new(measure.name.trim_start_matches("buffer sizes: "), points)
    });
    Chart {
        title: "Throughput of pipework by the size of its buffers".to_owned(),
        x: Axis::new("bytes of a buffer", bytes),
        y: Axis::new("GB/s", plain),
        lines: lines.collect(),
    }
}

/// The cost of a connection by the number of idle connections.
fn idle_connections(results: &Results, metric: &'static str) -> Chart {
    let (title, unit) = match metric {
        MEMORY => ("Memory of an idle connection, both processes", "KiB"),
        _ => ("A round trip of 64 B among idle connections", "µs"),
    };
    Chart {
        title: title.to_owned(),
        x: Axis::new("idle connections", count),
        y: Axis::new(unit, plain),
        lines: lines(results, metric, |measure| {
            if let Kind::IdleConnections(count) = measure.kind {
                Some(f64::from(count).log10())
            } else {
                None
            }
        }),
    }
}

/// The size of the buffers, from the name of a variant of pipework.
fn buffer_len(competitor: &str) -> Option<f64> {
    let mut words = competitor.split(' ').skip(1);
    let number: f64 = words.next()?.parse().ok()?;
    match words.next()? {
        "KiB" => Some(number * 1024.0),
        "MiB" => Some(number * 1024.0 * 1024.0),
        _ => None,
    }
}

fn plain(value: f64) -> String {
    if value >= 1.0 { format!("{value:.0}") } else { format!("{value}") }
}

fn thousands(value: f64) -> String {
    plain(value / 1e3)
}

/// Formats 2^`exponent`: 8 is 256.
fn power_of_two(exponent: f64) -> String {
    plain(exponent.exp2())
}

/// Formats 2^`exponent` bytes: 12 is 4 KiB.
fn bytes(exponent: f64) -> String {
    let kib = (exponent - 10.0).exp2();
    if kib < 1.0 {
        return format!("{:.0} B", exponent.exp2());
    }
    if kib >= 1024.0 { format!("{:.0} MiB", kib / 1024.0) } else { format!("{kib:.0} KiB") }
}

/// Formats 10^`exponent`: 3 is a thousand.
fn count(exponent: f64) -> String {
    plain(10_f64.powf(exponent))
}

/// Formats a percentile: 2 is the 99th, since one of 10^2 is slower.
fn percentile(nines: f64) -> String {
    let text = format!("{:.4}", 100.0 - 10_f64.powf(2.0 - nines));
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_short_and_right() {
        assert_eq!(percentile(3.0), "99.9");
        assert_eq!(percentile(1.0), "90");
        assert_eq!(percentile(0.0), "0");
        assert_eq!(bytes(16.0), "64 KiB");
        assert_eq!(bytes(20.0), "1 MiB");
        assert_eq!(bytes(6.0), "64 B");
        assert_eq!(power_of_two(8.0), "256");
        assert_eq!(thousands(250e3), "250");
        assert_eq!(count(3.0), "1000");
        assert_eq!(plain(0.1), "0.1");
        assert_eq!(buffer_len("pipework 4 MiB buffers"), Some(4194304.0));
        assert_eq!(buffer_len("pipework"), None);
    }
}
