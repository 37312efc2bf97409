//! The driver for event loops and for `try_` calls: tries, looks at the socket, and tries once more.
//!
//! After `WouldBlock` the readiness descriptor of the direction, if the caller has asked for one, is readable as soon as
//! another try may succeed.

use super::{
    Connection,
    doorbell::RING_AGAIN,
    fd_passing::DESCRIPTORS_PAUSE,
    operation::Operation,
    step::{On, Step},
};
use crate::ring::WaitKind;
use std::{io, os::fd::AsFd};

impl Connection {
    /// Tries, and arms the readiness descriptor where there is nothing to do now.
    pub(super) fn try_now<T>(
        &self,
        operation: Operation,
        attempt: impl FnMut() -> io::Result<Step<T>>,
    ) -> io::Result<T> {
        let outcome = self.try_unpaid(operation, attempt);
        if !self.pay_ring() && self.parking.readiness().arm_timers(RING_AGAIN).is_err() {
            self.parking.readiness().try_again();
        }
        outcome
    }

    /// The same, with a wake-up of the peer that may be owed afterwards.
    fn try_unpaid<T>(
        &self,
        operation: Operation,
        mut attempt: impl FnMut() -> io::Result<Step<T>>,
    ) -> io::Result<T> {
        let lock = match self.parking.try_lock_direction(operation) {
            Some(lock) => lock,
            // Where another thread or task has the direction, its release wakes the event loop. Armed before that is asked
            // for, so that the release is not cleared away.
            None => {
                self.parking.drain_now(|| self.empty_doorbell())?;
                self.parking.readiness().arm(operation);
                self.parking.lock_direction_or_wake(operation).ok_or(io::ErrorKind::WouldBlock)?
            }
        };
        if let Step::Done(value) = self.step(Some(&lock), &mut attempt)? {
            return Ok(value);
        }
        // The end of a peer that was killed, or that closed before the hello, shows in the socket only.
        self.parking.drain_now(|| self.empty_doorbell())?;
        let readiness = self.parking.readiness();
        let on = loop {
            let is_armed = readiness.arm(operation);
            let rings = self.rings_known();
            if is_armed && let Some(rings) = rings {
                rings.wait_words.announce(operation.interest(), WaitKind::Poll);
            }
            match self.step(Some(&lock), &mut attempt)? {
                Step::Done(value) => return Ok(value),
                // The hello came just now: nothing was announced in its memory yet.
                Step::Blocked(_) if rings.is_none() && self.rings_known().is_some() => {}
                Step::Blocked(on) => break on,
            }
        };
        match on {
            // The doorbell rings, or the socket hangs up.
            On::Data | On::Rest(_) | On::Space(_) | On::Hello | On::Attachment => {}
            On::Socket => readiness.arm_socket(self.as_fd())?,
            On::Descriptors => readiness.arm_timer(DESCRIPTORS_PAUSE)?,
        }
        Err(io::ErrorKind::WouldBlock.into())
    }
}
