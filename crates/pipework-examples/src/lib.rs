//! Pipework with other crates and languages. The code is in the folders beside this one:
//!
//! - `examples`: whole programs to copy. `axum_http`, `hyper_http` and `tonic_grpc` serve over a pipe; `codecs` and
//!   `language_server` frame messages in a byte stream; `tls` encrypts; `smol_echo` and `mio_echo` use other event loops;
//!   `accept_loop` and `busy_loop` were written for tokio's named pipes; `plain_socket` is for other languages.
//! - `languages`: a client and a server in Node, and in Python.
//! - `tests`: run each program, with the two ends of a connection in different processes.

#[cfg(all(doctest, unix))]
#[doc = include_str!("../../../docs/EXAMPLES.md")]
struct Examples;

#[cfg(all(doctest, unix))]
#[doc = include_str!("../../../docs/NETWORK.md")]
struct Network;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/FROM_MIOW.md")]
struct FromMiow;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/FROM_TOKIO.md")]
struct FromTokio;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/FROM_UNIX_SOCKETS.md")]
struct FromUnixSockets;
