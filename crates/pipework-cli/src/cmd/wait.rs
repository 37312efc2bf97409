//! `pipework wait`: until a client could connect.

use std::{
    io, thread,
    time::{Duration, Instant},
};

use pipework::{NamedPipe, PipeErrorKind, PipeName};

use crate::{
    args::WaitArgs,
    failure::{Failure, Status, too_late},
};

/// How often a name that does not exist is looked for: nothing tells of its birth.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// `NamedPipe::wait` takes zero for the server's own default, so "now" is the shortest other time.
const AT_ONCE: Duration = Duration::from_nanos(1);

pub(crate) fn run(args: &WaitArgs) -> Result<(), Failure> {
    let name = PipeName::new(&args.name)?;
    let deadline = args.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    wait(&name, deadline, args.absent).map_err(|error| {
        if error == PipeErrorKind::TimedOut || (args.absent && error == PipeErrorKind::Absent) {
            return too_late(&name);
        }
        let hint = "start its server, or add --absent to wait for it; `pipework list` shows what there is";
        Failure::about(&name, error).hint_if(Status::Absent, hint)
    })
}

fn wait(name: &PipeName, deadline: Option<Instant>, absent: bool) -> io::Result<()> {
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()).max(AT_ONCE));
        match NamedPipe::wait(name, left) {
            Err(error) if absent && error == PipeErrorKind::Absent => {
                let pause = left.unwrap_or(POLL_INTERVAL).min(POLL_INTERVAL);
                if pause == AT_ONCE {
                    return Err(error);
                }
                thread::park_timeout(pause);
            }
            result => return result,
        }
    }
}
