//! Goes through the points: counts the calls of each step, chooses, runs several points at once.

use crate::{
    args::SweepArgs,
    plan::{Mode, Point, Setup, Side, Step, Surface},
    point::{self, Outcome},
    process::{self, CANNOT, INTERRUPTED},
    table::Table,
};
use clap::ValueEnum;
use std::{
    io,
    process::ExitCode,
    sync::{
        Mutex, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

/// How often progress is printed.
const PROGRESS: Duration = Duration::from_secs(15);

/// What a point is that tests nothing.
const NOT_REACHED: &str =
    "the fault did not happen: the step had fewer calls this time, or another call that has no such fault";

/// Runs one point and shows everything about it.
pub(crate) fn run_one(point: &Point) -> ExitCode {
    match point::run(point.setup, Some((point.call, point.fault))) {
        Ok(outcome) => {
            print!("{}", outcome.log);
            match outcome.report.at {
                Some(call) => println!("-- {point}: at {}", call.name()),
                None => println!("FAILED {point}: {NOT_REACHED}"),
            }
            outcome.findings.iter().for_each(|finding| println!("FAILED {finding}"));
            let has_passed = outcome.report.at.is_some() && outcome.findings.is_empty();
            if has_passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => cannot(&error),
    }
}

fn cannot(error: &io::Error) -> ExitCode {
    println!("{error}");
    ExitCode::from(if error.kind() == io::ErrorKind::PermissionDenied { CANNOT } else { 1 })
}

pub(crate) fn run(args: &SweepArgs) -> ExitCode {
    process::note_interrupts();
    let jobs = args.jobs.unwrap_or_else(|| thread::available_parallelism().map_or(2, usize::from));
    let sweep = Sweep { begun: Instant::now(), table: Mutex::default(), alone: RwLock::new(()) };
    let points = match sweep.count_calls(args, jobs) {
        Ok(points) => points,
        Err(error) => return cannot(&error),
    };
    let (all, points) = (points.len(), choose(points, args));
    if points.is_empty() && !process::is_interrupted() {
        let why = match &args.fault {
            Some(fault) if all > 0 => format!("no call here has a fault that begins with `{fault}`"),
            _ => "no system call was counted; not every victim has every surface and step".into(),
        };
        println!("FAILED nothing to test: {why}");
        return ExitCode::FAILURE;
    }
    sweep.in_parallel(&points, jobs, |point| sweep.run_point(point));
    let table = sweep.table.into_inner().unwrap();
    println!("\n{table}{} points in {:.0?}", points.len(), sweep.begun.elapsed());
    if process::is_interrupted() {
        println!("interrupted: not all of them were run");
        return ExitCode::from(INTERRUPTED);
    }
    if points.len() < all && !args.long {
        println!("a sample of {all}; `--long` runs them all");
    }
    let untested = table.untested();
    untested.iter().for_each(|why| println!("FAILED {why}"));
    if table.failures() == 0 && untested.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The whole, or each k-th point: k samples cover everything.
fn choose(points: Vec<Point>, args: &SweepArgs) -> Vec<Point> {
    let wanted =
        |point: &Point| args.fault.as_ref().is_none_or(|fault| point.fault.to_string().starts_with(fault));
    let points: Vec<Point> = points.into_iter().filter(wanted).collect();
    let stride = if args.long { 1 } else { points.len().div_ceil(args.points.max(1)).max(1) };
    let today = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_secs() / 86400);
    let seed = args.seed.unwrap_or_else(|| usize::try_from(today).unwrap_or(0)) % stride;
    if stride > 1 {
        println!("sample {seed} of {stride} (--seed {seed} runs the same one again)");
    }
    points.into_iter().skip(seed).step_by(stride).collect()
}

/// The conversations that the arguments ask for.
fn setups(args: &SweepArgs) -> Vec<Setup> {
    let mut setups = Vec::new();
    for victim in Side::value_variants() {
        for surface in Surface::of(*victim) {
            for mode in Mode::value_variants() {
                for step in Step::of(*victim, *surface, *mode) {
                    setups.push(Setup { victim: *victim, surface: *surface, mode: *mode, step });
                }
            }
        }
    }
    setups.retain(|setup| {
        args.victim.is_none_or(|victim| victim == setup.victim)
            && args.surface.is_none_or(|surface| surface == setup.surface)
            && args.mode.is_none_or(|mode| mode == setup.mode)
            && args.step.is_none_or(|step| step == setup.step)
    });
    setups
}

struct Sweep {
    begun: Instant,
    table: Mutex<Table>,
    /// Held for writing by a point that must have the machine for itself.
    alone: RwLock<()>,
}

impl Sweep {
    /// Runs each conversation without a fault, and makes points of the calls that were counted.
    fn count_calls(&self, args: &SweepArgs, jobs: usize) -> io::Result<Vec<Point>> {
        let setups = setups(args);
        let found = Mutex::new(Vec::new());
        let refused = Mutex::new(None);
        self.in_parallel(&setups, jobs, |setup| match point::count(*setup) {
            Ok(outcome) => {
                self.table.lock().unwrap().add_calls(setup.step, outcome.report.calls.len());
                if !outcome.findings.is_empty() {
                    self.report(&format!("{setup} without a fault"), &outcome);
                    self.table.lock().unwrap().add_failure(setup.step);
                }
                let calls = (1..).zip(outcome.report.calls);
                let points = calls.flat_map(|(call, of)| {
                    of.faults().into_iter().map(move |fault| Point { setup: *setup, call, fault })
                });
                found
                    .lock()
                    .unwrap()
                    .push((setups.iter().position(|other| other == setup), points.collect::<Vec<_>>()));
            }
            Err(error) => *refused.lock().unwrap() = Some(error),
        });
        if let Some(error) = refused.into_inner().unwrap() {
            return Err(error);
        }
        // In the order of the conversations, whichever was counted first.
        let mut found = found.into_inner().unwrap();
        found.sort_by_key(|(index, _)| *index);
        let points: Vec<Point> = found.into_iter().flat_map(|(_, points)| points).collect();
        println!(
            "{} conversations counted in {:.0?}: {} points",
            setups.len(),
            self.begun.elapsed(),
            points.len()
        );
        Ok(points)
    }

    fn run_point(&self, point: &Point) {
        let run = || point::run(point.setup, Some((point.call, point.fault)));
        let outcome = {
            let _shared = self.alone.read().unwrap();
            run()
        };
        let outcome = match outcome {
            // Only the time was wrong: the machine was busy, or it is wrong alone too.
            Ok(outcome) if outcome.is_only_late() => {
                let _exclusive = self.alone.write().unwrap();
                run()
            }
            outcome => outcome,
        };
        match outcome {
            Ok(outcome) => {
                if !outcome.findings.is_empty() {
                    self.report(&point.to_string(), &outcome);
                }
                self.table.lock().unwrap().add(point, &outcome);
            }
            Err(error) => {
                println!("FAILED {point}: {error}");
                self.table.lock().unwrap().add_failure(point.setup.step);
            }
        }
    }

    fn report(&self, what: &str, outcome: &Outcome) {
        let call = outcome.report.at.map(|call| format!(" ({})", call.name())).unwrap_or_default();
        let _whole = self.table.lock().unwrap();
        println!("FAILED {what}{call}");
        outcome.findings.iter().for_each(|finding| println!("       {finding}"));
        println!("       again: cargo run -p pipework-faults -- point {what}");
    }

    /// Does the work for each item, several at once, until an interrupt.
    fn in_parallel<T: Sync>(&self, items: &[T], jobs: usize, work: impl Fn(&T) + Sync) {
        let next = AtomicUsize::new(0);
        let said = Mutex::new(Instant::now());
        thread::scope(|scope| {
            for _ in 0..jobs.max(1) {
                scope.spawn(|| {
                    while !process::is_interrupted() {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(item) = items.get(index) else { return };
                        work(item);
                        let mut said = said.lock().unwrap();
                        if said.elapsed() > PROGRESS {
                            *said = Instant::now();
                            println!("{index} of {} after {:.0?}", items.len(), self.begun.elapsed());
                        }
                    }
                });
            }
        });
    }
}
