//! The gateway between a real smbd, independent SMB clients and real servers, each in its own process.
//!
//! The clients are smbclient, impacket and this project's library. The tests need root, Samba, smbclient and impacket
//! for Python. If one is missing, every case is skipped with that reason. At the end a table shows what each client
//! did in each mode.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test may panic, and its harness reports that"
)]

#[cfg(target_os = "linux")]
mod network;

/// The gateway runs on Linux only.
#[cfg(not(target_os = "linux"))]
fn main() {
    println!("skipped: the gateway runs on Linux only");
}

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    network::main()
}
