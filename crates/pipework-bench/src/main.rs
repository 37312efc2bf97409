//! Measures pipework beside its peers: two processes, every peer in turn in every round.
//!
//! The program starts itself as the other process, once for each sample. Nothing is shared between samples, so a
//! disturbance of the machine hits one peer in one round, and the medians say what is usual.

mod args;
mod far;
mod measure;
mod peer;
mod rounds;
mod table;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;

use crate::args::{Args, Command};

fn main() -> ExitCode {
    let args = Args::parse();
    let result = match &args.command {
        Some(Command::Far(job)) => peer::run_far(job),
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

fn run(args: &Args) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if args.csv {
        table::csv_head(&mut out)?;
    }
    for measure in measure::all().filter(|measure| measure.name.contains(&args.only)) {
        let samples = rounds::run(measure, args)?;
        if args.csv {
            table::csv(&mut out, measure, &samples)?
        } else {
            table::print(&mut out, measure, &samples)?
        }
        out.flush()?;
    }
    Ok(())
}
