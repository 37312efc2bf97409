//! `pipework wait`: waits until a client can connect.

use std::{
    io, thread,
    time::{Duration, Instant},
};

use pipework::{NamedPipe, PipeErrorKind, PipeName};

use crate::{
    args::WaitArgs,
    failure::{Failure, Status, timed_out},
    names::path_hint,
};

/// How often an absent name is polled: nothing signals its creation.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// `NamedPipe::wait` takes zero as the server's default timeout, so this is the shortest timeout.
const SHORTEST_TIMEOUT: Duration = Duration::from_nanos(1);

pub(crate) fn run(args: &WaitArgs) -> Result<(), Failure> {
    let name = PipeName::new(&args.name)?;
    let deadline = args.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    wait(&name, deadline, args.absent).map_err(|error| {
        let was = match PipeErrorKind::of(&error) {
            Some(PipeErrorKind::TimedOut) => Some("was busy"),
            Some(PipeErrorKind::Absent) if args.absent => Some("did not exist"),
            _ => None,
        };
        if let (Some(was), Some(timeout)) = (was, args.timeout) {
            return timed_out(&name, timeout, was);
        }
        let hint = "start its server, or add --absent to wait for it; `pipework list` lists the pipes";
        let hint = path_hint(&args.name).unwrap_or_else(|| hint.to_owned());
        Failure::of_pipe(&name, error).hint_if(Status::Absent, &hint)
    })
}

fn wait(name: &PipeName, deadline: Option<Instant>, absent: bool) -> io::Result<()> {
    loop {
        let left =
            deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()).max(SHORTEST_TIMEOUT));
        match NamedPipe::wait(name, left) {
            Err(error) if absent && error == PipeErrorKind::Absent => {
                let pause = left.unwrap_or(POLL_INTERVAL).min(POLL_INTERVAL);
                if pause == SHORTEST_TIMEOUT {
                    return Err(error);
                }
                thread::park_timeout(pause);
            }
            result => return result,
        }
    }
}
