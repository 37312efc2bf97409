//! The table of exported pipes: every pipe that accepts the network, and the socket by which smbd reaches it.
//!
//! A name from the network is the name of a file that this table has put there. It never becomes a path, and nothing is
//! looked up that is not in the table.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use pipework::{PipeEntry, PipeMode, PipeName};
use tokio::sync::mpsc::UnboundedSender;
use tracing::{error, info, warn};

use super::{
    acceptor::Change,
    names::network_name,
    places::{Linked, NpDir, RunDir, remove},
    watch::{Bell, Watch, Woken},
};

/// How often to look even if nothing was told: a killed server removes no file.
const SAFETY_POLL: Duration = Duration::from_secs(2);
/// When to look again after news: a new directory is watched a moment after it was made, and what happened in between is not told.
const LOOKS_AFTER_NEWS: [Duration; 4] = [
    Duration::from_millis(5),
    Duration::from_millis(20),
    Duration::from_millis(80),
    Duration::from_millis(320),
];
/// Looking takes at most one part in so many of a processor's time, however much happens.
const REST_FACTOR: u32 = 10;

/// An exported pipe, as the acceptor needs to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) name: PipeName,
    /// As the network calls it.
    pub(crate) label: String,
    pub(crate) messages: bool,
    /// Client to server.
    pub(crate) inbound: bool,
    /// Server to client.
    pub(crate) outbound: bool,
}

/// The exported pipes, and what is in the file system for them.
#[derive(Debug)]
pub(crate) struct Table {
    np_dir: NpDir,
    run_dir: RunDir,
    exports: BTreeMap<String, Export>,
    /// Whether Samba's directory could be used, and pipes listed, the last time.
    complaints: BTreeSet<String>,
    acceptor: UnboundedSender<Change>,
}

#[derive(Debug)]
struct Export {
    target: Target,
    socket: PathBuf,
}

impl Table {
    pub(crate) fn new(np_dir: NpDir, run_dir: RunDir, acceptor: UnboundedSender<Change>) -> Table {
        Table { np_dir, run_dir, exports: BTreeMap::new(), complaints: BTreeSet::new(), acceptor }
    }

    /// Keeps it up to date until the bell says stop, and then takes everything away.
    pub(crate) fn keep(mut self, bell: &Arc<Bell>) {
        let mut watch = Watch::new(Arc::clone(bell));
        let mut looks = LOOKS_AFTER_NEWS.iter();
        loop {
            watch.keep();
            let begun = Instant::now();
            self.refresh();
            if !bell.rest(begun.elapsed() * REST_FACTOR) {
                break;
            }
            let pause = looks.next().copied().unwrap_or(SAFETY_POLL);
            match bell.wait(Instant::now() + pause) {
                Woken::News => looks = LOOKS_AFTER_NEWS.iter(),
                Woken::Time => {}
                Woken::Stop => break,
            }
        }
        self.take_away();
    }

    /// Compares with what there is now.
    pub(crate) fn refresh(&mut self) {
        let mut complaints = BTreeSet::new();
        if let Err(failure) = self.np_dir.keep() {
            complaints.insert(failure.to_string());
        }
        match pipework::list() {
            Ok(pipes) => self.update(wanted(&self.np_dir, pipes, &mut complaints), &mut complaints),
            Err(error) => {
                complaints.insert(format!("pipes can't be listed: {error}"));
            }
        }
        // Each once, not every two seconds.
        for complaint in complaints.difference(&self.complaints) {
            warn!("{complaint}");
        }
        self.complaints = complaints;
    }

    fn update(&mut self, wanted: BTreeMap<String, Target>, complaints: &mut BTreeSet<String>) {
        let (kept, over): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut self.exports)
            .into_iter()
            .partition(|(name, export)| wanted.get(name) == Some(&export.target));
        self.exports = kept;
        for (name, export) in over {
            info!(pipe = ?name, "is no longer exported");
            self.withdraw(&name, &export);
        }
        for (name, target) in wanted {
            if let Err(error) = self.export(&name, target) {
                complaints.insert(format!("{name:?} is not exported: {error}"));
            }
        }
    }

    /// Puts a pipe where smbd finds it, and where its link was taken away, again.
    fn export(&mut self, name: &str, target: Target) -> io::Result<()> {
        let taken =
            || io::Error::other("something of that name is where smbd looks, and it is not the gateway's");
        if let Some(export) = self.exports.get(name) {
            return match self.np_dir.link(name, &export.socket)? {
                Linked::Done => Ok(()),
                Linked::Taken => Err(taken()),
            };
        }
        let (socket, listener) = self.run_dir.listen()?;
        match self.np_dir.link(name, &socket) {
            Ok(Linked::Done) => {}
            Ok(Linked::Taken) => {
                remove(&socket);
                return Err(taken());
            }
            Err(error) => {
                remove(&socket);
                return Err(error);
            }
        }
        info!(pipe = ?name, kind = if target.messages { "messages" } else { "bytes" }, "is exported");
        let change = Change::Serve { name: name.to_owned(), listener, target: Arc::new(target.clone()) };
        // Where the acceptor has ended, the service is about to.
        self.acceptor.send(change).ok();
        self.exports.insert(name.to_owned(), Export { target, socket });
        Ok(())
    }

    /// The way in first: then no caller comes to a socket that is about to close.
    fn withdraw(&self, name: &str, export: &Export) {
        self.np_dir.unlink(name, &export.socket);
        remove(&export.socket);
        self.acceptor.send(Change::Stop { name: name.to_owned() }).ok();
    }

    fn take_away(&mut self) {
        for (name, export) in std::mem::take(&mut self.exports) {
            self.withdraw(&name, &export);
        }
        if let Err(error) = self.run_dir.clean() {
            error!(%error, "can't remove its sockets");
        }
    }
}

/// The pipes that the network may see, by the names that it uses for them.
fn wanted(
    np_dir: &NpDir,
    pipes: Vec<PipeEntry>,
    complaints: &mut BTreeSet<String>,
) -> BTreeMap<String, Target> {
    let mut wanted = BTreeMap::new();
    for pipe in pipes.into_iter().filter(is_for_the_network) {
        match network_name(&pipe.name, |name| np_dir.path_len(name)) {
            Ok(name) => {
                let inbound = pipe.directions.is_none_or(|directions| directions.inbound);
                let outbound = pipe.directions.is_none_or(|directions| directions.outbound);
                let messages = pipe.mode == Some(PipeMode::Message);
                // Two names that differ only where small letters don't are rare enough for the first one to win.
                let target = Target { name: pipe.name, label: name.clone(), messages, inbound, outbound };
                wanted.entry(name).or_insert(target);
            }
            Err(unfit) => {
                complaints.insert(format!("{:?} is not exported: {unfit}", pipe.name.to_string()));
            }
        }
    }
    wanted
}

/// Whether a pipe accepts callers from the network.
pub(crate) fn is_for_the_network(pipe: &PipeEntry) -> bool {
    pipe.accept_remote == Some(true)
}
