//! `pipework-gateway` connects clients of a Samba server to local named pipes, as the *Server service* does on
//! Windows.
//!
//! The gateway runs as root beside `smbd`. It owns the sockets that `smbd` uses for named pipes, and connects each
//! remote client to the pipe of that name, with the identity that Samba has authenticated. It reaches only pipes
//! whose server uses `accept_remote(true)`, and only for clients that the pipe's `Access` allows.
//! `pipework-gateway --help` explains how to run it, `pipework-gateway --check` reports what is missing on a system.
//!
//! The public items serve the gateway's own tests and fuzzers. This crate is not a library for other programs.
//!
//! # Limitations
//!
//! - **Busy pipes**: smbd has no reply for "busy". The client of a busy pipe waits in the gateway. The gateway closes
//!   the connection if no instance becomes free before the timeout.
//! - **Message length**: a message has 1 to 65,535 bytes, because Samba stores its length in 16 bits. smbd
//!   drops an empty one of the client. An empty one of the server fails one read of the client, except for this
//!   project's library, which reads an empty message. A longer one closes the connection.
//! - **Peek and flush**: Samba refuses both.
//! - **Disconnect**: it closes the connection. Data that a server discards with `disconnect` may already be on its
//!   way to the client.
//! - **Close by a server that only reads**: the client learns of it with its next write.

pub mod npa;

#[cfg(all(target_os = "linux", feature = "service"))]
mod service;
#[cfg(all(target_os = "linux", feature = "service"))]
pub use service::main;

/// Reports that the gateway does not run on this system.
#[cfg(all(not(target_os = "linux"), feature = "service"))]
pub fn main() -> std::process::ExitCode {
    use std::io::Write;

    let text = "pipework-gateway runs on Linux, beside Samba; Windows itself serves pipes to remote clients";
    writeln!(std::io::stderr(), "{text}").ok();
    std::process::ExitCode::FAILURE
}
