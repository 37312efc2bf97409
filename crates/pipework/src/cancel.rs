//! Cancelling calls that wait.

use crate::sys;
use std::io;

/// Cancels waiting calls of any number of ends, from another thread or from a signal handler
/// ([rule T2](crate::rules#t2)).
///
/// A canceller can be used once and stays used. After that, a call that needs not wait still succeeds, and a call that would
/// wait fails with `Aborted`. Bytes that a cancelled call has transferred are reported. A call that already waits uses the
/// canceller that its end had when the wait began. Corresponds to [`CancelIoEx`] and [`CancelSynchronousIo`].
///
/// [`CancelIoEx`]: https://learn.microsoft.com/windows/win32/api/ioapiset/nf-ioapiset-cancelioex
/// [`CancelSynchronousIo`]: https://learn.microsoft.com/windows/win32/api/ioapiset/nf-ioapiset-cancelsynchronousio
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
#[doc(alias = "CancelIoEx")]
#[derive(Clone, Debug)]
pub struct Canceller {
    inner: sys::Canceller,
}

impl Canceller {
    /// Creates a canceller. It owns a file descriptor on Unix and an event on Windows.
    ///
    /// # Errors
    /// The system's error, such as too many open files.
    pub fn new() -> io::Result<Canceller> {
        Ok(Canceller { inner: sys::Canceller::new()? })
    }

    /// Cancels the waiting calls, and those that would wait from now on.
    ///
    /// It makes one atomic store and one system call, so a signal handler may call it.
    pub fn cancel(&self) {
        self.inner.cancel();
    }

    /// Returns whether [`cancel`](Canceller::cancel) was called.
    pub fn is_cancelled(&self) -> bool {
        self.inner.is_cancelled()
    }

    pub(crate) fn sys(&self) -> &sys::Canceller {
        &self.inner
    }
}
