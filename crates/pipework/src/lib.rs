//! Anonymous and named pipes with the semantics of Windows named pipes, over shared memory on Unix.
//!
//! A pipe is a section of shared memory that processes use for communication. The process that creates a pipe is the
//! *server*, one that opens it is a *client*. An [anonymous pipe](anonymous()) is one-way and goes from a parent to its
//! child. A *named pipe* is one-way or duplex, with one name for any number of *instances*, each a conduit of its own
//! between the server and one client; it carries bytes or *messages*.
//!
//! # The accept loop
//!
//! [`Listener`] is the accept loop done right: there is always an instance for the next client, and no client that
//! comes and goes can end it.
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
//! # Tasks
//!
//! With the feature `tokio` the module `pipework::tokio` has the same pipes for tasks, under the names of tokio's own module for
//! named pipes. Blocking and async ends mix.
//!
//! # Other computers
//!
//! `\\server\pipe\name` is a pipe on another computer. On Windows the system reaches it; on Unix the feature `remote` does, over SMB 2 and
//! 3, as a user with a password or with the caller's Kerberos tickets: [`ClientOptions::credentials`]. All pipes of one identity on
//! one server share a session. With the first one a thread is started that stays and runs the sessions.
//!
//! Such a pipe carries bytes both ways, or messages of 1 to 65,535 bytes. What SMB has not is `Unsupported`: looking ahead, waiting for
//! an instance, what kind of pipe it is, readiness descriptors; and draining, where the server does not know it. Samba gives each message to one
//! read whatever the read mode is. When the network breaks, reading and writing are `Broken`.
//!
//! # Two deadlocks to know
//!
//! - **Both sides write and nobody reads.** A write waits while the other end has a buffer full of unread bytes. If
//!   both ends write more than that before they read, both wait for ever. Read in a thread of its own, or give the
//!   writes a timeout ([`PipeStream::set_write_timeout`]).
//! - **Waiting for an end that cannot come.** A pipe ends when the last handle to its other end is closed. Who waits
//!   for the end of what a child writes, and still holds the child's end (or a clone of it), waits for ever.
//!
//! # Errors
//!
//! Errors are [`std::io::Error`]; [`PipeErrorKind::of`] tells what a caller must tell apart, on every system alike:
//! `if error == PipeErrorKind::Busy { … }`.
//!
//! # Forking
//!
//! A child that is forked and does not `exec` shares its parent's sockets. It must not use the parent's ends; dropping
//! them there does nothing but close, and while it lives, the others see the parent as living.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(loom, allow(dead_code, unused_imports, reason = "only the ring is under test there"))]

mod access;
mod anonymous;
mod cancel;
mod client;
mod credentials;
mod error;
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
pub use message::{MessageRead, Peek};
pub use name::{PipeName, PipeNameKind};
pub use named::{NamedPipe, NamedPipeBuilder};
pub use network::{NetworkCaller, NetworkPeer};
pub use options::{PipeDirections, PipeEnd, PipeEntry, PipeInfo, PipeMode};
pub use peer::Peer;
pub use stream::PipeStream;

#[cfg(all(doctest, unix, feature = "tokio"))]
#[doc = include_str!("../../../README.md")]
struct Readme;

#[cfg(all(doctest, unix))]
#[doc = include_str!("../../../docs/NETWORK.md")]
struct Network;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/FROM_MIOW.md")]
struct FromMiow;
