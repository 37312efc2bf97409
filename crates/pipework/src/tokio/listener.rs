//! The async accept loop.

use super::{ends::NamedPipeServer, options::ServerOptions};
use crate::{
    error::PipeErrorKind,
    listener::{Listener as Blocking, Source, lock},
    name::PipeName,
    sys::{
        self, Limit,
        asynchronous::{Accepting, AsyncEnd},
    },
};
use ::tokio::task::coop;
use std::{
    ffi::OsStr,
    future::poll_fn,
    io,
    sync::Mutex,
    task::{Context, Poll, ready},
    time::Duration,
};

/// How long polling pauses after an error that may be temporary.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);

/// Accepts clients, one after the other, without a gap in which none could connect.
///
/// It creates the next instance before it returns a connected one. A pipe that has its maximum of instances returns the
/// connected one first and listens again as soon as another instance closes. A client that connects and leaves does not end
/// the loop; if it wrote something, its connection is returned ([rule C2](crate::rules#c2)). The listener never waits for a
/// client to write. Several tasks may call `accept`. Dropping the listener does not close connections.
///
/// # Examples
/// A graceful shutdown, which lets the connections finish:
/// ```
/// use pipework::{PipeName, tokio::{Listener, connect}};
/// use tokio::{io::{AsyncReadExt, AsyncWriteExt}, sync::oneshot, task::JoinSet};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let name = PipeName::unique("greeter")?;
/// let listener = Listener::bind(&name)?;
/// let (stop, mut stopped) = oneshot::channel::<()>();
/// let server = tokio::spawn(async move {
///     let mut connections = JoinSet::new();
///     loop {
///         tokio::select! {
///             client = listener.accept() => {
///                 let mut client = client?;
///                 connections.spawn(async move { client.write_all(b"welcome").await });
///             }
///             _ = &mut stopped => break,
///         }
///     }
///     drop(listener);
///     connections.join_all().await.into_iter().collect::<std::io::Result<()>>()
/// });
///
/// let mut text = String::new();
/// connect(&name).await?.read_to_string(&mut text).await?;
/// assert_eq!(text, "welcome");
/// stop.send(()).ok();
/// server.await.unwrap()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Listener {
    listener: Blocking,
    /// The state of the task that polled last.
    polling: Mutex<Polling>,
}

#[derive(Debug, Default)]
struct Polling {
    accepting: Accepting,
    /// Whether the last poll returned an error.
    has_failed: bool,
}

impl Listener {
    /// Creates a listener that owns the name.
    ///
    /// # Errors
    /// `NameTaken` if the name exists, and those of [`ServerOptions::listen`].
    pub fn bind(address: impl AsRef<OsStr>) -> io::Result<Listener> {
        ServerOptions::new().listen(address)
    }

    pub(super) fn new(listener: Blocking) -> Listener {
        Listener { listener, polling: Mutex::default() }
    }

    pub(super) fn into_listener(self) -> Blocking {
        self.listener
    }

    /// Waits for the next client. Several tasks may call it.
    ///
    /// # Cancel safety
    /// Cancel safe: a client that is not returned stays with the listener.
    ///
    /// # Errors
    /// The system's error, such as too many open files. The call can be repeated.
    pub async fn accept(&self) -> io::Result<NamedPipeServer> {
        let mut accepting = Accepting::default();
        poll_fn(|cx| self.poll_accept_with(cx, &mut accepting)).await
    }

    /// Polls for a client, in hand-written futures and streams. If several tasks poll, only the last one is woken. After an
    /// error it pauses.
    ///
    /// # Errors
    /// Those of [`accept`](Listener::accept).
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<NamedPipeServer>> {
        let Polling { accepting, has_failed } = &mut *lock(&self.polling);
        // Where not even a pause can be had, there is none.
        if *has_failed && accepting.poll_pause(cx, PAUSE_AFTER_ERROR).is_pending() {
            return Poll::Pending;
        }
        *has_failed = false;
        let accepted = ready!(self.poll_accept_with(cx, accepting));
        *has_failed = accepted.is_err();
        Poll::Ready(accepted)
    }

    /// Returns the name of the pipe.
    pub fn name(&self) -> &PipeName {
        self.listener.name()
    }

    fn poll_accept_with(
        &self,
        cx: &mut Context<'_>,
        accepting: &mut Accepting,
    ) -> Poll<io::Result<NamedPipeServer>> {
        let progress = ready!(coop::poll_proceed(cx));
        loop {
            let again = match self.listener.look(|instance| accepting.poll_known(cx, instance))? {
                Look::Client(end) => {
                    progress.made_progress();
                    return Poll::Ready(Ok(NamedPipeServer::new(end)));
                }
                Look::Nobody(instance) => accepting.poll_client(cx, &instance),
                Look::Unknown => Poll::Pending,
                Look::NobodyAt(listener) => accepting.poll_path(cx, listener),
                Look::Full => accepting.poll_place(cx, self.listener.name()),
                Look::Locked => accepting.poll_lock(cx),
            };
            ready!(again)?;
        }
    }
}

/// The result of one attempt to accept.
enum Look<'a> {
    Client(AsyncEnd),
    /// No client; this instance listens.
    Nobody(sys::Instance),
    /// An instance has a client that is not identified yet.
    Unknown,
    /// No client; this socket listens.
    NobodyAt(&'a sys::PlainListener),
    /// The pipe has its maximum of instances.
    Full,
    /// Another process is creating an instance and holds the lock. A client that is there waits for it.
    Locked,
}

impl Blocking {
    /// Accepts a client that is identified, without waiting.
    fn look(&self, mut know: impl FnMut(&sys::Instance) -> Poll<io::Result<()>>) -> io::Result<Look<'_>> {
        let current = match &self.source {
            Source::Instances { current, .. } => current,
            Source::Plain(listener) => {
                return match listener.accept(&without_waiting()) {
                    Ok(end) => Ok(Look::Client(AsyncEnd::new(end))),
                    Err(error) if error == PipeErrorKind::TimedOut => Ok(Look::NobodyAt(listener)),
                    Err(error) => Err(error),
                };
            }
        };
        // Another task may do the same: the lock makes each step atomic, so only one of them replaces an instance.
        let mut current = lock(current);
        loop {
            let instance = match &*current {
                Some(instance) => instance.clone(),
                None => match sys::Instance::try_create_for_listener(&self.spec) {
                    Ok(Some(instance)) => current.insert(instance).clone(),
                    Ok(None) => return Ok(Look::Locked),
                    Err(error) if error == PipeErrorKind::Busy => return Ok(Look::Full),
                    Err(error) => return Err(error),
                },
            };
            let has_left = match instance.connect(&without_waiting()) {
                Ok(()) => false,
                Err(error) if error == PipeErrorKind::NoData => true,
                Err(error) if error == PipeErrorKind::TimedOut => return Ok(Look::Nobody(instance)),
                Err(error) => return Err(error),
            };
            if know(&instance)?.is_pending() {
                return Ok(Look::Unknown);
            }
            *current = match instance.try_create_next(&self.spec) {
                Ok(None) => return Ok(Look::Locked),
                Ok(next) => next,
                // If none can be created now, the next attempt tries again.
                Err(_) => None,
            };
            // A client that wrote and left still counts; one that left nothing behind does not.
            if !has_left || instance.left_bytes() {
                return Ok(Look::Client(AsyncEnd::of_instance(&instance)));
            }
        }
    }
}

fn without_waiting() -> Limit {
    Limit::new(Some(Duration::ZERO), None)
}
