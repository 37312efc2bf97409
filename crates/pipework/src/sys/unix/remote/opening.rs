//! Opening a remote pipe, and waiting until it can be opened.

use super::{
    background::background,
    blocking,
    end::RemoteEnd,
    pipe::Pipe,
    session::{self, NETWORK_TIMEOUT, Session},
    target::Target,
    wire::{self, READ_ACCESS, WRITE_ACCESS},
};
use crate::{
    error::{PipeErrorKind, fail},
    name::PipeNameKind,
    options::{PipeMode, Request},
    sys::{
        Canceller, WaitLimit,
        end_options::EndOptions,
        errors::{ended, timed_out},
    },
};
use ::tokio::time;
use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How soon to look again for a free instance, or for a name; from then on twice as long each time.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// An open holds up the other pipes of its session: smbd serves nothing else of the connection meanwhile, and may start
/// programs for a name that it does not know. So the pause is so many times as long as the open took, up to a limit.
const PAUSE_FACTOR: u32 = 10;
const LONG_PAUSE_MAX: Duration = Duration::from_secs(5);

/// Opens now: busy and absent are errors. The network takes its time, up to that of the request.
pub(super) fn open(request: &Request, limit: &WaitLimit) -> io::Result<RemoteEnd> {
    let limit = WaitLimit::new(Some(network_timeout(request)), limit.canceller().cloned());
    wait(request, &limit, false)
}

/// Opens, waiting as the request says.
pub(super) fn connect(request: &Request, limit: &WaitLimit) -> io::Result<RemoteEnd> {
    if limit.left() == Some(Duration::ZERO) {
        return open(request, limit).map_err(|error| one_attempt(request, error));
    }
    wait(request, limit, true)
}

/// The same for a task, waiting at most so long.
pub(super) async fn connect_in_task(request: &Request, timeout: Duration) -> io::Result<RemoteEnd> {
    let waits = !timeout.is_zero();
    let timeout = if waits { timeout } else { network_timeout(request) };
    let opening = Opening::new(request, None, waits)?;
    background()?.serve_tasks();
    let reaching = opening.clone().reach();
    // In a block of its own: the timer is made where it runs, and not by the caller's runtime.
    match background()?.run(async move { time::timeout(timeout, reaching).await }).await? {
        Ok(Err(error)) if !waits => Err(one_attempt(request, error)),
        Ok(outcome) => outcome,
        Err(_) => Err(opening.ended(timed_out(timeout, ""))),
    }
}

/// A timeout of zero is one attempt. A pipe that is not available then is always reported as a timeout.
fn one_attempt(request: &Request, error: io::Error) -> io::Error {
    let would_wait = error == PipeErrorKind::Busy || (error == PipeErrorKind::Absent && request.wait_absent);
    if would_wait {
        fail(PipeErrorKind::TimedOut, format!("{}: {error}", timed_out(Duration::ZERO, "")))
    } else {
        error
    }
}

/// The pause after an attempt that took so long.
fn gentle_pause(pause: Duration, took: Duration) -> Duration {
    pause.max(took.saturating_mul(PAUSE_FACTOR).min(LONG_PAUSE_MAX))
}

fn network_timeout(request: &Request) -> Duration {
    let timeout = request.remote.network_timeout;
    if timeout.is_zero() { NETWORK_TIMEOUT } else { timeout }
}

fn wait(request: &Request, limit: &WaitLimit, waits: bool) -> io::Result<RemoteEnd> {
    let opening = Opening::new(request, limit.canceller().cloned(), waits)?;
    blocking::wait(limit, background()?.run(opening.clone().reach()))
        .map_err(|error| opening.ended(error))??
}

/// The request, and how it is opened.
#[derive(Clone)]
struct Opening {
    target: Target,
    request: Request,
    canceller: Option<Canceller>,
    waits: bool,
    /// The stage that it waits for, for the error text.
    stage: Arc<Mutex<&'static str>>,
}

