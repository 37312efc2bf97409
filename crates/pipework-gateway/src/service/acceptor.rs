//! The acceptor: takes every connection of smbd as it comes. Its thread does nothing else, and waits for nothing else.

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
    net::UnixListener,
    runtime,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::{AbortHandle, LocalSet, spawn_local},
    time,
};
use tracing::error;

use super::{Failure, desk::Desk, spawn, table::Target};

/// How long to leave it be when the system has nothing to give.
const PAUSE: Duration = Duration::from_millis(100);
/// How often the log is told that this is so.
const PAUSE_OF_THE_LOG: Duration = Duration::from_secs(1);

/// What the table tells the acceptor.
#[derive(Debug)]
pub(crate) enum Change {
    /// From now on accept here, for this pipe.
    Serve { name: String, listener: StdUnixListener, target: Arc<Target> },
    /// This pipe is gone.
    Stop { name: String },
}

/// Starts its thread, which ends when nobody can send changes any more.
pub(crate) fn start(desk: Arc<Desk>) -> Result<(UnboundedSender<Change>, JoinHandle<()>), Failure> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::at("starting the acceptor", error))?;
    let (sender, changes) = unbounded_channel();
    let thread = spawn("acceptor", move || LocalSet::new().block_on(&runtime, follow(changes, desk)))?;
    Ok((sender, thread))
}

async fn follow(mut changes: UnboundedReceiver<Change>, desk: Arc<Desk>) {
    let spare = Rc::new(Spare::default());
    let mut serving: HashMap<String, AbortHandle> = HashMap::new();
    while let Some(change) = changes.recv().await {
        match change {
            Change::Serve { name, listener, target } => match UnixListener::from_std(listener) {
                Ok(listener) => {
                    let task = spawn_local(serve(listener, target, Arc::clone(&desk), Rc::clone(&spare)));
                    serving.insert(name, task.abort_handle());
                }
                Err(error) => error!(pipe = ?name, %error, "can't accept its callers"),
            },
            Change::Stop { name } => {
                if let Some(task) = serving.remove(&name) {
                    task.abort();
                }
            }
        }
    }
}

async fn serve(listener: UnixListener, target: Arc<Target>, desk: Arc<Desk>, spare: Rc<Spare>) {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                let (desk, target) = (Arc::clone(&desk), Arc::clone(&target));
                spawn_local(async move { desk.receive(socket, target).await });
            }
            Err(error) => {
                spare.turn_one_away(&listener, &error).await;
            }
        }
    }
}

/// A descriptor kept back for the day when there are no more: smbd would wait for ever for what can't be accepted, so it is
/// accepted and closed.
#[derive(Debug)]
struct Spare {
    file: RefCell<Option<File>>,
    /// When the log was told, and how many were turned away since.
    told: Cell<Option<Instant>>,
    untold: Cell<u64>,
}

impl Default for Spare {
    fn default() -> Spare {
        Spare { file: RefCell::new(Spare::open()), told: Cell::default(), untold: Cell::default() }
    }
}

impl Spare {
    fn open() -> Option<File> {
        File::open("/dev/null").ok()
    }

    async fn turn_one_away(&self, listener: &UnixListener, error: &io::Error) {
        self.untold.update(|count| count + 1);
        if self.told.get().is_none_or(|told| told.elapsed() >= PAUSE_OF_THE_LOG) {
            let count = self.untold.take();
            error!(%error, count, "callers are turned away, since they can't be accepted");
            self.told.set(Some(Instant::now()));
        }
        let had_one = self.file.borrow_mut().take().is_some();
        let accepted =
            if had_one { time::timeout(Duration::ZERO, listener.accept()).await.ok() } else { None };
        let is_away = matches!(accepted, Some(Ok(_)));
        drop(accepted);
        if !is_away {
            time::sleep(PAUSE).await;
        }
        *self.file.borrow_mut() = Spare::open();
    }
}
