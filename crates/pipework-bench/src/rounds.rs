//! Rounds: every peer in turn, each round beginning with another one, so that no peer always follows the same other.

use std::io;

use crate::{
    args::Args,
    measure::Measure,
    peer::{self, Contender},
};

/// The samples of one peer, one for each round.
#[derive(Debug)]
pub(crate) struct Samples {
    pub(crate) peer: &'static str,
    pub(crate) figures: Vec<f64>,
}

/// Takes all samples of a measure; the first peer is ours.
pub(crate) fn run(measure: &Measure, args: &Args) -> io::Result<Vec<Samples>> {
    let count = measure.count(args.quick);
    let mut all: Vec<(&Contender, Vec<f64>)> =
        peer::ALL.iter().map(|contender| (contender, Vec::new())).collect();
    // The order of the report is that of the list, so it is the turn that goes round.
    let len = all.len();
    for (_, first) in (0..args.rounds()).zip((0..len).cycle()) {
        let (before, from_first) = all.split_at_mut_checked(first).unwrap_or_default();
        for (contender, figures) in from_first.iter_mut().chain(before) {
            figures.push(contender.sample(measure, count)?);
        }
    }
    Ok(all.into_iter().map(|(contender, figures)| Samples { peer: contender.name, figures }).collect())
}
