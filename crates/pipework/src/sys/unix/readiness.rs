//! Descriptors for foreign event loops, one for each direction, made on first use.

use super::os::{Event, Gathered};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::OnceLock,
};

/// The descriptors of an end, if somebody asked for them.
#[derive(Debug, Default)]
pub(crate) struct Readiness {
    read: OnceLock<Gate>,
    write: OnceLock<Gate>,
    /// Where the tasks of a runtime wait.
    #[cfg(feature = "tokio")]
    pub(super) reactor: super::asynchronous::Reactor,
}

/// A descriptor that is readable when the socket is, or when the doorbell was emptied by somebody else.
#[derive(Debug)]
struct Gate {
    gathered: Gathered,
    again: Event,
}

impl Readiness {
    pub(crate) fn read_fd(&self, socket: BorrowedFd<'_>) -> io::Result<BorrowedFd<'_>> {
        made(&self.read, socket)
    }

    pub(crate) fn write_fd(&self, socket: BorrowedFd<'_>) -> io::Result<BorrowedFd<'_>> {
        made(&self.write, socket)
    }

    /// Before the last look of a try to read: from now on the descriptor tells.
    pub(crate) fn arm_read(&self) {
        if let Some(gate) = self.read.get() {
            gate.again.clear();
            gate.gathered.refresh();
        }
    }

    /// Before the last look of a try to write: from now on the descriptor tells.
    pub(crate) fn arm_write(&self) {
        if let Some(gate) = self.write.get() {
            gate.again.clear();
            gate.gathered.refresh();
        }
    }

    /// The doorbell was emptied: whoever waits at a descriptor must look for itself.
    pub(crate) fn look_again(&self) {
        for gate in [&self.read, &self.write].into_iter().filter_map(OnceLock::get) {
            gate.again.set();
        }
    }
}

fn made<'a>(gate: &'a OnceLock<Gate>, socket: BorrowedFd<'_>) -> io::Result<BorrowedFd<'a>> {
    if gate.get().is_none() {
        let (gathered, again) = (Gathered::new()?, Event::new()?);
        gathered.add(socket)?;
        gathered.add(again.as_fd())?;
        // Ready at first, so that nothing that came before is missed.
        again.set();
        // Another thread may have been quicker; then its gate serves.
        gate.set(Gate { gathered, again }).ok();
    }
    gate.get()
        .map(|gate| gate.gathered.as_fd())
        .ok_or_else(|| io::Error::other("the descriptor was not made"))
}
