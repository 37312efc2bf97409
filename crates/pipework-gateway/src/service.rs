//! The service: startup, reload and shutdown.
//!
//! The main thread waits for signals. Three others run beside it: `exports` keeps the list of exported pipes up to
//! date, `acceptor` answers smbd and never waits for a pipe, and the relay runtime moves the data of all connections.

mod acceptor;
mod admission;
mod args;
mod config;
mod directories;
mod exports;
mod failure;
mod identity;
mod limits;
mod log;
mod names;
mod preflight;
mod privileges;
mod refresh;
mod refusals;
mod relay;
mod samba;
mod signals;
mod smbd_case;
mod socket;
mod target;
mod threads;
mod watch;

use std::{process::ExitCode, sync::Arc, time::Duration};

use clap::Parser;
use tokio::{runtime, sync::mpsc};
use tracing::{error, info, warn};

use admission::Admission;
use args::Args;
use config::Config;
use directories::{NpDir, RunDir};
use exports::Exports;
use failure::{EXIT_FAILED, EXIT_MISUSED, Failure};
use log::{Log, print_error};
use refresh::RefreshSignal;
use samba::SmbdVersion;
use signals::{Signal, Signals};

/// Runs the program.
pub fn main() -> ExitCode {
    let args = Args::parse();
    let config = match Config::read(&args) {
        Ok(config) => config,
        Err(failure) => return report_misuse(&failure),
    };
    if args.check {
        return preflight::run(&config);
    }
    let log = match Log::start(&config.log) {
        Ok(log) => log,
        Err(failure) => return report_misuse(&failure),
    };
    match run(&args, config, &log) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            error!("{failure}");
            ExitCode::from(EXIT_FAILED)
        }
    }
}

fn report_misuse(failure: &Failure) -> ExitCode {
    print_error(format_args!("pipework-gateway: {failure}"));
    ExitCode::from(EXIT_MISUSED)
}

fn run(args: &Args, config: Config, log: &Log) -> Result<(), Failure> {
    if !rustix::process::geteuid().is_root() {
        return Err(Failure::new(
            "the gateway must run as root: only root can access smbd's socket directory, and smbd requires a root peer",
        ));
    }
    // Before the second thread starts: capabilities and blocked signals belong to a thread.
    privileges::drop_capabilities()?;
    let signals = Signals::new()?;
    if let Some(smbd) = SmbdVersion::read().filter(|smbd| !smbd.is_supported) {
        error!(smbd = ?smbd.text, "no client will be admitted: Samba 4.17 or later is required");
    }
    config.policy.warn_if_descriptors_are_short(privileges::raise_descriptor_limit());
    let run_dir = RunDir::open(&config.run_dir)?;
    let np_path = samba::find_np_dir(&config)?;
    let np_dir = NpDir::open(&np_path, &run_dir)?;

    let relays = runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("relay")
        .build()
        .map_err(|error| Failure::from_error("starting the relay threads", error))?;
    let refresh = Arc::new(RefreshSignal::default());
    let (running, finished) = mpsc::channel(1);
    let admission = Arc::new(Admission::new(config.policy, Arc::clone(&refresh), running));
    let (listeners, acceptor) = acceptor::start(Arc::clone(&admission), relays.handle().clone())?;
    let mut exports = Exports::new(np_dir, run_dir, listeners);
    // Pipes that exist now are exported before systemd learns that the service is ready.
    exports.refresh();
    let exports_thread = threads::spawn("exports", {
        let refresh = Arc::clone(&refresh);
        move || exports.run(&refresh)
    })?;

    info!(np_dir = ?np_path, "lets callers of smbd in");
    notify_systemd(sd_notify::NotifyState::Ready);
    let mut config = config;
    while let Signal::Reload = signals.wait() {
        if let Some(new) = reload(args, &config, &admission, log) {
            config = new;
        }
    }
    info!("stopping");
    notify_systemd(sd_notify::NotifyState::Stopping);
    refresh.stop();
    threads::join(exports_thread);
    threads::join(acceptor);
    drop(admission);
    finish_connections(&relays, finished, config.grace);
    relays.shutdown_background();
    Ok(())
}

/// Reads the configuration again. An invalid one changes nothing.
fn reload(args: &Args, old: &Config, admission: &Admission, log: &Log) -> Option<Config> {
    let read = Config::read(args).and_then(|new| log.set_level(&new.log).map(|()| new));
    let read = read.inspect_err(|failure| error!("keeping the old configuration: {failure}")).ok();
    if let Some(new) = &read {
        if !new.has_same_directories(old) {
            warn!("changed directories take effect only after a restart");
        }
        admission.set_policy(new.policy);
        info!("configuration reloaded");
    }
    read
}

/// Waits until all connections have ended, for at most `grace`.
fn finish_connections(relays: &runtime::Runtime, mut finished: mpsc::Receiver<()>, grace: Duration) {
    let all_finished = relays.block_on(async {
        // Nothing is ever sent: the channel closes when the last connection drops its sender.
        tokio::time::timeout(grace, finished.recv()).await.is_ok()
    });
    if !all_finished {
        warn!("closing connections that are still open after {}", humantime::format_duration(grace));
    }
}

/// Reports a state to systemd. Does nothing if systemd did not start the service.
fn notify_systemd(state: sd_notify::NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        warn!("can't notify systemd: {error}");
    }
}
