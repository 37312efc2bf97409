//! Rounds: every peer in turn, each round beginning with another one, so that no peer always follows the same other.

use std::{io, path::Path};

use indicatif::ProgressBar;

use crate::{
    args::Args,
    job::Job,
    measure::Measure,
    near::{self, Sample},
    peer::Contender,
    results::{Results, Row},
    setting::Setting,
};

/// A measure, where, and with whom.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) measure: &'static Measure,
    pub(crate) setting: Setting,
    pub(crate) contenders: Vec<&'static Contender>,
}

impl Case {
    pub(crate) fn title(&self) -> String {
        format!("{}; {}", self.measure.name, self.setting.name())
    }
}

/// Takes all samples of a case. Its neighbours live as long.
pub(crate) fn run(case: &Case, args: &Args, scratch: &Path, progress: &ProgressBar) -> io::Result<Results> {
    let _neighbours = case.setting.start_neighbours()?;
    let mut all: Vec<(&Contender, Vec<Sample>)> =
        case.contenders.iter().map(|&contender| (contender, Vec::new())).collect();
    // The order of the report is that of the list, so it is the turn that goes round.
    let len = all.len();
    for (round, first) in (1..=args.rounds()).zip((0..len).cycle()) {
        let (before, from_first) = all.split_at_mut_checked(first).unwrap_or_default();
        for (contender, samples) in from_first.iter_mut().chain(before) {
            progress.set_message(format!("{}, round {round}: {}", case.title(), contender.name));
            progress.tick();
            let job = job(case, contender, args).map_err(io::Error::other)?;
            let sample = near::start(&job, scratch).map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {}: {error}", case.title(), contender.name))
            })?;
            samples.push(sample);
            progress.inc(1);
        }
    }
    let mut results = Results::default();
    for (contender, samples) in all {
        add(&mut results, case, contender, samples);
    }
    Ok(results)
}

fn job(case: &Case, contender: &Contender, args: &Args) -> Result<Job, &'static str> {
    let (near_cpus, far_cpus) = case.setting.place()?;
    Ok(Job {
        peer: contender.name.to_owned(),
        measure: case.measure.name.to_owned(),
        millis: args.millis(),
        rest_millis: args.rest_millis(),
        crowd_max: args.crowd_max(),
        near_cpus,
        far_cpus,
        address: String::new(),
        parent: std::process::id(),
    })
}

/// Metric by metric, so that a table's figures are together.
fn add(results: &mut Results, case: &Case, contender: &Contender, samples: Vec<Sample>) {
    for (round, sample) in (1..).zip(samples) {
        match sample {
            Sample::Figures(figures) => {
                results.rows.extend(figures.into_iter().map(|(metric, figure)| Row {
                    setting: case.setting.name().to_owned(),
                    measure: case.measure.name.to_owned(),
                    unit: case.measure.unit(&metric).symbol.to_owned(),
                    metric,
                    peer: contender.name.to_owned(),
                    round,
                    figure,
                }))
            }
            Sample::Declined(why) => {
                let declined = (case.title(), contender.name.to_owned(), why);
                if !results.declined.contains(&declined) {
                    results.declined.push(declined);
                }
            }
        }
    }
}
