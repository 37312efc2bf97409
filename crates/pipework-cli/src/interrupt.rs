//! Ctrl-C, and being asked to end: the waits end, the command tidies up.

use std::process;

use pipework::Canceller;

use crate::failure::{Failure, Status};

/// From now on Ctrl-C uses `cancellers`, in this order. A second Ctrl-C ends the process at once.
pub(crate) fn watch(cancellers: &[&Canceller]) -> Result<(), Failure> {
    let cancellers: Vec<Canceller> = cancellers.iter().map(|&canceller| canceller.clone()).collect();
    let mut interrupted = false;
    ctrlc::set_handler(move || {
        if interrupted {
            process::exit(Status::Interrupted as i32);
        }
        interrupted = true;
        for canceller in &cancellers {
            canceller.cancel();
        }
    })
    .map_err(|error| Failure::failed(format!("can't watch for Ctrl-C: {error}")))
}
