//! `pipework-gateway` lets callers of a Samba server into local named pipes: what Windows calls the *server service*.
//!
//! It runs as root beside `smbd`, owns the sockets where `smbd` looks for named pipes, and connects each caller to the
//! pipe of that name, with the identity that Samba has authenticated. Only pipes whose server said `accept_remote(true)` can be
//! reached, and only by callers whom the pipe's `Access` lets in. `pipework-gateway --help` says how to run it,
//! `pipework-gateway --check` what is missing on a computer.
//!
//! What is public here is for its own tests and fuzzers; it is no library to build on.
//!
//! # What it does not carry
//!
//! - **No "busy"**: SMB has no such answer. A caller of a busy pipe waits in the gateway, and is closed when no instance became
//!   free in time.
//! - **Messages have 1 to 65,535 bytes**: a length of 16 bits is all that Samba has for them. A server's empty message is left
//!   out, with a warning in the log; at a larger one the connection ends.
//! - **No peeking, no flushing**: Samba refuses both.
//! - **Disconnecting is closing**: what a server throws away with `disconnect` may have gone to the caller before.
//! - **A close of a server that only reads** is told to the caller when it next writes.

pub mod npa;

#[cfg(all(target_os = "linux", feature = "service"))]
mod service;
#[cfg(all(target_os = "linux", feature = "service"))]
pub use service::main;

/// Says that there is no gateway on this system.
#[cfg(all(not(target_os = "linux"), feature = "service"))]
pub fn main() -> std::process::ExitCode {
    use std::io::Write;

    let text =
        "pipework-gateway runs on Linux, beside Samba; Windows lets callers from the network in by itself";
    writeln!(std::io::stderr(), "{text}").ok();
    std::process::ExitCode::FAILURE
}
