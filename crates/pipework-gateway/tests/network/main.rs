//! The gateway between a real smbd, callers that nobody here wrote, and real servers, each a process.
//!
//! Callers are smbclient and impacket. It needs root, Samba, smbclient and impacket for Python; where one of them is missing, every
//! case is skipped by name and says which. In the end it prints what every kind of caller did in every mode.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test ends at the first surprise, and its harness reports it"
)]

#[cfg(target_os = "linux")]
mod network;

/// There is no gateway elsewhere.
#[cfg(not(target_os = "linux"))]
fn main() {
    println!("not on this system: the gateway runs on Linux");
}

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    network::main()
}
