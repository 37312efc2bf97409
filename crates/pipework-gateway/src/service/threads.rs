//! Starting and joining the threads of the service.

use std::thread::{self, JoinHandle};

use tracing::error;

use super::failure::Failure;

/// Starts a thread with a name.
pub(crate) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Failure> {
    thread::Builder::new()
        .name(name.into())
        .spawn(body)
        .map_err(|error| Failure::from_error("starting a thread", error))
}

/// Waits until a thread has ended. A panic in it is logged.
pub(crate) fn join(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        error!("a thread panicked");
    }
}
