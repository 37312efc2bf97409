//! Opening a pipe in a task, waiting until it can be opened.

use super::{
    super::{
        asynchronous::{
            delay::Delay,
            reactor::{OwnsFd, register},
        },
        check_identity,
        connection::Connection,
        end::End,
        remote, unix_socket,
        watch::{Change, Watch},
    },
    opening::{OpenOn, OpenStep, Opening},
    search::Search,
};
use crate::{
    error::{PipeErrorKind, fail},
    name::PipeNameKind,
    options::Request,
    sys::{WaitLimit, async_end::AsyncEnd},
};
use ::tokio::io::Interest;
use std::{
    future::poll_fn,
    io,
    os::fd::{AsRawFd, RawFd},
    path::Path,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

/// When to look again for room in the queue of a foreign listener: no event signals it.
const PAUSE_SOCKET: Duration = Duration::from_millis(10);

/// Opens as the request says, waiting at most `timeout`.
pub(crate) async fn connect(request: &Request, timeout: Duration) -> io::Result<AsyncEnd> {
    check_identity(request)?;
    let deadline = Deadline::after(timeout);
    let end = match request.name.kind() {
        PipeNameKind::Local(_) => End::Connection(Arc::new(connect_local(request, deadline).await?)),
        PipeNameKind::Socket(path) => connect_socket(request, path, deadline).await?,
        PipeNameKind::Remote { .. } => remote::connect_in_task(request, timeout).await?,
    };
    Ok(AsyncEnd::new(end))
}

async fn connect_local(request: &Request, deadline: Deadline) -> io::Result<Connection> {
    let limit = WaitLimit::zero();
    let mut opening = Opening::new(request, Search::new(request, &limit));
    let (mut watch, mut registered) = (None, None);
    loop {
        let on = match opening.step(&mut watch)? {
            OpenStep::Open(connection) => return Ok(*connection),
            OpenStep::Blocked(on) => on,
        };
        deadline.check().map_err(|error| opening.ended(error))?;
        match on {
            // It would keep a thread of the runtime waiting.
            OpenOn::Queue(_) => {}
            OpenOn::Pause(time) => deadline.pause(time).await?,
            OpenOn::Change => {
                // A watch that the step has made anew replaces one that is registered.
                let mut waiting = match (watch.take(), registered.take()) {
                    (Some(watch), _) => AsyncWatch::new(watch)?,
                    (None, Some(waiting)) => waiting,
                    (None, None) => continue,
                };
                let change = waiting.wait(deadline).await?;
                if matches!(change, Change::Other) {
                    // The next step looks at all directories, and watches them.
                    watch = Some(waiting.into_watch());
                } else {
                    registered = Some(waiting);
                }
                opening.changed(change);
            }
        }
    }
}

async fn connect_socket(request: &Request, path: &Path, deadline: Deadline) -> io::Result<End> {
    loop {
        match unix_socket::open(request, path, &WaitLimit::zero()) {
            Err(error) if error == PipeErrorKind::Busy => {}
            Err(error) if error == PipeErrorKind::Absent && request.wait_absent => {}
            outcome => return outcome.map(|socket| End::Socket(Arc::new(socket))),
        }
        deadline.check()?;
        deadline.pause(PAUSE_SOCKET).await?;
    }
}

/// When a wait has to end; `None` is never.
#[derive(Clone, Copy, Debug)]
struct Deadline(Option<Instant>);

impl Deadline {
    fn after(timeout: Duration) -> Deadline {
        Deadline(Instant::now().checked_add(timeout))
    }

    fn check(self) -> io::Result<()> {
        if self.0.is_some_and(|end| end <= Instant::now()) {
            return Err(fail(PipeErrorKind::TimedOut, "the time is over"));
        }
        Ok(())
    }

    /// Waits for a while, or until the deadline.
    async fn pause(self, time: Duration) -> io::Result<()> {
        let pause = self.pause_at_most(time)?;
        poll_fn(|cx| pause.poll(cx)).await
    }

    fn pause_at_most(self, time: Duration) -> io::Result<Delay> {
        let left = self.0.map(|end| end.saturating_duration_since(Instant::now()));
        Delay::new(left.map_or(time, |left| left.min(time)))
    }
}

/// A watch that is waited at.
struct AsyncWatch {
    at: At,
}

enum At {
    Signalled(::tokio::io::unix::AsyncFd<Watched>),
    Idle(Watch),
}

#[derive(Debug)]
struct Watched(Watch);

impl AsRawFd for Watched {
    fn as_raw_fd(&self) -> RawFd {
        self.0.fd().map_or(-1, |fd| fd.as_raw_fd())
    }
}

impl OwnsFd for Watched {}

impl AsyncWatch {
    fn new(watch: Watch) -> io::Result<AsyncWatch> {
        let at = match watch.fd() {
            Some(_) => At::Signalled(register(Watched(watch), Interest::READABLE)?),
            None => At::Idle(watch),
        };
        Ok(AsyncWatch { at })
    }

    fn into_watch(self) -> Watch {
        match self.at {
            At::Signalled(signalled) => signalled.into_inner().0,
            At::Idle(watch) => watch,
        }
    }

    /// Waits for a change that matters, or for a while.
    async fn wait(&mut self, deadline: Deadline) -> io::Result<Change> {
        let watch = match &self.at {
            At::Signalled(signalled) => &signalled.get_ref().0,
            At::Idle(watch) => watch,
        };
        let pause = deadline.pause_at_most(watch.pause())?;
        poll_fn(|cx| self.poll(cx, &pause)).await
    }

    fn poll(&self, cx: &mut Context<'_>, pause: &Delay) -> Poll<io::Result<Change>> {
        if let At::Signalled(signalled) = &self.at {
            while let Poll::Ready(news) = signalled.poll_read_ready(cx) {
                news?.clear_ready();
                match signalled.get_ref().0.changes() {
                    Change::Instances(leaves) if leaves.is_empty() => {}
                    change => return Poll::Ready(Ok(change)),
                }
            }
        }
        pause.poll(cx).map_ok(|()| Change::Other)
    }
}
