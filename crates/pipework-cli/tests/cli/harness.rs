//! Runs the tool in a place of its own, and never waits for ever.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Read, Write},
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

/// What takes longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A directory for the pipes and the files of one test.
pub(crate) struct Place {
    dir: TempDir,
}

impl Place {
    pub(crate) fn new() -> Place {
        // Short, because names become socket paths.
        let dir = tempfile::Builder::new().prefix("pw-").tempdir_in("/tmp").unwrap();
        fs::create_dir(dir.path().join("files")).unwrap();
        Place { dir }
    }

    /// Where the pipes live; the tool makes it.
    pub(crate) fn pipes(&self) -> PathBuf {
        self.dir.path().join("pipes")
    }

    /// A path for a file of the test's own.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join("files").join(name)
    }

    pub(crate) fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pipework"));
        command.args(args).env("PIPEWORK_DIR", self.pipes()).env_remove("XDG_RUNTIME_DIR");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the tool to its end, without stdin.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ended {
        Running::start(self.command(args)).end()
    }

    /// Runs the tool to its end with these bytes as stdin; few enough for a pipe's buffer.
    pub(crate) fn run_with<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>, stdin: &[u8]) -> Ended {
        let mut running = Running::start_with_stdin(self.command(args));
        running.stdin().write_all(stdin).unwrap();
        running.end()
    }

    /// Starts `pipework serve` and waits until it serves.
    pub(crate) fn serve(&self, args: &[&str]) -> Running {
        let mut server = Running::start(self.command([&["serve"], args].concat()));
        let line = server.stderr_line();
        assert!(line.starts_with("pipework: serving "), "{line}");
        server
    }

    /// Starts `pipework connect` and holds its stdin open.
    pub(crate) fn connect(&self, args: &[&str]) -> Running {
        Running::start_with_stdin(self.command([&["connect"], args].concat()))
    }

    /// What `pipework list --json` says.
    pub(crate) fn list(&self) -> Vec<Value> {
        serde_json::from_str(&self.run(["list", "--json"]).success()).unwrap()
    }

    /// Looks until there is a pipe.
    pub(crate) fn until_listed(&self) {
        let deadline = Instant::now() + PATIENCE;
        while self.list().is_empty() {
            assert!(Instant::now() < deadline, "no pipe was made");
        }
    }

    /// Asserts that nothing is left of any pipe; the lock of the place stays.
    pub(crate) fn assert_clean(&self) {
        assert_eq!(self.list(), [Value::Null; 0]);
        let left: Vec<_> =
            fs::read_dir(self.pipes()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        let left: Vec<_> = left.into_iter().filter(|name| name != ".lock").collect();
        assert_eq!(left, [""; 0]);
    }
}

/// How a process ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit code; `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Ended {
    /// Asserts that it ended well; what it printed.
    pub(crate) fn success(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        String::from_utf8(self.stdout).unwrap()
    }

    /// Asserts that it failed so, said this, and printed nothing.
    pub(crate) fn failure(&self, code: i32, said: &str) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(self.stderr.contains(said), "{self:?}");
        assert!(self.stderr.starts_with("pipework: "), "{self:?}");
        assert!(self.stdout.is_empty(), "{self:?}");
    }
}

/// A process that ends with its test.
pub(crate) struct Running {
    child: Child,
    /// Lines of stderr.
    lines: mpsc::Receiver<String>,
    /// Pieces of stdout.
    output: mpsc::Receiver<Vec<u8>>,
    /// What was received of stdout and not asked for yet.
    ahead: Vec<u8>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Running {
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (said, lines) = mpsc::channel();
        thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| said.send(line)));
        let (printed, output) = mpsc::channel();
        if let Some(mut stdout) = child.stdout.take() {
            thread::spawn(move || {
                let mut buffer = vec![0; 1 << 16];
                while let Ok(len @ 1..) = stdout.read(&mut buffer) {
                    if printed.send(buffer[..len].to_vec()).is_err() {
                        break;
                    }
                }
            });
        }
        Running { child, lines, output, ahead: Vec::new() }
    }

    pub(crate) fn start_with_stdin(mut command: Command) -> Running {
        Running::start({
            command.stdin(Stdio::piped());
            command
        })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line that it says.
    pub(crate) fn stderr_line(&mut self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a line on stderr")
    }

    pub(crate) fn stdin(&mut self) -> &mut ChildStdin {
        self.child.stdin.as_mut().unwrap()
    }

    /// The next bytes that it prints.
    pub(crate) fn stdout(&mut self, len: usize) -> Vec<u8> {
        while self.ahead.len() < len {
            self.ahead.extend(self.output.recv_timeout(PATIENCE).expect("more on stdout"));
        }
        self.ahead.drain(..len).collect()
    }

    pub(crate) fn signal(&self, signal: &str) {
        let script = format!("kill -{signal} {}", self.id());
        assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
    }

    /// Closes its stdin and waits for its end.
    pub(crate) fn end(mut self) -> Ended {
        drop(self.child.stdin.take());
        let mut stdout = std::mem::take(&mut self.ahead);
        // The channels close with the process's own ends.
        let closed = mpsc::RecvTimeoutError::Disconnected;
        let output_end = loop {
            match self.output.recv_timeout(PATIENCE) {
                Ok(piece) => stdout.extend(piece),
                Err(end) => break end,
            }
        };
        assert_eq!(output_end, closed, "stdout does not end");
        let mut stderr = String::new();
        let lines_end = loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => stderr.extend([&line, "\n"]),
                Err(end) => break end,
            }
        };
        assert_eq!(lines_end, closed, "stderr does not end, after {stderr}");
        Ended { code: self.child.wait().unwrap().code(), stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both do nothing where it has ended.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
