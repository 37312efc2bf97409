//! `pipework demo`.

use std::fs;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::harness::{Running, Test, TestDir, test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        test(a_file_reaches_every_client_in_both_modes),
        test(an_empty_file_works_and_the_result_is_a_table),
        test(one_mode_can_be_selected_and_the_measurement_skipped),
        #[cfg(target_os = "linux")]
        test(a_file_that_changes_is_a_mismatch),
        test(what_is_not_a_file_is_rejected_by_name),
        test(ctrl_c_ends_the_demo_and_leaves_nothing).only_on_unix(NAMES),
    ]
}

/// The transports that the demo measures on this system.
const TRANSPORTS: &[&str] = &[
    "pipework byte",
    "pipework message",
    "kernel pipe",
    #[cfg(unix)]
    "Unix socket",
];

/// Why a test can't check whether the demo has begun.
const NAMES: &str = "the pipes of this demo can't be distinguished from those of another";

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Pseudorandom bytes, the same each time.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}

fn a_file_reaches_every_client_in_both_modes() {
    let dir = TestDir::new();
    let (path, content) = (dir.file("noise"), noise(300_001));
    fs::write(&path, &content).unwrap();
    let args = ["demo", path.to_str().unwrap(), "--clients", "3", "--measure", "1", "--json"];
    let report: Value = serde_json::from_str(&dir.run(args).success()).unwrap();

    let digest = hex(&content);
    assert_eq!(report["bytes"], 300_001);
    assert_eq!(report["sha256"], digest);
    assert_eq!(report["right"], true);
    let transfers = report["transfers"].as_array().unwrap();
    let modes: Vec<_> = transfers.iter().map(|transfer| transfer["mode"].as_str().unwrap()).collect();
    assert_eq!(modes, ["byte", "byte", "byte", "message", "message", "message"]);
    let mut clients: Vec<_> =
        transfers.iter().map(|transfer| transfer["client_process"].as_u64().unwrap()).collect();
    clients.sort_unstable();
    clients.dedup();
    assert_eq!(clients.len(), 6, "each client is a process");
    for transfer in transfers {
        assert_eq!(transfer["sha256_sent"], digest);
        assert_eq!(transfer["sha256_received"], digest);
        // 300,001 bytes are four full messages of 64 KiB and a rest.
        let messages = if transfer["mode"] == "byte" { Value::Null } else { json!(5) };
        assert_eq!(transfer["messages_received"], messages);
    }

    let speeds = report["speeds"].as_array().unwrap();
    let transports: Vec<_> = speeds.iter().map(|speed| speed["transport"].as_str().unwrap()).collect();
    assert_eq!(transports, TRANSPORTS);
    for speed in speeds {
        assert_eq!(speed["bytes"], 1 << 20);
        assert!(speed["gigabytes_per_second"].as_f64().unwrap() > 0.0);
        assert!(speed["round_trip_microseconds"].as_f64().unwrap() > 0.0);
        assert_eq!(speed["bulk_seconds_of_each_pass"].as_array().unwrap().len(), 3);
    }
    dir.assert_clean();
}

fn an_empty_file_works_and_the_result_is_a_table() {
    let dir = TestDir::new();
    let path = dir.file("empty");
    fs::write(&path, "").unwrap();
    let table = dir.run(["demo", path.to_str().unwrap(), "--clients", "1", "--measure", "1"]).success();
    assert!(table.contains(&hex(b"")), "{table}");
    assert_eq!(table.matches("every SHA-256 matches at both ends").count(), 2, "{table}");
    assert!(table.contains("1 client process, 0 B each"), "{table}");
    for transport in TRANSPORTS {
        assert!(table.lines().any(|line| line.starts_with(transport) && line.ends_with("µs")), "{table}");
    }
}

fn one_mode_can_be_selected_and_the_measurement_skipped() {
    let dir = TestDir::new();
    let path = dir.file("file");
    fs::write(&path, "x").unwrap();
    let args = ["demo", path.to_str().unwrap(), "--mode", "message", "--measure", "0"];
    let table = dir.run(args).success();
    assert!(table.contains("message  4 client processes, 1 B each in 1 message: "), "{table}");
    assert!(!table.contains("byte ") && !table.contains("kernel pipe"), "{table}");
}

/// This kernel file has other contents each time that it is read.
#[cfg(target_os = "linux")]
fn a_file_that_changes_is_a_mismatch() {
    let dir = TestDir::new();
    let ended = dir.run(["demo", "/proc/sys/kernel/random/uuid", "--clients", "2", "--measure", "0"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("SHA-256 mismatch: 4 of 4"), "{ended:?}");
    assert!(String::from_utf8_lossy(&ended.stdout).contains("ONLY 0 OF 2 SHA-256 MATCH"), "{ended:?}");
}

fn what_is_not_a_file_is_rejected_by_name() {
    let dir = TestDir::new();
    let missing = dir.file("missing");
    dir.run(["demo", missing.to_str().unwrap()]).failure(1, missing.to_str().unwrap());
    let directory = dir.file("");
    dir.run(["demo", directory.to_str().unwrap()]).failure(1, "not a regular file");
}

fn ctrl_c_ends_the_demo_and_leaves_nothing() {
    let dir = TestDir::new();
    let path = dir.file("file");
    fs::write(&path, "x").unwrap();
    let demo = Running::start(dir.command(["demo", path.to_str().unwrap(), "--measure", "1000000"]));
    dir.until_listed();
    demo.interrupt();
    demo.end().failure(130, "interrupted: ");
    dir.assert_clean();
}
