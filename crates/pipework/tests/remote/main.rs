//! Pipes on another computer, through a real smbd on the loopback device.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test ends at the first surprise, and its harness reports it"
)]

mod data;
mod harness;
mod refused;
mod samba;
mod server;
mod sharing;
mod tasks;
mod tickets;
mod waits;

use std::process::ExitCode;

fn main() -> ExitCode {
    harness::main(
        [data::CASES, refused::CASES, waits::CASES, sharing::CASES, tasks::CASES, tickets::CASES].concat(),
    )
}
