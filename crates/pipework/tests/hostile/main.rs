//! Peers that lie, stall, flood and send what nobody asked for, against real ends.
//!
//! Each case runs in a process of its own with a directory of its own, under a watchdog: so an abort or a hang is that
//! case's failure, and descriptors and mappings can be counted.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test ends at the first surprise, and its harness reports it"
)]

#[cfg(target_os = "linux")]
mod by_clients;
#[cfg(target_os = "linux")]
mod by_servers;
#[cfg(target_os = "linux")]
mod callers;
#[cfg(target_os = "linux")]
mod floods;
#[cfg(target_os = "linux")]
mod handshake;
#[cfg(target_os = "linux")]
mod harness;
#[cfg(target_os = "linux")]
mod messages;
#[cfg(target_os = "linux")]
mod wire;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    // The wire that is spoken here by hand is the one of sealed memory and exact backlogs.
    if cfg!(pipework_portable) {
        return std::process::ExitCode::SUCCESS;
    }
    let mut cases =
        [handshake::CASES, by_clients::CASES, messages::CASES, floods::CASES, by_servers::CASES].concat();
    // Servers trust root alone to delegate an identity.
    if rustix::process::geteuid().is_root() {
        cases.extend(callers::CASES);
    }
    harness::main(cases)
}

#[cfg(not(target_os = "linux"))]
fn main() -> std::process::ExitCode {
    use libtest_mimic::{Arguments, Completion, Trial};
    let why = "not on this system: the peers speak the protocol of Linux by hand";
    let skip = move || Ok(Completion::ignored_with(why));
    libtest_mimic::run(&Arguments::from_args(), vec![Trial::ignorable_test("hostile", skip)]).exit_code()
}
