//! How a command ends when it does not end well: what happened, what to do about it, and the exit code.

use std::{io, process::ExitCode};

use pipework::{PipeErrorKind, PipeName};

use crate::output::{say, say_more};

/// Why a command ended.
#[derive(Debug)]
pub(crate) struct Failure {
    status: Status,
    text: String,
    hint: Option<String>,
}

/// The exit codes, as the help lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// Nobody reads stdout any more: the reader has seen enough, so this is success and nothing is said.
    StdoutClosed = 0,
    Failed = 1,
    Usage = 2,
    Absent = 3,
    Busy = 4,
    Denied = 5,
    Interrupted = 130,
}

impl Failure {
    pub(crate) fn new(status: Status, text: impl Into<String>) -> Failure {
        Failure { status, text: text.into(), hint: None }
    }

    /// Something else than a pipe failed: a file, a process, a result.
    pub(crate) fn failed(text: impl Into<String>) -> Failure {
        Failure::new(Status::Failed, text)
    }

    pub(crate) fn interrupted(text: impl Into<String>) -> Failure {
        Failure::new(Status::Interrupted, format!("interrupted: {}", text.into()))
    }

    /// A call about a pipe failed. The texts of the system don't say about which.
    pub(crate) fn about(name: &PipeName, error: io::Error) -> Failure {
        let names_nothing = error.get_ref().is_none();
        let failure = Failure::from(error);
        let text = if names_nothing { format!("{name}: {}", failure.text) } else { failure.text };
        Failure { text, ..failure }
    }

    /// A write to stdout failed.
    pub(crate) fn stdout(error: &io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::new(Status::StdoutClosed, ""),
            _ => Failure::failed(format!("can't write to stdout: {error}")),
        }
    }

    /// Says what to do, instead of what fits the error in general.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }

    /// The same, for one status only.
    #[must_use]
    pub(crate) fn hint_if(self, status: Status, hint: &str) -> Failure {
        if self.status == status { self.hint(hint) } else { self }
    }

    /// Tells the user and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        if self.status != Status::StdoutClosed {
            say(format_args!("{}", self.text));
            if let Some(hint) = &self.hint {
                say_more(format_args!("hint: {hint}"));
            }
        }
        ExitCode::from(self.status as u8)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        let (status, hint) = explain(&error);
        Failure { status, text: error.to_string(), hint: hint.map(str::to_owned) }
    }
}

/// Nothing could be connected to before the time was up.
pub(crate) fn too_late(name: &PipeName) -> Failure {
    Failure::new(Status::Busy, format!("no free instance of {name} in time"))
        .hint("give it more time with --timeout")
}

/// The exit code of an error, and what a user can do about it.
fn explain(error: &io::Error) -> (Status, Option<&'static str>) {
    use PipeErrorKind as Kind;
    match PipeErrorKind::of(error) {
        Some(Kind::Absent) => (Status::Absent, Some("`pipework list` shows the pipes that there are")),
        Some(Kind::Busy) => {
            (Status::Busy, Some("every instance has its client: try again, or serve it with more instances"))
        }
        Some(Kind::TimedOut) => (Status::Busy, Some("give it more time with --timeout")),
        Some(Kind::AccessDenied) => (Status::Denied, None),
        Some(Kind::NameTaken) => {
            (Status::Denied, Some("`pipework list` shows who serves it; --join serves it together"))
        }
        Some(Kind::Invalid) => (Status::Usage, None),
        Some(Kind::Corrupt) => {
            (Status::Failed, Some("is the other end a pipework program of the same version?"))
        }
        _ => (Status::Failed, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_stdout_is_success_and_other_errors_are_not() {
        assert_eq!(Failure::stdout(&io::ErrorKind::BrokenPipe.into()).status, Status::StdoutClosed);
        assert_eq!(Failure::stdout(&io::ErrorKind::StorageFull.into()).status, Status::Failed);
    }

    #[test]
    fn a_broken_pipe_elsewhere_is_a_failure() {
        assert_eq!(Failure::from(io::Error::from(io::ErrorKind::BrokenPipe)).status, Status::Failed);
    }
}
