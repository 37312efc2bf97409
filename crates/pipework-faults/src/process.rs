//! Processes: how they are started, watched and ended, and what they hold.

use nix::sys::{ptrace, signal};
use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    thread,
    time::{Duration, Instant},
};

/// The exit code of what can't run here; the last line printed says why.
pub(crate) const CANNOT: u8 = 77;

/// The exit code after an interrupt.
pub(crate) const INTERRUPTED: u8 = 130;

static IS_INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From now on an interrupt does not end this process: what runs is finished, and its directory removed.
pub(crate) fn note_interrupts() {
    ctrlc::set_handler(|| IS_INTERRUPTED.store(true, Ordering::Relaxed)).unwrap();
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
#[derive(Debug)]
pub(crate) struct Held(BTreeMap<String, usize>);

impl Held {
    pub(crate) fn count() -> Held {
        let mut held = BTreeMap::new();
        for entry in fs::read_dir("/proc/self/fd").unwrap() {
            let Ok(target) = fs::read_link(entry.unwrap().path()) else { continue };
            let target = target.display().to_string();
            // One for the process, made on first use.
            if target != "anon_inode:inotify" {
                *held.entry(target.split(":[").next().unwrap_or_default().to_owned()).or_insert(0) += 1;
            }
        }
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        held.insert("mappings".into(), maps.lines().filter(|line| line.contains("memfd:")).count());
        Held(held)
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

/// A process whose lines are read while it runs.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    /// All lines so far.
    pub(crate) text: String,
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
