//! The signals that control the service.

use tokio::{
    runtime::{self, Runtime},
    signal::unix::{self, SignalKind},
};

use super::failure::Failure;

/// What a signal requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGHUP: reload the configuration.
    Reload,
    /// SIGTERM or SIGINT: stop the service.
    Stop,
}

/// The handlers of these signals.
#[derive(Debug)]
pub(crate) struct Signals {
    runtime: Runtime,
    hangup: unix::Signal,
    terminate: unix::Signal,
    interrupt: unix::Signal,
}

impl Signals {
    /// Installs the handlers. From now on these signals do not end the process by themselves.
    pub(crate) fn new() -> Result<Signals, Failure> {
        let signals = || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
            let entered = runtime.enter();
            let hangup = unix::signal(SignalKind::hangup())?;
            let terminate = unix::signal(SignalKind::terminate())?;
            let interrupt = unix::signal(SignalKind::interrupt())?;
            drop(entered);
            Ok(Signals { runtime, hangup, terminate, interrupt })
        };
        signals().map_err(|error: std::io::Error| Failure::from_error("installing signal handlers", error))
    }

    /// Waits for the next signal.
    pub(crate) fn wait(&mut self) -> Signal {
        let Signals { runtime, hangup, terminate, interrupt } = self;
        runtime.block_on(async {
            tokio::select! {
                biased;
                _ = terminate.recv() => Signal::Stop,
                _ = interrupt.recv() => Signal::Stop,
                _ = hangup.recv() => Signal::Reload,
            }
        })
    }
}
