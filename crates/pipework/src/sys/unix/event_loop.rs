//! The driver for event loops and for `try_` calls: tries, looks at the socket, and tries once more.
//!
//! After `WouldBlock` the readiness descriptor of the direction, if the caller has asked for one, is readable as soon as
//! another try may succeed.

use super::{
    connection::Connection,
    step::{On, Step},
    thread::DESCRIPTORS_PAUSE,
    waiting::Operation,
};
use crate::ring::Sleep;
use std::{io, os::fd::AsFd};

impl Connection {
    /// Tries, and arms the readiness descriptor where there is nothing to do now.
    pub(super) fn try_now<T>(
        &self,
        operation: Operation,
        mut attempt: impl FnMut() -> io::Result<Step<T>>,
    ) -> io::Result<T> {
        // Where another thread or task has the direction, its release wakes the event loop.
        let lock = self.waiting.turn_or_wake(operation).ok_or(io::ErrorKind::WouldBlock)?;
        if let Step::Done(value) = self.step(Some(&lock), &mut attempt)? {
            return Ok(value);
        }
        // The end of a peer that was killed, or that closed before the hello, shows in the socket only.
        self.waiting.drain_now(|| self.drain())?;
        let readiness = self.waiting.readiness();
        let on = loop {
            let is_armed = readiness.arm(operation);
            let link = self.link_known();
            if is_armed && let Some(link) = link {
                link.sleepers.announce(operation.interest(), Sleep::Deep);
            }
            match self.step(Some(&lock), &mut attempt)? {
                Step::Done(value) => return Ok(value),
                // The hello came just now: nothing was announced in its memory yet.
                Step::Blocked(_) if link.is_none() && self.link_known().is_some() => {}
                Step::Blocked(on) => break on,
            }
        };
        match on {
            // The doorbell rings, or the socket hangs up.
            On::Data | On::Space(_) | On::Hello | On::Attachment => {}
            On::Socket => readiness.arm_socket(self.as_fd())?,
            On::Descriptors => readiness.arm_timer(DESCRIPTORS_PAUSE)?,
        }
        Err(io::ErrorKind::WouldBlock.into())
    }
}
