//! Plots of a run, as SVG. A plot whose figures are not there is left out.

mod chart;

use std::{fs, io, path::Path};

use crate::{
    measure::{self, AMONG, Kind, MEMORY, ONLY, PERCENTILES, Role},
    plot::chart::{Axis, Chart, Line, draw},
    results::Results,
    setting::Setting,
};

/// Writes all of them into a directory.
pub(crate) fn all(results: &Results, directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let write = |name: &str, charts: &[Chart]| {
        let charts: Vec<_> = charts.iter().filter(|chart| !chart.lines.is_empty()).collect();
        if charts.is_empty() { Ok(()) } else { draw(&directory.join(name), &charts) }
    };
    write("latency.svg", &[latencies(results)])?;
    write("throughput.svg", &[throughput(results, Role::Bulk)])?;
    write("buffers.svg", &[buffers(results)])?;
    write("connections.svg", &[crowd(results, MEMORY), crowd(results, AMONG)])
}

/// How round trips are distributed, where each end has a core if that was measured.
fn latencies(results: &Results) -> Chart {
    const MEASURE: &str = "latencies of 64 B round trips";
    let settings = [Setting::Pinned, Setting::Defaults].map(Setting::name);
    let setting = settings.into_iter().find(|setting| !results.peers(setting, MEASURE).is_empty());
    let setting = setting.unwrap_or_default();
    let line = |peer: &&str| {
        let point = |&(metric, share): &(&str, f64)| {
            let summary = results.summary(setting, MEASURE, metric, peer)?;
            Some((-(1.0 - share).log10(), summary.median))
        };
        Line::new(peer, PERCENTILES.iter().filter_map(point))
    };
    Chart {
        title: format!("Round trips of 64 B, {setting}"),
        x: Axis::new("of 100 round trips so many are no slower", percentile),
        y: Axis::new("µs", plain),
        lines: results.peers(setting, MEASURE).iter().filter_map(line).collect(),
    }
}

/// Throughput against the size of a write, as the system places the two ends.
fn throughput(results: &Results, role: Role) -> Chart {
    let setting = Setting::Defaults.name();
    let measures: Vec<_> =
        measure::all().filter(|measure| measure.kind == Kind::Throughput && measure.role == role).collect();
    let mut peers: Vec<&str> = Vec::new();
    for measure in &measures {
        for peer in results.peers(setting, measure.name) {
            if !peers.contains(&peer) {
                peers.push(peer);
            }
        }
    }
    let line = |peer: &&str| {
        let points = measures.iter().filter_map(|measure| {
            Some(((measure.len as f64).log2(), results.summary(setting, measure.name, ONLY, peer)?.median))
        });
        Line::new(peer, points)
    };
    Chart {
        title: "Throughput, data copied in and out".to_owned(),
        x: Axis::new("bytes of a write", bytes),
        y: Axis::new("GB/s", plain),
        lines: peers.iter().filter_map(line).collect(),
    }
}

/// Our throughput against the size of our buffers.
fn buffers(results: &Results) -> Chart {
    let setting = Setting::Defaults.name();
    let measures = measure::all().filter(|measure| measure.role == Role::Buffers);
    let lines = measures.filter_map(|measure| {
        let points = results.peers(setting, measure.name).into_iter().filter_map(|peer| {
            Some((buffer_len(peer)?.log2(), results.summary(setting, measure.name, ONLY, peer)?.median))
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

/// What a connection costs among so many.
fn crowd(results: &Results, metric: &'static str) -> Chart {
    let setting = Setting::Defaults.name();
    let crowds: Vec<_> = measure::all()
        .filter_map(
            |measure| if let Kind::Crowd(crowd) = measure.kind { Some((measure, crowd)) } else { None },
        )
        .collect();
    let peers = crowds.iter().map(|(measure, _)| results.peers(setting, measure.name)).max_by_key(Vec::len);
    let line = |peer: &str| {
        let points = crowds.iter().filter_map(|(measure, crowd)| {
            Some((f64::from(crowd.0).log10(), results.summary(setting, measure.name, metric, peer)?.median))
        });
        Line::new(peer, points)
    };
    let (title, unit) = match metric {
        MEMORY => ("Memory of an idle connection, both processes", "KiB"),
        _ => ("A round trip of 64 B among idle connections", "µs"),
    };
    Chart {
        title: title.to_owned(),
        x: Axis::new("idle connections", count),
        y: Axis::new(unit, plain),
        lines: peers.unwrap_or_default().into_iter().filter_map(line).collect(),
    }
}

/// The size in the name of one of our variants.
fn buffer_len(peer: &str) -> Option<f64> {
    let mut words = peer.split(' ').skip(1);
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

/// 12 is 4 KiB.
fn bytes(exponent: f64) -> String {
    let kib = (exponent - 10.0).exp2();
    if kib >= 1024.0 { format!("{:.0} MiB", kib / 1024.0) } else { format!("{kib:.0} KiB") }
}

/// 3 is a thousand.
fn count(exponent: f64) -> String {
    plain(10_f64.powf(exponent))
}

/// 2 is the 99th percentile: one of 10^2 is slower.
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
        assert_eq!(count(3.0), "1000");
        assert_eq!(plain(0.1), "0.1");
        assert_eq!(buffer_len("pipework 4 MiB buffers"), Some(4194304.0));
        assert_eq!(buffer_len("pipework"), None);
    }
}
