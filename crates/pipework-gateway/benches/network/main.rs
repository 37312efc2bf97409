//! What a pipe across the network costs: `cargo bench -p pipework-gateway`.
//!
//! One run compares, in turn and several times, this library's client, the SMB client that it is made of, used by itself, and a TCP
//! socket, all over the loopback device. The first two go through a private smbd and the gateway to one server process; the
//! socket goes straight to it. It needs root and Samba, and says so where they are missing. As a test it does a small round.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a measurement ends at the first surprise"
)]

#[cfg(target_os = "linux")]
mod bare;
#[cfg(target_os = "linux")]
mod compare;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    compare::main()
}

/// There is no gateway elsewhere.
#[cfg(not(target_os = "linux"))]
fn main() {
    println!("not on this system: the gateway runs on Linux");
}
