//! Programs in other languages, without this crate, as peers on a Unix domain socket.

use crate::process::{Process, example, file, run, run_concurrently};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// What to install if a program is missing. It is run to check that, since another program may have its name.
pub(crate) fn missing(program: &str, package: &str) -> Option<String> {
    let status = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let runs = status.is_ok_and(|status| status.success());
    (!runs).then(|| format!("{program} is missing: install it, for example by apt-get install {package}"))
}

pub(crate) fn rust_is_both_ends_of_a_path() {
    talk(rust("serve"), rust("talk"));
}

pub(crate) fn node_is_a_client() {
    talk(rust("serve"), script("node", "client.mjs"));
}

pub(crate) fn node_is_a_server() {
    talk(script("node", "server.mjs"), rust("talk"));
}

pub(crate) fn python_is_a_client() {
    talk(rust("serve"), script("python3", "client.py"));
}

pub(crate) fn python_is_a_server() {
    talk(script("python3", "server.py"), rust("talk"));
}

/// Several clients at the same time send more than a socket buffers, and half-close before they have the whole response. They
/// only know a path.
fn talk(server: impl Fn() -> Command, client: impl Fn() -> Command) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("socket");
    let server = Process::serve(server().arg(&path));
    let text = "a line of text\n".repeat(50_000);
    let client = || {
        let mut command = client();
        command.arg(&path);
        command
    };
    for outcome in run_concurrently(3, client, text.as_bytes()) {
        assert!(outcome.success() == text.to_uppercase(), "another text came back");
    }
    assert_eq!(run(&mut client(), b"").success(), "");
    assert_eq!(server.finish().success(), "");
    let complaint = run(&mut client(), b"").failure();
    assert!(!complaint.is_empty(), "a client without a server reports no error");
}

fn rust(command: &'static str) -> impl Fn() -> Command {
    move || example("plain_socket", &[command])
}

fn script(interpreter: &'static str, name: &'static str) -> impl Fn() -> Command {
    move || {
        let mut command = Command::new(interpreter);
        command.arg(file("languages").join(name));
        command
    }
}
