//! Many processes on one name: a crowd, and a crowd whose members are killed all the time.
//!
//! The processes are this binary, run again; what each is, an environment variable says. `PIPEWORK_CROWD_CONNECTIONS`
//! is how many connections the crowd makes in all, and `PIPEWORK_CHAOS_SECONDS` how long the killing lasts in each
//! mode.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test ends at the first surprise, and its harness reports it"
)]

#[cfg(unix)]
mod chaos;
#[cfg(unix)]
mod client;
#[cfg(unix)]
mod crowd;
#[cfg(unix)]
mod frame;
#[cfg(unix)]
mod journal;
#[cfg(unix)]
mod process;
#[cfg(unix)]
mod server;
#[cfg(unix)]
mod verdict;

use libtest_mimic::{Arguments, Trial};
use std::process::ExitCode;

#[cfg(unix)]
fn main() -> ExitCode {
    use pipework::PipeMode;

    match process::role() {
        Some(process::Role::Server) => return process::run(server::run),
        Some(process::Role::Client) => return process::run(client::run),
        Some(process::Role::Heir) => return process::run(chaos::inherit),
        None => {}
    }
    let trial = |name: &str, run: fn(PipeMode) -> Result<(), libtest_mimic::Failed>, mode| {
        Trial::test(name, move || run(mode))
    };
    let trials = vec![
        trial("a_crowd_moves_bytes", crowd::run, PipeMode::Byte),
        trial("a_crowd_moves_messages", crowd::run, PipeMode::Message),
        trial("killing_loses_no_bytes", chaos::run, PipeMode::Byte),
        trial("killing_loses_no_messages", chaos::run, PipeMode::Message),
    ];
    // Each has more processes than there are processors; two at once would only wait for each other.
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// The processes write their journals by calls that only Unix has.
#[cfg(not(unix))]
fn main() -> ExitCode {
    let why = "not on this system: the journals of the processes need calls of Unix";
    let skip = move || Ok(libtest_mimic::Completion::ignored_with(why));
    libtest_mimic::run(&Arguments::from_args(), vec![Trial::ignorable_test("stress", skip)]).exit_code()
}
