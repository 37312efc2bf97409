//! Runs the tool in a new directory, with a timeout for every wait.

use std::{
    any::type_name,
    ffi::{OsStr, OsString},
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use libtest_mimic::{Completion, Trial};
use serde_json::Value;
use tempfile::TempDir;

use crate::programs::program;

/// A wait that takes longer than this fails.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

/// One test.
pub(crate) struct Test {
    name: &'static str,
    run: Box<dyn Fn() + Send>,
    /// Why the test is skipped, if it is.
    skipped: Option<&'static str>,
}

/// Makes a test of a function.
pub(crate) fn test<F: Fn() + Send + 'static>(run: F) -> Test {
    let path = type_name::<F>();
    Test { name: path.split_once("::").map_or(path, |(_, name)| name), run: Box::new(run), skipped: None }
}

impl Test {
    /// Skips the test under this condition.
    pub(crate) fn skipped_if(self, condition: bool, why: &'static str) -> Test {
        Test { skipped: self.skipped.or(condition.then_some(why)), ..self }
    }

    /// Skips the test if there is a reason.
    #[cfg(all(target_os = "linux", feature = "remote"))]
    pub(crate) fn skipped_for(self, why: Option<String>) -> Test {
        Test { skipped: self.skipped.or(why.map(|why| &*why.leak())), ..self }
    }

    /// Skips the test on other systems than Unix.
    pub(crate) fn only_on_unix(self, why: &'static str) -> Test {
        self.skipped_if(cfg!(not(unix)), why)
    }

    /// Skips the test where pipes can't be listed.
    pub(crate) fn with_list(self) -> Test {
        self.skipped_if(is_wine(), "Wine can't list pipes (it reports error 66)")
    }

    pub(crate) fn trial(self) -> Trial {
        Trial::ignorable_test(self.name, move || {
            if let Some(why) = self.skipped {
                return Ok(Completion::ignored_with(why));
            }
            (self.run)();
            Ok(Completion::Completed)
        })
    }
}

/// Whether this is Wine, which has a program that Windows does not have.
pub(crate) fn is_wine() -> bool {
    cfg!(windows) && Path::new(r"C:\windows\system32\winecfg.exe").exists()
}

/// A directory for the pipes and the files of one test.
pub(crate) struct TestDir {
    dir: TempDir,
}

/// The tool, whose signals do what they do by default: the tests may run under `nohup` or as a background job.
fn tool() -> Command {
    let tool = env!("CARGO_BIN_EXE_pipework");
    if !cfg!(unix) {
        return Command::new(tool);
    }
    let mut command = Command::new("env");
    command.args(["--default-signal=HUP,INT,TERM", tool]);
    command
}

impl TestDir {
    pub(crate) fn new() -> TestDir {
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix("pw-");
        // Short, because names become socket paths.
        let dir = if cfg!(unix) { builder.tempdir_in("/tmp") } else { builder.tempdir() }.unwrap();
        fs::create_dir(dir.path().join("files")).unwrap();
        fs::create_dir(dir.path().join("pipes")).unwrap();
        TestDir { dir }
    }

    /// The name of a pipe of this test. Where pipe names are global, the name includes that of the test's directory.
    pub(crate) fn pipe(&self, name: &str) -> String {
        if cfg!(unix) { name.to_owned() } else { format!("{name}-{}", self.tag()) }
    }

    fn tag(&self) -> &str {
        self.dir.path().file_name().unwrap().to_str().unwrap()
    }

    /// The directory of the pipes on Unix.
    pub(crate) fn pipes(&self) -> PathBuf {
        self.dir.path().join("pipes")
    }

    /// A path for a file of this test.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join("files").join(name)
    }

    pub(crate) fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = tool();
        command.args(args).env("PIPEWORK_DIR", self.pipes()).env_remove("XDG_RUNTIME_DIR");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        own_console(&mut command);
        command
    }

    /// Runs the tool until it exits, with an empty stdin.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ended {
        Running::start(self.command(args)).end()
    }

    /// Runs the tool until it exits, with these bytes as stdin, which have to fit into a pipe's buffer.
    pub(crate) fn run_with<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>, stdin: &[u8]) -> Ended {
        let mut running = Running::start_with_stdin(self.command(args));
        running.stdin().write_all(stdin).unwrap();
        running.end()
    }

    /// Starts `pipework serve` and waits until it serves.
    pub(crate) fn serve(&self, args: &[&str]) -> Running {
        TestDir::serving(self.command([&["serve"], args].concat()))
    }

    /// Starts `pipework serve` with this command for each client, and waits until it serves.
    pub(crate) fn serve_with(&self, args: &[&str], command: &[&str]) -> Running {
        let line = [OsString::from("serve")].into_iter().chain(args.iter().map(OsString::from));
        let line = line.chain([OsString::from("--")]).chain(program(command));
        TestDir::serving(self.command(line))
    }

    /// Starts this `pipework serve`, and waits until it serves.
    pub(crate) fn serving(command: Command) -> Running {
        let mut server = Running::start(command);
        let line = server.stderr_line();
        assert!(line.starts_with("pipework: serving "), "{line}");
        server
    }

    /// Starts `pipework connect` and keeps its stdin open.
    pub(crate) fn connect(&self, args: &[&str]) -> Running {
        Running::start_with_stdin(self.command([&["connect"], args].concat()))
    }

    /// The pipes of this test, from `pipework list --json`.
    pub(crate) fn list(&self) -> Vec<Value> {
        let all: Vec<Value> = serde_json::from_str(&self.run(["list", "--json"]).success()).unwrap();
        let is_ours = |entry: &Value| cfg!(unix) || entry["name"].as_str().unwrap().contains(self.tag());
        all.into_iter().filter(is_ours).collect()
    }

    /// Waits until a pipe is listed. On Unix only, where the list has only the pipes of this test.
    pub(crate) fn until_listed(&self) {
        let deadline = Instant::now() + TIMEOUT;
        while self.list().is_empty() {
            assert!(Instant::now() < deadline, "no pipe was created");
        }
    }

    /// Asserts that no pipe has left a file, except the lock of the directory. On other systems pipes have no files.
    pub(crate) fn assert_clean(&self) {
        if cfg!(not(unix)) {
            return;
        }
        assert_eq!(self.list(), [Value::Null; 0]);
        let left: Vec<_> =
            fs::read_dir(self.pipes()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        let left: Vec<_> = left.into_iter().filter(|name| name != ".lock").collect();
        assert_eq!(left, [""; 0]);
    }
}

