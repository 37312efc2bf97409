//! The independent SMB clients, each in its own process.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use super::{
    TIMEOUT,
    fixture::{Fixture, PYTHON},
    samba::User,
};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/network/network/client.py");
/// The timeout of a client that moves much data.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(60);

/// NT status codes, as the clients print them.
pub(crate) const NO_SUCH_NAME: &str = "error 0xc0000034";
pub(crate) const ACCESS_DENIED: &str = "error 0xc0000022";
pub(crate) const LOGON_FAILURE: &str = "error 0xc000006d";
/// smbd has connected, and the gateway has closed the socket without a reply.
pub(crate) const DISCONNECTED: &str = "error 0xc000020c";

/// Runs a command of `client.py` as a user. Returns its lines without the first, which describes the session.
pub(crate) fn impacket(fixture: &Fixture, user: &User, words: &[&str]) -> Vec<String> {
    let mut lines = impacket_session(fixture, user, words);
    assert!(lines[0].starts_with("connected"), "{lines:?}");
    lines.remove(0);
    lines
}

/// Does the same and returns all lines.
pub(crate) fn impacket_session(fixture: &Fixture, user: &User, words: &[&str]) -> Vec<String> {
    ClientProcess::impacket(fixture, user, words).lines()
}

/// Runs commands of smbclient, and returns its output.
pub(crate) fn smbclient(fixture: &Fixture, user: &User, options: &[&str], commands: &str) -> String {
    // Other users could read a password on the command line.
    let file = fixture.directories.path(&format!("credentials-{}", unique()));
    std::fs::write(&file, format!("username={}\npassword={}\n", user.name, user.password)).unwrap();
    let mut command = Command::new("smbclient");
    command.args(["--port", &fixture.samba.port().to_string(), "--authentication-file"]).arg(&file);
    command.args(options).args([r"//127.0.0.1/IPC$", "--command", commands]);
    let said = ClientProcess::start(&mut command).lines().join("\n");
    std::fs::remove_file(&file).unwrap();
    said
}

fn unique() -> usize {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    COUNT.fetch_add(1, Ordering::Relaxed)
}

/// A running client.
#[derive(Debug)]
pub(crate) struct ClientProcess {
    child: Child,
    lines: Receiver<String>,
}

impl ClientProcess {
    pub(crate) fn impacket(fixture: &Fixture, user: &User, words: &[&str]) -> ClientProcess {
        let port = fixture.samba.port().to_string();
        let mut command = Command::new(PYTHON);
        ClientProcess::start(
            command.env("PASSWORD", &user.password).args([SCRIPT, &port, &user.name]).args(words),
        )
    }

    fn start(command: &mut Command) -> ClientProcess {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let streams: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for stream in streams {
            let sender = sender.clone();
            thread::spawn(move || {
                BufReader::new(stream).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
            });
        }
        ClientProcess { child, lines }
    }

    /// Waits for the next line.
    pub(crate) fn line(&self) -> String {
        self.lines.recv_timeout(TIMEOUT).expect("a line from the client")
    }

    /// Waits until the client ends, and returns its remaining lines.
    pub(crate) fn lines(self) -> Vec<String> {
        let start = Instant::now();
        let mut lines = Vec::new();
        loop {
            match self.lines.recv_timeout(CLIENT_TIMEOUT.saturating_sub(start.elapsed())) {
                Ok(line) => lines.push(line),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return lines,
                Err(_) => panic!("the client timed out after {lines:?}"),
            }
        }
    }
}

impl Drop for ClientProcess {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
