//! The async accept loop.

use super::{ends::NamedPipeServer, options::ServerOptions};
use crate::{
    listener::{Listener as Blocking, Look, lock},
    name::PipeName,
    sys::asynchronous::{Accepting, AsyncEnd},
};
use ::tokio::task::coop;
use std::{
    ffi::OsStr,
    fmt,
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

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.listener, f)
    }
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
    /// - `NameTaken`, `AccessDenied` or `Unsupported`: something has removed the name, and it can't be restored, because another
    ///   process serves it by now, the directory is not this user's, or its file system does not allow it.
    /// - `Invalid`: this is a forked child, and the listener of a named pipe is its parent's.
    /// - The system's error, such as too many open files. The call can be repeated.
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

    /// Returns how often the name was restored after something had removed it; see [`Listener::restorations`] of the blocking
    /// listener.
    ///
    /// [`Listener::restorations`]: crate::Listener::restorations
    pub fn restorations(&self) -> u64 {
        self.listener.restorations()
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
            let look =
                self.listener.look(|instance| Ok(accepting.poll_identity(cx, instance)?.is_ready()))?;
            let again = match look {
                Look::Client(instance) => {
                    progress.made_progress();
                    return Poll::Ready(Ok(NamedPipeServer::new(AsyncEnd::of_instance(&instance))));
                }
                Look::ClientAt(end) => {
                    progress.made_progress();
                    return Poll::Ready(Ok(NamedPipeServer::new(AsyncEnd::new(end))));
                }
                Look::Nobody(instance) => accepting.poll_client(cx, &instance),
                // The look has registered the task.
                Look::Unknown(_) => Poll::Pending,
                Look::NobodyAt(listener) => accepting.poll_path(cx, &listener),
                Look::Full => accepting.poll_place(cx, self.listener.name()),
                Look::Locked => accepting.poll_lock(cx),
            };
            ready!(again)?;
        }
    }
}
