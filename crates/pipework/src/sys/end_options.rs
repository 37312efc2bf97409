//! The options that all handles to one end share: read mode, timeouts, canceller.

use super::{Canceller, WaitLimit};
use crate::{
    error::{PipeErrorKind, fail},
    options::PipeMode,
};
use std::{
    io,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Settings of an end; on a server they outlive its connections.
#[derive(Debug)]
pub(crate) struct EndOptions {
    reads_messages: AtomicBool,
    waits: Mutex<Waits>,
}

#[derive(Clone, Debug, Default)]
struct Waits {
    read: Option<Duration>,
    write: Option<Duration>,
    canceller: Option<Canceller>,
}

impl EndOptions {
    pub(crate) fn new(read_mode: PipeMode, canceller: Option<Canceller>) -> EndOptions {
        let waits = Waits { canceller, ..Waits::default() };
        EndOptions {
            reads_messages: AtomicBool::new(read_mode == PipeMode::Message),
            waits: Mutex::new(waits),
        }
    }

    pub(crate) fn reads_messages(&self) -> bool {
        self.reads_messages.load(Ordering::Relaxed)
    }

    /// Switches the read mode of an end of a pipe that has messages or not (rules M3, N5).
    pub(crate) fn set_read_mode(&self, mode: PipeMode, pipe_has_messages: bool) -> io::Result<()> {
        let messages = mode == PipeMode::Message;
        if messages && !pipe_has_messages {
            return Err(fail(PipeErrorKind::Invalid, "a byte pipe has no messages to read"));
        }
        self.reads_messages.store(messages, Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        check(timeout)?;
        self.lock().read = timeout;
        Ok(())
    }

    pub(crate) fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        check(timeout)?;
        self.lock().write = timeout;
        Ok(())
    }

    pub(crate) fn read_timeout(&self) -> Option<Duration> {
        self.lock().read
    }

    pub(crate) fn write_timeout(&self) -> Option<Duration> {
        self.lock().write
    }

    pub(crate) fn set_canceller(&self, canceller: Option<Canceller>) {
        self.lock().canceller = canceller;
    }

    pub(crate) fn canceller(&self) -> Option<Canceller> {
        self.lock().canceller.clone()
    }

    /// How long a read that begins to wait now may wait.
    pub(crate) fn read_limit(&self) -> WaitLimit {
        let waits = self.lock();
        WaitLimit::new(waits.read, waits.canceller.clone()).awaiting("data")
    }

    /// How long a write or a drain that begins to wait now may wait.
    pub(crate) fn write_limit(&self) -> WaitLimit {
        let waits = self.lock();
        WaitLimit::new(waits.write, waits.canceller.clone()).awaiting("the reader")
    }

    fn lock(&self) -> MutexGuard<'_, Waits> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check(timeout: Option<Duration>) -> io::Result<()> {
    if timeout == Some(Duration::ZERO) {
        return Err(fail(
            PipeErrorKind::Invalid,
            "a timeout of zero would never let anything wait; use `None` for ever",
        ));
    }
    Ok(())
}
