//! The injector: runs a victim under ptrace, and lets the fault happen at one system call of its step.

use crate::{
    calls::Call,
    conversation::{BEGIN, Conversation, END},
    journal::now,
    plan::Fault,
    process,
};
use nix::{
    errno::Errno,
    sys::{
        ptrace::{self, Options},
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};
use rustix::{
    event::{Timespec, poll},
    process::{Resource, Rlimit, prlimit},
};
use std::{collections::HashMap, io, path::PathBuf, process::ExitCode};

/// How long a victim that stops is stopped.
const STOP: Timespec = Timespec { tv_sec: 0, tv_nsec: 300_000_000 };

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct InjectArgs {
    #[command(flatten)]
    conversation: Conversation,
    #[command(flatten)]
    at: At,
}

/// Injects into a process that is none of this program.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct InjectForeignArgs {
    #[command(flatten)]
    at: At,
    /// The next child of this process is the victim
    #[arg(long)]
    child_of: Option<i32>,
    /// Else this program is, from the first `geteuid` that it makes
    #[arg(last = true)]
    command: Vec<PathBuf>,
}

/// Which call has which fault.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct At {
    /// Which call of the step; 0 counts them
    #[arg(long)]
    call: u32,
    #[arg(long)]
    fault: Option<Fault>,
}

impl At {
    fn words(at: Option<(u32, Fault)>) -> Vec<String> {
        let mut words = vec!["--call".into(), at.map_or(0, |(call, _)| call).to_string()];
        words.extend(at.into_iter().flat_map(|(_, fault)| ["--fault".into(), fault.to_string()]));
        words
    }
}

/// The words that run a victim.
pub(crate) fn words(victim: &Conversation, at: Option<(u32, Fault)>) -> Vec<String> {
    let mut words = victim.words();
    words[0] = "inject".into();
    words.extend(At::words(at));
    words
}

/// The words that run another program as the victim.
pub(crate) fn words_for_program(command: &[String], at: Option<(u32, Fault)>) -> Vec<String> {
    [vec!["inject-foreign".into()], At::words(at), vec!["--".into()], command.to_vec()].concat()
}

/// The words that make a victim of the next child of a process.
pub(crate) fn words_for_child(parent: u32, at: Option<(u32, Fault)>) -> Vec<String> {
    [vec!["inject-foreign".into()], At::words(at), vec!["--child-of".into(), parent.to_string()]].concat()
}

/// What an injector printed.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// The calls of the step, if they were counted.
    pub(crate) calls: Vec<Call>,
    /// The call at which the fault happened.
    pub(crate) at: Option<Call>,
    /// When the victim was killed.
    pub(crate) killed: Option<u64>,
    /// The process that is the victim.
    pub(crate) process: Option<i32>,
    /// The victim's exit code, or what ended it.
    pub(crate) end: String,
}

impl Report {
    pub(crate) fn parse(text: &str) -> Report {
        let mut report = Report::default();
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let call = |number: &str, is_private: &str| {
                Some(Call { number: number.parse().ok()?, is_private_map: is_private == "true" })
            };
            match words.as_slice() {
                ["#call", number, is_private] => report.calls.extend(call(number, is_private)),
                ["#at", number, is_private] => report.at = call(number, is_private),
                ["#killed", time] => report.killed = time.parse().ok(),
                ["#process", id] => report.process = id.parse().ok(),
                ["#end", end] => report.end = (*end).to_owned(),
                _ => {}
            }
        }
        report
    }
}

/// Runs a victim.
pub(crate) fn run(args: &InjectArgs) -> ExitCode {
    process::die_with_parent();
    let victim = Conversation { traced: true, ..args.conversation.clone() };
    let pipes = std::env::var_os("PIPEWORK_DIR").unwrap();
    #[expect(clippy::zombie_processes, reason = "the tracer waits for it, and for its threads, by `waitpid`")]
    let child = process::this_program(&victim.words(), pipes.as_ref()).spawn().unwrap();
    trace(child.id(), &args.at, Count::Marked)
}

