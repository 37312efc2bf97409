//! Pipework with the crates and languages that people already use. All of it is in the folders beside this one:
//!
//! - `examples`: each is a whole program to copy. `axum_http`, `hyper_http` and `tonic_grpc` serve over a pipe; `codecs` and
//!   `language_server` have messages in a stream of bytes; `tls` encrypts; `smol_echo` and `mio_echo` are of other event loops;
//!   `accept_loop` and `busy_loop` were written for tokio's own named pipes; `plain_socket` is for other languages.
//! - `languages`: a client and a server each, in Node and Python.
//! - `tests`: run each of them as processes, and both ends of each connection as different ones.

#[cfg(doctest)]
#[doc = include_str!("../../../docs/FROM_TOKIO.md")]
struct FromTokio;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/FROM_UNIX_SOCKETS.md")]
struct FromUnixSockets;
