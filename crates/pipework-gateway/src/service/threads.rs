//! Starting and joining the threads of the service.

use std::{
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};
use tracing::error;

use super::failure::Failure;

/// Starts a thread with a name.
pub(crate) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Failure> {
    thread::Builder::new()
        .name(name.into())
        .spawn(body)
        .map_err(|error| Failure::from_error("starting a thread", error))
}

/// The processor time that the calling thread has used. It stands still while the process is stopped.
pub(crate) fn processor_time() -> Duration {
    // The kernel's times are valid, and this one is not negative.
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap_or_default()
}

/// Waits until a thread has ended. A panic in it is logged.
pub(crate) fn join(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        error!("a thread panicked");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_does_not_run_uses_no_processor_time() {
        let (begun, time) = (std::time::Instant::now(), processor_time());
        thread::park_timeout(Duration::from_millis(200));
        assert!(processor_time() - time < begun.elapsed() / 4);
        let time = processor_time();
        while processor_time() - time < Duration::from_millis(2) {}
    }
}
