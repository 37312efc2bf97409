//! `pipework list` and `pipework path`.

use std::io::{Write, pipe};

use serde_json::json;

use crate::harness::{Running, Test, TestDir, test};

const SHARED: &str = "pipe names are global, so the list has other pipes too";
const FILES: &str = "pipes have no files";

pub(crate) fn tests() -> Vec<Test> {
    vec![
        test(a_pipe_is_listed_with_all_its_properties).with_list(),
        test(the_table_is_aligned_and_sorted).only_on_unix(SHARED),
        test(an_empty_list_is_reported).only_on_unix(SHARED),
        test(path_is_in_the_directory_and_the_same_for_every_spelling).only_on_unix(FILES),
        test(path_prints_the_address),
        test(a_closed_stdout_is_success).with_list(),
        test(help_has_examples),
        test(version_has_what_a_report_needs),
    ]
}

fn a_pipe_is_listed_with_all_its_properties() {
    let dir = TestDir::new();
    let hello = &dir.pipe("Hello");
    let options = [hello, "--message", "--max-instances", "7", "--direction", "in"];
    let server = dir.serve_with(&options, &["echo"]);
    let entries = dir.list();
    assert_eq!(entries.len(), 1);
    let entry = &entries[0];
    assert_eq!(entry["name"], hello.as_str());
    assert_eq!((&entry["instances"], &entry["max_instances"]), (&json!(1), &json!(7)));
    let path = dir.run(["path", &hello.to_lowercase()]).success();
    // Windows does not report the rest.
    if cfg!(unix) {
        assert_eq!(entry["place"], path.trim_end());
        assert_eq!((&entry["mode"], &entry["direction"]), (&json!("message"), &json!("in")));
        assert_eq!((&entry["listening"], &entry["servers"]), (&json!(1), &json!([server.id()])));
        assert!(entry["owner"].is_string());
    }
}

fn the_table_is_aligned_and_sorted() {
    let dir = TestDir::new();
    let _servers = [dir.serve(&["second"]), dir.serve(&["first-and-longer"])];
    let mut client = dir.connect(&["second"]);
    client.stdin().write_all(b"x").unwrap();
    assert_eq!(client.stdout(1), b"x");
    let table = dir.run(["list"]).success();
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 3, "{table}");
    let starts = [
        "NAME              MODE  DIRECTION  NETWORK  INSTANCES  MAX  LISTENING",
        "first-and-longer  byte  duplex     no               1    -          1",
        "second            byte  duplex     no               2    -          1",
    ];
    for (line, start) in lines.iter().zip(starts) {
        assert!(line.starts_with(start), "{table}");
    }
}

fn an_empty_list_is_reported() {
    let dir = TestDir::new();
    let ended = dir.run(["list"]);
    assert_eq!((ended.code, ended.stdout.len()), (Some(0), 0));
    assert!(ended.stderr.contains("no pipes"), "{ended:?}");
    assert_eq!(dir.run(["list", "--json"]).success(), "[]\n");
}

fn path_is_in_the_directory_and_the_same_for_every_spelling() {
    let dir = TestDir::new();
    let path = dir.run(["path", "Hello"]).success();
    assert!(path.starts_with(dir.pipes().to_str().unwrap()) && path.ends_with('\n'), "{path}");
    assert_eq!(dir.run(["path", r"\\.\PIPE\hello"]).success(), path);
    assert_eq!(dir.run(["path", "/run/x.sock"]).success(), "/run/x.sock\n");
    dir.run(["path", ""]).failure(2, "name");
}

fn path_prints_the_address() {
    let dir = TestDir::new();
    let path = dir.run(["path", "Hello"]).success();
    assert!(path.to_lowercase().ends_with("hello\n"), "{path}");
    assert_eq!(dir.run(["path", r"\\.\PIPE\Hello"]).success(), path);
    dir.run(["path", ""]).failure(2, "name");
}

fn a_closed_stdout_is_success() {
    let dir = TestDir::new();
    let hello = &dir.pipe("hello");
    let _server = dir.serve(&[hello]);
    for args in [&["list"][..], &["list", "--json"], &["path", hello]] {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let mut command = dir.command(args);
        command.stdout(writer);
        let ended = Running::start(command).end();
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{args:?}");
    }
}

fn help_has_examples() {
    let dir = TestDir::new();
    let main = dir.run(["--help"]).success();
    assert!(main.contains("EXIT CODES") && main.contains("EXAMPLES"), "{main}");
    for command in ["demo", "serve", "connect", "list", "wait", "path"] {
        let help = dir.run([command, "--help"]).success();
        assert!(help.contains("EXAMPLES"), "{help}");
        assert!(main.contains(&format!("  {command} ")), "{main}");
    }
    assert!(!main.contains("demo-peer"), "{main}");
}

fn version_has_what_a_report_needs() {
    let dir = TestDir::new();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(dir.run(["-V"]).success(), format!("pipework {version}\n"));
    let text = dir.run(["--version"]).success();
    let lines: Vec<&str> = text.lines().collect();
    let [name, commit, features, protocol] = lines[..] else { panic!("{text}") };
    assert_eq!(name, format!("pipework {version}"));
    let commit = commit.strip_prefix("commit: ").unwrap();
    assert!(commit == "unknown" || commit.len() == 40, "{text}");
    assert_eq!(features, if cfg!(feature = "remote") { "features: remote" } else { "features: none" });
    #[cfg(unix)]
    assert_eq!(protocol, format!("protocol: {}", pipework::os::unix::PROTOCOL_VERSION));
    assert!(protocol.starts_with("protocol: "), "{text}");
}
