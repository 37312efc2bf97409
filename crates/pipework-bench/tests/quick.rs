//! A tiny round of every measure with every competitor: each one runs, and the reports contain it. The figures are not
//! checked.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is how a test fails")]

use std::{
    collections::BTreeSet,
    fs,
    process::{Command, Output, Stdio},
};

/// Measures of a duplex connection, which all competitors in `PEERS` support.
const DUPLEX: &[&str] = &[
    "round trip of 64 B",
    "round trip of 4 KiB",
    "latencies of 64 B round trips",
    "wake-up after 1 ms of idleness",
    "throughput of 4 KiB writes",
    "throughput of 64 KiB writes",
    "throughput of 1 MiB writes",
];
const OTHERS: &[&str] = &[
    "buffer sizes: 4 KiB writes",
    "buffer sizes: 64 KiB writes",
    "buffer sizes: 1 MiB writes",
    "messages of 64 B",
    "messages of 4 KiB",
    "messages of 1 MiB",
    "batches of 32 messages of 64 B",
    "large messages of 1 MiB",
    "large messages of 16 MiB",
    "tasks: round trip of 64 B",
    "tasks: 4 KiB writes",
    "tasks: 64 KiB writes",
    "anonymous pipes: round trip of 64 B",
    "anonymous pipes: 4 KiB writes",
    "anonymous pipes: 64 KiB writes",
    "anonymous pipes: 1 MiB writes",
    "connections with a first byte",
    "connections with an answer",
    "a crowd of 256 connects",
    "a crowd of 1000 connects",
    "a crowd of 4000 connects",
    "one writer to 16 instances",
    "many clients: 16",
    "many clients: 256",
    "many clients: 1000",
    "many processes: 8",
    "many processes: 64",
];
#[cfg(target_os = "linux")]
const IDLE_CONNECTIONS: &[&str] =
    &["100 idle connections", "1000 idle connections", "10000 idle connections", "memory after traffic"];
#[cfg(not(target_os = "linux"))]
const IDLE_CONNECTIONS: &[&str] = &[];

#[cfg(target_os = "linux")]
const PEERS: &[&str] = &[
    "pipework",
    "std pipes (child stdio)",
    "std UnixStream",
    "interprocess local socket",
    "ipc-channel bytes",
    "iceoryx2 spinning",
    "iceoryx2 waiting",
];
#[cfg(windows)]
const PEERS: &[&str] = &["pipework", "std pipes (child stdio)", "miow", "tokio (current thread)"];
#[cfg(not(any(target_os = "linux", windows)))]
const PEERS: &[&str] = &["pipework", "std pipes (child stdio)", "std UnixStream"];

const COLUMNS: &str = "setting,measure,metric,unit,peer,round,figure";

#[test]
fn every_measure_works_with_every_competitor() {
    let report = run(&["--quick", "--csv", "--setting", "defaults"]);
    let rows = samples(&report);
    let measures: BTreeSet<&str> = rows.iter().map(|row| row[1]).collect();
    let expected: BTreeSet<&str> = [DUPLEX, OTHERS, IDLE_CONNECTIONS].concat().into_iter().collect();
    assert_eq!(measures, expected);
    for measure in DUPLEX {
        let peers: BTreeSet<&str> = rows.iter().filter(|row| row[1] == *measure).map(|row| row[4]).collect();
        let missing: Vec<_> = PEERS.iter().filter(|&peer| !peers.contains(peer)).collect();
        assert!(missing.is_empty(), "{measure} lacks {missing:?}");
    }
    for row in &rows {
        let figure: f64 = row[6].parse().unwrap();
        // Other processes may free memory during a sample, and idle processes may use no time, so these may be any number.
        let may_be_any =
            [row[1], row[2]].iter().any(|name| name.starts_with("memory")) || row[2].starts_with("processor");
        assert!(figure.is_finite() && (figure > 0.0 || may_be_any), "{row:?}");
    }
}

