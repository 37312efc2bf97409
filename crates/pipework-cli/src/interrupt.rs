//! Ctrl-C and termination signals: they cancel waits, and the command cleans up.

use std::process;

use crate::failure::{Failure, Status};

/// From now on Ctrl-C calls `stop`, on a separate thread. A second Ctrl-C ends the process immediately.
pub(crate) fn watch(mut stop: impl FnMut() + Send + 'static) -> Result<(), Failure> {
    let mut interrupted = false;
    ctrlc::set_handler(move || {
        if interrupted {
            process::exit(Status::Interrupted as i32);
        }
        interrupted = true;
        stop();
    })
    .map_err(|error| Failure::failed(format!("can't handle Ctrl-C: {error}")))
}
