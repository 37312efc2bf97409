//! `pipework demo`: sends a file through a named pipe to several client processes, checks every byte, and measures the
//! speed.
//!
//! The clients are processes of this program, with a hidden command ([`peer`]).

pub(crate) mod peer;
mod report;
mod source;
mod speed;
mod transfer;
mod transport;

use std::{
    env, io,
    process::{Child, Command, Stdio},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use pipework::{Canceller, PipeMode};

use crate::{
    args::{DemoArgs, Transport},
    cmd::demo::{report::Report, source::Source},
    failure::{Failure, Status},
    interrupt,
};

/// The size of a write: a chunk of the file, and in message mode a message.
const CHUNK_LEN: usize = 64 * 1024;

/// The size of the pipes' buffers, in each direction.
const BUFFER_LEN: u32 = 1 << 20;

/// The demo fails when a peer process makes no progress for this long.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// A shorter measurement is not meaningful.
const MEASURE_LEN_MIN: u64 = 256 << 20;

/// A longer measurement is no more exact.
const MEASURE_LEN_MAX: u64 = 1 << 30;

pub(crate) fn run(args: &DemoArgs) -> Result<(), Failure> {
    let interrupted = Canceller::new()?;
    interrupt::watch({
        let interrupted = interrupted.clone();
        move || interrupted.cancel()
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

/// A peer process of this program. Dropping it kills the process.
struct Peer(Child);

impl Peer {
    fn start(configure: impl FnOnce(&mut Command)) -> io::Result<Peer> {
        let mut command = Command::new(env::current_exe()?);
        command.arg("demo-peer").stdin(Stdio::null()).stdout(Stdio::null());
        configure(&mut command);
        let explain = |error| io::Error::other(format!("can't start a peer process: {error}"));
        command.spawn().map(Peer).map_err(explain)
    }

    /// Waits until the process has exited. Returns whether it succeeded.
    fn finish(mut self) -> io::Result<bool> {
        self.0.wait().map(|status| status.success())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Both do nothing if the process has exited.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
