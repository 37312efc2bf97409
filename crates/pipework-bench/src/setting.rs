//! On which processors the two ends run, and what else runs there.

use std::{
    fmt, io,
    process::{Child, ChildStdin, Command, Stdio},
    str::FromStr,
};

use clap::ValueEnum;

use crate::system;

/// Processors by number; none means wherever the system likes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cpus(pub(crate) Vec<usize>);

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<String> = self.0.iter().map(usize::to_string).collect();
        f.write_str(&numbers.join(","))
    }
}

impl FromStr for Cpus {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Cpus, Self::Err> {
        text.split(',')
            .filter(|number| !number.is_empty())
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map(Cpus)
    }
}

/// What the machine is like for both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Setting {
    /// Wherever the system lets them run
    Defaults,
    /// Each end has a core of its own
    Pinned,
    /// Both ends on one core
    OneCore,
    /// Two busy processes on the two cores of both ends
    Busy,
}

impl Setting {
    /// As in the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Setting::Defaults => "defaults",
            Setting::Pinned => "pinned to two cores",
            Setting::OneCore => "pinned to one core",
            Setting::Busy => "two busy neighbours",
        }
    }

    /// The processors of the near and of the far end; an error says why this setting can't be had here.
    pub(crate) fn place(self) -> Result<(Cpus, Cpus), &'static str> {
        if self == Setting::Defaults {
            return Ok(Default::default());
        }
        let cpus =
            system::cpus().map_err(|_| "this system does not tell on which processors a process may run")?;
        let (Some(&first), Some(&last)) = (cpus.first(), cpus.last()) else {
            return Err("this system does not tell on which processors a process may run");
        };
        match self {
            Setting::OneCore => Ok((Cpus(vec![last]), Cpus(vec![last]))),
            _ if first == last => Err("there is only one processor"),
            Setting::Busy => Ok((Cpus(vec![first, last]), Cpus(vec![first, last]))),
            _ => Ok((Cpus(vec![first]), Cpus(vec![last]))),
        }
    }

    /// Starts what else runs; it ends when the result is dropped.
    pub(crate) fn start_neighbours(self) -> io::Result<Vec<Neighbour>> {
        let count = if self == Setting::Busy { 2 } else { 0 };
        let (cpus, _) = self.place().map_err(io::Error::other)?;
        (0..count).map(|_| Neighbour::start(&cpus)).collect()
    }
}

/// A process that is always busy.
#[derive(Debug)]
pub(crate) struct Neighbour {
    process: Child,
    /// Its end tells the process to end, also if this one was killed.
    _life: Option<ChildStdin>,
}

impl Neighbour {
    fn start(cpus: &Cpus) -> io::Result<Neighbour> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["neighbour", &cpus.to_string()]).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut process = command.spawn()?;
        let life = process.stdin.take();
        Ok(Neighbour { process, _life: life })
    }

    /// What such a process does.
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

impl Drop for Neighbour {
    fn drop(&mut self) {
        // Errors here mean that it has ended already.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
