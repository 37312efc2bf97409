//! The report: medians, spread, and how ours compares.

use std::io::{self, Write};

use crate::{measure::Measure, rounds::Samples};

/// What a peer's samples come to.
#[derive(Clone, Copy, Debug)]
struct Summary {
    median: f64,
    min: f64,
    max: f64,
}

impl Summary {
    fn of(figures: &[f64]) -> Option<Summary> {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        let upper = *sorted.get(sorted.len() / 2)?;
        let lower = *sorted.get(sorted.len().saturating_sub(1) / 2)?;
        Some(Summary { median: f64::midpoint(lower, upper), min: *sorted.first()?, max: *sorted.last()? })
    }
}

/// One table for a measure; the ratio is ours over theirs, of the medians.
pub(crate) fn print(out: &mut impl Write, measure: &Measure, all: &[Samples]) -> io::Result<()> {
    let rounds = all.first().map_or(0, |samples| samples.figures.len());
    let (unit, better) = (measure.unit.symbol(), measure.unit.better());
    writeln!(out, "{} in {unit} ({better} is better; rounds: {rounds})", measure.name)?;
    writeln!(out, "  {:<26}{:>10}{:>10}{:>10}{:>14}", "peer", "median", "min", "max", "ours/theirs")?;
    let ours = all.first().and_then(|samples| Summary::of(&samples.figures));
    for samples in all {
        let (Some(theirs), Some(ours)) = (Summary::of(&samples.figures), ours) else { continue };
        let Summary { median, min, max } = theirs;
        let ratio = ours.median / median;
        writeln!(out, "  {:<26}{median:>10.3}{min:>10.3}{max:>10.3}{ratio:>14.3}", samples.peer)?;
    }
    writeln!(out)
}

/// The first line of the CSV.
pub(crate) fn csv_head(out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "measure,unit,peer,round,figure")
}

/// Every sample, in the order of the rounds. No name here has a comma or a quote.
pub(crate) fn csv(out: &mut impl Write, measure: &Measure, all: &[Samples]) -> io::Result<()> {
    let unit = measure.unit.symbol();
    for Samples { peer, figures } in all {
        for (round, figure) in (1..).zip(figures) {
            let round: u32 = round;
            writeln!(out, "{},{unit},{peer},{round},{figure}", measure.name)?;
        }
    }
    Ok(())
}
