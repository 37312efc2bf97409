//! Runs the tool in a place of its own, and never waits for ever.

use std::{
    any::type_name,
    ffi::{OsStr, OsString},
    fs,
    io::{BufRead, BufReader, Read, Write},
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

/// What takes longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// One test.
pub(crate) struct Test {
    name: &'static str,
    run: Box<dyn Fn() + Send>,
    /// Why it is not run, if it is not.
    skipped: Option<&'static str>,
}

/// The test that a function is.
pub(crate) fn test<F: Fn() + Send + 'static>(run: F) -> Test {
    let path = type_name::<F>();
    Test { name: path.split_once("::").map_or(path, |(_, name)| name), run: Box::new(run), skipped: None }
}

impl Test {
    /// Skips it, where this is so.
    pub(crate) fn skipped_if(self, condition: bool, why: &'static str) -> Test {
        Test { skipped: self.skipped.or(condition.then_some(why)), ..self }
    }

    /// Skips it for this reason, if there is one.
    #[cfg(all(target_os = "linux", feature = "remote"))]
    pub(crate) fn skipped_for(self, why: Option<String>) -> Test {
        Test { skipped: self.skipped.or(why.map(|why| &*why.leak())), ..self }
    }

    /// For what the systems other than Unix don't have.
    pub(crate) fn only_on_unix(self, why: &'static str) -> Test {
        self.skipped_if(cfg!(not(unix)), why)
    }

    /// For what needs the list of all pipes.
    pub(crate) fn with_list(self) -> Test {
        self.skipped_if(is_wine(), "Wine can't list pipes (it answers with error 66)")
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

/// Whether this is Wine, which brings a program that Windows does not have.
pub(crate) fn is_wine() -> bool {
    cfg!(windows) && Path::new(r"C:\windows\system32\winecfg.exe").exists()
}

/// A directory for the pipes and the files of one test.
pub(crate) struct Place {
    dir: TempDir,
}

impl Place {
    pub(crate) fn new() -> Place {
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix("pw-");
        // Short, because names become socket paths.
        let dir = if cfg!(unix) { builder.tempdir_in("/tmp") } else { builder.tempdir() }.unwrap();
        fs::create_dir(dir.path().join("files")).unwrap();
        Place { dir }
    }

    /// The name of a pipe of this test. Where pipes belong to the whole computer, the name tells whose it is.
    pub(crate) fn pipe(&self, name: &str) -> String {
        if cfg!(unix) { name.to_owned() } else { format!("{name}-{}", self.tag()) }
    }

    fn tag(&self) -> &str {
        self.dir.path().file_name().unwrap().to_str().unwrap()
    }

    /// Where the pipes live on Unix; the tool makes it.
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
        own_console(&mut command);
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
        Place::serving(self.command([&["serve"], args].concat()))
    }

    /// Starts `pipework serve` with this command for each client, and waits until it serves.
    pub(crate) fn serve_with(&self, args: &[&str], command: &[&str]) -> Running {
        let line = [OsString::from("serve")].into_iter().chain(args.iter().map(OsString::from));
        let line = line.chain([OsString::from("--")]).chain(program(command));
        Place::serving(self.command(line))
    }

    fn serving(command: Command) -> Running {
        let mut server = Running::start(command);
        let line = server.stderr_line();
        assert!(line.starts_with("pipework: serving "), "{line}");
        server
    }

    /// Starts `pipework connect` and holds its stdin open.
    pub(crate) fn connect(&self, args: &[&str]) -> Running {
        Running::start_with_stdin(self.command([&["connect"], args].concat()))
    }

    /// What `pipework list --json` says of the pipes of this test.
    pub(crate) fn list(&self) -> Vec<Value> {
        let all: Vec<Value> = serde_json::from_str(&self.run(["list", "--json"]).success()).unwrap();
        let is_ours = |entry: &Value| cfg!(unix) || entry["name"].as_str().unwrap().contains(self.tag());
        all.into_iter().filter(is_ours).collect()
    }

    /// Looks until there is a pipe; on Unix, where all that are here are of this test.
    pub(crate) fn until_listed(&self) {
        let deadline = Instant::now() + PATIENCE;
        while self.list().is_empty() {
            assert!(Instant::now() < deadline, "no pipe was made");
        }
    }

    /// Asserts that nothing is left of any pipe; the lock of the place stays. Elsewhere the system sees to that.
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

    /// Asks it to end, as Ctrl-C does.
    #[cfg(unix)]
    pub(crate) fn interrupt(&self) {
        self.signal("INT");
    }

    /// Asks it to end, as Ctrl-C does.
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

    /// Ends it as a crash would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
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

/// A console that nobody sees, so that Ctrl-C at it reaches no other test.
#[cfg(windows)]
fn own_console(command: &mut Command) {
    use std::os::windows::process::CommandExt;
    command.creation_flags(windows_sys::Win32::System::Threading::CREATE_NO_WINDOW);
}

/// A signal reaches one process.
#[cfg(unix)]
fn own_console(_command: &mut Command) {}
