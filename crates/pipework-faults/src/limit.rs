//! Limits that a process sets for itself.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{fmt, fs, str::FromStr};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// Descriptors in all.
    Descriptors(u64),
    /// The length in bytes of any file that is written.
    FileSize(u64),
    /// Bytes of address space beside what the process has already.
    Memory(u64),
}

impl Limit {
    /// What is limited, and to what; of memory, beside what the process has.
    fn resource(self) -> (Resource, u64) {
        match self {
            Limit::Descriptors(count) => (Resource::Nofile, count),
            Limit::FileSize(bytes) => (Resource::Fsize, bytes),
            Limit::Memory(bytes) => (Resource::As, address_space() + bytes),
        }
    }

    /// The errors of the system that the limit explains.
    pub(crate) fn explains(self, text: &str) -> bool {
        let codes: &[&str] = match self {
            Limit::Descriptors(_) => &["os error 24"],
            Limit::FileSize(_) => &["os error 27"],
            Limit::Memory(_) => &["os error 12", "OutOfMemory"],
        };
        codes.iter().any(|code| text.contains(code))
    }

    pub(crate) fn set(self) {
        let (resource, current) = self.resource();
        let maximum = getrlimit(resource).maximum;
        setrlimit(resource, Rlimit { current: Some(current), maximum }).unwrap();
    }

    pub(crate) fn lift(self) {
        let (resource, _) = self.resource();
        let maximum = getrlimit(resource).maximum;
        setrlimit(resource, Rlimit { current: maximum, maximum }).unwrap();
    }
}

/// The bytes of address space that this process has.
fn address_space() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = text.split(' ').next().and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * 4096
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::Descriptors(count) => write!(f, "descriptors={count}"),
            Limit::FileSize(bytes) => write!(f, "file-size={bytes}"),
            Limit::Memory(bytes) => write!(f, "memory={bytes}"),
        }
    }
}

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Limit, String> {
        let (what, number) = text.split_once('=').ok_or("no number")?;
        let number = number.parse().map_err(|error| format!("{error}"))?;
        match what {
            "descriptors" => Ok(Limit::Descriptors(number)),
            "file-size" => Ok(Limit::FileSize(number)),
            "memory" => Ok(Limit::Memory(number)),
            _ => Err("descriptors, file-size or memory".into()),
        }
    }
}
