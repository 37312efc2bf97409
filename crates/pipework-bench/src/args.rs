//! The command line.

use std::{num::NonZeroU32, path::PathBuf};

use clap::{Parser, Subcommand};

use crate::{
    job::Job,
    setting::{Cpus, Setting},
};

/// Measure pipework beside its peers, between two processes.
///
/// In each round every peer has its turn, one after the other, in two processes made for it. What counts is the ratio of
/// medians within one run: the figures themselves depend on the machine and on what else it does.
#[derive(Debug, Parser)]
#[command(name = "pipework-bench", after_long_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    /// Only measures with this in their name; may be repeated
    #[arg(long, value_name = "TEXT")]
    pub(crate) only: Vec<String>,
    /// Only peers with this in their name, beside ours; may be repeated
    #[arg(long, value_name = "TEXT")]
    pub(crate) peer: Vec<String>,
    /// Exactly this setting, not those that each measure is usually taken in; may be repeated
    #[arg(long, value_enum)]
    pub(crate) setting: Vec<Setting>,
    /// Short for `--setting pinned`
    #[arg(long)]
    pub(crate) pin: bool,
    /// Rounds; each has one sample of every peer
    #[arg(long, value_name = "N", default_value = "7")]
    pub(crate) rounds: NonZeroU32,
    /// How long the timed part of a sample takes
    #[arg(long, value_name = "N", default_value = "100")]
    pub(crate) millis: NonZeroU32,
    /// How long idle connections are watched in each sample
    #[arg(long, value_name = "SECONDS", default_value = "3")]
    pub(crate) rest: NonZeroU32,
    /// One tiny round of each, to see that it works; the figures mean nothing
    #[arg(long, conflicts_with_all = ["rounds", "millis", "rest"])]
    pub(crate) quick: bool,
    /// Print every sample as CSV, not tables
    #[arg(long)]
    pub(crate) csv: bool,
    /// Also write every sample (CSV), the tables and the plots (SVG) into this directory
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) record: Option<PathBuf>,
    /// Take just what the targets speak of, and say which are met
    #[arg(long)]
    pub(crate) targets: bool,
    /// Print what would be measured, where and with whom, and measure nothing
    #[arg(long)]
    pub(crate) list: bool,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

const EXAMPLES: &str = "\
Examples:
  pipework-bench --only \"round trip\" --pin               each end on a core of its own
  pipework-bench --only 64 --peer UnixStream --rounds 15  one peer, more rounds
  pipework-bench --setting one-core --setting busy        where cores are not free
  pipework-bench --targets                                the rows of the table of targets
  pipework-bench --record record                          everything, kept as CSV, tables and plots
  pipework-bench plot record/DATE.csv record              the plots once more

From a clone: cargo bench -p pipework-bench -- --targets

Figures go to standard output, progress to standard error. Ctrl-C ends all processes.
On a machine with two processors everything takes about ten minutes; keep it otherwise idle.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Draw the plots of a recorded run
    Plot {
        /// A recorded run
        csv: PathBuf,
        /// Where to write the plots
        directory: PathBuf,
    },
    /// The process of a sample that times.
    #[command(hide = true)]
    Near(Job),
    /// The other process of a sample.
    #[command(hide = true)]
    Far(Job),
    /// A process that is always busy, until its standard input ends.
    #[command(hide = true)]
    Neighbour {
        /// Where it runs.
        #[arg(default_value = "")]
        cpus: Cpus,
    },
}

impl Args {
    pub(crate) fn rounds(&self) -> u32 {
        if self.quick { 1 } else { self.rounds.get() }
    }

    pub(crate) fn millis(&self) -> u32 {
        if self.quick { 2 } else { self.millis.get() }
    }

    pub(crate) fn rest_millis(&self) -> u32 {
        if self.quick { 10 } else { self.rest.get().saturating_mul(1000) }
    }

    /// A crowd is no quicker for having less time, so a quick one is small.
    pub(crate) fn crowd_max(&self) -> u32 {
        if self.quick { 20 } else { u32::MAX }
    }

    /// The settings that were asked for, if any were.
    pub(crate) fn settings(&self) -> Vec<Setting> {
        let mut settings = self.setting.clone();
        if self.pin && !settings.contains(&Setting::Pinned) {
            settings.push(Setting::Pinned);
        }
        settings
    }
}
