//! Errors: `io::Error` on the surface, and the kinds that callers distinguish.

use std::{borrow::Cow, env::consts, error::Error, fmt, io};

/// The kind of a pipe error, in the terms of the [rules](crate::rules).
///
/// `io::Error` and this compare with each other: `if error == PipeErrorKind::Busy`. The number in brackets is the Windows error
/// code, which [`code`](PipeErrorKind::code) returns on every system. After it comes the kind of the `io::Error`, if it is not
/// `Other` or `NotConnected`.
///
/// # Examples
/// ```
/// use pipework::PipeErrorKind;
///
/// let error = std::io::Error::from(PipeErrorKind::TimedOut);
/// assert!(error == PipeErrorKind::TimedOut && error.kind() == std::io::ErrorKind::TimedOut);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PipeErrorKind {
    /// There is no such pipe \[2\]; `NotFound`.
    Absent,
    /// This process, this end or the peer lacks the right to do this \[5\]; `PermissionDenied`.
    AccessDenied,
    /// The new instance had to be the first, and the name exists \[5\]; `PermissionDenied`.
    NameTaken,
    /// No instance listens, or the pipe has its maximum of instances \[231\]; `ResourceBusy` on Unix, uncategorized on Windows.
    Busy,
    /// The peer has closed, so that nothing can be written to it, or the client has left \[232\]; `BrokenPipe`.
    NoData,
    /// The message is longer than the limit or the buffer \[234\].
    MoreData,
    /// The peer has closed \[109\]; `BrokenPipe`.
    Broken,
    /// The server has disconnected its client \[233\].
    NotConnected,
    /// No client has connected yet \[536\].
    Listening,
    /// The time limit was reached \[121\]; `TimedOut`.
    TimedOut,
    /// The call does not fit the state or mode of the pipe \[230\].
    BadPipe,
    /// An argument or a name is invalid \[87, 123\]; `InvalidInput`.
    Invalid,
    /// A canceller was used \[995\]; `ConnectionAborted`, never `Interrupted`.
    Aborted,
    /// This system, build or kind of pipe does not support the call \[50\]; `Unsupported`.
    Unsupported,
    /// The peer violated the protocol, and the connection has ended \[13\]; `InvalidData`.
    Corrupt,
}

impl PipeErrorKind {
    /// Returns the kind of an error, from the system's code on Windows and from the error's payload on Unix.
    ///
    /// `None` means that the error comes from the system and not from a pipe, such as no space left or too many open files.
    /// Use `error.kind()` for these.
    ///
    /// # Examples
    /// ```
    /// let error = pipework::connect("no-such-pipe-anywhere").unwrap_err();
    /// assert_eq!(pipework::PipeErrorKind::of(&error), Some(pipework::PipeErrorKind::Absent));
    /// ```
    pub fn of(error: &io::Error) -> Option<PipeErrorKind> {
        match error.get_ref() {
            Some(payload) => payload.downcast_ref::<PipeError>()?.kind,
            None => PipeErrorKind::of_code(error.raw_os_error()?),
        }
    }

    /// Returns the Windows error code, on every system.
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

    /// Returns whether the peer is gone: `Broken`, `NoData` or `NotConnected`.
    ///
    /// # Examples
    /// ```
    /// use pipework::PipeErrorKind;
    ///
    /// assert!(PipeErrorKind::Broken.is_gone());
    /// assert!(!PipeErrorKind::TimedOut.is_gone());
    /// ```
    pub fn is_gone(self) -> bool {
        matches!(self, PipeErrorKind::Broken | PipeErrorKind::NoData | PipeErrorKind::NotConnected)
    }

    /// What happened, in a few words.
    fn description(self) -> &'static str {
        match self {
            PipeErrorKind::Absent => "there is no such pipe",
            PipeErrorKind::AccessDenied => "access is denied",
            PipeErrorKind::NameTaken => "the name is taken",
            PipeErrorKind::Busy => "all instances of the pipe are busy",
            PipeErrorKind::NoData => "the peer has closed the pipe",
            PipeErrorKind::MoreData => "the message is longer than the limit",
            PipeErrorKind::Broken => "the peer has closed the pipe",
            PipeErrorKind::NotConnected => "the server has disconnected the pipe",
            PipeErrorKind::Listening => "no client has connected yet",
            PipeErrorKind::TimedOut => "the operation timed out",
            PipeErrorKind::BadPipe => "the pipe is in the wrong state or mode for this operation",
            PipeErrorKind::Invalid => "an argument is invalid",
            PipeErrorKind::Aborted => "the operation was cancelled",
            PipeErrorKind::Unsupported => "this system or build does not support the operation",
            PipeErrorKind::Corrupt => "the peer has violated the protocol",
        }
    }

    /// The kind of a bare error code of the system.
    ///
    /// On Windows each kind has its code. Elsewhere the payload has the kind, and an errno has none, with one exception: no
    /// errno is 231, which `pipework::tokio` returns for a busy pipe because programs on tokio compare it.
    fn of_code(code: i32) -> Option<PipeErrorKind> {
        let code = u32::try_from(code).ok()?;
        let is_known = consts::FAMILY == "windows" || code == PipeErrorKind::Busy.code();
        if is_known { PipeErrorKind::of_windows_code(code) } else { None }
    }

    /// The kind of a Windows error code: the inverse of [`code`](PipeErrorKind::code), and `ERROR_INVALID_NAME`.
    fn of_windows_code(code: u32) -> Option<PipeErrorKind> {
        Some(match code {
            2 => PipeErrorKind::Absent,
            5 => PipeErrorKind::AccessDenied,
            50 => PipeErrorKind::Unsupported,
            87 | 123 => PipeErrorKind::Invalid,
            109 => PipeErrorKind::Broken,
            121 => PipeErrorKind::TimedOut,
            230 => PipeErrorKind::BadPipe,
            231 => PipeErrorKind::Busy,
            232 => PipeErrorKind::NoData,
            233 => PipeErrorKind::NotConnected,
            234 => PipeErrorKind::MoreData,
            536 => PipeErrorKind::Listening,
            995 => PipeErrorKind::Aborted,
            _ => return None,
        })
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

impl fmt::Display for PipeErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.description())
    }
}

