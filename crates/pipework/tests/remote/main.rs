//! Remote pipes, through a real smbd on the loopback device.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test ends at the first surprise, and its harness reports it"
)]

#[cfg(target_os = "linux")]
mod data;
#[cfg(target_os = "linux")]
mod harness;
#[cfg(target_os = "linux")]
mod refused;
#[cfg(target_os = "linux")]
mod samba;
#[cfg(target_os = "linux")]
mod server;
#[cfg(target_os = "linux")]
mod sharing;
#[cfg(target_os = "linux")]
mod tasks;
#[cfg(target_os = "linux")]
mod tickets;
#[cfg(target_os = "linux")]
mod waits;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    harness::main(
        [data::CASES, refused::CASES, waits::CASES, sharing::CASES, tasks::CASES, tickets::CASES].concat(),
    )
}

#[cfg(not(target_os = "linux"))]
fn main() -> std::process::ExitCode {
    use libtest_mimic::{Arguments, Completion, Trial};
    let why = "not on this system: Windows itself is the client there, and a private smbd is one of Linux";
    let skip = move || Ok(Completion::ignored_with(why));
    libtest_mimic::run(&Arguments::from_args(), vec![Trial::ignorable_test("remote", skip)]).exit_code()
}
