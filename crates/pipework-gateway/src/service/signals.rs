//! The signals that tell the service what to do.

use tokio::{
    runtime::{self, Runtime},
    signal::unix::{self, SignalKind},
};

use super::Failure;

/// What a signal says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGTERM or SIGINT.
    Stop,
}

/// Signals, as they come.
#[derive(Debug)]
pub(crate) struct Signals {
    runtime: Runtime,
    hangup: unix::Signal,
    terminate: unix::Signal,
    interrupt: unix::Signal,
}

impl Signals {
    /// From now on none of them ends the process by itself.
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
        signals().map_err(|error: std::io::Error| Failure::at("waiting for signals", error))
    }

    /// Waits for the next one.
    pub(crate) fn next(&mut self) -> Signal {
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
