//! A list of processors.

use std::{fmt, num::ParseIntError, str::FromStr};

/// Processors by number. An empty list leaves the choice to the scheduler.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cpus(pub(crate) Vec<usize>);

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<String> = self.0.iter().map(usize::to_string).collect();
        f.write_str(&numbers.join(","))
    }
}

impl FromStr for Cpus {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Cpus, Self::Err> {
        text.split(',')
            .filter(|number| !number.is_empty())
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map(Cpus)
    }
}
