//! The callers.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use super::{
    PATIENCE,
    samba::User,
    site::{PYTHON, Site},
};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/network/network/client.py");
/// A caller that moves much has so long.
const CALLER_PATIENCE: Duration = Duration::from_secs(60);

/// What NT's numbers in the callers' output mean.
pub(crate) const NO_SUCH_NAME: &str = "error 0xc0000034";
pub(crate) const ACCESS_DENIED: &str = "error 0xc0000022";
pub(crate) const LOGON_FAILURE: &str = "error 0xc000006d";
/// smbd has connected, and the gateway has closed instead of an answer.
pub(crate) const DISCONNECTED: &str = "error 0xc000020c";

/// Lets impacket do something as a user, and gives the lines that it prints, without the first, which is about the session.
pub(crate) fn impacket(site: &Site, user: &User, words: &[&str]) -> Vec<String> {
    let mut lines = impacket_session(site, user, words);
    assert!(lines[0].starts_with("connected"), "{lines:?}");
    lines.remove(0);
    lines
}

/// The same, with the first line.
pub(crate) fn impacket_session(site: &Site, user: &User, words: &[&str]) -> Vec<String> {
    Caller::impacket(site, user, words).lines()
}

/// Lets smbclient run commands, and gives all that it prints.
pub(crate) fn smbclient(site: &Site, user: &User, options: &[&str], commands: &str) -> String {
    // Not on the command line, where other users would see it.
    let file = site.places.path(&format!("credentials-{}", unique()));
    std::fs::write(&file, format!("username={}\npassword={}\n", user.name, user.password)).unwrap();
    let mut command = Command::new("smbclient");
    command.args(["--port", &site.samba.port().to_string(), "--authentication-file"]).arg(&file);
    command.args(options).args([r"//127.0.0.1/IPC$", "--command", commands]);
    let said = Caller::start(&mut command).lines().join("\n");
    std::fs::remove_file(&file).unwrap();
    said
}

fn unique() -> usize {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    COUNT.fetch_add(1, Ordering::Relaxed)
}

/// A caller at work.
#[derive(Debug)]
pub(crate) struct Caller {
    child: Child,
    lines: Receiver<String>,
}

impl Caller {
    pub(crate) fn impacket(site: &Site, user: &User, words: &[&str]) -> Caller {
        let port = site.samba.port().to_string();
        let mut command = Command::new(PYTHON);
        Caller::start(command.env("PASSWORD", &user.password).args([SCRIPT, &port, &user.name]).args(words))
    }

    fn start(command: &mut Command) -> Caller {
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
        Caller { child, lines }
    }

    /// The next thing that it says.
    pub(crate) fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("the caller says something")
    }

    /// All that it still says until it ends.
    pub(crate) fn lines(self) -> Vec<String> {
        let start = Instant::now();
        let mut lines = Vec::new();
        loop {
            match self.lines.recv_timeout(CALLER_PATIENCE.saturating_sub(start.elapsed())) {
                Ok(line) => lines.push(line),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return lines,
                Err(_) => panic!("the caller hangs after {lines:?}"),
            }
        }
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
