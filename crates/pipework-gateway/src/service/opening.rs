//! Opening a pipe for a caller.

use std::{io, time::Duration};

use pipework::{
    NetworkCaller, PipeErrorKind, PipeMode, PipeName,
    os::unix::ClientOptionsExt,
    tokio::{ClientOptions, NamedPipeClient},
};

use super::table::Target;

/// How to open one pipe for one caller. The library asks the header of the very instance that it opens whether the pipe
/// accepts the network and lets this caller in, before a byte moves.
#[derive(Clone, Debug)]
pub(crate) struct Opening {
    options: ClientOptions,
    name: PipeName,
}

/// A pipe, perhaps one that is still to be had.
#[derive(Debug)]
pub(crate) enum Pipe {
    Open(NamedPipeClient),
    /// All instances have their clients now.
    Busy(Opening),
}

impl Opening {
    pub(crate) fn new(target: &Target, caller: &NetworkCaller) -> Opening {
        let mut options = ClientOptions::new();
        let mode = if target.messages { PipeMode::Message } else { PipeMode::Byte };
        // A pipe that goes one way is opened in that one.
        options.read(target.outbound).write(target.inbound).pipe_mode(mode).on_behalf_of(caller);
        Opening { options, name: target.name.clone() }
    }

    /// Opens it now.
    pub(crate) fn try_now(self) -> io::Result<Pipe> {
        match self.options.open(&self.name) {
            Ok(pipe) => Ok(Pipe::Open(pipe)),
            Err(error) if is_busy(&error) => Ok(Pipe::Busy(self)),
            Err(error) => Err(error),
        }
    }

    /// Waits for an instance.
    pub(crate) async fn wait(mut self, timeout: Duration) -> io::Result<NamedPipeClient> {
        self.options.timeout(timeout);
        self.options.connect(&self.name).await
    }
}

/// Busy, from `open`, is the plain error number, as users of tokio compare it.
fn is_busy(error: &io::Error) -> bool {
    error == &PipeErrorKind::Busy
        || error.raw_os_error().map(i64::from) == Some(i64::from(PipeErrorKind::Busy.code()))
}
