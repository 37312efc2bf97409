//! A tiny round of every measure with every peer: everything still runs, and the report has all of it.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::process::{Command, Stdio};

const MEASURES: &[&str] = &["round trip of 64 B", "round trip of 4 KiB", "throughput of 64 KiB writes"];
#[cfg(unix)]
const PEERS: &[&str] = &["pipework", "std pipes (child stdio)", "std UnixStream"];
#[cfg(windows)]
const PEERS: &[&str] = &["pipework", "std pipes (child stdio)", "miow", "tokio (current thread)"];

#[test]
fn the_table_has_every_measure_and_peer() {
    let report = run(&["--quick"]);
    for measure in MEASURES {
        assert_eq!(report.lines().filter(|line| line.starts_with(measure)).count(), 1, "{measure}\n{report}");
    }
    for peer in PEERS {
        let rows = report.lines().filter(|line| line.trim_start().starts_with(peer));
        assert_eq!(rows.count(), MEASURES.len(), "{peer}\n{report}");
    }
}

#[test]
fn the_csv_has_every_sample() {
    let report = run(&["--quick", "--csv"]);
    let mut lines = report.lines();
    assert_eq!(lines.next(), Some("measure,unit,peer,round,figure"));
    let mut rows = Vec::new();
    for line in lines {
        let mut fields = line.split(',');
        let (measure, _unit, peer) = (fields.next().unwrap(), fields.next().unwrap(), fields.next().unwrap());
        assert_eq!(fields.next(), Some("1"), "{line}");
        let figure: f64 = fields.next().unwrap().parse().unwrap();
        assert!(figure.is_finite() && figure > 0.0, "{line}");
        assert_eq!(fields.next(), None, "{line}");
        rows.push((measure, peer));
    }
    let expected: Vec<_> =
        MEASURES.iter().flat_map(|&measure| PEERS.iter().map(move |&peer| (measure, peer))).collect();
    assert_eq!(rows, expected);
}

#[test]
fn a_far_process_that_fails_is_told() {
    let output = Command::new(env!("CARGO_BIN_EXE_pipework-bench"))
        .args(["far", "nobody", "round trip of 64 B", "1", ""])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("nobody"), "{output:?}");
}

fn run(args: &[&str]) -> String {
    let output =
        Command::new(env!("CARGO_BIN_EXE_pipework-bench")).args(args).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}