/// An error of this kind, whose text is that of the kind.
impl From<PipeErrorKind> for io::Error {
    fn from(kind: PipeErrorKind) -> io::Error {
        fail(kind, kind.description())
    }
}

impl PartialEq<PipeErrorKind> for io::Error {
    fn eq(&self, kind: &PipeErrorKind) -> bool {
        PipeErrorKind::of(self) == Some(*kind)
    }
}

impl PartialEq<io::Error> for PipeErrorKind {
    fn eq(&self, error: &io::Error) -> bool {
        error == self
    }
}

/// Returns whether the peer is gone: [`PipeErrorKind::is_gone`] of the error's kind, and `false` for an error without one.
pub fn is_gone(error: &io::Error) -> bool {
    PipeErrorKind::of(error).is_some_and(PipeErrorKind::is_gone)
}

/// The payload of this crate's `io::Error`: the kind, a text that says what to do, and the error of the system.
struct PipeError {
    kind: Option<PipeErrorKind>,
    text: Cow<'static, str>,
    source: Option<io::Error>,
}

/// As `main` prints the error that it returns.
impl fmt::Debug for PipeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Some(kind) => write!(f, "{kind:?}: {self}"),
            None => write!(f, "{self}"),
        }
    }
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

/// A pipe error with a kind and a text.
pub(crate) fn fail(kind: PipeErrorKind, text: impl Into<Cow<'static, str>>) -> io::Error {
    io::Error::new(kind.io_kind(), PipeError { kind: Some(kind), text: text.into(), source: None })
}

/// A pipe error whose source is an error of the system.
pub(crate) fn fail_from(
    kind: PipeErrorKind,
    text: impl Into<Cow<'static, str>>,
    source: impl Into<io::Error>,
) -> io::Error {
    let source = Some(source.into());
    io::Error::new(kind.io_kind(), PipeError { kind: Some(kind), text: text.into(), source })
}

/// An error of the system, such as no space left or too many open files, with a text that says what failed.
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
            assert_eq!(kind.is_gone(), gone, "{kind:?}");
        }
        assert!(!is_gone(&io::Error::from(io::ErrorKind::BrokenPipe)));
    }

    #[test]
    fn a_kind_becomes_an_error_and_compares_both_ways() {
        let error = io::Error::from(PipeErrorKind::Busy);
        assert!(error == PipeErrorKind::Busy);
        assert!(PipeErrorKind::Busy == error);
        assert!(error != PipeErrorKind::Absent);
        assert!(PipeErrorKind::Absent != error);
        assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
        assert_eq!(error.to_string(), PipeErrorKind::Busy.to_string());
        assert_eq!(format!("{:>20}", PipeErrorKind::AccessDenied), "    access is denied");
        assert!(PipeErrorKind::Busy != io::Error::from(io::ErrorKind::ResourceBusy));
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
            // Two kinds only this crate has; a number can't say more than that the system refused.
            let read_back = match kind {
                NameTaken => Some(AccessDenied),
                Corrupt => None,
                kind => Some(kind),
            };
            assert_eq!(PipeErrorKind::of_windows_code(code), read_back, "{code}");
        }
        assert_eq!(PipeErrorKind::of_windows_code(123), Some(Invalid));
    }

    #[test]
    fn what_main_prints_is_the_text_as_it_is() {
        let error = fail(PipeErrorKind::Absent, r"there is no pipe \\.\pipe\x");
        assert_eq!(
            format!("{error:?}"),
            r"Custom { kind: NotFound, error: Absent: there is no pipe \\.\pipe\x }"
        );
        let error = context("opening x", io::Error::from_raw_os_error(8));
        assert!(format!("{error:?}").contains(&format!("error: {error}")), "{error:?}");
    }

    #[test]
    fn a_bare_number_is_read_as_the_system_means_it() {
        let of = |code| PipeErrorKind::of(&io::Error::from_raw_os_error(code));
        assert_eq!(of(231), Some(PipeErrorKind::Busy));
        let is_windows = !std::path::Path::new("/").is_absolute();
        for (code, kind) in [(2, PipeErrorKind::Absent), (109, PipeErrorKind::Broken)] {
            assert_eq!(of(code), is_windows.then_some(kind), "{code}");
        }
        assert_eq!(of(-1), None);
    }
}
