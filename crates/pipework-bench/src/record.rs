//! A run on disk: every sample as CSV, with the date and the machine it was taken on, and the tables.

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

const HEAD: &str = "setting,measure,metric,unit,peer,round,figure";

/// Where and when: comments, then the names of the columns.
pub(crate) fn head(out: &mut impl Write) -> io::Result<()> {
    for line in circumstances() {
        writeln!(out, "# {line}")?;
    }
    writeln!(out, "{HEAD}")
}

fn circumstances() -> [String; 4] {
    let count = thread::available_parallelism().map_or(0, usize::from);
    [
        format!("date: {}", humantime::format_rfc3339_seconds(SystemTime::now())),
        format!("kernel: {}", system::kernel()),
        format!("processor: {}, {count} of them", system::processor()),
        format!("pipework {}", env!("CARGO_PKG_VERSION")),
    ]
}

/// Every sample. No name here has a comma or a quote.
pub(crate) fn rows(out: &mut impl Write, results: &Results) -> io::Result<()> {
    for Row { setting, measure, metric, unit, peer, round, figure } in &results.rows {
        writeln!(out, "{setting},{measure},{metric},{unit},{peer},{round},{figure}")?;
    }
    for (what, peer, why) in &results.declined {
        writeln!(out, "# {what}: {peer} is missing: {why}")?;
    }
    Ok(())
}

/// Writes the samples and the tables into this directory; the result is the file of the samples.
pub(crate) fn save(results: &Results, directory: &Path) -> io::Result<PathBuf> {
    fs::create_dir_all(directory)?;
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let date: String = now.chars().take(10).collect();
    let path = directory.join(date).with_extension("csv");
    let mut text = Vec::new();
    head(&mut text)?;
    rows(&mut text, results)?;
    fs::write(&path, text)?;

    let mut text = Vec::new();
    for line in circumstances() {
        writeln!(text, "{line}")?;
    }
    writeln!(text)?;
    targets::print(&mut text, results)?;
    table::print(&mut text, results)?;
    fs::write(path.with_extension("txt"), text)?;
    Ok(path)
}

/// Reads a file of samples back.
pub(crate) fn load(path: &Path) -> io::Result<Results> {
    let text = fs::read_to_string(path)?;
    let lines = text.lines().filter(|line| !line.starts_with('#') && *line != HEAD);
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
        let results = Results { rows: vec![row], declined: vec![("m".into(), "q".into(), "why".into())] };
        let path = save(&results, directory.path()).unwrap();
        assert_eq!(load(&path).unwrap().rows, results.rows);
        fs::write(&path, "no sample").unwrap();
        assert!(load(&path).is_err());
    }
}
