//! The lock of one direction of an end: one reader and one writer at a time.
//!
//! The lock is one word, and locking a free one is one atomic operation. How a thread waits for the release, and how it is
//! woken, differs by system.

use super::WaitLimit;
use std::{
    fmt::Debug,
    io,
    sync::atomic::{AtomicU32, Ordering, fence},
};

/// The bit of a lock that is held.
const LOCKED: u32 = 1;
/// The bit that says that async tasks or event loops wait for the release.
const OBSERVED: u32 = 2;
/// One thread that waits for the release; the rest of the word counts them.
const THREAD: u32 = 4;

/// Whether an operation of one direction is under way, and what waits for its end. All in one word: a release and a
/// waiter that begins to wait change the same word, one after the other, so that neither misses the other.
#[derive(Debug, Default)]
pub(crate) struct DirectionLock(AtomicU32);

/// One direction of an end, as a backend has it: where its lock is, and how to wait for the release.
pub(crate) trait DirectionBackend: Copy + Debug {
    fn state(&self) -> &DirectionLock;
    /// Makes the object at which a thread waits; every caller of [`unpark`](Self::unpark) sees it.
    fn prepare_to_park(&self) -> io::Result<()> {
        Ok(())
    }
    /// Blocks the thread until the next [`unpark`](Self::unpark), or for a while. A release since the last attempt to lock
    /// is not missed.
    fn park(&self, limit: &WaitLimit) -> io::Result<()>;
    /// Wakes at least one of the threads that wait.
    fn unpark(&self);
    /// Wakes all that asked for it by [`DirectionGuard::lock_or_observe`].
    fn wake_observers(&self) {}
}

/// The right to read, or to write. Dropping it releases the lock.
#[derive(Debug)]
pub(crate) struct DirectionGuard<D: DirectionBackend>(D);

impl DirectionLock {
    fn try_lock(&self) -> bool {
        self.0.fetch_or(LOCKED, Ordering::Acquire) & LOCKED == 0
    }

    #[cfg(unix)]
    pub(super) fn is_locked(&self) -> bool {
        self.0.load(Ordering::Relaxed) & LOCKED != 0
    }
}

impl<D: DirectionBackend> DirectionGuard<D> {
    /// Locks the direction if it is free.
    pub(super) fn try_lock(direction: D) -> Option<Self> {
        // Lazily: a guard that is made and thrown away would release a lock that is another's.
        direction.state().try_lock().then(|| DirectionGuard(direction))
    }

    /// Locks the direction if it is free; else its release wakes tasks and event loops.
    #[cfg(unix)]
    pub(super) fn lock_or_observe(direction: D) -> Option<Self> {
        if let Some(guard) = DirectionGuard::try_lock(direction) {
            return Some(guard);
        }
        direction.state().0.fetch_or(OBSERVED, Ordering::Relaxed);
        DirectionGuard::try_lock(direction)
    }

    /// Locks the direction; waits for the release up to the limit.
    pub(super) fn lock(direction: D, limit: &WaitLimit) -> io::Result<Self> {
        if let Some(guard) = DirectionGuard::try_lock(direction) {
            return Ok(guard);
        }
        direction.prepare_to_park()?;
        let word = &direction.state().0;
        // Release: a release of the lock that counts this thread sees what was prepared.
        word.fetch_add(THREAD, Ordering::Release);
        let outcome = loop {
            if let Some(guard) = DirectionGuard::try_lock(direction) {
                break Ok(guard);
            }
            if let Err(error) = limit.check().and_then(|()| direction.park(limit)) {
                break Err(error);
            }
        };
        word.fetch_sub(THREAD, Ordering::Relaxed);
        outcome
    }

    pub(super) fn direction(&self) -> D {
        self.0
    }
}

impl<D: DirectionBackend> Drop for DirectionGuard<D> {
    fn drop(&mut self) {
        let waiting = self.0.state().0.fetch_and(!(LOCKED | OBSERVED), Ordering::Release);
        if waiting >= THREAD {
            // Acquire: what the threads that are counted have prepared.
            fence(Ordering::Acquire);
            self.0.unpark();
        }
        if waiting & OBSERVED != 0 {
            self.0.wake_observers();
        }
    }
}
