//! What an end writes down: a line for each thing that it did, in one write that no kill can split.

use rustix::time::{ClockId, clock_gettime};
use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::Path,
};

/// Nanoseconds of a clock that all processes share.
pub(crate) fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let part = |number: i64| u64::try_from(number).unwrap_or(0);
    part(time.tv_sec) * 1_000_000_000 + part(time.tv_nsec)
}

/// The journal of one end, while that runs.
#[derive(Debug)]
pub(crate) struct Journal(File);

impl Journal {
    pub(crate) fn open(path: &Path) -> Journal {
        Journal(OpenOptions::new().create(true).append(true).open(path).unwrap())
    }

    pub(crate) fn note(&self, line: &str) {
        (&self.0).write_all(format!("{line}\n").as_bytes()).unwrap();
    }
}

/// A journal, read when its end is over.
#[derive(Debug)]
pub(crate) struct Entries(String);

impl Entries {
    pub(crate) fn read(path: &Path) -> Entries {
        Entries(std::fs::read_to_string(path).unwrap_or_default())
    }

    /// Of an end that wrote its journal to its output.
    pub(crate) fn of(text: String) -> Entries {
        Entries(text)
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    /// The other lines than those with the text.
    pub(crate) fn without(&self, text: &str) -> Entries {
        let lines = self.0.lines().filter(|line| !line.contains(text));
        Entries(lines.map(|line| format!("{line}\n")).collect())
    }

    /// What follows the word in each line that begins with it.
    pub(crate) fn after<'a>(&'a self, word: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.lines().filter_map(move |line| line.strip_prefix(word)?.strip_prefix(' '))
    }

    pub(crate) fn has(&self, word: &str) -> bool {
        self.0.lines().any(|line| line.split(' ').next() == Some(word))
    }

    /// How many frames of a connection a line of this kind counts.
    pub(crate) fn count(&self, word: &str, connection: &str) -> usize {
        self.after(word).filter(|rest| *rest == connection).count()
    }
}
