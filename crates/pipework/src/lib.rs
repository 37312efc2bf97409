//! Anonymous and named pipes with the semantics of Windows named pipes, over shared memory on Unix.
//!
//! A *server* creates a pipe, and *clients* open it. An [anonymous pipe](anonymous()) is one-way, has no name, and connects a
//! parent process with its child. A *named pipe* is one-way or two-way. Each of its *instances* serves one client at a time,
//! separately from all others. Data is a stream of bytes or a sequence of *messages*, which arrive whole. The
//! [rule book](crate::rules) says exactly how a pipe behaves on every system.
//!
//! # The accept loop
//!
//! [`Listener`] is the accept loop: an instance always listens for the next client, and a client that connects and leaves
//! does not end the loop.
//!
//! ```
//! use pipework::{Listener, PipeName};
//! use std::io;
//!
//! # fn main() -> io::Result<()> {
//! let name = PipeName::unique("echo")?;
//! let listener = Listener::bind(&name)?;
//! std::thread::spawn(move || {
//!     for client in &listener {
//!         let client = client?;
//!         std::thread::spawn(move || io::copy(&mut &client, &mut &client));
//!     }
//!     io::Result::Ok(())
//! });
//!
//! use std::io::{Read, Write};
//! let mut pipe = pipework::connect(&name)?;
//! pipe.write_all(b"hello")?;
//! let mut reply = [0; 5];
//! pipe.read_exact(&mut reply)?;
//! assert_eq!(&reply, b"hello");
//! # Ok(())
//! # }
//! ```
//!
//! # Async
//!
//! With the feature `tokio` the module `pipework::tokio` has the same pipes as async types, under the names of tokio's module
//! for named pipes. A blocking end and an async end can be the two ends of one pipe, and each converts to the other.
//!
//! # Remote pipes
//!
//! `\\server\pipe\name` is a pipe on a remote host. Windows reaches it by itself. On Unix the feature `remote` reaches it over
//! SMB 2 and 3, with a password or with this user's Kerberos tickets: [`ClientOptions::credentials`]. All pipes of one
//! identity on one server share a session. The first remote pipe starts a thread, which runs the sessions and stays.
//!
//! A remote pipe carries bytes in both directions, or messages of 1 to 65,535 bytes. Operations that SMB lacks return
//! `Unsupported`: `peek`, [`NamedPipe::wait`], `info`, readiness descriptors, and `drain` if the server lacks it. Samba
//! delivers each message to one read, whatever the read mode is. If the network fails, reads and writes return `Broken`.
//!
//! # Two deadlocks to know
//!
//! - **Both ends write and none reads.** A write waits while the peer has a buffer full of unread bytes. If both ends write
//!   more than that before they read, both wait for ever. Read in another thread, or set a timeout for writes
//!   ([`PipeStream::set_write_timeout`]).
//! - **A wait for an end of the pipe that never comes.** A pipe ends when the last handle to its other end is closed. A
//!   reader that waits for the end of a child's output, and still holds the child's end or a clone of it, waits for ever.
//!
//! # Timeouts of zero
//!
//! `Duration::ZERO` as the timeout of a call means that it looks once and does not wait: [`Listener::accept_timeout`],
//! [`NamedPipe::connect_timeout`], [`NamedPipe::wait`], [`ClientOptions::timeout`]. As a setting for all later reads or writes,
//! zero is `Invalid`, as in `std::net`. `None` waits for ever, and so does a timeout too long to be added to the current time.
//!
//! # Errors
//!
//! Errors are [`std::io::Error`]. [`PipeErrorKind`] has the kinds that callers distinguish, which are the same on every system:
//! `if error == PipeErrorKind::Busy { … }`. [`is_gone`] is true for each error that means that the peer is gone.
//!
//! # Forking
//!
//! A child that is forked and does not `exec` shares its parent's sockets. It must not use the parent's ends. Dropping them in
//! the child only closes its descriptors. While the child lives, the peers consider the parent alive.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(loom, allow(dead_code, unused_imports, reason = "loom tests only the ring"))]

mod access;
mod anonymous;
mod cancel;
mod client;
mod credentials;
mod error;
#[cfg(all(fuzzing, unix))]
#[doc(hidden)]
pub mod fuzzing;
mod list;
mod listener;
mod location;
mod message;
mod model;
mod name;
mod named;
mod network;
mod options;
pub mod os;
mod peer;
#[cfg(unix)]
mod ring;
pub mod rules;
mod stream;
mod sys;
#[cfg(feature = "tokio")]
pub mod tokio;

pub use access::{Access, ServerCheck};
pub use anonymous::{AnonRead, AnonWrite, anonymous};
pub use cancel::Canceller;
pub use client::{ClientOptions, connect};
pub use credentials::Credentials;
pub use error::{PipeErrorKind, is_gone};
pub use list::list;
pub use listener::{Incoming, Listener};
pub use message::{MessageBatch, MessageRead, Peek};
pub use name::{PipeName, PipeNameKind};
pub use named::{NamedPipe, NamedPipeBuilder};
pub use network::{NetworkPeer, RemoteClient};
pub use options::{PipeDirections, PipeEnd, PipeEntry, PipeInfo, PipeMode};
pub use peer::Peer;
pub use stream::PipeStream;

// `README.md` beside this crate's manifest is a symbolic link to the workspace's file, as in `rules`. The pages in `docs` are
// compiled by `pipework-examples`, which is not published.
#[cfg(all(doctest, unix))]
#[doc = include_str!("../README.md")]
struct Readme;