impl Opening {
    /// Checks the request.
    fn new(request: &Request, canceller: Option<Canceller>, waits: bool) -> io::Result<Opening> {
        let target = Target::of(request)?;
        let stage = Arc::new(Mutex::new("could not be reached"));
        Ok(Opening { target, request: request.clone(), canceller, waits, stage })
    }

    async fn reach(self) -> io::Result<RemoteEnd> {
        let mut session = session::session(&self.target).await?;
        let mut pause = PAUSE_MIN;
        let mut is_renewed = false;
        loop {
            let begun = Instant::now();
            match self.attempt(&session).await {
                Err(error) if error == PipeErrorKind::Busy && self.waits => self.wait_because("was busy"),
                Err(error) if error == PipeErrorKind::Absent && self.waits && self.request.wait_absent => {
                    self.wait_because("did not exist");
                }
                // An old session may have ended long ago, which only now is seen.
                Err(error) if error == PipeErrorKind::Broken && !is_renewed => {
                    is_renewed = true;
                    session = session::session(&self.target).await?;
                    continue;
                }
                outcome => return outcome,
            }
            time::sleep(gentle_pause(pause, begun.elapsed())).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    fn wait_because(&self, why: &'static str) {
        *self.stage() = why;
    }

    /// The end of a wait, with what was waited for.
    fn ended(&self, error: io::Error) -> io::Error {
        ended(&self.request.name, *self.stage(), error)
    }

    fn stage(&self) -> MutexGuard<'_, &'static str> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One attempt, which is never left half-way: a pipe that opens after its wait has ended is closed.
    async fn attempt(&self, session: &Arc<Session>) -> io::Result<RemoteEnd> {
        let (opening, session) = (self.clone(), Arc::clone(session));
        ::tokio::spawn(async move { opening.open(session).await }).await?
    }

    async fn open(self, session: Arc<Session>) -> io::Result<RemoteEnd> {
        let (read, write) = (self.request.read, self.request.write);
        let both = self.open_for(&session, (read, write)).await;
        let is_denied = |error: &io::Error| *error == PipeErrorKind::AccessDenied;
        match both {
            Err(error) if is_denied(&error) && self.request.allow_one_way && read && write => {
                for one in [(true, false), (false, true)] {
                    match self.open_for(&session, one).await {
                        Err(error) if is_denied(&error) => {}
                        outcome => return outcome,
                    }
                }
                Err(error)
            }
            both => both,
        }
    }

    async fn open_for(&self, session: &Arc<Session>, (read, write): (bool, bool)) -> io::Result<RemoteEnd> {
        let PipeNameKind::Remote { name, .. } = self.request.name.kind() else {
            return Err(fail(PipeErrorKind::Invalid, format!("{} is a local pipe", self.request.name)));
        };
        let access = if read { READ_ACCESS } else { 0 } | if write { WRITE_ACCESS } else { 0 };
        // The two bits of the flags that say how far the server may act as the client.
        let level = self.request.security_qos_flags >> 16 & 3;
        let file = wire::open(session, &self.request.name, name, access, level).await?;
        let options = EndOptions::new(self.request.read_mode, self.canceller.clone());
        let end = RemoteEnd::new(Arc::new(Pipe::new(Arc::clone(session), file)), options, (read, write));
        if self.request.read_mode == PipeMode::Message {
            end.send_read_mode().await?;
        }
        Ok(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_leaves_the_session_to_other_pipes() {
        let pause = |pause: u64, took: u64| {
            gentle_pause(Duration::from_millis(pause), Duration::from_millis(took)).as_millis()
        };
        assert_eq!(pause(10, 0), 10);
        assert_eq!(pause(10, 8), 80);
        assert_eq!(pause(500, 8), 500);
        assert_eq!(pause(500, 69), 690);
        assert_eq!(pause(500, 880), 5000);
        assert_eq!(pause(500, u64::MAX / 100_000), 5000);
    }
}
