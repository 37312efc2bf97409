//! The acceptor: accepts every connection of smbd at once. Its thread never waits for a pipe.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    fs::File,
    io,
    os::unix::net::UnixListener as StdUnixListener,
    rc::Rc,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::{
    net::{UnixListener, UnixStream},
    runtime::{self, Handle},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::{AbortHandle, LocalSet, spawn_local},
    time,
};
use tracing::error;

use super::{admission::Admission, failure::Failure, relay, target::Target, threads};

/// The delay before the next attempt when even the reserve descriptor did not help.
const RETRY_DELAY: Duration = Duration::from_millis(100);
/// The shortest time between two log lines about rejected connections.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// A change of the listening sockets, sent to the acceptor.
#[derive(Debug)]
pub(crate) enum ListenerChange {
    /// Accept connections for this pipe.
    Add { name: String, listener: StdUnixListener, target: Arc<Target> },
    /// Close the listener of this pipe.
    Remove { name: String },
}

/// Starts the acceptor's thread. It ends when the sender is dropped.
pub(crate) fn start(
    admission: Arc<Admission>,
    relays: Handle,
) -> Result<(UnboundedSender<ListenerChange>, JoinHandle<()>), Failure> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::from_error("starting the acceptor", error))?;
    let (sender, changes) = unbounded_channel();
    let thread = threads::spawn("acceptor", move || {
        let acceptor = Rc::new(Acceptor { admission, relays, reserve: ReserveDescriptor::default() });
        LocalSet::new().block_on(&runtime, acceptor.apply_changes(changes));
    })?;
    Ok((sender, thread))
}

/// What the accept loops of all listeners share.
#[derive(Debug)]
struct Acceptor {
    admission: Arc<Admission>,
    /// The runtime of the relays.
    relays: Handle,
    reserve: ReserveDescriptor,
}

impl Acceptor {
    async fn apply_changes(self: Rc<Self>, mut changes: UnboundedReceiver<ListenerChange>) {
        let mut accept_loops: HashMap<String, AbortHandle> = HashMap::new();
        while let Some(change) = changes.recv().await {
            match change {
                ListenerChange::Add { name, listener, target } => match UnixListener::from_std(listener) {
                    Ok(listener) => {
                        let task = spawn_local(Rc::clone(&self).accept_connections(listener, target));
                        accept_loops.insert(name, task.abort_handle());
                    }
                    Err(error) => error!(pipe = ?name, %error, "can't accept connections for this pipe"),
                },
                ListenerChange::Remove { name } => {
                    if let Some(task) = accept_loops.remove(&name) {
                        task.abort();
                    }
                }
            }
        }
    }

    async fn accept_connections(self: Rc<Self>, listener: UnixListener, target: Arc<Target>) {
        loop {
            match listener.accept().await {
                Ok((socket, _)) => {
                    spawn_local(Rc::clone(&self).admit(socket, Arc::clone(&target)));
                }
                Err(error) => {
                    self.reserve.reject_one(&listener, &error).await;
                }
            }
        }
    }

    /// Starts the relay of a connection that is admitted.
    async fn admit(self: Rc<Self>, socket: UnixStream, target: Arc<Target>) {
        if let Some(connection) = self.admission.admit(socket, target).await {
            self.relays.spawn(relay::run(connection));
        }
    }
}

/// A descriptor kept open for when the process has no others left. smbd would wait forever for a connection that is
/// not accepted. So the reserve is closed, the connection is accepted with the freed descriptor and closed.
#[derive(Debug)]
struct ReserveDescriptor {
    file: RefCell<Option<File>>,
    /// When a rejection was last logged.
    logged_at: Cell<Option<Instant>>,
    /// How many rejections were not logged since.
    unlogged: Cell<u64>,
}

impl Default for ReserveDescriptor {
    fn default() -> ReserveDescriptor {
        let file = RefCell::new(ReserveDescriptor::open());
        ReserveDescriptor { file, logged_at: Cell::default(), unlogged: Cell::default() }
    }
}

impl ReserveDescriptor {
    fn open() -> Option<File> {
        File::open("/dev/null").ok()
    }

    async fn reject_one(&self, listener: &UnixListener, error: &io::Error) {
        self.unlogged.update(|count| count + 1);
        if self.logged_at.get().is_none_or(|logged_at| logged_at.elapsed() >= LOG_INTERVAL) {
            let count = self.unlogged.take();
            error!(%error, count, "rejected connections that could not be accepted");
            self.logged_at.set(Some(Instant::now()));
        }
        let had_reserve = self.file.borrow_mut().take().is_some();
        let accepted =
            if had_reserve { time::timeout(Duration::ZERO, listener.accept()).await.ok() } else { None };
        let is_rejected = matches!(accepted, Some(Ok(_)));
        drop(accepted);
        if !is_rejected {
            time::sleep(RETRY_DELAY).await;
        }
        *self.file.borrow_mut() = ReserveDescriptor::open();
    }
}
