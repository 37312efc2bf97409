//! Errors: `io::Error` outside, with what a caller must tell apart readable by [`PipeErrorKind::of`].

use crate::sys;
use std::{borrow::Cow, error::Error, fmt, io};

/// Why a pipe call failed, in the words of the rule book. `io::Error` compares with it: `if e == PipeErrorKind::Busy`.
///
/// The number in brackets is the Windows error code that [`code`](PipeErrorKind::code) returns on every system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PipeErrorKind {
    /// No such pipe \[2\]; `NotFound`.
    Absent,
    /// The caller, or the peer, may not do this \[5\]; `PermissionDenied`.
    AccessDenied,
    /// `first` was asked and the name exists \[5\]; `PermissionDenied`.
    NameTaken,
    /// No instance listens, or all places are taken \[231\]; `ResourceBusy` on Unix, uncategorized on Windows.
    Busy,
    /// The client left, or nobody will read \[232\]; `BrokenPipe`.
    NoData,
    /// The message is longer \[234\].
    MoreData,
    /// The other end closed \[109\]; `BrokenPipe`.
    Broken,
    /// Disconnected \[233\].
    NotConnected,
    /// No client yet \[536\].
    Listening,
    /// \[121\]; `TimedOut`.
    TimedOut,
    /// Not in this state or mode \[230\].
    BadPipe,
    /// Bad argument or name \[87, 123\]; `InvalidInput`.
    Invalid,
    /// A canceller was used \[995\]; `ConnectionAborted`, never `Interrupted`.
    Aborted,
    /// This system or build cannot \[50\]; `Unsupported`.
    Unsupported,
    /// The other end broke the protocol; the connection is over \[13\]; `InvalidData`.
    Corrupt,
}

impl PipeErrorKind {
    /// Reads it from the system's code (Windows) or from the error's payload (Unix).
    ///
    /// `None` means that the error is not one of a pipe, but of the system below it: no space left, too many open
    /// files, and so on; `error.kind()` tells which.
    ///
    /// # Examples
    /// ```
    /// let error = pipework::connect("no-such-pipe-anywhere").unwrap_err();
    /// assert_eq!(pipework::PipeErrorKind::of(&error), Some(pipework::PipeErrorKind::Absent));
    /// ```
    pub fn of(error: &io::Error) -> Option<PipeErrorKind> {
        match error.get_ref() {
            Some(payload) => payload.downcast_ref::<PipeError>()?.kind,
            None => sys::kind_of_code(error.raw_os_error()?),
        }
    }

    /// The Windows error number, on every system.
    pub fn code(self) -> u32 {
        match self {
            PipeErrorKind::Absent => 2,
            PipeErrorKind::AccessDenied | PipeErrorKind::NameTaken => 5,
            PipeErrorKind::Corrupt => 13,
            PipeErrorKind::Unsupported => 50,
            PipeErrorKind::Invalid => 87,
            PipeErrorKind::Broken => 109,
            PipeErrorKind::TimedOut => 121,
            PipeErrorKind::BadPipe => 230,
            PipeErrorKind::Busy => 231,
            PipeErrorKind::NoData => 232,
            PipeErrorKind::NotConnected => 233,
            PipeErrorKind::MoreData => 234,
            PipeErrorKind::Listening => 536,
            PipeErrorKind::Aborted => 995,
        }
    }

    /// The kind of the `io::Error` that carries it.
    fn io_kind(self) -> io::ErrorKind {
        match self {
            PipeErrorKind::Absent => io::ErrorKind::NotFound,
            PipeErrorKind::AccessDenied | PipeErrorKind::NameTaken => io::ErrorKind::PermissionDenied,
            PipeErrorKind::Busy => io::ErrorKind::ResourceBusy,
            PipeErrorKind::NoData | PipeErrorKind::Broken => io::ErrorKind::BrokenPipe,
            PipeErrorKind::NotConnected | PipeErrorKind::Listening => io::ErrorKind::NotConnected,
            PipeErrorKind::TimedOut => io::ErrorKind::TimedOut,
            PipeErrorKind::Invalid => io::ErrorKind::InvalidInput,
            PipeErrorKind::Aborted => io::ErrorKind::ConnectionAborted,
            PipeErrorKind::Unsupported => io::ErrorKind::Unsupported,
            PipeErrorKind::Corrupt => io::ErrorKind::InvalidData,
            PipeErrorKind::MoreData | PipeErrorKind::BadPipe => io::ErrorKind::Other,
        }
    }
}

