//! `pipework demo`: sends a file through a named pipe to several client processes, checks every byte, and measures the
//! speed.
//!
//! The clients are processes of this program, with a hidden command ([`peer`]).

mod parameters;
pub(crate) mod peer;
mod peer_process;
mod report;
mod source;
mod speed;
mod transfer;
mod transport;

use std::env;

use indicatif::{ProgressBar, ProgressStyle};
use pipework::{Canceller, PipeMode};

use crate::{
    args::{DemoArgs, Transport},
    cmd::demo::{report::Report, source::Source},
    failure::{Failure, Status},
    interrupt,
};

/// A shorter measurement is not meaningful.
const MEASURE_LEN_MIN: u64 = 256 << 20;

/// A longer measurement is no more exact.
const MEASURE_LEN_MAX: u64 = 1 << 30;

pub(crate) fn run(args: &DemoArgs) -> Result<(), Failure> {
    let interrupted = Canceller::new()?;
    interrupt::watch({
        let interrupted = interrupted.clone();
        move |_| interrupted.cancel()
    })?;
    run_cancellable(args, &interrupted).map_err(|failure| {
        let stalled = "a peer process made no progress for 30 seconds; is the machine overloaded?";
        if interrupted.is_cancelled() {
            return Failure::interrupted("the demo's pipe is removed");
        }
        failure.hint_if(Status::Busy, stalled)
    })
}

fn run_cancellable(args: &DemoArgs, interrupted: &Canceller) -> Result<(), Failure> {
    let path = match &args.file {
        Some(path) => path.clone(),
        None => env::current_exe()?,
    };
    let modes = args.mode.each();
    let progress = new_progress();
    let source = Source::open(path, interrupted, &progress)?;

    let rounds = u64::try_from(modes.len()).unwrap_or(u64::MAX).saturating_mul(args.clients.into());
    progress.reset();
    progress.set_length(source.len.saturating_mul(rounds));
    let mut transfers = Vec::new();
    for &mode in modes {
        progress.set_message(format!("{} to {} clients", mode_name(mode), args.clients));
        transfers.extend(transfer::run(&source, mode, args.clients, interrupted, &progress)?);
    }
    progress.finish_and_clear();

    let bytes = args.measure.map_or(source.len.clamp(MEASURE_LEN_MIN, MEASURE_LEN_MAX), |mib| mib << 20);
    let speeds = match bytes {
        0 => Vec::new(),
        _ => speed::measure(&source, &transports(modes), bytes, interrupted)?,
    };
    let report = Report { source: &source, clients: args.clients, transfers: &transfers, speeds: &speeds };
    report.print(args.json)?;
    report.verdict()
}

fn transports(modes: &[PipeMode]) -> Vec<Transport> {
    let pipework = modes.iter().map(|mode| match mode {
        PipeMode::Message => Transport::PipeworkMessage,
        _ => Transport::PipeworkByte,
    });
    let others = [
        Transport::KernelPipe,
        #[cfg(unix)]
        Transport::UnixSocket,
    ];
    pipework.chain(others).collect()
}

fn mode_name(mode: PipeMode) -> &'static str {
    match mode {
        PipeMode::Message => "message",
        _ => "byte",
    }
}

/// The progress bar is drawn on stderr, if that is a terminal.
fn new_progress() -> ProgressBar {
    let progress = ProgressBar::new(0);
    let template = "{msg:22} [{wide_bar}] {bytes}/{total_bytes} {binary_bytes_per_sec}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        progress.set_style(style.progress_chars("=> "));
    }
    progress
}
