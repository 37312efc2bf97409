//! Opening a pipe in a task, waiting until it can be opened.

use super::{
    super::{
        asynchronous::{
            delay::Delay,
            reactor::{OwnsFd, register},
            shared_timer::{SharedTimer, SharedTimerWait},
        },
        check_identity,
        connection::Connection,
        end::End,
        remote, unix_socket,
        watch::{Change, Watch},
    },
    line::Ticket,
    opening::{OpenOn, OpenStep, Opening, QUEUE_PERIOD},
    search::Search,
};
use crate::{
    error::PipeErrorKind,
    name::PipeNameKind,
    options::Request,
    sys::{WaitLimit, async_end::AsyncEnd, errors::timed_out},
};
use ::tokio::io::Interest;
use std::{
    future::poll_fn,
    io,
    os::fd::{AsRawFd, OwnedFd, RawFd},
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
    let mut line = None;
    loop {
        let on = match opening.step(&mut watch)? {
            OpenStep::Open(connection) => return Ok(*connection),
            OpenStep::Blocked(on) => on,
        };
        deadline.check().map_err(|error| opening.ended(error))?;
        let line = line.get_or_insert_with(|| InLine::new(request));
        match on {
            OpenOn::Queue => {
                let Some(socket) = opening.queued() else { continue };
                let event = line.wait_in_queue(socket, deadline).await?;
                if event == InQueue::LookElsewhere
                    && let Some(connection) = opening.look_elsewhere()?
                {
                    return Ok(connection);
                }
            }
            OpenOn::Pause(time) => deadline.pause(time).await?,
            OpenOn::Retry(_) | OpenOn::Change if !line.is_first() => {
                line.wait_to_be_first(deadline).await?;
                opening.restart();
            }
            OpenOn::Retry(time) => deadline.pause(time).await?,
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

/// When the tasks that wait in queues look elsewhere and at their deadlines.
static QUEUE_TIMER: SharedTimer = SharedTimer::new(QUEUE_PERIOD);
/// From when on a deadline has a timer of its own.
const NEAR: Duration = Duration::from_millis(250);

/// A task among those of this process that wait for the same name.
#[derive(Debug)]
struct InLine {
    ticket: Ticket,
    timer: SharedTimerWait,
}

/// What happened in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InQueue {
    /// Something came from the server, or the deadline is over.
    Look,
    /// It is time to look for instances of other servers.
    LookElsewhere,
}

impl InLine {
    fn new(request: &Request) -> InLine {
        InLine { ticket: Ticket::new(&request.name), timer: SharedTimerWait::new(&QUEUE_TIMER) }
    }

    /// Whether no other was here before.
    fn is_first(&self) -> bool {
        self.ticket.is_first()
    }

    /// Waits until something comes through the socket of a place in a queue.
    async fn wait_in_queue(&mut self, socket: &Arc<OwnedFd>, deadline: Deadline) -> io::Result<InQueue> {
        let socket = register(Queued(Arc::clone(socket)), Interest::READABLE)?;
        let mut end = None;
        poll_fn(|cx| {
            if let Poll::Ready(news) = socket.poll_read_ready(cx) {
                return Poll::Ready(news.map(|_| InQueue::Look));
            }
            let is_first = self.ticket.poll_first(cx).is_ready();
            while let Poll::Ready(rung) = self.timer.poll(cx) {
                rung?;
                if is_first {
                    return Poll::Ready(Ok(InQueue::LookElsewhere));
                }
            }
            deadline.poll(cx, &mut end).map_ok(|()| InQueue::Look)
        })
        .await
    }

    /// Waits until those who were here before have what they wait for, or the deadline is over.
    async fn wait_to_be_first(&mut self, deadline: Deadline) -> io::Result<()> {
        let mut end = None;
        poll_fn(|cx| {
            if self.ticket.poll_first(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            while let Poll::Ready(rung) = self.timer.poll(cx) {
                rung?;
            }
            deadline.poll(cx, &mut end)
        })
        .await
    }
}

/// The socket of a place in a queue.
#[derive(Debug)]
struct Queued(Arc<OwnedFd>);

impl AsRawFd for Queued {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl OwnsFd for Queued {}

/// When a wait has to end; `None` is never.
#[derive(Clone, Copy, Debug)]
struct Deadline {
    end: Option<Instant>,
    timeout: Duration,
}

impl Deadline {
    fn after(timeout: Duration) -> Deadline {
        Deadline { end: Instant::now().checked_add(timeout), timeout }
    }

    fn check(self) -> io::Result<()> {
        let is_over = self.end.is_some_and(|end| end <= Instant::now());
        if is_over { Err(timed_out(self.timeout, "")) } else { Ok(()) }
    }

    /// Whether it is over. It has a timer only when it is near, so something else has to poll again until then.
    fn poll(self, cx: &mut Context<'_>, timer: &mut Option<Delay>) -> Poll<io::Result<()>> {
        let Some(end) = self.end else { return Poll::Pending };
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Poll::Ready(Ok(()));
        }
        if left > NEAR {
            return Poll::Pending;
        }
        let timer = match timer {
            Some(timer) => timer,
            none => none.insert(Delay::new(left)?),
        };
        timer.poll(cx)
    }

    /// Waits for a while, or until the deadline.
    async fn pause(self, time: Duration) -> io::Result<()> {
        let pause = self.pause_at_most(time)?;
        poll_fn(|cx| pause.poll(cx)).await
    }

    fn pause_at_most(self, time: Duration) -> io::Result<Delay> {
        let left = self.end.map(|end| end.saturating_duration_since(Instant::now()));
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
