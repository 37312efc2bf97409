//! Waiting for clients in a task.

use super::super::{
    asynchronous::{
        delay::Delay,
        reactor::{OwnsFd, register},
        shared_timer::{SharedTimer, SharedTimerWait},
    },
    connection::task::TaskWait,
    name::{check_clock::NAME_CHECK_PERIOD, lookup::Watch},
    unix_socket::SocketListener,
};
use crate::{
    name::PipeName,
    sys::{Instance, waiters::Waiter},
};
use ::tokio::io::{Interest, Ready, unix::AsyncFd};
use std::{
    io,
    os::fd::{AsRawFd, RawFd},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

/// How often to look for a free slot at least: the system does not report a killed process.
const PAUSE_WATCHED: Duration = Duration::from_millis(200);
/// How often to look where the system reports no changes.
const PAUSE_UNWATCHED: Duration = Duration::from_millis(10);
/// When to try again to create an instance, while another process is creating one.
const PAUSE_LOCKED: Duration = Duration::from_millis(1);

/// When the tasks that wait for clients look whether their names are still there.
static NAME_CHECK: SharedTimer = SharedTimer::new(NAME_CHECK_PERIOD);

/// The state that a task that waits for clients keeps between polls. `Ready` always means to look again.
#[derive(Debug)]
pub(crate) struct Accepting {
    wait: TaskWait,
    queue: Waiter,
    name_check: SharedTimerWait,
    places: Option<Places>,
    pause: Option<Delay>,
}

/// Reports freed slots.
#[derive(Debug)]
struct Places {
    signalled: Option<AsyncFd<WatchFd>>,
    pause: Delay,
}

/// The descriptor of a watch.
#[derive(Debug)]
struct WatchFd(Watch);

impl AsRawFd for WatchFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.fd().map_or(-1, |fd| fd.as_raw_fd())
    }
}

impl OwnsFd for WatchFd {}

impl Default for Accepting {
    fn default() -> Accepting {
        Accepting {
            wait: TaskWait::default(),
            queue: Waiter::default(),
            name_check: SharedTimerWait::new(&NAME_CHECK),
            places: None,
            pause: None,
        }
    }
}

impl Accepting {
    /// Waits for a client of this instance.
    pub(crate) fn poll_client(&mut self, cx: &mut Context<'_>, instance: &Instance) -> Poll<io::Result<()>> {
        self.places = None;
        let Some(listening) = instance.listening() else { return Poll::Ready(Ok(())) };
        listening.reactor.join(&mut self.wait.waiter, cx);
        // The taker of the client woke the tasks that had joined by then; the instance no longer listens at
        // that socket.
        let is_over = instance.listening().is_none_or(|now| !Arc::ptr_eq(&now, &listening));
        if is_over {
            return Poll::Ready(Ok(()));
        }
        if let Some(queue) = listening.queue() {
            queue.reactor.join(&mut self.queue, cx);
            let polled = queue.reactor.poll(&queue.socket, Interest::READABLE, Interest::READABLE);
            if let Poll::Ready(outcome) = polled {
                return Poll::Ready(outcome.map(drop));
            }
        }
        let polled = listening.reactor.poll(&listening.socket, Interest::READABLE, Interest::READABLE);
        let polled = self.or_name_check(cx, polled);
        if polled.is_pending() {
            listening.keep_name_check(self.name_check.time());
        }
        polled
    }

    /// Waits until it is known whether the client of this instance speaks for a remote client; not for long.
    pub(crate) fn poll_identity(
        &mut self,
        cx: &mut Context<'_>,
        instance: &Instance,
    ) -> Poll<io::Result<()>> {
        let (Some(left), Ok(connection)) = (instance.identity_time_left(), instance.connection_now()) else {
            self.pause = None;
            return Poll::Ready(Ok(()));
        };
        if connection.poll_identity(cx, &mut self.wait).is_ready() {
            self.pause = None;
            return Poll::Ready(Ok(()));
        }
        self.poll_pause(cx, left)
    }

    /// Waits for a client at a path.
    pub(crate) fn poll_path(
        &mut self,
        cx: &mut Context<'_>,
        listener: &SocketListener,
    ) -> Poll<io::Result<()>> {
        listener.reactor.join(&mut self.wait.waiter, cx);
        let polled = listener.reactor.poll(&listener.socket, Interest::READABLE, Interest::READABLE);
        self.or_name_check(cx, polled)
    }

    /// What was polled for, or the time to look whether the name is still there.
    fn or_name_check(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<Ready>>,
    ) -> Poll<io::Result<()>> {
        match polled {
            Poll::Ready(outcome) => Poll::Ready(outcome.map(drop)),
            // Where no timer can be had, that time does not come.
            Poll::Pending => match self.name_check.poll(cx) {
                Poll::Ready(Err(_)) => Poll::Pending,
                polled => polled,
            },
        }
    }

    /// Waits until a place under the name may be free.
    pub(crate) fn poll_place(&mut self, cx: &mut Context<'_>, name: &PipeName) -> Poll<io::Result<()>> {
        let Some(places) = &self.places else {
            // Watched from before the next look.
            self.places = Some(Places::new(name)?);
            return Poll::Ready(Ok(()));
        };
        ready!(places.poll(cx))?;
        self.places = None;
        Poll::Ready(Ok(()))
    }

    /// Waits while another process creates an instance.
    pub(crate) fn poll_lock(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_pause(cx, PAUSE_LOCKED)
    }

    /// Waits for a while.
    pub(crate) fn poll_pause(&mut self, cx: &mut Context<'_>, time: Duration) -> Poll<io::Result<()>> {
        let pause = match &mut self.pause {
            Some(pause) => pause,
            none => none.insert(Delay::new(time)?),
        };
        ready!(pause.poll(cx))?;
        self.pause = None;
        Poll::Ready(Ok(()))
    }
}

impl Places {
    fn new(name: &PipeName) -> io::Result<Places> {
        let watch = Watch::new(name)?;
        if watch.fd().is_none() {
            return Ok(Places { signalled: None, pause: Delay::new(PAUSE_UNWATCHED)? });
        }
        let signalled = register(WatchFd(watch), Interest::READABLE)?;
        Ok(Places { signalled: Some(signalled), pause: Delay::new(PAUSE_WATCHED)? })
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(signalled) = &self.signalled
            && let Poll::Ready(change) = signalled.poll_read_ready(cx)
        {
            change?.retain_ready();
            return Poll::Ready(Ok(()));
        }
        self.pause.poll(cx)
    }
}
