//! The cost of a remote pipe: `cargo bench -p pipework-gateway`.
//!
//! One run compares three clients in interleaved rounds over the loopback device: this project's library, the crate
//! `smb2` on which it is built, and a TCP socket. The first two reach one server process through a private smbd and
//! the gateway, the socket connects to it directly. The benchmark needs root and Samba, and is skipped without them.
//! As a test it runs one small round.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a measurement may panic"
)]

#[cfg(target_os = "linux")]
mod bare;
#[cfg(target_os = "linux")]
mod compare;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    compare::main()
}

/// The gateway runs on Linux only.
#[cfg(not(target_os = "linux"))]
fn main() {
    println!("skipped: the gateway runs on Linux only");
}
