//! What a process of a sample is told: one and the same for both, handed on as arguments.

use std::{io, process::Command, time::Duration};

use clap::Args;

use crate::setting::Cpus;

/// One sample of one peer.
#[derive(Clone, Debug, Args)]
pub(crate) struct Job {
    /// The peer's name.
    #[arg(long)]
    pub(crate) peer: String,
    /// The measure's name.
    #[arg(long)]
    pub(crate) measure: String,
    /// How long the timed part takes, in milliseconds.
    #[arg(long)]
    pub(crate) millis: u32,
    /// How long the processor's time at rest is counted, in milliseconds.
    #[arg(long)]
    pub(crate) rest_millis: u32,
    /// How many connections a crowd has at most.
    #[arg(long)]
    pub(crate) crowd_max: u32,
    /// The processors of the side that times.
    #[arg(long, default_value = "")]
    pub(crate) near_cpus: Cpus,
    /// The processors of the other side.
    #[arg(long, default_value = "")]
    pub(crate) far_cpus: Cpus,
    /// Where to connect; empty where stdin and stdout are the connection.
    #[arg(long, default_value = "")]
    pub(crate) address: String,
    /// The process that started this one.
    #[arg(long, default_value = "0")]
    pub(crate) parent: u32,
}

impl Job {
    /// How long the timed part takes.
    pub(crate) fn budget(&self) -> Duration {
        Duration::from_millis(self.millis.into())
    }

    /// How long the processor's time at rest is counted.
    pub(crate) fn rest(&self) -> Duration {
        Duration::from_millis(self.rest_millis.into())
    }

    /// This program, as the process that does this side of the job.
    pub(crate) fn command(&self, side: &str) -> io::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(side);
        let parent = std::process::id().to_string();
        for (option, value) in [
            ("--peer", &self.peer),
            ("--measure", &self.measure),
            ("--millis", &self.millis.to_string()),
            ("--rest-millis", &self.rest_millis.to_string()),
            ("--crowd-max", &self.crowd_max.to_string()),
            ("--near-cpus", &self.near_cpus.to_string()),
            ("--far-cpus", &self.far_cpus.to_string()),
            ("--address", &self.address),
            ("--parent", &parent),
        ] {
            command.args([option, value]);
        }
        Ok(command)
    }
}
