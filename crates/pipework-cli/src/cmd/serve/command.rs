//! The command of one client, and the processes that it starts.
//!
//! On Unix the command leads a process group, which ends with it. A process that has left the group, such as a daemon, is
//! no part of the command any more.

use std::{
    ffi::OsStr,
    io,
    process::{ChildStdin, ChildStdout, Command, ExitStatus},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use shared_child::SharedChild;

use crate::failure::Failure;

/// How often a group is checked for processes that are left. Nothing signals the end of a grandchild.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Checks that there is such a program, as far as that is known before it is started.
pub(super) fn check(program: &OsStr) -> Result<(), Failure> {
    system::find(program).map_err(|why| {
        let program = program.to_string_lossy();
        Failure::failed(format!("can't start `{program}`: {why}"))
            .hint("a command line is for a shell: sh -c 'COMMAND'")
    })
}

/// A command that was started.
#[derive(Debug)]
pub(super) struct RunningCommand {
    child: SharedChild,
    /// Whether the command and its group have ended. Then their number may be another's.
    ended: Mutex<bool>,
}

impl RunningCommand {
    pub(super) fn start(command: &mut Command) -> io::Result<RunningCommand> {
        system::lead_a_group(command);
        Ok(RunningCommand { child: SharedChild::spawn(command)?, ended: Mutex::new(false) })
    }

    pub(super) fn take_stdin(&self) -> Option<ChildStdin> {
        self.child.take_stdin()
    }

    pub(super) fn take_stdout(&self) -> Option<ChildStdout> {
        self.child.take_stdout()
    }

    /// Waits until the command has exited. Processes that it started may run on. `None` if its status is not known.
    pub(super) fn wait_until_exited(&self) -> Option<ExitStatus> {
        system::wait_until_exited(&self.child)
    }

    /// Asks all processes of the command to end, where the system can do that.
    pub(super) fn terminate(&self) {
        let ended = self.ended();
        if !*ended {
            system::terminate(&self.child);
        }
    }

    /// Kills all processes of the command.
    pub(super) fn kill(&self) {
        let ended = self.ended();
        if !*ended {
            system::kill(&self.child);
        }
    }

    /// Ends what still runs of the command: gently, and by force from `kill_at` on.
    pub(super) fn end(&self, kill_at: Instant) {
        if system::CAN_TERMINATE && Instant::now() < kill_at {
            self.terminate();
            while Instant::now() < kill_at {
                if self.has_ended() {
                    return;
                }
                thread::park_timeout(POLL_INTERVAL);
            }
        }
        let mut ended = self.ended();
        system::kill(&self.child);
        // Nothing is signalled any more: only then the number is given back.
        *ended = true;
        drop(ended);
        self.child.wait().ok();
    }

    /// Whether the command and its group have ended. A command that has exited is no zombie after this.
    fn has_ended(&self) -> bool {
        let mut ended = self.ended();
        // The number stays the group's as long as one process is in it. It becomes another's between two calls only if the
        // system uses all others meanwhile.
        *ended =
            *ended || (!matches!(self.child.try_wait(), Ok(None)) && system::is_group_empty(&self.child));
        *ended
    }

    /// Whoever signals the command, or gives its number back, holds this meanwhile.
    fn ended(&self) -> MutexGuard<'_, bool> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(unix)]
mod system {
    use std::{
        env,
        ffi::OsStr,
        os::unix::{
            ffi::OsStrExt,
            fs::MetadataExt,
            process::{CommandExt, ExitStatusExt},
        },
        path::Path,
        process::{Command, ExitStatus},
    };

    use rustix::{
        io::Errno,
        process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, test_kill_process_group, waitid},
    };
    use shared_child::SharedChild;

    pub(super) const CAN_TERMINATE: bool = true;

    /// Finds a program as the system does. The error says why there is none.
    pub(super) fn find(program: &OsStr) -> Result<(), &'static str> {
        let is_executable = |path: &Path| {
            path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.mode() & 0o111 != 0)
        };
        if program.as_bytes().contains(&b'/') {
            return match Path::new(program) {
                path if is_executable(path) => Ok(()),
                path if path.exists() => Err("it is not an executable file"),
                _ => Err("there is no such file"),
            };
        }
        // Without it the system has directories of its own.
        let Some(directories) = env::var_os("PATH") else { return Ok(()) };
        let is_found =
            env::split_paths(&directories).any(|directory| is_executable(&directory.join(program)));
        if is_found { Ok(()) } else { Err("it is in no directory of PATH") }
    }

    pub(super) fn lead_a_group(command: &mut Command) {
        command.process_group(0);
    }

    /// Leaves the command a zombie, so that its number stays that of its group until `end`.
    pub(super) fn wait_until_exited(child: &SharedChild) -> Option<ExitStatus> {
        let id = id(child)?;
        let exited = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let status = loop {
            match waitid(WaitId::Pid(id), exited) {
                Err(Errno::INTR) => {}
                status => break status.ok()??,
            }
        };
        // As `wait` returns them.
        let raw = status.exit_status().map(|code| code << 8).or_else(|| status.terminating_signal())?;
        Some(ExitStatus::from_raw(raw))
    }

    pub(super) fn terminate(child: &SharedChild) {
        signal(child, Signal::TERM);
    }

    pub(super) fn kill(child: &SharedChild) {
        signal(child, Signal::KILL);
    }

    /// Of a command that was waited for.
    pub(super) fn is_group_empty(child: &SharedChild) -> bool {
        id(child).is_none_or(|group| test_kill_process_group(group).is_err())
    }

    /// An error means that no process is left, or that it has become another user's.
    fn signal(child: &SharedChild, signal: Signal) {
        if let Some(group) = id(child) {
            kill_process_group(group, signal).ok();
        }
    }

    fn id(child: &SharedChild) -> Option<Pid> {
        i32::try_from(child.id()).ok().and_then(Pid::from_raw)
    }
}

/// A process has no group here that could be ended: only the command itself is.
#[cfg(windows)]
mod system {
    use std::{
        ffi::OsStr,
        process::{Command, ExitStatus},
    };

    use shared_child::SharedChild;

    pub(super) const CAN_TERMINATE: bool = false;

    /// What the system starts depends on more than the path.
    pub(super) fn find(_program: &OsStr) -> Result<(), &'static str> {
        Ok(())
    }

    pub(super) fn lead_a_group(_command: &mut Command) {}

    pub(super) fn wait_until_exited(child: &SharedChild) -> Option<ExitStatus> {
        // An error means that there is no process to wait for.
        child.wait().ok()
    }

    pub(super) fn terminate(_child: &SharedChild) {}

    pub(super) fn kill(child: &SharedChild) {
        // It does nothing if the command has exited.
        child.kill().ok();
    }

    pub(super) fn is_group_empty(_child: &SharedChild) -> bool {
        true
    }
}
