//! HTTP over a pipe: axum's server, and hyper's server and client.

use crate::process::{Process, example, run, run_concurrently, unique};

pub(crate) fn axum_knows_the_process_of_each_client() {
    let name = unique();
    let server = Process::serve(&mut example("axum_http", &[&name]));
    let ask = || run(&mut example("hyper_http", &["get", &name, "/"]), b"").success();
    let answers = [ask(), ask()];
    for answer in &answers {
        let process = answer.strip_prefix("hello, process Some(").and_then(|rest| rest.strip_suffix(")\n"));
        assert_ne!(process.unwrap().parse::<u32>().unwrap(), std::process::id(), "{answer}");
    }
    // Each client was another process.
    assert_ne!(answers[0], answers[1]);
    server.finish().success();
}

pub(crate) fn axum_serves_concurrent_clients_and_stops_gracefully() {
    let name = unique();
    let server = Process::serve(&mut example("axum_http", &[&name]));
    let text = "lower case\n".repeat(20_000);
    let post = || example("hyper_http", &["post", &name, "/capitals"]);
    for outcome in run_concurrently(8, post, text.as_bytes()) {
        assert!(outcome.success() == text.to_uppercase(), "the answer is another");
    }
    assert_eq!(server.finish().success(), "stopped\n");
    run(&mut example("hyper_http", &["get", &name, "/"]), b"").failure();
}

pub(crate) fn hyper_echoes_a_large_body() {
    let name = unique();
    let server = Process::serve(&mut example("hyper_http", &["serve", &name]));
    let text = "0123456789abcde\n".repeat(1 << 18); // 4 MiB
    let answer = run(&mut example("hyper_http", &["post", &name, "/echo"]), text.as_bytes()).success();
    assert!(answer == text, "{} bytes came back", answer.len());
    assert_eq!(server.finish().success(), "stopped\n");
}

pub(crate) fn a_failure_is_the_exit_code_of_the_client() {
    let name = unique();
    let servers = [("axum_http", vec![name.as_str()]), ("hyper_http", vec!["serve", &name])];
    for (program, args) in servers {
        let server = Process::serve(&mut example(program, &args));
        let complaint = run(&mut example("hyper_http", &["get", &name, "/nowhere"]), b"").failure();
        assert!(complaint.contains("404"), "{program}: {complaint}");
        server.finish().success();
    }
}

pub(crate) fn a_client_without_a_server_fails() {
    let complaint = run(&mut example("hyper_http", &["get", &unique(), "/"]), b"").failure();
    assert!(complaint.starts_with("Error: "), "{complaint}");
}
