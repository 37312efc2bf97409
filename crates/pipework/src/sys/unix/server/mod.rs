//! The server's side: instances, the sockets at which they listen, and accepting.

pub(super) mod accept_readiness;
#[cfg(feature = "tokio")]
pub(super) mod accepting;
mod adoption;
pub(super) mod instance;
pub(super) mod listening_socket;
mod name_files;
pub(super) mod registry;
