//! Opening a pipe that may be busy or absent: one step, which never waits, and what to wait for before the next one.

use super::{
    super::{
        super::errors::ended,
        connection::{Connection, fd_passing::DESCRIPTORS_PAUSE},
        name::lookup::absent,
        watch::{Change, Watch},
    },
    search::{Admission, Attempt, Search},
};
use crate::options::Request;
use std::{io, os::fd::OwnedFd, sync::Arc, time::Duration};

/// When a client that waits in the queue of a listener looks again for instances of other servers.
pub(super) const QUEUE_PERIOD: Duration = Duration::from_millis(100);
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
    /// Waits for its turn in the queue of a listener.
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
    /// The socket at [`Opening::queued`], which becomes readable when it is its turn; now and then look elsewhere
    /// ([`Opening::look_elsewhere`]).
    Queue,
    /// So long.
    Pause(Duration),
    /// So long, before another look.
    Retry(Duration),
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
            Stage::Search => {
                let on = OpenOn::Retry(RETRIES.first().copied().unwrap_or_default());
                let searched = self.search.search_all_or_queue();
                if self.search.queued().is_some() {
                    return self.blocked(searched, Stage::Queue, OpenOn::Queue);
                }
                self.blocked(searched, Stage::Retry(0), on)
            }
            Stage::Queue => match self.search.take_admission()? {
                Admission::Granted => self.say_hello(),
                Admission::Pending => {
                    self.stage = Stage::Queue;
                    Ok(OpenStep::Blocked(OpenOn::Queue))
                }
                // What becomes of the name decides.
                Admission::Lost => self.advance(watch),
            },
            Stage::Retry(count) => {
                if let Attempt::Open(connection) = self.search.search_again()? {
                    return Ok(OpenStep::Open(connection));
                }
                if let Some(pause) = RETRIES.get(count + 1) {
                    self.stage = Stage::Retry(count + 1);
                    return Ok(OpenStep::Blocked(OpenOn::Retry(*pause)));
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
            Stage::Hello => self.say_hello(),
        }
    }

    fn say_hello(&mut self) -> io::Result<OpenStep> {
        Ok(match self.search.say_hello()? {
            Some(connection) => OpenStep::Open(Box::new(connection)),
            None => OpenStep::Blocked(OpenOn::Pause(DESCRIPTORS_PAUSE)),
        })
    }

    /// The socket to wait at in the queue of a listener.
    pub(super) fn queued(&self) -> Option<&Arc<OwnedFd>> {
        self.search.queued()
    }

    /// Looks once for an instance of another server, and keeps the place in the queue where there is none.
    pub(super) fn look_elsewhere(&mut self) -> io::Result<Option<Connection>> {
        let looked = match self.search.search_elsewhere() {
            Ok(Attempt::Open(connection)) => Ok(Some(*connection)),
            // If the name is gone, so is the queue.
            Ok(Attempt::Busy | Attempt::Absent) => Ok(None),
            Err(error) => Err(error),
        };
        self.unless_claimed(looked, None)
    }

    /// Others of this process were before this client: it begins anew.
    #[cfg(feature = "tokio")]
    pub(super) fn restart(&mut self) {
        self.stage = Stage::Search;
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
        let searched = self.search.search_all(watch);
        self.blocked(searched, next, on)
    }

    /// The next step after a search, unless it has opened the pipe or failed.
    fn blocked(&mut self, searched: io::Result<Attempt>, next: Stage, on: OpenOn) -> io::Result<OpenStep> {
        self.why = match searched {
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

#[cfg(test)]
mod tests {
    use crate::{ClientOptions, Listener, NamedPipe, NamedPipeBuilder, PipeName};
    use std::{
        io::{Read, Write},
        time::Duration,
    };

    const SHORT: Duration = Duration::from_millis(20);

    #[test]
    fn a_wait_that_times_out_names_the_pipe_and_what_it_was() {
        let name = PipeName::unique("waits").unwrap();
        let connect = |timeout| {
            let mut options = ClientOptions::new();
            options.wait_absent(true).timeout(timeout).connect(&name).unwrap_err().to_string()
        };
        assert_eq!(connect(SHORT), format!("timed out after 20ms: {name} did not exist"));
        let zero = format!("timed out, since the timeout is zero: {name} did not exist");
        assert_eq!(connect(Duration::ZERO), zero);

        let _server = NamedPipeBuilder::new(&name).max_instances(1).create().unwrap();
        let _client = ClientOptions::new().open(&name).unwrap();
        let busy = format!("timed out after 20ms: {name} was busy");
        assert_eq!(connect(SHORT), busy);
        assert_eq!(NamedPipe::wait(&name, Some(SHORT)).unwrap_err().to_string(), busy);
    }

    #[test]
    fn calls_that_time_out_name_what_they_waited_for() {
        let name = PipeName::unique("waits").unwrap();
        let listener = Listener::bind(&name).unwrap();
        let text = listener.accept_timeout(SHORT).unwrap_err().to_string();
        assert_eq!(text, "timed out after 20ms waiting for a client");
        let mut client = ClientOptions::new().open(&name).unwrap();
        client.set_read_timeout(Some(SHORT)).unwrap();
        client.set_write_timeout(Some(SHORT)).unwrap();
        let text = client.read(&mut [0]).unwrap_err().to_string();
        assert_eq!(text, "timed out after 20ms waiting for data");
        client.write_all(b"x").unwrap();
        let text = client.drain().unwrap_err().to_string();
        assert_eq!(text, "timed out after 20ms waiting for the reader");
    }
}
