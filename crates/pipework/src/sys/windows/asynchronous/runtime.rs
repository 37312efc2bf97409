//! The runtime that async calls need.

use crate::error::context;
use ::tokio::runtime::Handle;
use std::io;

/// Waiting would work here without a runtime, but on no other system.
pub(super) fn check_runtime() -> io::Result<()> {
    Handle::try_current()
        .map(drop)
        .map_err(|error| context("waiting in a task needs a tokio runtime", io::Error::other(error)))
}
