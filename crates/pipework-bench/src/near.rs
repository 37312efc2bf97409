//! A sample as the program that asks for it sees it: a process that times, started anew each time, and what it reports.

use std::{
    io::{self, Read, Write},
    path::Path,
    process::Stdio,
    sync::mpsc,
    thread,
    time::Duration,
};

use crate::{job::Job, measure::Figures, peer};

/// A sample that takes longer than this, besides the time that it is to take, is given up.
const PATIENCE: Duration = Duration::from_secs(300);

/// What came of a sample.
#[derive(Debug)]
pub(crate) enum Sample {
    Figures(Figures),
    /// The peer can't do this, and why.
    Declined(String),
}

const DECLINED: &str = "declined";

/// The process that times: makes the sample and prints it.
pub(crate) fn run(job: &Job) -> io::Result<()> {
    let mut text = String::new();
    match peer::sample(job)? {
        Sample::Figures(figures) => {
            for (metric, figure) in figures {
                text.push_str(&format!("{metric}\t{figure}\n"));
            }
        }
        Sample::Declined(why) => text.push_str(&format!("{DECLINED}\t{why}\n")),
    }
    io::stdout().lock().write_all(text.as_bytes())
}

/// Has a sample made by a process of its own; what that leaves behind, it leaves in `scratch`.
pub(crate) fn start(job: &Job, scratch: &Path) -> io::Result<Sample> {
    let mut command = job.command("near")?;
    command.env("TMPDIR", scratch).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn()?;
    let (report, reports) = mpsc::channel();
    let complaints = process.stderr.take();
    let mut output = process.stdout.take();
    let reader = thread::spawn(move || {
        let complaint = thread::spawn(|| read_all(complaints));
        let text = read_all(output.take());
        // Nobody listens once it took too long.
        report.send((text, complaint.join().unwrap_or_default())).ok();
    });
    let limit = PATIENCE + job.budget() * 4 + job.rest();
    let Ok((text, complaint)) = reports.recv_timeout(limit) else {
        process.kill()?;
        process.wait()?;
        return Err(io::Error::new(io::ErrorKind::TimedOut, format!("not done after {limit:?}")));
    };
    reader.join().map_err(|_| io::Error::other("the reader of a report failed"))?;
    let status = process.wait()?;
    if status.success() {
        parse(&text)
    } else {
        Err(io::Error::other(format!("{status}: {}", complaint.trim())))
    }
}

fn read_all(source: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut source) = source {
        // What came before an error is what there is; the exit code tells the rest.
        source.read_to_end(&mut bytes).ok();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn parse(text: &str) -> io::Result<Sample> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, format!("no report: {text:?}"));
    let mut figures = Figures::new();
    for line in text.lines() {
        let (metric, value) = line.split_once('\t').ok_or_else(invalid)?;
        if metric == DECLINED {
            return Ok(Sample::Declined(value.to_owned()));
        }
        figures.push((metric.to_owned(), value.parse().map_err(|_| invalid())?));
    }
    if figures.is_empty() { Err(invalid()) } else { Ok(Sample::Figures(figures)) }
}
