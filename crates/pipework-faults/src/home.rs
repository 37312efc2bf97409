//! The directory of one run, and what every run checks in it.

use crate::{
    check::What,
    conversation::AFTERWARDS,
    journal::Entries,
    plan::Mode,
    process::{Running, this_program},
};
use clap::ValueEnum;
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};
use tempfile::TempDir;

/// What came of a shortage: what is worth a line, or why it can't be tried here.
pub(crate) type Tried = Result<String, String>;

/// Longer than everything that a conversation may wait for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// By when a survivor has seen the death of its peer, and the name is usable again.
pub(crate) const SOON: Duration = Duration::from_secs(1);

/// The directory of one run: the pipes, the journals and the output.
pub(crate) struct Home {
    dir: TempDir,
    /// What every process of the run has in its environment.
    environment: Vec<(&'static str, String)>,
}

impl Home {
    pub(crate) fn new() -> io::Result<Home> {
        Home::with_environment(Vec::new())
    }

    pub(crate) fn with_environment(environment: Vec<(&'static str, String)>) -> io::Result<Home> {
        let dir = tempfile::Builder::new().prefix("pipework-faults-").tempdir()?;
        let home = Home { dir, environment };
        // A temporary directory belongs to its user alone; so does what is made in it.
        fs::create_dir(home.pipes())?;
        Ok(home)
    }

    pub(crate) fn pipes(&self) -> PathBuf {
        self.dir.path().join("pipes")
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn start(&self, words: &[String]) -> Running {
        self.start_logged(words, "stderr")
    }

    /// Starts this program; what it prints to stderr goes to the file.
    pub(crate) fn start_logged(&self, words: &[String], log: &str) -> Running {
        let mut command = this_program(words, &self.pipes());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        Running::start(command, &self.file(log))
    }

    pub(crate) fn check(&self, what: What, mode: Mode) -> String {
        let word = |value: Option<clap::builder::PossibleValue>| value.unwrap().get_name().to_owned();
        let words = ["check".into(), word(what.to_possible_value()), word(mode.to_possible_value())];
        let (status, text) = self.start(&words).finish(PATIENCE);
        if status.is_none() { format!("{what:?}: does not end") } else { text.trim_end().to_owned() }
    }

    /// What lies in the directory of pipes beside the lock.
    fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        collect(&self.pipes(), &mut left);
        left
    }

    /// Asks a server that lives on to quit, unless its dead client had done so: that may come while this is at it.
    pub(crate) fn ask_to_quit(&self, mode: Mode, findings: &mut Vec<String>) {
        if self.has_quit() {
            return;
        }
        let answer = self.check(What::Server, mode);
        if !self.has_quit() {
            expect_ok(&answer, findings);
        }
    }

    /// Whether the client asked the server to quit.
    pub(crate) fn has_quit(&self) -> bool {
        let journal = Entries::read(&self.file("survivor"));
        journal.after("quit").any(|connection| connection != AFTERWARDS.to_string())
    }

    /// The name is usable at once, and then nothing is left.
    pub(crate) fn use_name(&self, mode: Mode, findings: &mut Vec<String>) {
        expect_ok(&self.check(What::Name, mode), findings);
        expect_ok(&self.check(What::List, mode), findings);
        let left = self.left();
        if !left.is_empty() {
            findings.push(format!("left in the directory: {}", left.join(", ")));
        }
    }
}

fn collect(directory: &Path, left: &mut Vec<String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_name() != ".lock" {
            left.push(entry.file_name().to_string_lossy().into_owned());
            if entry.path().is_dir() {
                collect(&entry.path(), left);
            }
        }
    }
}

pub(crate) fn expect_end(of: &str, has_ended: bool, findings: &mut Vec<String>) {
    if !has_ended {
        findings.push(format!("the {of} hangs"));
    }
}

pub(crate) fn expect_ok(answer: &str, findings: &mut Vec<String>) {
    expect_ok_within(SOON, answer, findings);
}

pub(crate) fn expect_ok_within(limit: Duration, answer: &str, findings: &mut Vec<String>) {
    match answer.strip_prefix("ok ").and_then(|time| time.parse().ok()) {
        None => findings.push(format!("afterwards: {answer}")),
        Some(time) if Duration::from_millis(time) > limit => {
            findings.push(format!("late: the next process needed {time} ms"));
        }
        Some(_) => {}
    }
}
