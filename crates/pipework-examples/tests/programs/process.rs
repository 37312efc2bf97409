//! Starts and stops programs, and collects their output.

use pipework::{ClientOptions, PipeName, PipeStream};
use std::{
    collections::BTreeSet,
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

/// Longer than any program needs, even on a busy machine.
pub(crate) const WATCHDOG: Duration = Duration::from_secs(60);

/// The maximum length of an example, in lines.
const LINES_MAX: usize = 240;

/// Every example; the tests run each of them.
const EXAMPLES: [&str; 11] = [
    "accept_loop",
    "axum_http",
    "busy_loop",
    "codecs",
    "hyper_http",
    "language_server",
    "mio_echo",
    "plain_socket",
    "smol_echo",
    "tls",
    "tonic_grpc",
];

/// The result of a program.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    /// Asserts that the program succeeded without stderr output, and returns its stdout.
    #[track_caller]
    pub(crate) fn success(self) -> String {
        assert!(self.status.success() && self.stderr.is_empty(), "{self:?}");
        self.stdout
    }

    /// Asserts that the program failed with exit code 1, and returns its stderr.
    #[track_caller]
    pub(crate) fn failure(self) -> String {
        assert_eq!(self.status.code(), Some(1), "{self:?}");
        self.stderr
    }
}

/// A running program.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Process {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = by_line(child.stdout.take().unwrap());
        let stderr = by_line(child.stderr.take().unwrap());
        Process { stdin: child.stdin.take(), child, stdout, stderr }
    }

    /// Starts a server, and waits until it serves.
    pub(crate) fn serve(command: &mut Command) -> Process {
        let server = Process::start(command);
        let line = server.line();
        assert!(line.starts_with("serving "), "{line:?}");
        server
    }

    /// The next line of its stdout.
    pub(crate) fn line(&self) -> String {
        self.stdout.recv_timeout(WATCHDOG).unwrap_or_else(|error| {
            panic!("no line: {error}; stderr: {:?}", self.stderr.try_iter().collect::<String>())
        })
    }

    /// Closes its stdin, which stops a server, and waits until it exits.
    pub(crate) fn finish(mut self) -> Outcome {
        drop(self.stdin.take());
        self.wait()
    }

    fn wait(mut self) -> Outcome {
        let [stdout, stderr] = [&self.stdout, &self.stderr].map(until_end);
        Outcome { status: self.child.wait().unwrap(), stdout, stderr }
    }
}

impl Drop for Process {
    /// A failed test leaves no process behind.
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Runs a program until it exits.
pub(crate) fn run(command: &mut Command, input: &[u8]) -> Outcome {
    let mut process = Process::start(command);
    let mut stdin = process.stdin.take().unwrap();
    let input = input.to_vec();
    // A program that exits early does not read all of it.
    let writer = thread::spawn(move || stdin.write_all(&input).ok());
    let outcome = process.wait();
    writer.join().unwrap();
    outcome
}

/// Runs several processes of a program at the same time.
pub(crate) fn run_concurrently(count: usize, command: impl Fn() -> Command, input: &[u8]) -> Vec<Outcome> {
    let processes: Vec<_> = (0..count)
        .map(|_| {
            let (mut command, input) = (command(), input.to_vec());
            thread::spawn(move || run(&mut command, &input))
        })
        .collect();
    processes.into_iter().map(|process| process.join().unwrap()).collect()
}

/// Sends each line with its line end. The channel closes at the end of the source.
fn by_line(source: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut source = BufReader::new(source);
        let mut line = String::new();
        while source.read_line(&mut line).unwrap() > 0 && sender.send(line.split_off(0)).is_ok() {}
    });
    receiver
}

fn until_end(lines: &Receiver<String>) -> String {
    let mut text = String::new();
    loop {
        match lines.recv_timeout(WATCHDOG) {
            Ok(line) => text.push_str(&line),
            Err(mpsc::RecvTimeoutError::Disconnected) => return text,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                panic!("it still runs after {WATCHDOG:?}; output so far: {text:?}")
            }
        }
    }
}

/// The command of an example. Cargo puts examples beside the directory of the tests.
pub(crate) fn example(name: &str, args: &[&str]) -> Command {
    let test = env::current_exe().unwrap();
    let products = test.parent().and_then(Path::parent).unwrap();
    let program = products.join("examples").join(format!("{name}{}", env::consts::EXE_SUFFIX));
    assert!(
        program.is_file(),
        "{} is missing; build it: cargo build --package pipework-examples --examples",
        program.display()
    );
    let mut command = Command::new(program);
    command.args(args);
    command
}

/// Connects this process, with a timeout for every call.
pub(crate) fn connect(name: &str) -> PipeStream {
    let pipe = ClientOptions::new().wait_absent(true).timeout(WATCHDOG).connect(name).unwrap();
    pipe.set_read_timeout(Some(WATCHDOG)).unwrap();
    pipe.set_write_timeout(Some(WATCHDOG)).unwrap();
    pipe
}

/// A unique name.
pub(crate) fn unique() -> String {
    PipeName::unique("examples").unwrap().to_string()
}

/// A file of this crate.
pub(crate) fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

pub(crate) fn each_example_is_documented_and_tested() {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(file("examples")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        assert!(text.starts_with("//! "), "{name} does not begin with a description");
        let how = format!("cargo run -p pipework-examples --example {name}");
        assert!(text.contains(&how), "{name} does not have its command line");
        assert!(text.lines().count() < LINES_MAX, "{name} has {LINES_MAX} lines or more");
        found.insert(name);
    }
    assert_eq!(found, EXAMPLES.map(str::to_owned).into());
}

pub(crate) fn a_wrong_argument_is_reported() {
    for name in ["codecs", "hyper_http", "language_server", "plain_socket", "tls", "tonic_grpc"] {
        let complaint = run(&mut example(name, &["nonsense"]), b"").failure();
        assert!(complaint.contains("NAME") || complaint.contains("PATH"), "{name}: {complaint}");
    }
    for name in ["axum_http", "mio_echo"] {
        let complaint = run(&mut example(name, &[]), b"").failure();
        assert!(complaint.contains("NAME"), "{name}: {complaint}");
    }
}
