//! What all clients of a pipe do: they open it, and end at the deadline.

mod credentials;

use std::{
    io, process,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, Builder},
    time::{Duration, Instant},
};

use pipework::{Canceller, ClientOptions, PipeErrorKind, PipeMode, PipeName, PipeNameKind, PipeStream};

use crate::{
    args::{Direction, OpenArgs},
    failure::{Failure, Status},
    names::path_hint,
    output::{count, report, say},
};

/// How far a client is. Its threads share it.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    connected: AtomicBool,
    received: AtomicUsize,
    /// Whether nothing has been received since something was sent.
    unanswered: AtomicBool,
}

impl Progress {
    pub(crate) fn connected(&self) {
        self.connected.store(true, Ordering::Relaxed);
    }

    /// To be called before the write, since the answer may arrive before the write returns.
    pub(crate) fn sending(&self) {
        self.unanswered.store(true, Ordering::Relaxed);
    }

    pub(crate) fn received(&self, len: usize) {
        self.unanswered.store(false, Ordering::Relaxed);
        self.received.fetch_add(len, Ordering::Relaxed);
    }

    pub(crate) fn is_unanswered(&self) -> bool {
        self.unanswered.load(Ordering::Relaxed)
    }

    pub(crate) fn interruption(&self) -> Failure {
        Failure::interrupted(self.describe())
    }

    fn describe(&self) -> String {
        if self.connected.load(Ordering::Relaxed) {
            format!("{} received", count(self.received.load(Ordering::Relaxed), "byte"))
        } else {
            "not connected yet".to_owned()
        }
    }
}

/// Ends the process this time from now, with a failure, whatever its threads wait for: stdin and stdout can't be cancelled.
pub(crate) fn end_at_deadline(deadline: Option<Duration>, progress: &Arc<Progress>) -> Result<(), Failure> {
    let Some(deadline) = deadline else { return Ok(()) };
    let (progress, start) = (Arc::clone(progress), Instant::now());
    let end = move || {
        while let Some(left) = deadline.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) {
            thread::park_timeout(left);
        }
        let time = humantime::format_duration(deadline);
        let failure = Failure::failed(format!("gave up at the deadline of {time}: {}", progress.describe()));
        report(&failure);
        process::exit(failure.status as i32);
    };
    Builder::new().name("deadline".to_owned()).spawn(end)?;
    Ok(())
}

/// Opens the pipe in both directions, or in its only one. The result is the direction of the server.
pub(crate) fn open(
    args: &OpenArgs,
    message: bool,
    name: &PipeName,
    interrupted: &Canceller,
) -> Result<(PipeStream, Direction), Failure> {
    let path_hint = path_hint(&args.name);
    if let (true, Some(hint)) = (args.wait, &path_hint) {
        say(format_args!("{hint}"));
    }
    let mut options = ClientOptions::new();
    options.wait_absent(args.wait).canceller(interrupted);
    credentials::apply(&args.remote, name, &mut options)?;
    let timeout = args.timeout.or(args.wait.then_some(Duration::MAX));
    if let Some(timeout) = timeout {
        options.timeout(timeout);
    }
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let mut receiving = options.clone();
    if message {
        receiving.read_mode(PipeMode::Message);
    }
    let error = match receiving.connect(name) {
        Ok(stream) => return Ok((stream, Direction::Duplex)),
        // The pipe may have one direction only.
        Err(error) if error == PipeErrorKind::AccessDenied => {
            let one_way = [(Direction::Out, receiving.write(false)), (Direction::In, options.read(false))];
            match open_one_way(name, one_way, deadline) {
                Some(Ok(opened)) => return Ok(opened),
                Some(Err(error)) => error,
                None => error,
            }
        }
        Err(error) => error,
    };
    if interrupted.is_cancelled() {
        return Err(Failure::interrupted("not connected yet"));
    }
    let failure = not_opened(name, message, error);
    Err(match path_hint {
        Some(hint) => failure.hint_if(Status::Absent, &hint),
        None => failure,
    })
}

/// Opens the pipe in the one direction that it has, and waits for it as the options say. `None` if it is refused in both:
/// then it is not a matter of the direction.
fn open_one_way(
    name: &PipeName,
    one_way: [(Direction, &mut ClientOptions); 2],
    deadline: Option<Instant>,
) -> Option<io::Result<(PipeStream, Direction)>> {
    for (direction, options) in one_way {
        // The first attempt does not wait, so that a refusal is not waited for.
        let opened = match options.open(name) {
            Err(error) if error == PipeErrorKind::AccessDenied => continue,
            Err(error) if error == PipeErrorKind::Busy || error == PipeErrorKind::Absent => {
                if let Some(deadline) = deadline {
                    options.timeout(deadline.saturating_duration_since(Instant::now()));
                }
                options.connect(name)
            }
            opened => opened,
        };
        return Some(opened.map(|stream| (stream, direction)));
    }
    None
}

/// Why the pipe could not be opened.
fn not_opened(name: &PipeName, message: bool, error: io::Error) -> Failure {
    let no_messages = message && error == PipeErrorKind::Invalid;
    let (absent, denied) = match name.kind() {
        PipeNameKind::Remote { .. } => (
            "the pipe's server must accept remote clients (`pipework serve NAME --accept-remote`), and the SMB server must export the pipe",
            "check the account, and the access that the pipe's server grants",
        ),
        _ => (
            "start its server, or add --wait to wait for it; `pipework list` lists the pipes",
            "the pipe's server decides which users can connect; `pipework list` shows its owner",
        ),
    };
    let failure =
        Failure::of_pipe(name, error).hint_if(Status::Absent, absent).hint_if(Status::Denied, denied);
    if no_messages { failure.hint("if this is a byte pipe, omit --message") } else { failure }
}
