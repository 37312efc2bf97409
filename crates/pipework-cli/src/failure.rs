//! The failure of a command: a text, a hint, and the exit code.

use std::{io, time::Duration};

use pipework::{PipeErrorKind, PipeName};

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: Status,
    pub(crate) text: String,
    pub(crate) hint: Option<String>,
}

/// The exit codes that the help lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// The reader of stdout has closed it. It wants no more output, so this is success, without a message.
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

    /// Something other than a pipe failed: a file, a process, a result.
    pub(crate) fn failed(text: impl Into<String>) -> Failure {
        Failure::new(Status::Failed, text)
    }

    pub(crate) fn interrupted(text: impl Into<String>) -> Failure {
        Failure::new(Status::Interrupted, format!("interrupted: {}", text.into()))
    }

    /// A call on this pipe failed. The system's error texts have no name, so the name is added.
    pub(crate) fn of_pipe(name: &PipeName, error: io::Error) -> Failure {
        let lacks_name = error.get_ref().is_none();
        let failure = Failure::from(error);
        let text = if lacks_name { format!("{name}: {}", failure.text) } else { failure.text };
        Failure { text, ..failure }
    }

    /// A write to stdout failed.
    pub(crate) fn stdout(error: &io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::new(Status::StdoutClosed, ""),
            _ => Failure::failed(format!("can't write to stdout: {error}")),
        }
    }

    /// Replaces the general hint.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }

    /// Replaces the general hint, for one status only.
    #[must_use]
    pub(crate) fn hint_if(self, status: Status, hint: &str) -> Failure {
        if self.status == status { self.hint(hint) } else { self }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        let (status, hint) = explain(&error);
        Failure { status, text: error.to_string(), hint: hint.map(str::to_owned) }
    }
}

/// The hint for a timeout.
const LONGER_TIMEOUT: &str = "set a longer --timeout";

/// The pipe was busy or absent until the timeout.
pub(crate) fn timed_out(name: &PipeName, timeout: Duration, was: &str) -> Failure {
    let text = format!("timed out after {}: {name} {was}", humantime::format_duration(timeout));
    Failure::new(Status::Busy, text).hint(LONGER_TIMEOUT)
}

/// The exit code of an error, and a hint to the user.
fn explain(error: &io::Error) -> (Status, Option<&'static str>) {
    use PipeErrorKind as Kind;
    match PipeErrorKind::of(error) {
        Some(Kind::Absent) => (Status::Absent, Some("`pipework list` lists the pipes")),
        Some(Kind::Busy) => (
            Status::Busy,
            Some("all instances have clients: try again, or serve the pipe with more instances"),
        ),
        Some(Kind::TimedOut) => (Status::Busy, Some(LONGER_TIMEOUT)),
        Some(Kind::AccessDenied) => (Status::Denied, None),
        Some(Kind::NameTaken) => (
            Status::Denied,
            Some("`pipework list` shows the serving process; --join serves the name together with it"),
        ),
        Some(Kind::Invalid) => (Status::Usage, None),
        Some(Kind::Corrupt) => (Status::Failed, Some("does the peer use the same version of pipework?")),
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
