//! The report: medians, spread, and how ours compares.

use std::io::{self, Write};

use crate::{measure, results::Results};

/// A table for each metric of each measure; the ratio is ours over theirs, of the medians.
pub(crate) fn print(out: &mut impl Write, results: &Results) -> io::Result<()> {
    for [setting, measure, metric, unit] in results.tables() {
        let better = measure::named(measure).map_or("?", |measure| measure.unit(metric).better);
        let colon = if metric.is_empty() { "" } else { ", " };
        let peers = results.peers(setting, measure);
        let Some(ours) = peers.first().and_then(|peer| results.summary(setting, measure, metric, peer))
        else {
            continue;
        };
        let rounds = ours.count;
        writeln!(out, "{measure}{colon}{metric}; {setting}; {unit} ({better} is better; rounds: {rounds})")?;
        writeln!(out, "  {:<32}{:>12}{:>12}{:>12}{:>13}", "peer", "median", "min", "max", "ours/theirs")?;
        for peer in peers {
            let Some(theirs) = results.summary(setting, measure, metric, peer) else { continue };
            let [median, min, max] = [theirs.median, theirs.min, theirs.max].map(digits);
            let ratio = digits(ours.median / theirs.median);
            writeln!(out, "  {peer:<32}{median:>12}{min:>12}{max:>12}{ratio:>13}")?;
        }
        writeln!(out)?;
    }
    for (what, peer, why) in &results.declined {
        writeln!(out, "{what}: {peer} is missing: {why}\n")?;
    }
    Ok(())
}

/// Enough digits to tell figures apart, and no more.
pub(crate) fn digits(figure: f64) -> String {
    match figure.abs() {
        large if large >= 1000.0 => format!("{figure:.0}"),
        middle if middle >= 10.0 => format!("{figure:.1}"),
        _ => format!("{figure:.3}"),
    }
}
