//! Async pipes: the names and signatures of `tokio::net::windows::named_pipe` on every system, and more.
//!
//! A program on tokio's named pipes is ported by replacing its `use` line, and then also runs on Unix. Import the items of this
//! module and not the module itself, which would hide the crate `tokio`.
//!
//! # The accept loop
//!
//! [`Listener`] is the accept loop: an instance always listens for the next client, and a client that connects and leaves does
//! not end the loop. tokio's way, one instance at a time, works too ([`ServerOptions::create`]).
//!
//! ```
//! use pipework::{PipeName, tokio::{Listener, connect}};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let name = PipeName::unique("echo")?;
//! let listener = Listener::bind(&name)?;
//! tokio::spawn(async move {
//!     loop {
//!         let mut client = listener.accept().await?;
//!         tokio::spawn(async move {
//!             let (mut read, mut write) = tokio::io::split(&mut client);
//!             tokio::io::copy(&mut read, &mut write).await
//!         });
//!     }
//!     # #[allow(unreachable_code)]
//!     std::io::Result::Ok(())
//! });
//!
//! let mut pipe = connect(&name).await?;
//! pipe.write_all(b"hello").await?;
//! let mut reply = [0; 5];
//! pipe.read_exact(&mut reply).await?;
//! assert_eq!(&reply, b"hello");
//! # Ok(())
//! # }
//! ```
//!
//! # Waiting for an instance
//!
//! tokio's loop of opening, sleeping and opening again works without a change: a busy pipe has the OS error 231 on every
//! system. [`ClientOptions::connect`] waits without polling.
//!
//! ```
//! # use pipework::{PipeName, tokio::ServerOptions};
//! use pipework::tokio::ClientOptions;
//! use std::time::Duration;
//! use tokio::time;
//!
//! const ERROR_PIPE_BUSY: i32 = 231;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! # let name = PipeName::unique("busy")?;
//! # let server = ServerOptions::new().create(&name)?;
//! let client = loop {
//!     match ClientOptions::new().open(&name) {
//!         Ok(client) => break client,
//!         Err(e) if e.raw_os_error() == Some(ERROR_PIPE_BUSY) => (),
//!         Err(e) => return Err(e),
//!     }
//!     time::sleep(Duration::from_millis(50)).await;
//! };
//! # Ok(())
//! # }
//! ```
//!
//! # Runtimes
//!
//! Ends can be created outside a runtime, and belong to none. A task that waits uses its own runtime, and a task of another
//! runtime may use the same end later. Multi-thread and current-thread runtimes both work. A task that waits without a runtime
//! gets an error; in a runtime without I/O it panics, as tokio's own types do. Timers are not needed.
//!
//! No call blocks a thread of the runtime, with one exception that tokio has too: creating an instance returns when the system
//! has created it. On Unix it first waits for other processes that create an instance at the same moment. On Windows, threads of
//! the system's pool wake the tasks. There, draining, and connecting to a busy pipe, each use a thread of the runtime's blocking
//! pool.
//!
//! On Unix a task spins for up to 100 µs before it sleeps, as long as that pays, and yields to the other tasks of its runtime
//! meanwhile. `PIPEWORK_SPIN=0` in the environment turns this off, for programs whose tasks have more to do than pipes.
//!
//! # Cancel safety
//!
//! A future may be dropped at any time ([rule T3](crate::rules#t3)): no byte, message or client is lost or duplicated, unless a
//! function says otherwise. There is no buffer in between: data that a call has not returned is still in the pipe.
//!
//! # Platform-specific behavior
//!
//! Windows signals room for a write only by completing one. So there, one write more than fits is started, with at most as many
//! bytes as the quota on a byte pipe. It counts as written and can be read at once, and the next write waits until it has
//! completed. If the end is dropped meanwhile, it closes when the peer has read the data or has closed. If the process exits
//! first, the data is lost: wait for [`drain`](NamedPipeClient::drain) before. Each waiting end of an anonymous pipe uses a
//! thread of the runtime's blocking pool, and the next write returns the error of a failed one.
//!
//! # Remote pipes
//!
//! On Unix, with the feature `remote`, up to 1 MiB of written data is queued for the network and counts as written. The next
//! write returns the error of a failed one. A program that is about to exit calls `shutdown`, which waits for the queue and does
//! nothing on a local pipe. [`NamedPipeClient::write_message`] waits by itself.
//!
//! # Blocking ends
//!
//! [`NamedPipeClient::from_blocking`] and [`NamedPipeClient::into_blocking`], and those of [`NamedPipeServer`] and [`Listener`],
//! convert between blocking and async ends, as `from_std` and `into_std` do in tokio.
//!
//! # Errors
//!
//! They are the errors of the blocking calls, with a [`PipeErrorKind`](crate::PipeErrorKind). A busy pipe, from `create` and
//! `open`, is the bare OS error 231, as programs on tokio compare it.

mod anonymous;
mod conversions;
mod ends;
mod listener;
mod options;
#[cfg(feature = "futures")]
mod stream;

pub use crate::options::{PipeEnd, PipeInfo, PipeMode};
pub use anonymous::{AnonRead, AnonWrite, anonymous};
pub use ends::{NamedPipeClient, NamedPipeServer};
pub use listener::Listener;
pub use options::{ClientOptions, ServerOptions};

use std::{ffi::OsStr, io};

/// Connects as a client. Waits at most 20 s while the pipe is busy, and not at all if it does not exist.
///
/// The pipe is opened in both directions, or in the one that it has, as by [`pipework::connect`](crate::connect()).
///
/// # Cancel safety
/// Cancel safe: nothing is open until the call returns. A server may see a client that connects and leaves.
///
/// # Errors
/// Those of [`pipework::connect`](crate::connect()).
pub async fn connect(address: impl AsRef<OsStr>) -> io::Result<NamedPipeClient> {
    ClientOptions::new().connect_any_direction(address.as_ref()).await
}