impl PartialEq<PipeErrorKind> for io::Error {
    fn eq(&self, kind: &PipeErrorKind) -> bool {
        PipeErrorKind::of(self) == Some(*kind)
    }
}

/// Whether the other end has gone: `Broken`, `NoData` or `NotConnected`.
pub fn is_gone(error: &io::Error) -> bool {
    matches!(
        PipeErrorKind::of(error),
        Some(PipeErrorKind::Broken | PipeErrorKind::NoData | PipeErrorKind::NotConnected)
    )
}

/// What an `io::Error` of this crate carries: the kind, a text that says what to do, and the system's own error.
#[derive(Debug)]
struct PipeError {
    kind: Option<PipeErrorKind>,
    text: Cow<'static, str>,
    source: Option<io::Error>,
}

impl fmt::Display for PipeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl Error for PipeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| source as &(dyn Error + 'static))
    }
}

/// An error of a pipe: its kind and a text for the reader.
pub(crate) fn fail(kind: PipeErrorKind, text: impl Into<Cow<'static, str>>) -> io::Error {
    io::Error::new(kind.io_kind(), PipeError { kind: Some(kind), text: text.into(), source: None })
}

/// An error of a pipe that the system caused: the same, with the system's error as its source.
pub(crate) fn fail_from(
    kind: PipeErrorKind,
    text: impl Into<Cow<'static, str>>,
    source: impl Into<io::Error>,
) -> io::Error {
    let source = Some(source.into());
    io::Error::new(kind.io_kind(), PipeError { kind: Some(kind), text: text.into(), source })
}

/// An error of the system below (no space, too many open files), told in the words of what was being done.
pub(crate) fn context(text: impl Into<Cow<'static, str>>, source: impl Into<io::Error>) -> io::Error {
    let source = source.into();
    if PipeErrorKind::of(&source).is_some() {
        return source;
    }
    io::Error::new(source.kind(), PipeError { kind: None, text: text.into(), source: Some(source) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_is_read_back_from_the_error() {
        let error = fail(PipeErrorKind::Busy, "no instance of echo listens");
        assert!(error == PipeErrorKind::Busy);
        assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
        assert_eq!(error.to_string(), "no instance of echo listens");
        // On no system the number of an error of pipes.
        assert!(PipeErrorKind::of(&io::Error::from_raw_os_error(8)).is_none());
        assert!(PipeErrorKind::of(&io::Error::from(io::ErrorKind::NotFound)).is_none());
    }

    #[test]
    fn the_system_error_is_the_source_and_part_of_the_text() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let error = context("making the pipe", full());
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(error.to_string(), format!("making the pipe: {}", full()));
        assert!(error.get_ref().and_then(|payload| payload.source()).is_some());
        let denied = fail_from(PipeErrorKind::AccessDenied, "opening", full());
        assert_eq!(denied.to_string(), format!("opening: {}", full()));
        assert!(context("again", denied) == PipeErrorKind::AccessDenied);
    }

    #[test]
    fn gone_is_three_kinds() {
        use PipeErrorKind::{Broken, Busy, NoData, NotConnected, TimedOut};
        for (kind, gone) in
            [(Broken, true), (NoData, true), (NotConnected, true), (Busy, false), (TimedOut, false)]
        {
            assert_eq!(is_gone(&fail(kind, "")), gone, "{kind:?}");
        }
        assert!(!is_gone(&io::Error::from(io::ErrorKind::BrokenPipe)));
    }

    #[test]
    fn codes_are_those_of_windows() {
        use PipeErrorKind::*;
        let codes = [
            (Absent, 2),
            (AccessDenied, 5),
            (NameTaken, 5),
            (Busy, 231),
            (NoData, 232),
            (MoreData, 234),
            (Broken, 109),
            (NotConnected, 233),
            (Listening, 536),
            (TimedOut, 121),
            (BadPipe, 230),
            (Invalid, 87),
            (Aborted, 995),
            (Unsupported, 50),
            (Corrupt, 13),
        ];
        for (kind, code) in codes {
            assert_eq!(kind.code(), code, "{kind:?}");
        }
    }
}
