//! The command line.

use std::num::NonZeroU32;

use clap::{Args as ClapArgs, Parser, Subcommand};

/// Measure pipework beside its peers, between two processes.
#[derive(Debug, Parser)]
#[command(name = "pipework-bench")]
pub(crate) struct Args {
    /// Rounds; each has one sample of every peer
    #[arg(long, value_name = "N", default_value = "7")]
    pub(crate) rounds: NonZeroU32,
    /// Print every sample as CSV, not a table
    #[arg(long)]
    pub(crate) csv: bool,
    /// One tiny round of each, to see that it works; the figures mean nothing
    #[arg(long, conflicts_with = "rounds")]
    pub(crate) quick: bool,
    /// Measure only what has this in its name
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(crate) only: String,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

impl Args {
    pub(crate) fn rounds(&self) -> u32 {
        if self.quick { 1 } else { self.rounds.get() }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The other process of a sample.
    #[command(hide = true)]
    Far(FarJob),
}

/// What the other process is to do.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct FarJob {
    /// The peer's name.
    pub(crate) peer: String,
    /// The measure's name.
    pub(crate) measure: String,
    /// How many operations are timed.
    pub(crate) count: u32,
    /// Where to connect; empty where stdin and stdout are the connection.
    pub(crate) address: String,
}
