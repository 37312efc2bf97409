//! The signals that control the service. One that was ignored when the process started stays ignored, as under `nohup`.
#![expect(unsafe_code, reason = "no library returns the action of a signal")]

use std::{future, io, mem::MaybeUninit, ptr};

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
            let hangup = handler(SignalKind::hangup())?;
            let terminate = handler(SignalKind::terminate())?;
            let interrupt = handler(SignalKind::interrupt())?;
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

fn handler(kind: SignalKind) -> io::Result<Option<unix::Signal>> {
    if is_ignored(kind.as_raw_value())? { Ok(None) } else { unix::signal(kind).map(Some) }
}

async fn next(signal: &mut Option<unix::Signal>) {
    match signal {
        Some(signal) => _ = signal.recv().await,
        None => future::pending().await,
    }
}

fn is_ignored(signal: i32) -> io::Result<bool> {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null pointer as the new action changes nothing. The other pointer is that of a local with room for the
    // structure that the call writes.
    if unsafe { libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the structure was zeroed, which is a value of its integers and pointers, before the call wrote it.
    let action = unsafe { action.assume_init() };
    Ok(action.sa_sigaction == libc::SIG_IGN)
}
