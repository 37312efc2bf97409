//! The integration tests, one binary.
//!
//! A case runs in a process of its own, which this binary starts by re-running itself; so does the "other process"
//! that a case talks to. What the binary is this time, an environment variable says.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a test ends at the first surprise, and its harness reports it"
)]

#[cfg(feature = "tokio")]
mod asynchronous;
mod child;
mod conformance;
mod harness;
mod surface;
mod tidy;
#[cfg(windows)]
mod windows;
mod wire;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    if std::env::var_os(child::ECHO_VARIABLE).is_some() {
        return child::run_echo();
    }
    if let Ok(surface) = std::env::var(child::PEER_VARIABLE) {
        return child::serve(&surface);
    }
    if let Ok(case) = std::env::var(harness::CASE_VARIABLE) {
        return harness::run_alone(&case);
    }
    if std::env::var_os(harness::RULES_VARIABLE).is_some() {
        return harness::print_rules();
    }
    let mut trials: Vec<Trial> = harness::tests().into_iter().map(harness::trial).collect();
    trials.extend(tidy::trials());
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