/// Runs another program as the victim, or waits for the one that is to be.
pub(crate) fn run_foreign(args: &InjectForeignArgs) -> ExitCode {
    process::die_with_parent();
    if let Some(parent) = args.child_of {
        return end(Tracer::new(None, &args.at, Count::All).run_child_of(Pid::from_raw(parent)));
    }
    let mut words = vec!["program".to_owned(), "--traced".into(), "--".into()];
    words.extend(args.command.iter().map(|word| word.display().to_string()));
    let pipes = std::env::var_os("PIPEWORK_DIR").unwrap();
    #[expect(clippy::zombie_processes, reason = "the tracer waits for it, and for its threads, by `waitpid`")]
    let child = process::this_program(&words, pipes.as_ref()).spawn().unwrap();
    process::say(&format!("#process {}", child.id()));
    trace(child.id(), &args.at, Count::FromGeteuid)
}

fn trace(victim: u32, at: &At, count: Count) -> ExitCode {
    let victim = Pid::from_raw(i32::try_from(victim).unwrap());
    end(Tracer::new(Some(victim), at, count).run(victim))
}

fn end(outcome: nix::Result<String>) -> ExitCode {
    match outcome {
        Ok(end) => {
            process::say(&format!("#end {end}"));
            if end == process::CANNOT.to_string() {
                ExitCode::from(process::CANNOT)
            } else {
                ExitCode::SUCCESS
            }
        }
        Err(errno) => {
            process::say(&format!("#end {errno:?}"));
            ExitCode::FAILURE
        }
    }
}

/// Which calls of a victim count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Count {
    /// Those between the marks.
    Marked,
    /// All that follow the first `geteuid`, with which the gateway's own work begins.
    FromGeteuid,
    All,
}

/// What a thread of the victim is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum In {
    /// A call with no fault, or one that is over when it returns.
    Call,
    /// The call that fails.
    Failing(Errno),
    /// The call after which the victim is killed.
    Dying,
    /// The call during which there are no descriptors; the limit that was there before.
    Starving(Option<u64>),
}

struct Tracer<'a> {
    victim: Option<Pid>,
    at: &'a At,
    counts: Count,
    is_marked: bool,
    count: u32,
    has_happened: bool,
    /// The threads that are in a system call.
    threads: HashMap<Pid, In>,
}

