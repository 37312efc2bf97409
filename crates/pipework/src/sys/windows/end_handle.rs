//! The handle of a connected end: borrowed, given away, or taken over from other code.

use super::{anonymous::Handle, connection::Connection, end::End};
use std::{
    io,
    os::windows::io::{BorrowedHandle, OwnedHandle},
    sync::Arc,
};

impl End {
    /// Takes over a handle of a connected end.
    pub(crate) fn adopt(handle: Handle) -> io::Result<End> {
        Connection::adopt(handle).map(|connection| End::Connection(Arc::new(connection)))
    }

    pub(crate) fn handle(&self) -> BorrowedHandle<'_> {
        match self {
            End::Connection(connection) => connection.handle(),
            End::Instance(instance) => instance.handle(),
        }
    }

    /// Gives the handle away; a duplicate of it if clones still use it.
    pub(crate) fn into_handle(self) -> io::Result<OwnedHandle> {
        let pipe = match self {
            End::Connection(connection) => match Arc::try_unwrap(connection) {
                Ok(connection) => connection.pipe,
                Err(connection) => Arc::clone(&connection.pipe),
            },
            End::Instance(instance) => return instance.into_handle(),
        };
        pipe.into_handle()
    }
}
