//! The report: medians, spread, and the ratio of pipework to each competitor.

use std::io::{self, Write};

use crate::{measure, results::Results};

/// Prints a table for each metric of each measure. The ratio is that of the medians, pipework over the competitor.
pub(crate) fn print(out: &mut impl Write, results: &Results) -> io::Result<()> {
    for [setting, measure, metric, unit] in results.tables() {
        let better = measure::named(measure).map_or("?", |measure| measure.unit(metric).better);
        let separator = if metric.is_empty() { "" } else { ", " };
        let competitors = results.competitors(setting, measure);
        let Some(ours) =
            competitors.first().and_then(|competitor| results.summary(setting, measure, metric, competitor))
        else {
            continue;
        };
        let rounds = ours.count;
        writeln!(
            out,
            "{measure}{separator}{metric}; {setting}; {unit} ({better} is better; rounds: {rounds})"
        )?;
        writeln!(out, "  {:<32}{:>12}{:>12}{:>12}{:>13}", "peer", "median", "min", "max", "ours/theirs")?;
        for competitor in competitors {
            let Some(theirs) = results.summary(setting, measure, metric, competitor) else { continue };
            let [median, min, max] = [theirs.median, theirs.min, theirs.max].map(digits);
            let ratio = digits(ours.median / theirs.median);
            writeln!(out, "  {competitor:<32}{median:>12}{min:>12}{max:>12}{ratio:>13}")?;
        }
        writeln!(out)?;
    }
    for (case, competitor, reason) in &results.declined {
        writeln!(out, "{case}: {competitor} is missing: {reason}\n")?;
    }
    Ok(())
}

/// Formats a figure with as many decimals as its size needs.
pub(crate) fn digits(figure: f64) -> String {
    match figure.abs() {
        large if large >= 1000.0 => format!("{figure:.0}"),
        middle if middle >= 10.0 => format!("{figure:.1}"),
        _ => format!("{figure:.3}"),
    }
}
