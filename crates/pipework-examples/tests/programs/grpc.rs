//! gRPC over a pipe, server and client.

use crate::process::{Process, example, run, unique};

const SERVICE: &str = "example.Greeter";

pub(crate) fn a_service_responds() {
    let name = unique();
    let server = Process::serve(&mut example("tonic_grpc", &["serve", &name]));
    for _ in 0..2 {
        let answer = run(&mut example("tonic_grpc", &["check", &name, SERVICE]), b"").success();
        assert_eq!(answer, "example.Greeter: SERVING\n");
    }
    assert_eq!(server.finish().success(), "stopped\n");
}

pub(crate) fn an_unknown_service_is_an_error() {
    let name = unique();
    let server = Process::serve(&mut example("tonic_grpc", &["serve", &name]));
    let complaint = run(&mut example("tonic_grpc", &["check", &name, "example.Nobody"]), b"").failure();
    assert!(complaint.contains("NotFound"), "{complaint}");
    server.finish().success();
}

/// The server stops gracefully: it ends its service, and reports that to the open call.
pub(crate) fn a_change_is_reported_when_it_happens() {
    let name = unique();
    let server = Process::serve(&mut example("tonic_grpc", &["serve", &name]));
    let watcher = Process::start(&mut example("tonic_grpc", &["watch", &name, SERVICE]));
    assert_eq!(watcher.line(), "example.Greeter: SERVING\n");
    assert_eq!(server.finish().success(), "stopped\n");
    assert_eq!(watcher.finish().success(), "example.Greeter: NOT_SERVING\n");
}
