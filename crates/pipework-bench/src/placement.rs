//! The processors that the two processes of a sample run on, and the load that runs beside them.

use std::{
    io,
    process::{Child, ChildStdin, Command, Stdio},
};

use clap::ValueEnum;

use crate::{cpus::Cpus, system};

/// Where both processes run, and what else runs there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Placement {
    /// Wherever the scheduler puts them
    Defaults,
    /// Each process on a core of its own
    Pinned,
    /// Both processes on one core
    OneCore,
    /// Two more processes keep both cores busy
    Busy,
}

impl Placement {
    /// The name in reports and records.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Placement::Defaults => "defaults",
            Placement::Pinned => "pinned to two cores",
            Placement::OneCore => "pinned to one core",
            Placement::Busy => "two busy neighbours",
        }
    }

    /// The processors of the timing process and of its peer process. The error is the reason why this machine can't do it.
    pub(crate) fn cpus(self) -> Result<(Cpus, Cpus), &'static str> {
        const UNKNOWN: &str = "this system does not report which processors a process may run on";

        if self == Placement::Defaults {
            return Ok(Default::default());
        }
        let cpus = system::allowed_cpus().map_err(|_| UNKNOWN)?;
        let (Some(&first), Some(&last)) = (cpus.first(), cpus.last()) else {
            return Err(UNKNOWN);
        };
        match self {
            Placement::OneCore => Ok((Cpus(vec![last]), Cpus(vec![last]))),
            _ if first == last => Err("there is only one processor"),
            Placement::Busy => Ok((Cpus(vec![first, last]), Cpus(vec![first, last]))),
            _ => Ok((Cpus(vec![first]), Cpus(vec![last]))),
        }
    }

    /// Starts the load of this placement. Dropping the result ends it.
    pub(crate) fn start_busy_processes(self) -> io::Result<Vec<BusyProcess>> {
        let count = if self == Placement::Busy { 2 } else { 0 };
        let (cpus, _) = self.cpus().map_err(io::Error::other)?;
        (0..count).map(|_| BusyProcess::start(&cpus)).collect()
    }
}

/// A process that keeps a processor busy.
#[derive(Debug)]
pub(crate) struct BusyProcess {
    process: Child,
    /// The process ends with its stdin, so it also ends if this process is killed.
    _stdin: Option<ChildStdin>,
}

impl BusyProcess {
    fn start(cpus: &Cpus) -> io::Result<BusyProcess> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["busy-process", &cpus.to_string()]).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut process = command.spawn()?;
        let stdin = process.stdin.take();
        Ok(BusyProcess { process, _stdin: stdin })
    }

    /// The main function of such a process.
    pub(crate) fn run(cpus: &Cpus) -> io::Result<()> {
        system::pin(cpus)?;
        std::thread::spawn(|| {
            loop {
                std::hint::spin_loop();
            }
        });
        io::copy(&mut io::stdin(), &mut io::sink()).map(drop)
    }
}

impl Drop for BusyProcess {
    fn drop(&mut self) {
        // An error means that it has ended already.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
