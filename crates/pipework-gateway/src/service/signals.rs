//! The signals that control the service. One that was ignored when the process started stays ignored, as under `nohup`.

use std::{fs, io};

use nix::sys::signal::{SigSet, Signal as Number};

use super::failure::Failure;

/// What a signal requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGHUP: reload the configuration.
    Reload,
    /// SIGTERM or SIGINT: stop the service.
    Stop,
}

/// The signals that are waited for.
///
/// They have no handler: one that wakes a thread through a descriptor loses the signal if memory is short.
#[derive(Debug)]
pub(crate) struct Signals {
    awaited: SigSet,
}

impl Signals {
    /// From now on these signals do not end the process by themselves. Threads that were started before would still
    /// receive them.
    pub(crate) fn new() -> Result<Signals, Failure> {
        let signals = || {
            let (mut awaited, ignored) = (SigSet::empty(), ignored());
            for number in [Number::SIGHUP, Number::SIGTERM, Number::SIGINT] {
                // A signal that is ignored and blocked would be received all the same.
                if ignored & bit(number) == 0 {
                    awaited.add(number);
                }
            }
            awaited.thread_block()?;
            Ok(Signals { awaited })
        };
        signals().map_err(|error: io::Error| Failure::from_error("blocking signals", error))
    }

    /// Waits for the next signal. One that came before is not lost.
    pub(crate) fn wait(&self) -> Signal {
        loop {
            match self.awaited.wait() {
                Ok(Number::SIGHUP) => return Signal::Reload,
                Ok(_) => return Signal::Stop,
                // Interrupted; the set itself is valid.
                Err(_) => {}
            }
        }
    }
}

/// The signals that this process ignores, each a bit. Where `/proc` can't be read, none is known to be ignored.
fn ignored() -> u64 {
    fs::read_to_string("/proc/self/status").ok().and_then(|status| parse(&status)).unwrap_or(0)
}

fn bit(number: Number) -> u64 {
    1 << (number as i32 - 1)
}

fn parse(status: &str) -> Option<u64> {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::raise;

    use super::*;

    #[test]
    fn a_signal_that_comes_before_the_wait_is_not_lost() {
        let signals = Signals::new().unwrap();
        // For this thread alone.
        raise(Number::SIGTERM).unwrap();
        raise(Number::SIGHUP).unwrap();
        let mut received = [signals.wait(), signals.wait()].map(|signal| signal == Signal::Stop);
        received.sort_unstable();
        assert_eq!(received, [false, true]);
    }

    #[test]
    fn the_ignored_signals_are_parsed() {
        let status =
            "Name:\tx\nSigBlk:\t0000000000000001\nSigIgn:\t0000000000001003\nSigCgt:\t0000000000000004\n";
        let ignored = parse(status).unwrap();
        assert_eq!(ignored, bit(Number::SIGHUP) | bit(Number::SIGINT) | bit(Number::SIGPIPE));
        assert_eq!(parse("Name:\tx\n"), None);
        assert_eq!(parse("SigIgn:\tz\n"), None);
    }
}
