//! Processes: how they are started, watched and ended, and what they hold.

use nix::sys::{ptrace, signal};
use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, ExitCode, ExitStatus, Stdio},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    thread,
    time::{Duration, Instant},
};

/// The exit code of what can't run here; the last line printed says why.
pub(crate) const CANNOT: u8 = 77;

/// How long counts may take to settle.
const SETTLE: Duration = Duration::from_secs(10);

/// The exit code after an interrupt.
pub(crate) const INTERRUPTED: u8 = 130;

static IS_INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From now on an interrupt does not end this process: what runs is finished, and its directory removed.
pub(crate) fn note_interrupts() {
    ctrlc::set_handler(|| IS_INTERRUPTED.store(true, Ordering::Relaxed)).unwrap();
}

/// How many points run at once unless something else is asked for.
pub(crate) fn processors() -> usize {
    thread::available_parallelism().map_or(2, usize::from)
}

pub(crate) fn is_interrupted() -> bool {
    IS_INTERRUPTED.load(Ordering::Relaxed)
}

/// Ends this process when its parent ends, however that ends.
pub(crate) fn die_with_parent() {
    nix::sys::prctl::set_pdeathsig(signal::Signal::SIGKILL).unwrap();
}

/// Lets the parent trace this process, and stops until it does. `false`: that is not permitted here.
pub(crate) fn let_parent_trace() -> bool {
    ptrace::traceme().and_then(|()| signal::raise(signal::Signal::SIGSTOP)).is_ok()
}

/// Prints a line. It fails when the driver has ended, and then nobody reads it.
pub(crate) fn say(line: &str) {
    writeln!(std::io::stdout().lock(), "{line}").ok();
}

/// The descriptors of this process by their kind, and its mappings of shared memory.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Held(BTreeMap<String, usize>);

impl Held {
    pub(crate) fn count() -> Held {
        Held::of("self")
    }

    /// The same of another process; one that has ended holds nothing.
    pub(crate) fn of(process: &str) -> Held {
        let mut held = BTreeMap::new();
        for entry in fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten() {
            let Ok(target) = fs::read_link(entry.path()) else { continue };
            let target = target.display().to_string();
            // One for the process, made on first use.
            if target != "anon_inode:inotify" {
                *held.entry(target.split(":[").next().unwrap_or_default().to_owned()).or_insert(0) += 1;
            }
        }
        let maps = fs::read_to_string(format!("/proc/{process}/maps")).unwrap_or_default();
        held.insert("mappings".into(), maps.lines().filter(|line| line.contains("memfd:")).count());
        Held(held)
    }

    /// Counts until there is no more than before, or time is over: the last remote pipe of a process ends its session
    /// a moment after it was closed.
    pub(crate) fn settle(process: &str, before: &Held) -> Held {
        let begun = Instant::now();
        loop {
            let held = Held::of(process);
            if !held.is_more_than(before) || begun.elapsed() > SETTLE {
                return held;
            }
            thread::park_timeout(Duration::from_millis(5));
        }
    }

    pub(crate) fn is_more_than(&self, before: &Held) -> bool {
        self.0.iter().any(|(kind, count)| *count > before.0.get(kind).copied().unwrap_or(0))
    }
}

/// This program again, in another role.
pub(crate) fn this_program(words: &[String], pipes: &Path) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("pipework-faults").args(words).env("PIPEWORK_DIR", pipes).stdin(Stdio::null());
    // An interrupt of the terminal is for the driver alone.
    command.process_group(0);
    command
}

/// Another program, which ends with its parent.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ProgramArgs {
    /// Be traced by the parent process
    #[arg(long)]
    traced: bool,
    #[arg(last = true)]
    command: Vec<OsString>,
}

/// Becomes that program.
pub(crate) fn become_program(args: &ProgramArgs) -> ExitCode {
    die_with_parent();
    if args.traced && !let_parent_trace() {
        return ExitCode::from(CANNOT);
    }
    let Some((program, words)) = args.command.split_first() else { return ExitCode::FAILURE };
    let error = Command::new(program).args(words).exec();
    eprintln!("{}: {error}", program.display());
    ExitCode::FAILURE
}

/// A process whose lines are read while it runs.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    /// All lines so far.
    text: String,
}

impl Running {
    /// Starts it; what it prints to stderr goes to the file.
    pub(crate) fn start(mut command: Command, stderr: &Path) -> Running {
        let stderr = fs::OpenOptions::new().create(true).append(true).open(stderr).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(stderr).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in stdout.lines() {
                let Ok(line) = line else { return };
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Running { child, lines, text: String::new() }
    }

    /// Reads lines until one is this one. `false`: the output ended before, or nothing came in time.
    pub(crate) fn wait_for(&mut self, wanted: &str, timeout: Duration) -> bool {
        let begun = Instant::now();
        while let Ok(line) = self.lines.recv_timeout(timeout.saturating_sub(begun.elapsed())) {
            self.keep(&line);
            if line == wanted {
                return true;
            }
        }
        false
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// All that it has printed by now.
    pub(crate) fn text(&mut self) -> &str {
        while let Ok(line) = self.lines.try_recv() {
            self.keep(&line);
        }
        &self.text
    }

    fn keep(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// Waits for its end; none is that it did not end in time, and was killed.
    pub(crate) fn finish(mut self, timeout: Duration) -> (Option<ExitStatus>, String) {
        let begun = Instant::now();
        loop {
            match self.lines.recv_timeout(timeout.saturating_sub(begun.elapsed())) {
                Ok(line) => self.keep(&line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    self.kill();
                    return (None, std::mem::take(&mut self.text));
                }
            }
        }
        (self.child.wait().ok(), std::mem::take(&mut self.text))
    }

    fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that was not waited for; else nothing happens.
        self.kill();
    }
}
