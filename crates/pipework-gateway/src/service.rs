//! The service: the order in which things start and end.
//!
//! Three threads beside the main one, which waits for signals: the table of exported pipes, the acceptor, which answers smbd and never
//! waits for a pipe, and the relay's runtime, where connections live.

mod acceptor;
mod args;
mod check;
mod config;
mod desk;
mod identity;
mod limits;
mod log;
mod names;
mod opening;
mod places;
mod privileges;
mod relay;
mod samba;
mod signals;
mod socket;
mod table;
mod watch;

use std::{
    fmt,
    process::ExitCode,
    sync::Arc,
    thread::{self, JoinHandle},
};

use clap::Parser;
use tokio::{runtime, sync::mpsc};
use tracing::{error, info, warn};

use args::Args;
use config::Settings;
use desk::Desk;
use log::{Log, say};
use places::{NpDir, RunDir};
use signals::{Signal, Signals};
use table::Table;
use watch::Bell;

/// Why the service can't run, in words for who has to mend it.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) fn new(text: impl Into<String>) -> Failure {
        Failure(text.into())
    }

    /// The system refused something.
    pub(crate) fn at(doing: impl fmt::Display, error: impl fmt::Display) -> Failure {
        Failure(format!("{doing}: {error}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Exit codes beside success: something is wrong here, or in how it was called.
const FAILED: u8 = 1;
const MISUSED: u8 = 2;

/// The program.
pub fn main() -> ExitCode {
    let args = Args::parse();
    let settings = match Settings::read(&args) {
        Ok(settings) => settings,
        Err(failure) => return misused(&failure),
    };
    if args.check {
        return check::run(&settings);
    }
    let log = match Log::start(&settings.log) {
        Ok(log) => log,
        Err(failure) => return misused(&failure),
    };
    match run(&args, settings, &log) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            error!("{failure}");
            ExitCode::from(FAILED)
        }
    }
}

fn misused(failure: &Failure) -> ExitCode {
    say(format_args!("pipework-gateway: {failure}"));
    ExitCode::from(MISUSED)
}

fn run(args: &Args, settings: Settings, log: &Log) -> Result<(), Failure> {
    if !rustix::process::geteuid().is_root() {
        return Err(Failure::new(
            "it has to run as root: smbd keeps the sockets of pipes where only root may go, and talks to root alone",
        ));
    }
    // Before there is a second thread: capabilities are those of a thread.
    privileges::give_up()?;
    let mut signals = Signals::new()?;
    settings.policy.check_descriptors(privileges::raise_descriptors());
    let run_dir = RunDir::open(&settings.run_dir)?;
    let np_path = samba::np_dir(&settings)?;
    let np_dir = NpDir::open(&np_path, &run_dir)?;

    let relays = runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("relay")
        .build()
        .map_err(|error| Failure::at("starting threads", error))?;
    let bell = Arc::new(Bell::default());
    let (running, finished) = mpsc::channel(1);
    let desk = Arc::new(Desk::new(settings.policy, Arc::clone(&bell), relays.handle().clone(), running));
    let (changes, acceptor) = acceptor::start(Arc::clone(&desk))?;
    let mut table = Table::new(np_dir, run_dir, changes);
    // What can be reached now is reachable when systemd hears that the service is ready.
    table.refresh();
    let table_thread = spawn("table", {
        let bell = Arc::clone(&bell);
        move || table.keep(&bell)
    })?;

    info!(np_dir = ?np_path, "lets callers of smbd in");
    tell_systemd(sd_notify::NotifyState::Ready);
    let mut settings = settings;
    while let Signal::Reload = signals.next() {
        if let Some(read) = reload(args, &settings, &desk, log) {
            settings = read;
        }
    }
    info!("ends");
    tell_systemd(sd_notify::NotifyState::Stopping);
    bell.stop();
    join(table_thread);
    join(acceptor);
    drop(desk);
    end_connections(&relays, finished, settings.grace);
    relays.shutdown_background();
    Ok(())
}

/// Reads the configuration again; what was wrong changes nothing.
fn reload(args: &Args, old: &Settings, desk: &Desk, log: &Log) -> Option<Settings> {
    let read = Settings::read(args).and_then(|read| log.set(&read.log).map(|()| read));
    let read = read.inspect_err(|failure| error!("goes on with the old settings: {failure}")).ok();
    if let Some(new) = &read {
        if !new.has_places_of(old) {
            warn!("other directories are used only after a restart");
        }
        desk.set_policy(new.policy);
        info!("has read its settings again");
    }
    read
}

/// Lets the connections that there are go on for a while.
fn end_connections(relays: &runtime::Runtime, mut finished: mpsc::Receiver<()>, grace: std::time::Duration) {
    let all_gone = relays.block_on(async {
        // Nothing is ever sent: it ends when the last connection has dropped its sender.
        tokio::time::timeout(grace, finished.recv()).await.is_ok()
    });
    if !all_gone {
        warn!("ends connections that have not ended in {}", humantime::format_duration(grace));
    }
}

/// Does nothing where systemd has not started it.
fn tell_systemd(state: sd_notify::NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        warn!("systemd can't be told: {error}");
    }
}

pub(crate) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Failure> {
    thread::Builder::new()
        .name(name.into())
        .spawn(body)
        .map_err(|error| Failure::at("starting a thread", error))
}

fn join(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        error!("a thread has ended too early");
    }
}
