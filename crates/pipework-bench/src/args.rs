//! The command line.

use std::{num::NonZeroU32, path::PathBuf};

use clap::{Parser, Subcommand};

use crate::{
    cpus::Cpus,
    placement::Placement,
    sample_args::{PEER_PROCESS, SampleArgs, TIMING_PROCESS},
};

/// Measure pipework and its competitors, between two processes.
///
/// Each round takes one sample of every competitor, in two new processes. Compare ratios of medians of one run: the
/// figures themselves depend on the machine and its load.
#[derive(Debug, Parser)]
#[command(name = "pipework-bench", after_long_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    /// Only measures whose name contains TEXT; may be repeated
    #[arg(long, value_name = "TEXT")]
    pub(crate) only: Vec<String>,
    /// Only competitors whose name contains TEXT, and pipework; may be repeated
    #[arg(long, value_name = "TEXT")]
    pub(crate) peer: Vec<String>,
    /// Where the processes run, instead of the default of each measure; may be repeated
    #[arg(long, value_enum)]
    pub(crate) setting: Vec<Placement>,
    /// Short for `--setting pinned`
    #[arg(long)]
    pub(crate) pin: bool,
    /// Rounds; each takes one sample of every competitor
    #[arg(long, value_name = "N", default_value = "7")]
    pub(crate) rounds: NonZeroU32,
    /// Duration of the timed part of a sample
    #[arg(long, value_name = "MILLISECONDS", default_value = "100")]
    pub(crate) millis: NonZeroU32,
    /// For how long the processor time of idle connections is counted in each sample
    #[arg(long, value_name = "SECONDS", default_value = "3")]
    pub(crate) rest: NonZeroU32,
    /// One tiny round of each measure, to check that it works; the figures mean nothing
    #[arg(long, conflicts_with_all = ["rounds", "millis", "rest"])]
    pub(crate) quick: bool,
    /// Print every sample as CSV instead of tables
    #[arg(long)]
    pub(crate) csv: bool,
    /// Also write every sample (CSV), the tables and the plots (SVG) to this directory
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) record: Option<PathBuf>,
    /// Take only the samples that the targets need, and report which targets are met
    #[arg(long)]
    pub(crate) targets: bool,
    /// Print measures, placements and competitors, and measure nothing
    #[arg(long)]
    pub(crate) list: bool,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

const EXAMPLES: &str = "\
Examples:
  pipework-bench --only \"round trip\" --pin               each process on a core of its own
  pipework-bench --only 64 --peer UnixStream --rounds 15  one competitor, more rounds
  pipework-bench --setting one-core --setting busy        where cores are not free
  pipework-bench --targets                                the rows of the table of targets
  pipework-bench --record record                          everything, kept as CSV, tables and plots
  pipework-bench plot record/DATE.csv record              draw the plots again

From a clone: cargo bench -p pipework-bench -- --targets

Figures go to standard output, progress to standard error. Ctrl-C ends all processes.
On a machine with two processors a full run takes about ten minutes; keep the machine otherwise idle.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Draw the plots of a recorded run
    Plot {
        /// The samples of the run
        csv: PathBuf,
        /// The directory for the plots
        directory: PathBuf,
    },
    /// The timing process of a sample.
    #[command(hide = true, name = TIMING_PROCESS)]
    Sample(SampleArgs),
    /// The peer process of a sample.
    #[command(hide = true, name = PEER_PROCESS)]
    PeerProcess(SampleArgs),
    /// A process that keeps a processor busy until its standard input ends.
    #[command(hide = true)]
    BusyProcess {
        /// The processors that it may run on.
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

    pub(crate) fn idle_millis(&self) -> u32 {
        if self.quick { 10 } else { self.rest.get().saturating_mul(1000) }
    }

    /// A shorter duration does not shorten opening connections, so a quick run opens fewer.
    pub(crate) fn connections_max(&self) -> u32 {
        if self.quick { 20 } else { u32::MAX }
    }

    /// The placements that the options name, if they name any.
    pub(crate) fn placements(&self) -> Vec<Placement> {
        let mut placements = self.setting.clone();
        if self.pin && !placements.contains(&Placement::Pinned) {
            placements.push(Placement::Pinned);
        }
        placements
    }
}
