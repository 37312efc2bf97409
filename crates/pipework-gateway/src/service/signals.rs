//! The signals that control the service. One that was ignored when the process started stays ignored, as under `nohup`.

use std::{fs, future, io};

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

/// The handlers of these signals. A signal without a handler is ignored.
#[derive(Debug)]
pub(crate) struct Signals {
    runtime: Runtime,
    hangup: Option<unix::Signal>,
    terminate: Option<unix::Signal>,
    interrupt: Option<unix::Signal>,
}

impl Signals {
    /// Installs the handlers. From now on these signals do not end the process by themselves.
    pub(crate) fn new() -> Result<Signals, Failure> {
        let signals = || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
            let entered = runtime.enter();
            let ignored = ignored();
            let hangup = handler(SignalKind::hangup(), ignored)?;
            let terminate = handler(SignalKind::terminate(), ignored)?;
            let interrupt = handler(SignalKind::interrupt(), ignored)?;
            drop(entered);
            Ok(Signals { runtime, hangup, terminate, interrupt })
        };
        signals().map_err(|error: io::Error| Failure::from_error("installing signal handlers", error))
    }

    /// Waits for the next signal.
    pub(crate) fn wait(&mut self) -> Signal {
        let Signals { runtime, hangup, terminate, interrupt } = self;
        runtime.block_on(async {
            tokio::select! {
                biased;
                () = next(terminate) => Signal::Stop,
                () = next(interrupt) => Signal::Stop,
                () = next(hangup) => Signal::Reload,
            }
        })
    }
}

fn handler(kind: SignalKind, ignored: u64) -> io::Result<Option<unix::Signal>> {
    let bit = 1 << (kind.as_raw_value() - 1);
    if ignored & bit != 0 { Ok(None) } else { unix::signal(kind).map(Some) }
}

async fn next(signal: &mut Option<unix::Signal>) {
    match signal {
        Some(signal) => _ = signal.recv().await,
        None => future::pending().await,
    }
}

/// The signals that this process ignores, each a bit. Where `/proc` can't be read, none is known to be ignored.
fn ignored() -> u64 {
    fs::read_to_string("/proc/self/status").ok().and_then(|status| parse(&status)).unwrap_or(0)
}

fn parse(status: &str) -> Option<u64> {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_ignored_signals_are_parsed() {
        let status =
            "Name:\tx\nSigBlk:\t0000000000000001\nSigIgn:\t0000000000001003\nSigCgt:\t0000000000000004\n";
        assert_eq!(parse(status), Some(0x1003), "SIGHUP, SIGINT and SIGPIPE");
        assert_eq!(parse("Name:\tx\n"), None);
        assert_eq!(parse("SigIgn:\tz\n"), None);
    }
}
