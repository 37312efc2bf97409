//! Measures pipework beside its peers: two processes, every peer in turn in every round.
//!
//! The program starts itself as both processes, anew for each sample. Nothing is shared between samples, so a
//! disturbance of the machine hits one peer in one round, and the medians say what is usual.

mod args;
mod far;
mod job;
mod measure;
mod near;
mod peer;
mod plot;
mod record;
mod results;
mod rounds;
mod setting;
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
    job::Job,
    results::Results,
    setting::{Cpus, Neighbour},
};

/// The exit code of a program that was interrupted.
const INTERRUPTED: i32 = 130;

fn main() -> ExitCode {
    let args = Args::parse();
    let result = match &args.command {
        Some(Command::Plot { csv, directory }) => {
            record::load(csv).and_then(|results| plot::all(&results, directory))
        }
        Some(Command::Near(job)) => begin(job, &job.near_cpus).and_then(|()| near::run(job)),
        Some(Command::Far(job)) => begin(job, &job.far_cpus).and_then(|()| peer::run_far(job)),
        Some(Command::Neighbour { cpus }) => Neighbour::run(cpus),
        None => run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where stderr is gone too, the exit code has to do.
            writeln!(io::stderr().lock(), "pipework-bench: {error}").ok();
            ExitCode::FAILURE
        }
    }
}

/// What both processes of a sample do first.
fn begin(job: &Job, cpus: &Cpus) -> io::Result<()> {
    system::die_with(job.parent)?;
    system::pin(cpus)
}

fn run(args: &Args) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let mut cases = suite::cases(args);
    for (setting, why) in suite::take_impossible(&mut cases) {
        writeln!(io::stderr().lock(), "pipework-bench: left out: {}: {why}", setting.name())?;
    }
    if args.list {
        for case in &cases {
            let peers: Vec<_> = case.contenders.iter().map(|contender| contender.name).collect();
            writeln!(out, "{}: {}", case.title(), peers.join(", "))?;
        }
        return Ok(());
    }
    if cases.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "nothing is called so; --list tells what there is",
        ));
    }

    let scratch = tempfile::Builder::new().prefix("pwb").tempdir()?;
    end_on_interrupt(&scratch)?;
    let samples: usize = cases.iter().map(|case| case.contenders.len()).sum();
    let samples = u64::try_from(samples).unwrap_or(u64::MAX).saturating_mul(args.rounds().into());
    let progress = new_progress(samples);
    let mut results = Results::default();
    if args.csv {
        record::head(&mut out)?;
    }
    for case in &cases {
        let mut part = rounds::run(case, args, scratch.path(), &progress)?;
        progress.suspend(|| {
            if args.csv { record::rows(&mut out, &part) } else { table::print(&mut out, &part) }?;
            out.flush()
        })?;
        results.rows.append(&mut part.rows);
        results.declined.append(&mut part.declined);
    }
    progress.finish_and_clear();
    if let Some(directory) = &args.record {
        let text = record::save(&results, directory)?;
        plot::all(&results, directory)?;
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

/// The processes of a sample end with this one; what is left is their directory.
fn end_on_interrupt(scratch: &TempDir) -> io::Result<()> {
    let path = scratch.path().to_owned();
    ctrlc::set_handler(move || {
        remove(&path);
        std::process::exit(INTERRUPTED);
    })
    .map_err(io::Error::other)
}

fn remove(path: &Path) {
    // The system removes it one day.
    std::fs::remove_dir_all(path).ok();
}