/// The result of a process.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit code; `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Ended {
    /// Asserts that the process succeeded, and returns its stdout.
    pub(crate) fn success(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        String::from_utf8(self.stdout).unwrap()
    }

    /// Asserts the exit code, a text in stderr, and an empty stdout.
    pub(crate) fn failure(&self, code: i32, text: &str) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(self.stderr.contains(text), "{self:?}");
        assert!(self.stderr.starts_with("pipework: "), "{self:?}");
        assert!(self.stdout.is_empty(), "{self:?}");
    }
}

/// Starts a process. Wine on a busy machine fails to, once in some thousand times, by an error that Windows does not give.
fn started(command: &mut Command) -> io::Result<Child> {
    const INTERNAL_ERROR: i32 = 1359;
    const TRIES: usize = 3;
    for _ in 1..TRIES {
        match command.spawn() {
            Err(error) if cfg!(windows) && error.raw_os_error() == Some(INTERNAL_ERROR) => {}
            outcome => return outcome,
        }
    }
    command.spawn()
}

/// A process that is killed at the end of its test.
pub(crate) struct Running {
    child: Child,
    /// Lines of stderr.
    lines: mpsc::Receiver<String>,
    /// Pieces of stdout.
    output: mpsc::Receiver<Vec<u8>>,
    /// Bytes of stdout that were received but not returned yet.
    ahead: Vec<u8>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Running {
        let mut child = started(&mut command).unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (line_sender, lines) = mpsc::channel();
        thread::spawn(move || {
            stderr.lines().map_while(Result::ok).try_for_each(|line| line_sender.send(line))
        });
        let (output_sender, output) = mpsc::channel();
        if let Some(mut stdout) = child.stdout.take() {
            thread::spawn(move || {
                let mut buffer = vec![0; 1 << 16];
                while let Ok(len @ 1..) = stdout.read(&mut buffer) {
                    if output_sender.send(buffer[..len].to_vec()).is_err() {
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

    /// The next line of its stderr.
    pub(crate) fn stderr_line(&mut self) -> String {
        self.lines.recv_timeout(TIMEOUT).expect("a line on stderr")
    }

    pub(crate) fn stdin(&mut self) -> &mut ChildStdin {
        self.child.stdin.as_mut().unwrap()
    }

    /// The next bytes of its stdout.
    pub(crate) fn stdout(&mut self, len: usize) -> Vec<u8> {
        while self.ahead.len() < len {
            self.ahead.extend(self.output.recv_timeout(TIMEOUT).expect("more on stdout"));
        }
        self.ahead.drain(..len).collect()
    }

    /// Sends it what Ctrl-C sends.
    #[cfg(unix)]
    pub(crate) fn interrupt(&self) {
        self.signal("INT");
    }

    /// Sends it what Ctrl-C sends.
    #[cfg(windows)]
    pub(crate) fn interrupt(&self) {
        let line = program(&["interrupt", &self.id().to_string()]);
        assert!(Command::new(&line[0]).args(&line[1..]).status().unwrap().success());
    }

    #[cfg(unix)]
    pub(crate) fn signal(&self, signal: &str) {
        let script = format!("kill -{signal} {}", self.id());
        assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
    }

    /// Kills it, as a crash would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    /// Closes its stdin and waits until it exits.
    pub(crate) fn end(mut self) -> Ended {
        drop(self.child.stdin.take());
        let mut stdout = std::mem::take(&mut self.ahead);
        // The channels close when the process closes its stdout and stderr.
        let closed = mpsc::RecvTimeoutError::Disconnected;
        let output_end = loop {
            match self.output.recv_timeout(TIMEOUT) {
                Ok(piece) => stdout.extend(piece),
                Err(end) => break end,
            }
        };
        assert_eq!(output_end, closed, "stdout does not end");
        let mut stderr = String::new();
        let lines_end = loop {
            match self.lines.recv_timeout(TIMEOUT) {
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
        // Both do nothing if the process has exited.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Gives the process a hidden console, so that its Ctrl-C reaches no other test.
#[cfg(windows)]
fn own_console(command: &mut Command) {
    use std::os::windows::process::CommandExt;
    command.creation_flags(windows_sys::Win32::System::Threading::CREATE_NO_WINDOW);
}

/// On Unix a signal reaches one process only.
#[cfg(unix)]
fn own_console(_command: &mut Command) {}
