//! Opening a pipe that may be busy or absent: one step, which never waits, and what to wait for before the next one.

use super::{
    super::{
        super::errors::ended,
        connection::{Connection, fd_passing::DESCRIPTORS_PAUSE},
        name::lookup::absent,
        watch::{Change, Watch},
    },
    search::{Attempt, Search},
};
use crate::options::Request;
use std::{io, time::Duration};

/// How long a client waits for one instance only. Most servers take theirs within a fraction of that; longer would leave
/// those of other servers unseen.
const QUEUE_TIME: Duration = Duration::from_millis(20);
/// When to look again before a watch is made: a server that takes its client makes its next instance within that.
const RETRIES: [Duration; 4] = [
    Duration::from_micros(50),
    Duration::from_micros(100),
    Duration::from_micros(200),
    Duration::from_micros(400),
];

/// A client that is about to open a pipe.
pub(super) struct Opening<'a> {
    request: &'a Request,
    search: Search<'a>,
    stage: Stage,
    /// Why it is not open yet.
    why: &'static str,
}

/// The next step. A watch takes milliseconds to be closed, so the first stages do without one.
#[derive(Debug)]
enum Stage {
    /// Looks everywhere.
    Search,
    /// Waits in the queue of one instance.
    Queue,
    /// Looks again where the name was found, after so many retries.
    Retry(usize),
    /// Looks everywhere, from before which the watch watches.
    Watched,
    /// Tries what has changed since then.
    Changed(Change),
    /// Says hello to the instance that it has claimed.
    Hello,
}

/// The outcome of one step.
pub(super) enum OpenStep {
    Open(Box<Connection>),
    Blocked(OpenOn),
}

/// The event to wait for before the next step.
#[derive(Clone, Copy, Debug)]
pub(super) enum OpenOn {
    /// At most so long in the queue of one instance, by [`Opening::wait_in_queue`]. A driver that can't do
    /// that goes on.
    Queue(Duration),
    /// So long.
    Pause(Duration),
    /// A change that the watch reports, for [`Opening::changed`].
    Change,
}

impl<'a> Opening<'a> {
    pub(in crate::sys::unix) fn new(request: &'a Request, search: Search<'a>) -> Opening<'a> {
        Opening { request, search, stage: Stage::Search, why: "did not exist" }
    }

    /// One attempt, with the watch that the driver keeps for it.
    pub(super) fn step(&mut self, watch: &mut Option<Watch>) -> io::Result<OpenStep> {
        let outcome = self.advance(watch);
        self.unless_claimed(outcome, OpenStep::Blocked(OpenOn::Pause(DESCRIPTORS_PAUSE)))
    }

    /// Where an instance is claimed, the error is that of its hello: a shortage, as of descriptors of this user in flight. It
    /// passes, and nobody else gets the instance meanwhile.
    fn unless_claimed<T>(&mut self, outcome: io::Result<T>, claimed: T) -> io::Result<T> {
        if outcome.is_ok() || !self.search.has_claimed() {
            return outcome;
        }
        (self.stage, self.why) = (Stage::Hello, "could not be sent a descriptor");
        Ok(claimed)
    }

    fn advance(&mut self, watch: &mut Option<Watch>) -> io::Result<OpenStep> {
        match std::mem::replace(&mut self.stage, Stage::Search) {
            Stage::Search => self.search_all(&mut None, Stage::Queue, OpenOn::Queue(QUEUE_TIME)),
            Stage::Queue => {
                self.stage = Stage::Retry(0);
                Ok(OpenStep::Blocked(OpenOn::Pause(RETRIES.first().copied().unwrap_or_default())))
            }
            Stage::Retry(count) => {
                if let Attempt::Open(connection) = self.search.search_again()? {
                    return Ok(OpenStep::Open(connection));
                }
                if let Some(pause) = RETRIES.get(count + 1) {
                    self.stage = Stage::Retry(count + 1);
                    return Ok(OpenStep::Blocked(OpenOn::Pause(*pause)));
                }
                *watch = Some(Watch::for_instances());
                self.search_all(watch, Stage::Watched, OpenOn::Change)
            }
            Stage::Watched => self.search_all(watch, Stage::Watched, OpenOn::Change),
            // Of many that wait for the same name each new instance makes all try, so the try is quick.
            Stage::Changed(Change::Instances(leaves)) => {
                self.stage = Stage::Watched;
                let opened = self.search.try_listed(&leaves)?;
                Ok(opened.map_or(OpenStep::Blocked(OpenOn::Change), |connection| {
                    OpenStep::Open(Box::new(connection))
                }))
            }
            Stage::Changed(Change::Other) => self.search_all(watch, Stage::Watched, OpenOn::Change),
            Stage::Hello => Ok(match self.search.say_hello()? {
                Some(connection) => OpenStep::Open(Box::new(connection)),
                None => OpenStep::Blocked(OpenOn::Pause(DESCRIPTORS_PAUSE)),
            }),
        }
    }

    /// Waits in the queue of one instance.
    pub(super) fn wait_in_queue(&mut self, time: Duration) -> io::Result<Option<Connection>> {
        let outcome = self.search.in_queue(time);
        self.unless_claimed(outcome, None)
    }

    /// The changes that the watch has reported.
    pub(super) fn changed(&mut self, change: Change) {
        self.stage = Stage::Changed(change);
    }

    /// The end of the wait, with what was waited for.
    pub(in crate::sys::unix) fn ended(&self, error: io::Error) -> io::Error {
        ended(&self.request.name, self.why, error)
    }

    fn search_all(&mut self, watch: &mut Option<Watch>, next: Stage, on: OpenOn) -> io::Result<OpenStep> {
        self.why = match self.search.search_all(watch) {
            Ok(Attempt::Open(connection)) => return Ok(OpenStep::Open(connection)),
            Ok(Attempt::Absent) if !self.request.wait_absent => return Err(absent(&self.request.name)),
            Ok(Attempt::Absent) => "did not exist",
            Ok(Attempt::Busy) => "was busy",
            Err(error) => return Err(error),
        };
        self.stage = next;
        Ok(OpenStep::Blocked(on))
    }
}
