//! The arguments of a sample. Both processes of the sample get the same.

use std::{io, process::Command, time::Duration};

use clap::Args;

use crate::cpus::Cpus;

/// One sample of one competitor.
#[derive(Clone, Debug, Args)]
pub(crate) struct SampleArgs {
    /// The competitor's name.
    #[arg(long)]
    pub(crate) competitor: String,
    /// The measure's name.
    #[arg(long)]
    pub(crate) measure: String,
    /// Duration of the timed part, in milliseconds.
    #[arg(long)]
    pub(crate) millis: u32,
    /// For how long the processor time of idle connections is counted, in milliseconds.
    #[arg(long)]
    pub(crate) idle_millis: u32,
    /// The largest number of idle connections.
    #[arg(long)]
    pub(crate) connections_max: u32,
    /// The processors of the timing process.
    #[arg(long, default_value = "")]
    pub(crate) timer_cpus: Cpus,
    /// The processors of the peer process.
    #[arg(long, default_value = "")]
    pub(crate) peer_cpus: Cpus,
    /// The address to connect to; empty if stdin and stdout are the connection.
    #[arg(long, default_value = "")]
    pub(crate) address: String,
    /// The process that started this one.
    #[arg(long, default_value = "0")]
    pub(crate) parent: u32,
}

/// The subcommand of the process that times.
pub(crate) const TIMING_PROCESS: &str = "sample";

/// The subcommand of the process that it connects to.
pub(crate) const PEER_PROCESS: &str = "peer-process";

impl SampleArgs {
    /// Duration of the timed part.
    pub(crate) fn budget(&self) -> Duration {
        Duration::from_millis(self.millis.into())
    }

    /// For how long the processor time of idle connections is counted.
    pub(crate) fn idle_time(&self) -> Duration {
        Duration::from_millis(self.idle_millis.into())
    }

    /// This program with a subcommand that takes these arguments.
    pub(crate) fn command(&self, subcommand: &str) -> io::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(subcommand);
        let parent = std::process::id().to_string();
        for (option, value) in [
            ("--competitor", &self.competitor),
            ("--measure", &self.measure),
            ("--millis", &self.millis.to_string()),
            ("--idle-millis", &self.idle_millis.to_string()),
            ("--connections-max", &self.connections_max.to_string()),
            ("--timer-cpus", &self.timer_cpus.to_string()),
            ("--peer-cpus", &self.peer_cpus.to_string()),
            ("--address", &self.address),
            ("--parent", &parent),
        ] {
            command.args([option, value]);
        }
        Ok(command)
    }
}
