//! A run on disk: every sample as CSV, with the date and the machine, and the tables.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    thread,
    time::SystemTime,
};

use crate::{
    results::{Results, Row},
    system, table, targets,
};

/// The columns. `setting` is the placement, `peer` the competitor; the names stay, so that old records can be read.
const HEADER: &str = "setting,measure,metric,unit,peer,round,figure";

/// Writes date and machine as comments, then the names of the columns.
pub(crate) fn write_header(out: &mut impl Write) -> io::Result<()> {
    for line in environment() {
        writeln!(out, "# {line}")?;
    }
    writeln!(out, "{HEADER}")
}

/// Date, kernel, processor and version.
fn environment() -> [String; 4] {
    let count = thread::available_parallelism().map_or(0, usize::from);
    [
        format!("date: {}", humantime::format_rfc3339_seconds(SystemTime::now())),
        format!("kernel: {}", system::kernel()),
        format!("processor: {}, {count} of them", system::processor()),
        format!("pipework {}", env!("CARGO_PKG_VERSION")),
    ]
}

/// Writes every sample. No name here has a comma or a quote.
pub(crate) fn write_rows(out: &mut impl Write, results: &Results) -> io::Result<()> {
    for Row { setting, measure, metric, unit, peer, round, figure } in &results.rows {
        writeln!(out, "{setting},{measure},{metric},{unit},{peer},{round},{figure}")?;
    }
    for (case, peer, reason) in &results.declined {
        writeln!(out, "# {case}: {peer} is missing: {reason}")?;
    }
    Ok(())
}

/// Writes the samples and the tables to this directory. Returns the path of the samples.
pub(crate) fn save(results: &Results, directory: &Path) -> io::Result<PathBuf> {
    fs::create_dir_all(directory)?;
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let date: String = now.chars().take(10).collect();
    let path = directory.join(date).with_extension("csv");
    let mut text = Vec::new();
    write_header(&mut text)?;
    write_rows(&mut text, results)?;
    fs::write(&path, text)?;

    let mut text = Vec::new();
    for line in environment() {
        writeln!(text, "{line}")?;
    }
    writeln!(text)?;
    targets::print(&mut text, results)?;
    table::print(&mut text, results)?;
    fs::write(path.with_extension("txt"), text)?;
    Ok(path)
}

/// Reads the samples of a recorded run.
pub(crate) fn load(path: &Path) -> io::Result<Results> {
    let text = fs::read_to_string(path)?;
    let lines = text.lines().filter(|line| !line.starts_with('#') && *line != HEADER);
    let rows = lines.map(|line| {
        parse(line).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{}: not a sample: {line}", path.display()))
        })
    });
    Ok(Results { rows: rows.collect::<io::Result<_>>()?, declined: Vec::new() })
}

fn parse(line: &str) -> Option<Row> {
    let fields: Vec<&str> = line.split(',').collect();
    let [setting, measure, metric, unit, peer, round, figure] = fields.try_into().ok()?;
    let [setting, measure, metric, unit, peer] = [setting, measure, metric, unit, peer].map(str::to_owned);
    Some(Row {
        setting,
        measure,
        metric,
        unit,
        peer,
        round: round.parse().ok()?,
        figure: figure.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_loaded() {
        let row = Row {
            setting: "defaults".into(),
            measure: "m".into(),
            metric: String::new(),
            unit: "us".into(),
            peer: "p".into(),
            round: 3,
            figure: 1.5,
        };
        let directory = tempfile::tempdir().unwrap();
        let results = Results { rows: vec![row], declined: vec![("m".into(), "q".into(), "reason".into())] };
        let path = save(&results, directory.path()).unwrap();
        assert_eq!(load(&path).unwrap().rows, results.rows);
        fs::write(&path, "no sample").unwrap();
        assert!(load(&path).is_err());
    }
}
