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
use std::{collections::HashMap, io, process::ExitCode};

/// How long a victim that stops is stopped.
const STOP: Timespec = Timespec { tv_sec: 0, tv_nsec: 300_000_000 };

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct InjectArgs {
    #[command(flatten)]
    conversation: Conversation,
    /// Which call of the step; 0 counts them
    #[arg(long)]
    pub(crate) call: u32,
    #[arg(long)]
    pub(crate) fault: Option<Fault>,
}

/// The words that run a victim.
pub(crate) fn words(victim: &Conversation, at: Option<(u32, Fault)>) -> Vec<String> {
    let mut words = victim.words();
    words[0] = "inject".into();
    let call = at.map_or(0, |(call, _)| call);
    words.extend(["--call".into(), call.to_string()]);
    words.extend(at.into_iter().flat_map(|(_, fault)| ["--fault".into(), fault.to_string()]));
    words
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
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    let mut tracer = Tracer { victim: pid, args, is_marked: false, count: 0, threads: HashMap::new() };
    match tracer.run() {
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
    victim: Pid,
    args: &'a InjectArgs,
    is_marked: bool,
    count: u32,
    /// The threads that are in a system call.
    threads: HashMap<Pid, In>,
}

impl Tracer<'_> {
    /// Runs the victim to its end, and says what that was.
    fn run(&mut self) -> nix::Result<String> {
        let all = Some(WaitPidFlag::__WALL);
        match waitpid(self.victim, all)? {
            WaitStatus::Stopped(..) => {}
            WaitStatus::Exited(_, code) => return Ok(code.to_string()),
            other => return Ok(format!("{other:?}").replace(' ', "")),
        }
        let options = Options::PTRACE_O_TRACESYSGOOD
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_TRACEEXEC
            | Options::PTRACE_O_EXITKILL;
        ptrace::setoptions(self.victim, options)?;
        ptrace::syscall(self.victim, None)?;
        loop {
            let (thread, signal) = match waitpid(None, all)? {
                WaitStatus::Exited(pid, code) if pid == self.victim => return Ok(code.to_string()),
                WaitStatus::Signaled(pid, signal, _) if pid == self.victim => return Ok(signal.to_string()),
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
        if !self.is_marked || number == libc::SYS_exit_group || number == libc::SYS_exit {
            return Ok(());
        }
        self.count += 1;
        let flags = i32::try_from(registers.r10).unwrap_or(0);
        let is_private_map = number == libc::SYS_mmap && flags & libc::MAP_PRIVATE != 0;
        if self.args.call == 0 {
            process::say(&format!("#call {number} {is_private_map}"));
        }
        // How often a thread waits differs between runs, so this call may be another one than was counted: then a fault that
        // does not happen to it would be none of the kernel's.
        let call = Call { number, is_private_map };
        let is_it = |fault: &Fault| self.count == self.args.call && call.faults().contains(fault);
        let Some(fault) = self.args.fault.filter(is_it) else { return Ok(()) };
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
        kill(self.victim, Signal::SIGKILL)
    }

    /// Sets how many descriptors the victim may have; returns what it was.
    fn limit_descriptors(&self, current: Option<u64>) -> nix::Result<Option<u64>> {
        let errno = |error: rustix::io::Errno| Errno::from_raw(error.raw_os_error());
        let pid = rustix::process::Pid::from_raw(self.victim.as_raw());
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
