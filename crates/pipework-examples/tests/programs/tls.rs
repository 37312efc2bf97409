//! TLS over a pipe.

use crate::process::{Process, example, run, unique};
use std::path::PathBuf;
use tempfile::TempDir;

const HOST: &str = "pipe.example";

struct Server {
    process: Process,
    name: String,
    certificate: PathBuf,
    _dir: TempDir,
}

impl Server {
    fn start() -> Server {
        let (name, dir) = (unique(), tempfile::tempdir().unwrap());
        let certificate = dir.path().join("certificate.der");
        let process = Process::serve(&mut example("tls", &["serve", &name, certificate.to_str().unwrap()]));
        Server { process, name, certificate, _dir: dir }
    }
}

pub(crate) fn text_goes_through_tls() {
    let server = Server::start();
    let text = "what nobody else reads\n".repeat(50_000);
    let ask = ["ask", &server.name, server.certificate.to_str().unwrap(), HOST];
    let answer = run(&mut example("tls", &ask), text.as_bytes()).success();
    assert!(answer == text.to_uppercase(), "{} bytes came back", answer.len());
    assert_eq!(server.process.finish().success(), "");
}

pub(crate) fn another_host_is_rejected() {
    let server = Server::start();
    let ask = ["ask", &server.name, server.certificate.to_str().unwrap(), "other.example"];
    let complaint = run(&mut example("tls", &ask), b"text").failure();
    assert!(complaint.contains("NotValidForName"), "{complaint}");
    assert!(server.process.line().starts_with("refused: "));
    server.process.finish().success();
}

pub(crate) fn another_certificate_is_rejected() {
    let (server, other) = (Server::start(), Server::start());
    let ask = ["ask", &server.name, other.certificate.to_str().unwrap(), HOST];
    let complaint = run(&mut example("tls", &ask), b"text").failure();
    assert!(complaint.contains("BadSignature") || complaint.contains("UnknownIssuer"), "{complaint}");
    assert!(server.process.line().starts_with("refused: "));
    server.process.finish().success();
    other.process.finish().success();
}
