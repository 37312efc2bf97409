//! Measures pipework and its competitors between two processes.
//!
//! Each sample has two new processes of this program. Samples share nothing, so a disturbance of the machine affects one
//! competitor in one round, and the median leaves it out.

mod args;
mod competitor;
mod cpus;
mod endpoint;
mod measure;
mod peer_process;
mod placement;
mod plot;
mod record;
mod results;
mod rounds;
mod sample;
mod sample_args;
mod suite;
mod system;
mod table;
mod targets;

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use tempfile::TempDir;

use crate::{
    args::{Args, Command},
    cpus::Cpus,
    placement::BusyProcess,
    results::Results,
    sample_args::SampleArgs,
};

/// The exit code after an interrupt.
const INTERRUPTED: i32 = 130;

fn main() -> ExitCode {
    let args = Args::parse();
    let result = match &args.command {
        Some(Command::Plot { csv, directory }) => {
            record::load(csv).and_then(|results| plot::draw_all(&results, directory))
        }
        Some(Command::Sample(args)) => run_timing_process(args),
        Some(Command::PeerProcess(args)) => run_peer_process(args),
        Some(Command::BusyProcess { cpus }) => BusyProcess::run(cpus),
        None => run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If stderr is closed too, only the exit code remains.
            writeln!(io::stderr().lock(), "pipework-bench: {error}").ok();
            ExitCode::FAILURE
        }
    }
}

fn run_timing_process(args: &SampleArgs) -> io::Result<()> {
    begin(args, &args.timer_cpus)?;
    competitor::take_sample(args)?.report()
}

fn run_peer_process(args: &SampleArgs) -> io::Result<()> {
    begin(args, &args.peer_cpus)?;
    competitor::run_peer_process(args)
}

/// The first steps of both processes of a sample.
fn begin(args: &SampleArgs, cpus: &Cpus) -> io::Result<()> {
    system::end_with_parent(args.parent)?;
    system::pin(cpus)
}

fn run(args: &Args) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let mut cases = suite::cases(args);
    for (placement, reason) in suite::remove_unavailable(&mut cases) {
        writeln!(io::stderr().lock(), "pipework-bench: skipped: {}: {reason}", placement.name())?;
    }
    if args.list {
        for case in &cases {
            let names: Vec<_> = case.competitors.iter().map(|competitor| competitor.name).collect();
            writeln!(out, "{}: {}", case.title(), names.join(", "))?;
        }
        return Ok(());
    }
    if cases.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "no measure matches the options; --list shows all measures",
        ));
    }

    let scratch = tempfile::Builder::new().prefix("pwb").tempdir()?;
    end_on_interrupt(&scratch)?;
    let samples: usize = cases.iter().map(|case| case.competitors.len()).sum();
    let samples = u64::try_from(samples).unwrap_or(u64::MAX).saturating_mul(args.rounds().into());
    let progress = new_progress(samples);
    let mut results = Results::default();
    if args.csv {
        record::write_header(&mut out)?;
    }
    for case in &cases {
        let mut part = rounds::run(case, args, scratch.path(), &progress)?;
        progress.suspend(|| {
            if args.csv { record::write_rows(&mut out, &part) } else { table::print(&mut out, &part) }?;
            out.flush()
        })?;
        results.rows.append(&mut part.rows);
        results.declined.append(&mut part.declined);
    }
    progress.finish_and_clear();
    if let Some(directory) = &args.record {
        let text = record::save(&results, directory)?;
        plot::draw_all(&results, directory)?;
        writeln!(io::stderr().lock(), "written: {}", text.display())?;
    }
    if args.targets || args.record.is_some() {
        targets::print(&mut out, &results)?;
    }
    scratch.close()
}

fn new_progress(samples: u64) -> ProgressBar {
    let progress = ProgressBar::new(samples);
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} {eta}\n{msg}") {
        progress.set_style(style);
    }
    progress
}

/// The processes of a sample end with this one, so only their directory has to be removed.
fn end_on_interrupt(scratch: &TempDir) -> io::Result<()> {
    let path = scratch.path().to_owned();
    ctrlc::set_handler(move || {
        remove(&path);
        std::process::exit(INTERRUPTED);
    })
    .map_err(io::Error::other)
}

fn remove(path: &Path) {
    // What remains is in the system's directory for temporary files, which the system cleans.
    std::fs::remove_dir_all(path).ok();
}