#[test]
fn the_table_has_every_competitor_and_pipework_first() {
    let report =
        run(&["--quick", "--setting", "defaults", "--only", "trip of 64 B", "--only", "messages of 64"]);
    let head = "round trip of 64 B; defaults; us (less is better; rounds: 1)";
    let table: Vec<&str> =
        report.lines().skip_while(|line| *line != head).take_while(|line| !line.is_empty()).collect();
    assert!(table[2].starts_with("  pipework ") && table[2].ends_with("1.000"), "{report}");
    for peer in PEERS {
        assert!(table.iter().any(|line| line.trim_start().starts_with(peer)), "{peer}\n{report}");
    }
    assert!(report.contains("messages of 64 B; defaults; 1/s (more is better; rounds: 1)"), "{report}");
}

#[test]
fn competitors_and_measures_can_be_selected() {
    let list = run(&["--list", "--only", "64 KiB writes", "--peer", "std", "--setting", "defaults"]);
    let lines: Vec<&str> = list.lines().collect();
    assert_eq!(lines.len(), 4, "{list}");
    assert!(lines[0].starts_with("throughput of 64 KiB writes; defaults: pipework, std pipes"), "{list}");
    assert!(!list.contains("iceoryx") && !list.contains("miow"), "{list}");
    let output = start(&["--only", "no such thing"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--list"), "{output:?}");
}

#[test]
fn a_record_has_samples_tables_and_plots_that_can_be_drawn_again() {
    let directory = tempfile::tempdir().unwrap();
    let record = directory.path().join("record");
    let mut arguments = vec!["--quick", "--setting", "defaults", "--peer", "std", "--record"];
    arguments.push(record.to_str().unwrap());
    for measures in
        ["latenc", "throughput", "64 KiB writes", "100 idle", "messages of 4 KiB", "many clients: 16"]
    {
        arguments.extend(["--only", measures]);
    }
    let report = run(&arguments);

    let names: BTreeSet<String> = fs::read_dir(&record)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let mut plots = vec!["buffers.svg", "clients.svg", "latency.svg", "messages.svg", "throughput.svg"];
    if !IDLE_CONNECTIONS.is_empty() {
        plots.push("connections.svg");
    }
    let [csv, text] = ["csv", "txt"].map(|kind| names.iter().find(|name| name.ends_with(kind)).unwrap());
    assert_eq!(names.len(), plots.len() + 2, "{names:?}");

    let csv = record.join(csv);
    let samples = fs::read_to_string(&csv).unwrap();
    for fact in ["# date: 2", "# kernel: ", "# processor: "] {
        assert!(samples.lines().any(|line| line.starts_with(fact)), "{samples}");
    }
    assert!(samples.contains(&format!("\n{COLUMNS}\ndefaults,")), "{samples}");
    let table = report.lines().find(|line| line.starts_with("throughput")).unwrap();
    assert!(fs::read_to_string(record.join(text)).unwrap().contains(table));

    let again = directory.path().join("again");
    run(&["plot", csv.to_str().unwrap(), again.to_str().unwrap()]);
    for plot in plots {
        let svg = fs::read_to_string(again.join(plot)).unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("polyline"), "{plot}: {svg}");
        assert_eq!(svg, fs::read_to_string(record.join(plot)).unwrap(), "{plot}");
    }
}

#[test]
fn a_peer_process_that_fails_is_reported() {
    let parent = std::process::id().to_string();
    let mut arguments = vec!["peer-process", "--competitor", "nobody", "--parent", &parent];
    arguments.extend(["--measure", "round trip of 64 B", "--millis", "1"]);
    arguments.extend(["--idle-millis", "1", "--connections-max", "1"]);
    let output = start(&arguments);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("nobody"), "{output:?}");
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{
        io::{BufRead, BufReader},
        path::Path,
        thread,
        time::{Duration, Instant},
    };

    use super::*;
    use rustix::process::{Pid, Signal, kill_process};

    #[test]
    fn every_placement_works() {
        let settings = ["pinned", "one-core", "busy"].map(|setting| ["--setting", setting]).concat();
        let only = ["--quick", "--csv", "--only", "round trip of 64 B", "--peer", "seqpacket"];
        let report = run(&[&only[..], &settings].concat());
        let found: BTreeSet<&str> = samples(&report).iter().map(|row| row[0]).collect();
        let mut expected = BTreeSet::from(["pinned to one core"]);
        if thread::available_parallelism().unwrap().get() > 1 {
            expected.extend(["pinned to two cores", "two busy neighbours"]);
        }
        assert_eq!(found, expected);
    }

    /// `cargo test` also builds the example, unless its arguments select tests.
    #[test]
    fn the_cost_of_waiting_to_a_runtime_is_reported() {
        let example = Path::new(env!("CARGO_BIN_EXE_pipework-bench")).with_file_name("examples/busy_runtime");
        assert!(example.exists(), "build it: cargo build --package pipework-bench --examples");
        let output = Command::new(&example).arg("5").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let report = String::from_utf8(output.stdout).unwrap();
        let rows: Vec<Vec<&str>> = report.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows.len(), 12, "{report}");
        for row in rows {
            let [pieces, messages] = [row[2], row[6]].map(|figure| figure.parse::<u64>().unwrap());
            assert!(pieces > 0 && (messages > 0 || ["nothing", "rare"].contains(&row[0])), "{report}");
        }
    }

    #[test]
    fn targets_are_reported_and_not_asserted() {
        let report = run(&["--quick", "--targets", "--only", "messages of 64 B", "--setting", "defaults"]);
        let rows: Vec<&str> =
            report.lines().skip_while(|line| !line.starts_with("Targets")).skip(1).collect();
        assert!(rows[0].starts_with("  met") || rows[0].starts_with("  MISSED"), "{report}");
        assert!(rows[0].contains(">= 10 "), "{report}");
        assert!(
            rows[0].ends_with("messages of 64 B; defaults; pipework messages / Unix seqpacket"),
            "{report}"
        );
    }

    #[test]
    fn an_interrupt_ends_every_process_and_leaves_nothing() {
        let scratch = tempfile::tempdir().unwrap();
        let arguments = ["--csv", "--setting", "busy", "--only", "round trip of 64 B", "--millis", "3600000"];
        let mut command = Command::new(env!("CARGO_BIN_EXE_pipework-bench"));
        command.args(arguments).env("TMPDIR", scratch.path());
        let mut program =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut head = String::new();
        let mut output = BufReader::new(program.stdout.take().unwrap());
        output.read_line(&mut head).unwrap();
        assert!(head.starts_with("# date"), "{head}");

        // With only one processor the placement is not available, and the program has ended.
        if thread::available_parallelism().unwrap().get() == 1 {
            assert!(!program.wait().unwrap().success());
            return;
        }
        let watchdog = Instant::now() + Duration::from_secs(60);
        let all = loop {
            assert!(Instant::now() < watchdog, "the processes of a sample were not started");
            let children = children(program.id());
            let grandchildren: Vec<u32> = children.iter().copied().flat_map(self::children).collect();
            if children.len() == 3 && grandchildren.len() == 1 {
                break [children, grandchildren].concat();
            }
            assert_eq!(program.try_wait().unwrap(), None, "it ended by itself");
            thread::yield_now();
        };
        kill_process(Pid::from_child(&program), Signal::INT).unwrap();
        assert_eq!(program.wait().unwrap().code(), Some(130));
        while all.iter().any(|&process| is_running(process)) {
            assert!(Instant::now() < watchdog, "one of these still runs: {all:?}");
            thread::yield_now();
        }
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
    }

    fn children(process: u32) -> Vec<u32> {
        let text = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
        text.split_whitespace().map(|number| number.parse().unwrap()).collect()
    }

    /// A process that has ended may still be a zombie.
    fn is_running(process: u32) -> bool {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
    }
}

/// The rows of a CSV report, as fields.
fn samples(report: &str) -> Vec<[&str; 7]> {
    let mut lines = report.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(lines.next(), Some(COLUMNS));
    lines.map(|line| line.split(',').collect::<Vec<_>>().try_into().unwrap()).collect()
}

fn run(arguments: &[&str]) -> String {
    let output = start(arguments);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn start(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pipework-bench"));
    command.args(arguments).stdin(Stdio::null()).output().unwrap()
}
