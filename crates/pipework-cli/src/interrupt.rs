//! Ctrl-C, and being asked to end: the waits end, the command tidies up.

use std::process;

use crate::failure::{Failure, Status};

/// From now on Ctrl-C calls `stop`, on a thread of its own. A second Ctrl-C ends the process at once.
pub(crate) fn watch(mut stop: impl FnMut() + Send + 'static) -> Result<(), Failure> {
    let mut interrupted = false;
    ctrlc::set_handler(move || {
        if interrupted {
            process::exit(Status::Interrupted as i32);
        }
        interrupted = true;
        stop();
    })
    .map_err(|error| Failure::failed(format!("can't watch for Ctrl-C: {error}")))
}
