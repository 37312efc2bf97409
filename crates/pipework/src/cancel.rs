//! Ending waits from elsewhere.

use crate::sys;
use std::io;

/// Ends waits from another thread or a signal handler, for any number of ends at once.
///
/// Once used, it stays used: a call that need not wait still works, one that would wait is `Aborted`; bytes that were
/// transferred are reported. A wait that has begun goes by the canceller that its end had when it began. Corresponds
/// to `CancelSynchronousIo` and `CancelIoEx`.
///
/// # Examples
/// ```
/// use pipework::{Canceller, Listener, PipeErrorKind, PipeName};
/// # fn main() -> std::io::Result<()> {
/// let listener = Listener::bind(PipeName::unique("cancel")?)?;
/// let canceller = Canceller::new()?;
/// listener.set_canceller(Some(&canceller));
/// let handle = canceller.clone();
/// std::thread::spawn(move || handle.cancel());
/// assert!(listener.accept().unwrap_err() == PipeErrorKind::Aborted);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Canceller {
    inner: sys::Canceller,
}

impl Canceller {
    /// Makes a fresh one; it holds a file descriptor on Unix, an event on Windows.
    ///
    /// # Errors
    /// When the process has no descriptor to spare.
    pub fn new() -> io::Result<Canceller> {
        Ok(Canceller { inner: sys::Canceller::new()? })
    }

    /// Uses it; only an atomic store and one system call, so a signal handler may.
    pub fn cancel(&self) {
        self.inner.cancel();
    }

    /// Whether it was used.
    pub fn is_cancelled(&self) -> bool {
        self.inner.is_cancelled()
    }

    pub(crate) fn sys(&self) -> &sys::Canceller {
        &self.inner
    }
}
