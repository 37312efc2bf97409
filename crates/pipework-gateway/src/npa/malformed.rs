//! Errors of parsing a request.

use std::{error::Error, fmt};

/// Why bytes are not a request that this version can parse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Malformed {
    /// The level of the exchange is not supported.
    Level(u32),
    /// No request has this length.
    Length(usize),
    /// The bytes at one offset are invalid.
    At {
        /// The offset from the first byte of the prefix.
        offset: usize,
        /// What is wrong there.
        what: &'static str,
    },
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::Level(level) => write!(
                f,
                "level {level} of the exchange is not supported: this smbd is too old or too new (up to 4.15 level 4, \
                 4.17 to 4.19 level 7, from 4.20 level 8)"
            ),
            Malformed::Length(len) => write!(f, "no request has {len} bytes"),
            Malformed::At { offset, what } => write!(f, "{what} at offset {offset}"),
        }
    }
}

impl Error for Malformed {}
