//! Goes through the points: counts the calls of each step, chooses, runs several points at once.

use crate::{
    args::{SampleArgs, SweepArgs},
    plan::{Fault, Mode, Point, Setup, Side, Step, Surface},
    point::{self, Outcome},
    process::{self, CANNOT, INTERRUPTED},
    table::Table,
};
use clap::ValueEnum;
use std::{
    fmt, io,
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
    show(point, point::run(point.setup, Some((point.call, point.fault))))
}

/// Shows everything about one point that was run.
pub(crate) fn show(point: &impl fmt::Display, outcome: io::Result<Outcome>) -> ExitCode {
    match outcome {
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

pub(crate) fn cannot(error: &io::Error) -> ExitCode {
    println!("{error}");
    ExitCode::from(if error.kind() == io::ErrorKind::PermissionDenied { CANNOT } else { 1 })
}

pub(crate) fn run(args: &SweepArgs) -> ExitCode {
    process::note_interrupts();
    let jobs = args.sample.jobs.unwrap_or_else(process::processors);
    let sweep = Sweep::new("point");
    let points = match sweep.count_calls(args, jobs) {
        Ok(points) => points,
        Err(error) => return cannot(&error),
    };
    let Some(points) = sweep.choose(points, |point| point.fault, &args.sample, args.points) else {
        return ExitCode::FAILURE;
    };
    in_parallel(sweep.begun, &points, jobs, |point| {
        let run = || point::run(point.setup, Some((point.call, point.fault)));
        sweep.run_point(point.setup.step, point.fault, point, run);
    });
    sweep.finish(points.len())
}

impl SampleArgs {
    /// The whole, or each k-th point: k samples cover everything.
    fn choose<P>(&self, points: Vec<P>, len: usize) -> Vec<P> {
        let stride = if self.long { 1 } else { points.len().div_ceil(len.max(1)).max(1) };
        let today = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_secs() / 86400);
        let seed = self.seed.unwrap_or_else(|| usize::try_from(today).unwrap_or(0)) % stride;
        if stride > 1 {
            println!("sample {seed} of {stride} (--seed {seed} takes it again); `--long` runs them all");
        }
        points.into_iter().skip(seed).step_by(stride).collect()
    }
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
            && args.sample.mode.is_none_or(|mode| mode == setup.mode)
            && args.step.is_none_or(|step| step == setup.step)
    });
    setups
}

/// A sweep in progress; its table has a row for each `K`.
pub(crate) struct Sweep<K> {
    pub(crate) begun: Instant,
    pub(crate) table: Mutex<Table<K>>,
    /// Held for writing by a point that must have the machine for itself.
    alone: RwLock<()>,
    /// The command that runs one point.
    command: &'static str,
}

impl<K: ValueEnum + Ord> Sweep<K> {
    pub(crate) fn new(command: &'static str) -> Sweep<K> {
        Sweep { begun: Instant::now(), table: Mutex::default(), alone: RwLock::new(()), command }
    }

    /// Chooses among the points. `None`: there is nothing to test, which is a failure.
    pub(crate) fn choose<P>(
        &self,
        points: Vec<P>,
        fault_of: impl Fn(&P) -> Fault,
        sample: &SampleArgs,
        len: usize,
    ) -> Option<Vec<P>> {
        let (all, only) = (points.len(), sample.fault.as_deref());
        let wanted = |point: &P| only.is_none_or(|only| fault_of(point).to_string().starts_with(only));
        let points = sample.choose(points.into_iter().filter(wanted).collect(), len);
        if points.is_empty() && !process::is_interrupted() {
            let why = match only {
                Some(fault) if all > 0 => format!("no call here has a fault that begins with `{fault}`"),
                _ => "no system call was counted; not every victim has every surface and step".into(),
            };
            println!("FAILED nothing to test: {why}");
            return None;
        }
        Some(points)
    }

    pub(crate) fn run_point(
        &self,
        row: K,
        fault: Fault,
        point: &impl fmt::Display,
        run: impl Fn() -> io::Result<Outcome>,
    ) {
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
                    self.report(point, &outcome);
                }
                self.table.lock().unwrap().add(row, fault, &outcome);
            }
            Err(error) => {
                println!("FAILED {point}: {error}");
                self.table.lock().unwrap().add_failure(row);
            }
        }
    }

    pub(crate) fn report(&self, what: &impl fmt::Display, outcome: &Outcome) {
        let call = outcome.report.at.map(|call| format!(" ({})", call.name())).unwrap_or_default();
        let _whole = self.table.lock().unwrap();
        println!("FAILED {what}{call}");
        outcome.findings.iter().for_each(|finding| println!("       {finding}"));
        println!("       again: cargo run -p pipework-faults -- {} {what}", self.command);
    }

    /// Prints the counts.
    pub(crate) fn finish(self, points: usize) -> ExitCode {
        let table = self.table.into_inner().unwrap();
        println!("\n{table}{points} points in {:.0?}", self.begun.elapsed());
        if process::is_interrupted() {
            println!("interrupted: not all of them were run");
            return ExitCode::from(INTERRUPTED);
        }
        let untested = table.untested();
        untested.iter().for_each(|why| println!("FAILED {why}"));
        if table.failures() == 0 && untested.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

impl Sweep<Step> {
    /// Runs each conversation without a fault, and makes points of the calls that were counted.
    fn count_calls(&self, args: &SweepArgs, jobs: usize) -> io::Result<Vec<Point>> {
        let setups = setups(args);
        let found = Mutex::new(Vec::new());
        let refused = Mutex::new(None);
        in_parallel(self.begun, &setups, jobs, |setup| match point::count(*setup) {
            Ok(outcome) => {
                self.table.lock().unwrap().add_calls(setup.step, outcome.report.calls.len());
                if !outcome.findings.is_empty() {
                    self.report(&format_args!("{setup} without a fault"), &outcome);
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
}

/// Does the work for each item, several at once, until an interrupt.
pub(crate) fn in_parallel<T: Sync>(begun: Instant, items: &[T], jobs: usize, work: impl Fn(&T) + Sync) {
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
                        println!("{index} of {} after {:.0?}", items.len(), begun.elapsed());
                    }
                }
            });
        }
    });
}
