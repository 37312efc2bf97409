//! The processes of a crowd: how they are started, stopped and counted.

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use pipework::{NamedPipe, PipeMode};
use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, ExitCode, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

const ROLE: &str = "PIPEWORK_STRESS_ROLE";
const MODE: &str = "PIPEWORK_STRESS_MODE";
const NAME: &str = "PIPEWORK_STRESS_NAME";
const COUNT: &str = "PIPEWORK_STRESS_COUNT";
const JOURNAL: &str = "PIPEWORK_STRESS_JOURNAL";
const DIRECTORY: &str = "PIPEWORK_DIR";

/// What a process of the crowd is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Server,
    Client,
    /// Comes when all servers were killed.
    Heir,
}

impl Role {
    fn word(self) -> &'static str {
        match self {
            Role::Server => "server",
            Role::Client => "client",
            Role::Heir => "heir",
        }
    }
}

/// What this process is; `None` is the test itself.
pub(crate) fn role() -> Option<Role> {
    let word = std::env::var(ROLE).ok()?;
    [Role::Server, Role::Client, Role::Heir].into_iter().find(|role| role.word() == word)
}

/// The parameters of all processes of a crowd.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) mode: PipeMode,
    pub(crate) name: String,
    /// Connections of each client; none is "until stopped".
    pub(crate) count: Option<u32>,
    /// Where the journals are, if any are kept.
    pub(crate) journal: Option<PathBuf>,
}

impl Plan {
    fn from_environment() -> Plan {
        let variable = |name| std::env::var(name).ok();
        Plan {
            mode: if variable(MODE).unwrap() == "message" { PipeMode::Message } else { PipeMode::Byte },
            name: variable(NAME).unwrap(),
            count: variable(COUNT).map(|count| count.parse().unwrap()),
            journal: variable(JOURNAL).map(PathBuf::from),
        }
    }
}

/// A directory for the pipes of one crowd, and one for its journals.
pub(crate) struct Home {
    directory: tempfile::TempDir,
}

impl Home {
    pub(crate) fn new() -> Home {
        let directory = tempfile::Builder::new().prefix("pipework-stress-").tempdir().unwrap();
        for leaf in ["pipes", "journal"] {
            fs::DirBuilder::new().mode(0o700).create(directory.path().join(leaf)).unwrap();
        }
        Home { directory }
    }

    pub(crate) fn pipes(&self) -> PathBuf {
        self.directory.path().join("pipes")
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.directory.path().join("journal")
    }

    pub(crate) fn start(&self, role: Role, plan: &Plan) -> Member {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .env(DIRECTORY, self.pipes())
            .env(ROLE, role.word())
            .env(MODE, if plan.mode == PipeMode::Message { "message" } else { "byte" })
            .env(NAME, &plan.name)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if let Some(count) = plan.count {
            command.env(COUNT, count.to_string());
        }
        if let Some(journal) = &plan.journal {
            command.env(JOURNAL, journal);
        }
        let mut child = command.spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Member { role, id: child.id(), child, stdin: Some(stdin), stdout: BufReader::new(stdout) }
    }
}

/// A process of the crowd, seen from the test.
pub(crate) struct Member {
    pub(crate) role: Role,
    pub(crate) id: u32,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Member {
    /// Waits for the next line that it says.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Waits until it is done of its own accord: all that it said, and how it ended.
    pub(crate) fn finish_when_done(mut self) -> (String, ExitStatus) {
        let mut text = String::new();
        self.stdout.read_to_string(&mut text).unwrap();
        (text, self.child.wait().unwrap())
    }

    /// Asks it to stop: its input ends.
    pub(crate) fn ask_to_stop(&mut self) {
        self.stdin = None;
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    /// Stops it for a while.
    pub(crate) fn stop(&self) -> Stopped {
        let id = Pid::from_raw(i32::try_from(self.id).unwrap());
        kill(id, Signal::SIGSTOP).unwrap();
        Stopped(id)
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    pub(crate) fn reap(&mut self) {
        self.child.wait().unwrap();
    }
}

/// A process that is stopped as long as this lives.
pub(crate) struct Stopped(Pid);

impl Drop for Stopped {
    fn drop(&mut self) {
        // It fails where the process was killed meanwhile.
        kill(self.0, Signal::SIGCONT).ok();
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // Of a test that failed; else it has ended, and nothing happens.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Signals a process of the crowd to stop.
#[derive(Clone, Debug)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    pub(crate) fn is_asked(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Runs a process of the crowd: until its input ends, if it is not done before.
pub(crate) fn run(work: fn(&Plan, &Stop)) -> ExitCode {
    // A panic in any thread is the end, and the test sees the exit code.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::exit(101);
    }));
    let stop = Stop(Arc::default());
    let signalled = stop.clone();
    thread::spawn(move || {
        // An error is an end too.
        drop(std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
        signalled.0.store(true, Ordering::Release);
    });
    work(&Plan::from_environment(), &stop);
    ExitCode::SUCCESS
}

pub(crate) fn say(line: &str) {
    let mut stdout = std::io::stdout().lock();
    // It fails when the test has ended, and then nobody wants to know.
    drop(writeln!(stdout, "{line}"));
}

/// The resources of a process, where there is `/proc`; else nothing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Held {
    descriptors: BTreeMap<String, usize>,
    mappings: usize,
}

/// Made by a process on first use, and of use to all later calls.
const PROCESS_WIDE: &str = "anon_inode:inotify";
const SETTLE: Duration = Duration::from_secs(20);

impl Held {
    pub(crate) fn count() -> Held {
        let mut descriptors = BTreeMap::new();
        for entry in fs::read_dir("/proc/self/fd").into_iter().flatten() {
            let Ok(target) = fs::read_link(entry.unwrap().path()) else { continue };
            let target = target.display().to_string();
            // Journals are opened once for each thread that needs one.
            if target != PROCESS_WIDE && !target.contains("/journal/") {
                let kind = target.split(":[").next().unwrap_or_default().to_owned();
                *descriptors.entry(kind).or_insert(0) += 1;
            }
        }
        let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
        Held { descriptors, mappings: maps.lines().filter(|line| line.contains("memfd:")).count() }
    }

    /// Fails unless the process holds what it held then.
    pub(crate) fn expect_again(&self) {
        let start = Instant::now();
        loop {
            let now = Held::count();
            if now == *self {
                return;
            }
            assert!(start.elapsed() < SETTLE, "a survivor leaks:\nbefore {self:?}\nafter  {now:?}");
            thread::yield_now();
        }
    }
}

/// Makes what a process makes once, so that it is there before the first count.
pub(crate) fn warm_up() {
    let error = NamedPipe::wait("no-such-pipe", Some(Duration::ZERO)).unwrap_err();
    assert_eq!(error, pipework::PipeErrorKind::Absent);
}

/// What lies in the directory of pipes besides the lock.
pub(crate) fn files_left(pipes: &Path) -> Vec<PathBuf> {
    let all = fs::read_dir(pipes).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| !path.ends_with(".lock")).collect()
}
