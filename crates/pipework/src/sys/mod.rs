//! THE SEAM: what a backend provides, and nothing else reaches the system.
//!
//! | item | what it is |
//! |---|---|
//! | [`Canceller`] | a token that ends waits, of this module, over the backend's `Event` and `cancel_event` |
//! | [`WaitLimit`] | a deadline and a canceller, of this module |
//! | [`Instance`] | a server instance: `create`, `create_for_listener`, `try_create_for_listener`, `try_create_next`, `connect`, `wait_for_client`, `disconnect`, `end`, `into_end`, `left_bytes`; its life is of this module, over the backend's `Backend` |
//! | [`NameHold`] | keeps a name while a listener has no instance of it |
//! | [`End`] | a connected end: reading, writing, messages, [`options`](End::options), peer |
//! | [`Peer`] | the identity of the other end |
//! | [`SocketListener`] | accepts at the path of a plain socket, where there are such |
//! | [`inherited_listeners`] | the listening sockets that the service manager passed to this process |
//! | [`AcceptReadiness`] | the one descriptor that signals that a listener has a client |
//! | [`Watch`] | waits until something about a name may have changed |
//! | [`open`], [`connect`] | the client's end of a pipe, now or waiting |
//! | [`wait`] | until an instance of a name listens |
//! | [`list`] | the pipes of this host |
//! | [`location`] | where a name lives |
//! | [`per_user_name`] | a name that only this user has |
//! | [`anonymous`] | one-way pipes of the kernel |
//!
//! The backends know plain data of the surface (names, options, errors, and what calls return), never its types that
//! hold something open.

#[cfg(feature = "tokio")]
mod async_end;
mod canceller;
mod direction_lock;
mod end;
mod end_options;
mod errors;
mod instance;
#[cfg(unix)]
mod unix;
mod wait_limit;
#[cfg(feature = "tokio")]
mod waiters;
#[cfg(windows)]
pub(crate) mod windows;
#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

pub(crate) use canceller::Canceller;
pub(crate) use instance::Instance;
pub(crate) use system::{
    AcceptReadiness, End, NameHold, Peer, SocketListener, Watch, anonymous, connect, inherited_listeners,
    list, location, open, pause, per_user_name, wait,
};
pub(crate) use wait_limit::WaitLimit;

/// Additional items that the async surface needs.
///
/// | item | what it is |
/// |---|---|
/// | [`AsyncEnd`](asynchronous::AsyncEnd) | a connected end, and the server's instance: what [`End`] does, polled |
/// | [`Accepting`](asynchronous::Accepting) | what a task that waits for clients keeps between polls |
/// | [`AsyncAnonRead`](asynchronous::AsyncAnonRead), [`AsyncAnonWrite`](asynchronous::AsyncAnonWrite) | the ends of an anonymous pipe |
/// | [`create`](asynchronous::create), [`open`](asynchronous::open), and both `_with_attributes` | an instance, and a client's end, now |
/// | [`connect`](asynchronous::connect) | a client's end, waiting |
#[cfg(feature = "tokio")]
pub(crate) mod asynchronous {
    pub(crate) use super::async_end::AsyncEnd;
    pub(crate) use super::system::asynchronous::{
        Accepting, AsyncAnonRead, AsyncAnonWrite, connect, create, create_with_attributes, open,
        open_with_attributes,
    };
}