impl<'a> Tracer<'a> {
    fn new(victim: Option<Pid>, at: &'a At, counts: Count) -> Tracer<'a> {
        let is_marked = counts == Count::All;
        Tracer { victim, at, counts, is_marked, count: 0, has_happened: false, threads: HashMap::new() }
    }

    /// Runs the victim, which lets this process trace it, to its end, and says what that was.
    fn run(&mut self, victim: Pid) -> nix::Result<String> {
        match waitpid(victim, Some(WaitPidFlag::__WALL))? {
            WaitStatus::Stopped(..) => {}
            WaitStatus::Exited(_, code) => return Ok(code.to_string()),
            other => return Ok(format!("{other:?}").replace(' ', "")),
        }
        let options = Options::PTRACE_O_TRACESYSGOOD
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_TRACEEXEC
            | Options::PTRACE_O_EXITKILL;
        ptrace::setoptions(victim, options)?;
        ptrace::syscall(victim, None)?;
        self.follow(None)
    }

    /// Waits for the next child of a process, and follows it to its end. The parent goes on without a tracer then.
    fn run_child_of(&mut self, parent: Pid) -> nix::Result<String> {
        let options =
            Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACECLONE | Options::PTRACE_O_TRACEFORK;
        ptrace::seize(parent, options)?;
        process::say("ready");
        self.follow(Some(parent))
    }

    fn follow(&mut self, parent: Option<Pid>) -> nix::Result<String> {
        loop {
            let (thread, signal) = match waitpid(None, Some(WaitPidFlag::__WALL))? {
                WaitStatus::Exited(pid, code) if Some(pid) == self.victim => return Ok(code.to_string()),
                WaitStatus::Signaled(pid, signal, _) if Some(pid) == self.victim => {
                    return Ok(signal.to_string());
                }
                WaitStatus::PtraceSyscall(thread) => {
                    // A thread that was killed meanwhile has no registers any more.
                    self.at_call(thread).or_else(unless_gone)?;
                    (thread, None)
                }
                // New threads stop once; so does who clones.
                WaitStatus::PtraceEvent(thread, ..)
                | WaitStatus::Stopped(thread, Signal::SIGSTOP | Signal::SIGTRAP) => (thread, None),
                WaitStatus::Stopped(thread, signal) => (thread, Some(signal)),
                _ => continue,
            };
            if Some(thread) == parent {
                ptrace::cont(thread, signal).or_else(unless_gone)?;
                continue;
            }
            if self.victim.is_none() {
                process::say(&format!("#process {thread}"));
                self.victim = Some(thread);
            }
            ptrace::syscall(thread, signal).or_else(unless_gone)?;
        }
    }

    /// A thread enters or leaves a system call.
    fn at_call(&mut self, thread: Pid) -> nix::Result<()> {
        if let Some(inside) = self.threads.remove(&thread) {
            return self.leave(thread, inside);
        }
        self.threads.insert(thread, In::Call);
        let mut registers = ptrace::getregs(thread)?;
        let number = libc::c_long::try_from(registers.orig_rax).unwrap_or(-1);
        if number == libc::SYS_getpgid {
            match i32::try_from(registers.rdi) {
                Ok(BEGIN) => self.is_marked = true,
                Ok(END) => self.is_marked = false,
                _ => {}
            }
            return Ok(());
        }
        if self.counts == Count::FromGeteuid && number == libc::SYS_geteuid {
            self.is_marked = true;
        }
        if !self.is_marked || number == libc::SYS_exit_group || number == libc::SYS_exit {
            return Ok(());
        }
        self.count += 1;
        let flags = i32::try_from(registers.r10).unwrap_or(0);
        let is_private_map = number == libc::SYS_mmap && flags & libc::MAP_PRIVATE != 0;
        if self.at.call == 0 {
            process::say(&format!("#call {number} {is_private_map}"));
        }
        // How often a thread waits differs between runs, so this call may be another one than was counted: then a fault that
        // does not happen to it would be none of the kernel's.
        let call = Call { number, is_private_map };
        let is_it = |fault: &Fault| self.is_due() && call.faults().contains(fault);
        let Some(fault) = self.at.fault.filter(is_it) else { return Ok(()) };
        self.has_happened = true;
        process::say(&format!("#at {number} {is_private_map}"));
        match fault {
            Fault::KillBefore => self.kill()?,
            Fault::KillAfter => _ = self.threads.insert(thread, In::Dying),
            Fault::Fail(errno) => {
                // No call has this number, so the kernel does nothing.
                registers.orig_rax = u64::MAX;
                ptrace::setregs(thread, registers)?;
                self.threads.insert(thread, In::Failing(errno));
            }
            Fault::Starve => _ = self.threads.insert(thread, In::Starving(self.limit_descriptors(Some(0))?)),
            // Nobody lets the threads go on.
            Fault::Stop => _ = poll(&mut [], Some(&STOP)),
        }
        Ok(())
    }

    /// Whether the fault is due at this call. In a program with many threads the call may be another one than was counted,
    /// each time: there the next one that can have the fault has it.
    fn is_due(&self) -> bool {
        match self.counts {
            Count::Marked => self.count == self.at.call,
            Count::FromGeteuid | Count::All => {
                self.at.call > 0 && self.count >= self.at.call && !self.has_happened
            }
        }
    }

    fn leave(&self, thread: Pid, inside: In) -> nix::Result<()> {
        match inside {
            In::Call => Ok(()),
            In::Dying => self.kill(),
            In::Starving(limit) => self.limit_descriptors(limit).map(drop),
            In::Failing(errno) => {
                let mut registers = ptrace::getregs(thread)?;
                registers.rax = u64::MAX - u64::from((errno as i32).unsigned_abs()) + 1;
                ptrace::setregs(thread, registers)
            }
        }
    }

    fn kill(&self) -> nix::Result<()> {
        // Noted before, so that no delay is measured too short.
        process::say(&format!("#killed {}", now()));
        self.victim.map_or(Ok(()), |victim| kill(victim, Signal::SIGKILL))
    }

    /// Sets how many descriptors the victim may have; returns what it was.
    fn limit_descriptors(&self, current: Option<u64>) -> nix::Result<Option<u64>> {
        let errno = |error: rustix::io::Errno| Errno::from_raw(error.raw_os_error());
        let pid = self.victim.and_then(|victim| rustix::process::Pid::from_raw(victim.as_raw()));
        let maximum = rustix::process::getrlimit(Resource::Nofile).maximum;
        let before = prlimit(pid, Resource::Nofile, Rlimit { current, maximum }).map_err(errno)?;
        Ok(before.current)
    }
}

/// A thread that was killed between two looks is no error.
fn unless_gone(errno: Errno) -> nix::Result<()> {
    if errno == Errno::ESRCH { Ok(()) } else { Err(errno) }
}

/// The error of an injector that could not run.
pub(crate) fn not_permitted() -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, "ptrace is not permitted here")
}
