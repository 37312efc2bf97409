//! Why the service can't run.

use std::fmt;

/// The exit code when the service can't run, or when `--check` found something missing.
pub(crate) const EXIT_FAILED: u8 = 1;
/// The exit code for wrong options or a wrong configuration.
pub(crate) const EXIT_MISUSED: u8 = 2;

/// Why the service can't run, as text for the administrator.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) fn new(text: impl Into<String>) -> Failure {
        Failure(text.into())
    }

    /// A failed operation: `action` names the operation, `error` is the system's error.
    pub(crate) fn from_error(action: impl fmt::Display, error: impl fmt::Display) -> Failure {
        Failure(format!("{action}: {error}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
