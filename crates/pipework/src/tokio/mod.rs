//! The same pipes for tasks: the names and signatures of `tokio::net::windows::named_pipe`, on every system, and what it
//! lacks.
//!
//! Replacing the `use` line of a program that uses tokio's named pipes is the whole port, and from then on it runs on Unix
//! too. Import the items of this module, not the module itself, which would hide the `tokio` crate.
//!
//! # The accept loop
//!
//! [`Listener`] is the accept loop done right: there is always an instance for the next client, and no client that comes
//! and goes can end it. tokio's own way, an instance at a time, works as well ([`ServerOptions::create`]).
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
//! tokio's loop of opening, sleeping and opening again works as it stands: busy is the error number 231 here on every
//! system. [`ClientOptions::connect`] waits without sleeping in vain.
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
//! Ends are made anywhere, also outside a runtime, and belong to none: a task waits in its own, and may go on in another
//! when that has ended. Multi-thread and current-thread runtimes serve alike. A task that waits outside a runtime gets an
//! error; in a runtime that was built without I/O it panics, as with tokio's own types. Timers are not needed.
//!
//! No call keeps a thread of the runtime waiting, with one exception that tokio has as well: creating an instance asks the
//! system and returns when it is there, on Unix after other processes that are creating one at the same moment. On Windows, tasks are
//! woken by threads of the system's own pool; draining, and connecting while a pipe is busy, take a thread that the runtime has for
//! blocking calls.
//!
//! On Unix a task that is about to sleep first looks again for at most 100 µs, as long as that pays, and lets the other tasks of
//! its runtime run between two looks. Where those have more to do than the pipes, `PIPEWORK_SPIN=0` in the environment makes it
//! sleep at once.
//!
//! # Cancel safety
//!
//! Futures may be dropped at any time: no byte, message or client is lost or doubled, unless a function says otherwise.
//! There is no buffer in between: what a call has not returned is still in the pipe, and what it took it returns.
//!
//! # Platform-specific behavior
//!
//! Windows tells of room only by ending a write. So there one write more than has room is begun, of a stream at most as many bytes
//! as the quota: it counts as written, can be read from then on, and the next one waits until it is over. An end that is dropped
//! meanwhile closes when that was read, or when the other end closes. If the process ends first, it is lost: wait for
//! [`drain`](NamedPipeClient::drain) before that. For each end of an anonymous pipe that waits, a thread waits that the runtime has
//! for blocking calls, and an error of a write is told by the next one.
//!
//! # Other computers
//!
//! On Unix, with the feature `remote`, a write to a pipe on another computer is handed over to the network, up to 1 MiB, and counts as
//! written; an error is told by the next one. A program that is about to end waits for it with `shutdown`, which elsewhere has nothing to
//! do. [`NamedPipeClient::write_message`] waits by itself.
//!
//! # Errors
//!
//! They are those of the blocking calls, to be told apart by [`PipeErrorKind::of`](crate::PipeErrorKind::of). Busy, from
//! `create` and `open`, is the plain error number, as tokio's users compare it.

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

/// Connects as a client: waits at most 20 s while the pipe is busy, and not at all when it is absent.
///
/// Opens it duplex, or in the one direction that it has, as [`pipework::connect`](crate::connect()) does.
///
/// # Cancel safety
/// Cancel safe: nothing is opened until it returns. A server may see a client that came and left.
///
/// # Errors
/// Those of [`pipework::connect`](crate::connect()).
pub async fn connect(address: impl AsRef<OsStr>) -> io::Result<NamedPipeClient> {
    ClientOptions::new().connect_as_it_goes(address.as_ref()).await
}
