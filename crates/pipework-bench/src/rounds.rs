//! Rounds: one sample of every competitor, in an order that rotates, so that none always follows the same other.

use std::{io, path::Path};

use indicatif::ProgressBar;

use crate::{
    args::Args,
    competitor::Competitor,
    measure::Measure,
    placement::Placement,
    results::{Results, Row},
    sample::{self, Sample},
    sample_args::SampleArgs,
};

/// A measure in one placement, with the competitors that take part.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) measure: &'static Measure,
    pub(crate) placement: Placement,
    pub(crate) competitors: Vec<&'static Competitor>,
}

impl Case {
    pub(crate) fn title(&self) -> String {
        format!("{}; {}", self.measure.name, self.placement.name())
    }
}

/// Takes all samples of a case, under the load of its placement.
pub(crate) fn run(case: &Case, args: &Args, scratch: &Path, progress: &ProgressBar) -> io::Result<Results> {
    let _load = case.placement.start_busy_processes()?;
    let mut all: Vec<(&Competitor, Vec<Sample>)> =
        case.competitors.iter().map(|&competitor| (competitor, Vec::new())).collect();
    // The report keeps the order of the list, so each round starts at another index instead.
    let len = all.len();
    for (round, first) in (1..=args.rounds()).zip((0..len).cycle()) {
        let (before, from_first) = all.split_at_mut_checked(first).unwrap_or_default();
        for (competitor, samples) in from_first.iter_mut().chain(before) {
            progress.set_message(format!("{}, round {round}: {}", case.title(), competitor.name));
            progress.tick();
            let args = sample_args(case, competitor, args).map_err(io::Error::other)?;
            let sample = sample::take(&args, scratch).map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {}: {error}", case.title(), competitor.name))
            })?;
            samples.push(sample);
            progress.inc(1);
        }
    }
    let mut results = Results::default();
    for (competitor, samples) in all {
        add(&mut results, case, competitor, samples);
    }
    Ok(results)
}

fn sample_args(case: &Case, competitor: &Competitor, args: &Args) -> Result<SampleArgs, &'static str> {
    let (timer_cpus, peer_cpus) = case.placement.cpus()?;
    Ok(SampleArgs {
        competitor: competitor.name.to_owned(),
        measure: case.measure.name.to_owned(),
        millis: args.millis(),
        idle_millis: args.idle_millis(),
        connections_max: args.connections_max(),
        timer_cpus,
        peer_cpus,
        address: String::new(),
        parent: std::process::id(),
    })
}

/// Adds the samples of one competitor to the results.
fn add(results: &mut Results, case: &Case, competitor: &Competitor, samples: Vec<Sample>) {
    for (round, sample) in (1..).zip(samples) {
        match sample {
            Sample::Figures(figures) => {
                results.rows.extend(figures.into_iter().map(|(metric, figure)| Row {
                    setting: case.placement.name().to_owned(),
                    measure: case.measure.name.to_owned(),
                    unit: case.measure.unit(&metric).symbol.to_owned(),
                    metric,
                    peer: competitor.name.to_owned(),
                    round,
                    figure,
                }))
            }
            Sample::Declined(reason) => {
                let declined = (case.title(), competitor.name.to_owned(), reason);
                if !results.declined.contains(&declined) {
                    results.declined.push(declined);
                }
            }
        }
    }
}
