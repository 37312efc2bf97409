//! The exported pipes: every pipe that accepts remote clients, and the socket by which smbd reaches it.
//!
//! smbd finds a pipe by a file that this module has created for it. A name from a remote client never becomes a path
//! here, and only exported pipes can be looked up.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use pipework::PipeEntry;
use tokio::sync::mpsc::UnboundedSender;
use tracing::{error, info, warn};

use super::{
    acceptor::ListenerChange,
    directories::{LinkOutcome, NpDir, RunDir, remove_file},
    names::export_names,
    refresh::{RefreshSignal, Wake},
    target::{Target, accepts_remote},
    threads,
    watch::PipeDirWatch,
};

/// How often to refresh without a request: a killed server removes no file, so inotify reports nothing.
const POLL_INTERVAL: Duration = Duration::from_secs(2);
/// The delays of the refreshes that follow a request. inotify watches a new directory only a moment after its
/// creation, and misses the changes in between.
const FOLLOW_UP_DELAYS: [Duration; 4] = [
    Duration::from_millis(5),
    Duration::from_millis(20),
    Duration::from_millis(80),
    Duration::from_millis(320),
];
/// After a refresh the thread pauses for this many times the processor time that it took, which limits its share of a
/// processor. Time in which the process was stopped does not count: it would end the watch for ten times as long.
const PAUSE_FACTOR: u32 = 10;

/// The exported pipes, and their files.
#[derive(Debug)]
pub(crate) struct Exports {
    np_dir: NpDir,
    run_dir: RunDir,
    exports: BTreeMap<String, Export>,
    /// The warnings of the last refresh, so that each is logged once.
    warnings: BTreeSet<String>,
    listeners: UnboundedSender<ListenerChange>,
}

#[derive(Debug)]
struct Export {
    target: Target,
    socket: PathBuf,
}

impl Exports {
    pub(crate) fn new(np_dir: NpDir, run_dir: RunDir, listeners: UnboundedSender<ListenerChange>) -> Exports {
        Exports { np_dir, run_dir, exports: BTreeMap::new(), warnings: BTreeSet::new(), listeners }
    }

    /// Keeps the exports up to date until the signal is stopped, then withdraws all of them.
    pub(crate) fn run(mut self, signal: &Arc<RefreshSignal>) {
        let mut watch = PipeDirWatch::new(Arc::clone(signal));
        let mut follow_ups = FOLLOW_UP_DELAYS.iter();
        loop {
            watch.renew();
            let begun = threads::processor_time();
            self.refresh();
            if !signal.pause(threads::processor_time().saturating_sub(begun) * PAUSE_FACTOR) {
                break;
            }
            let delay = follow_ups.next().copied().unwrap_or(POLL_INTERVAL);
            match signal.wait(Instant::now() + delay) {
                Wake::Refresh => follow_ups = FOLLOW_UP_DELAYS.iter(),
                Wake::TimedOut => {}
                Wake::Stop => break,
            }
        }
        self.withdraw_all();
    }

    /// Lists the pipes, exports new ones and withdraws those that are gone.
    pub(crate) fn refresh(&mut self) {
        let mut warnings = BTreeSet::new();
        if let Err(failure) = self.np_dir.ensure_exists() {
            warnings.insert(failure.to_string());
        }
        match pipework::list() {
            Ok(pipes) => self.update(select_targets(&self.np_dir, pipes, &mut warnings), &mut warnings),
            Err(error) => {
                warnings.insert(format!("can't list the pipes: {error}"));
            }
        }
        for warning in warnings.difference(&self.warnings) {
            warn!("{warning}");
        }
        self.warnings = warnings;
    }

    fn update(&mut self, targets: BTreeMap<String, Target>, warnings: &mut BTreeSet<String>) {
        let (kept, outdated): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut self.exports)
            .into_iter()
            .partition(|(name, export)| targets.get(name) == Some(&export.target));
        self.exports = kept;
        for (name, export) in outdated {
            info!(pipe = ?name, "no longer exported");
            self.withdraw(&name, &export);
        }
        for (name, target) in targets {
            if let Err(error) = self.export(&name, target) {
                warnings.insert(format!("{name:?} is not exported: {error}"));
            }
        }
    }

    /// Creates the socket and the link for a pipe. For an exported pipe, restores a link that was removed.
    fn export(&mut self, name: &str, target: Target) -> io::Result<()> {
        let taken = || io::Error::other("smbd's directory has a file of this name that is not the gateway's");
        if let Some(export) = self.exports.get(name) {
            return match self.np_dir.link(name, &export.socket)? {
                LinkOutcome::Linked => Ok(()),
                LinkOutcome::NameTaken => Err(taken()),
            };
        }
        let (socket, listener) = self.run_dir.listen()?;
        match self.np_dir.link(name, &socket) {
            Ok(LinkOutcome::Linked) => {}
            Ok(LinkOutcome::NameTaken) => {
                remove_file(&socket);
                return Err(taken());
            }
            Err(error) => {
                remove_file(&socket);
                return Err(error);
            }
        }
        info!(pipe = ?name, mode = if target.messages { "messages" } else { "bytes" }, "now exported");
        let change =
            ListenerChange::Add { name: name.to_owned(), listener, target: Arc::new(target.clone()) };
        // This fails only if the acceptor has ended, and then the service ends too.
        self.listeners.send(change).ok();
        self.exports.insert(name.to_owned(), Export { target, socket });
        Ok(())
    }

    /// Removes the link before the listener is closed, so that smbd does not connect to a socket that is about to
    /// close.
    fn withdraw(&self, name: &str, export: &Export) {
        self.np_dir.unlink(name, &export.socket);
        remove_file(&export.socket);
        self.listeners.send(ListenerChange::Remove { name: name.to_owned() }).ok();
    }

    fn withdraw_all(&mut self) {
        for (name, export) in std::mem::take(&mut self.exports) {
            self.withdraw(&name, &export);
        }
        if let Err(error) = self.run_dir.remove_sockets() {
            error!(%error, "can't remove the gateway's sockets");
        }
    }
}

/// Selects the pipes to export, by the names under which smbd looks for them.
fn select_targets(
    np_dir: &NpDir,
    pipes: Vec<PipeEntry>,
    warnings: &mut BTreeSet<String>,
) -> BTreeMap<String, Target> {
    let mut targets = BTreeMap::new();
    for pipe in pipes.into_iter().filter(accepts_remote) {
        match export_names(&pipe.name, |name| np_dir.path_len(name)) {
            Ok(files) => {
                let label = files.first().cloned().unwrap_or_default();
                let target = Target::new(pipe, label);
                for file in files {
                    // Two directories of pipes can have the same name. A local client gets the first one too.
                    targets.entry(file).or_insert_with(|| target.clone());
                }
            }
            Err(error) => {
                warnings.insert(format!("{:?} is not exported: {error}", pipe.name.to_string()));
            }
        }
    }
    targets
}
