//! A sample: the figures of one competitor in one round, taken by a new process and reported through its stdout.

use std::{
    io::{self, Read, Write},
    path::Path,
    process::Stdio,
    sync::mpsc,
    thread,
    time::Duration,
};

use crate::{
    measure::Figures,
    sample_args::{SampleArgs, TIMING_PROCESS},
};

/// A sample times out after this long, in addition to a multiple of its timed part.
const TIMEOUT: Duration = Duration::from_secs(300);

/// The result of a sample.
#[derive(Debug)]
pub(crate) enum Sample {
    Figures(Figures),
    /// The competitor does not support the measure; the text is the reason.
    Declined(String),
}

/// The metric that stands for [`Sample::Declined`] in the report.
const DECLINED: &str = "declined";

impl Sample {
    /// Reports the sample to the process that runs the rounds. Called in the timing process.
    pub(crate) fn report(&self) -> io::Result<()> {
        let mut text = String::new();
        match self {
            Sample::Figures(figures) => {
                for (metric, figure) in figures {
                    text.push_str(&format!("{metric}\t{figure}\n"));
                }
            }
            Sample::Declined(reason) => text.push_str(&format!("{DECLINED}\t{reason}\n")),
        }
        io::stdout().lock().write_all(text.as_bytes())
    }
}

/// Takes a sample in a new process, whose temporary files go to `scratch`.
pub(crate) fn take(args: &SampleArgs, scratch: &Path) -> io::Result<Sample> {
    let mut command = args.command(TIMING_PROCESS)?;
    command.env("TMPDIR", scratch).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn()?;
    let (sender, receiver) = mpsc::channel();
    let stderr = process.stderr.take();
    let stdout = process.stdout.take();
    let reader = thread::spawn(move || {
        let errors = thread::spawn(|| read_all(stderr));
        let report = read_all(stdout);
        // After a timeout nothing receives it.
        sender.send((report, errors.join().unwrap_or_default())).ok();
    });
    let limit = TIMEOUT + args.budget() * 4 + args.idle_time();
    let Ok((report, errors)) = receiver.recv_timeout(limit) else {
        process.kill()?;
        process.wait()?;
        return Err(io::Error::new(io::ErrorKind::TimedOut, format!("not done after {limit:?}")));
    };
    reader.join().map_err(|_| io::Error::other("the thread that reads a report panicked"))?;
    let status = process.wait()?;
    if status.success() {
        parse(&report)
    } else {
        Err(io::Error::other(format!("{status}: {}", errors.trim())))
    }
}

fn read_all(source: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut source) = source {
        // After an error the bytes so far are the output; the exit code reports the failure.
        source.read_to_end(&mut bytes).ok();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn parse(report: &str) -> io::Result<Sample> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, format!("not a report: {report:?}"));
    let mut figures = Figures::new();
    for line in report.lines() {
        let (metric, value) = line.split_once('\t').ok_or_else(invalid)?;
        if metric == DECLINED {
            return Ok(Sample::Declined(value.to_owned()));
        }
        figures.push((metric.to_owned(), value.parse().map_err(|_| invalid())?));
    }
    if figures.is_empty() { Err(invalid()) } else { Ok(Sample::Figures(figures)) }
}
