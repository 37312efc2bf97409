//! How soon a process sees that its peer was killed.

use crate::{
    journal::now,
    plan::NAME,
    process::{Running, die_with_parent, note_interrupts, say, this_program},
};
use pipework::{ClientOptions, NamedPipe, PipeStream};
use rustix::event::{Timespec, poll};
use std::{
    io::{self, Read},
    path::Path,
    process::ExitCode,
    thread,
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(10);
/// By then a thread has stopped to spin, and sleeps.
const ASLEEP: Timespec = Timespec { tv_sec: 0, tv_nsec: 3_000_000 };

/// Runs the measurement in a process that has a directory for its pipes.
pub(crate) fn run(samples: u32) -> ExitCode {
    note_interrupts();
    let directory = tempfile::Builder::new().prefix("pipework-faults-").tempdir().unwrap();
    let words = ["dying".to_owned(), "--samples".to_owned(), samples.to_string()];
    let status = this_program(&words, directory.path()).status().unwrap();
    if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The process that measures, or one of its peers.
pub(crate) fn run_inside(samples: Option<u32>) -> ExitCode {
    die_with_parent();
    let outcome = samples.map_or_else(wait_for_death, measure);
    outcome.map_or_else(
        |error| {
            say(&format!("FAILED {error}"));
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}

fn wait_for_death() -> io::Result<()> {
    let pipe = NamedPipe::new(NAME)?;
    say("ready");
    pipe.connect()?;
    (&pipe).read_exact(&mut [0; 1])
}

fn measure(samples: u32) -> io::Result<()> {
    let directory = std::env::var_os("PIPEWORK_DIR").unwrap_or_default();
    let mut delays = (0..samples).map(|_| sample(directory.as_ref())).collect::<io::Result<Vec<_>>>()?;
    delays.sort();
    let part = |hundredths: usize| delays.get(delays.len() * hundredths / 100).or(delays.last()).copied();
    let [half, most, all] = [50, 99, 100].map(|hundredths| part(hundredths).unwrap_or_default());
    say(&format!(
        "a blocked read saw {} deaths of its peer: 50 % within {half:.2?}, 99 % within {most:.2?}, all within {all:.2?}",
        delays.len()
    ));
    Ok(())
}

fn sample(directory: &Path) -> io::Result<Duration> {
    let mut peer = Running::start(this_program(&["dying".into()], directory), &directory.join(".stderr"));
    if !peer.wait_for("ready", PATIENCE) {
        return Err(io::Error::other("the peer did not start"));
    }
    let stream = ClientOptions::new().open(NAME)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let reader = thread::spawn(move || read_end(&stream));
    poll(&mut [], Some(&ASLEEP))?;
    let killed = now();
    drop(peer);
    let seen = reader.join().map_err(|_| io::Error::other("the reader panicked"))??;
    Ok(Duration::from_nanos(seen.saturating_sub(killed)))
}

/// Reads to the end of the pipe, and says when it came.
fn read_end(mut stream: &PipeStream) -> io::Result<u64> {
    match stream.read(&mut [0; 1]) {
        Ok(0) => Ok(now()),
        Ok(_) => Err(io::Error::other("something was read")),
        Err(error) => Err(error),
    }
}
