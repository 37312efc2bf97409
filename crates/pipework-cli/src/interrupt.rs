//! Ctrl-C and other signals that end a process: they cancel waits, and the command cleans up.

use std::process;

use crate::failure::{Failure, Status};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// To end at once: Ctrl-C, or the terminal is gone.
    Interrupt,
    /// To end in order: SIGTERM, from a service manager.
    #[cfg_attr(windows, expect(dead_code, reason = "there are no signals"))]
    Terminate,
}

/// From now on Ctrl-C and termination signals call `stop`, on a separate thread. After the second call the process
/// exits. A signal that was ignored when the process started stays ignored, as under `nohup` or in a background job of a
/// script.
pub(crate) fn watch(mut stop: impl FnMut(Request) + Send + 'static) -> Result<(), Failure> {
    let mut interrupted = false;
    system::on_signal(move |request| {
        stop(request);
        if interrupted {
            process::exit(Status::Interrupted as i32);
        }
        interrupted = true;
    })
    .map_err(|error| Failure::failed(format!("can't handle Ctrl-C: {error}")))
}

#[cfg(unix)]
mod system {
    #![expect(unsafe_code, reason = "no library returns the action of a signal")]

    use std::{io, mem::MaybeUninit, ptr, thread};

    use super::Request;

    use signal_hook::{
        consts::{SIGHUP, SIGINT, SIGTERM},
        iterator::Signals,
    };

    pub(super) fn on_signal(mut act: impl FnMut(Request) + Send + 'static) -> io::Result<()> {
        let mut caught = Vec::new();
        for signal in [SIGHUP, SIGINT, SIGTERM] {
            if !is_ignored(signal)? {
                caught.push(signal);
            }
        }
        let mut signals = Signals::new(caught)?;
        let handle = move || {
            signals.forever().for_each(|signal| {
                act(if signal == SIGTERM { Request::Terminate } else { Request::Interrupt });
            });
        };
        thread::Builder::new().name("signals".to_owned()).spawn(handle).map(drop)
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
}

#[cfg(windows)]
mod system {
    use std::io;

    use super::Request;

    pub(super) fn on_signal(mut act: impl FnMut(Request) + Send + 'static) -> io::Result<()> {
        ctrlc::set_handler(move || act(Request::Interrupt)).map_err(io::Error::other)
    }
}
