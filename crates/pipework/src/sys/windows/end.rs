//! The kinds of ends that there are on Windows.

use super::{
    super::{Instance, end::PipeEnd},
    connection::Connection,
};
use std::{io, sync::Arc};

/// An end of a pipe.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// One connection.
    Connection(Arc<Connection>),
    /// The connection that an instance has at the time of a call.
    Instance(Instance),
}

impl End {
    /// The end that stays with its connection, or the instance.
    pub(crate) fn kind(&self) -> Result<&dyn PipeEnd, &Instance> {
        match self {
            End::Connection(connection) => Ok(&**connection),
            End::Instance(instance) => Err(instance),
        }
    }

    pub(super) fn connection(&self) -> io::Result<Arc<Connection>> {
        match self {
            End::Connection(connection) => Ok(Arc::clone(connection)),
            End::Instance(instance) => instance.connection_now(),
        }
    }
}
