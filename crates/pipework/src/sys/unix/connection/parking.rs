//! The one waiting object of an end: one thread leads, the others follow.
//!
//! Of the threads that wait at an end, one leads: it polls the socket, drains the doorbell and wakes the others, which
//! wait on a condition variable. Two threads that both drained would take each other's wake-ups. No mutex is held while
//! waiting.
//!
//! A leader first sleeps lightly for a moment, at a word of the shared memory, where it is woken for less than through
//! the socket; only then at the socket, where it also hears of the end of its peer and of its canceller.

use super::{LazyWaitLimit, operation::Operation, readiness::Readiness};
use crate::{
    ring::WaitKind,
    sys::{
        Canceller, WaitLimit,
        direction_lock::{self, DirectionBackend, DirectionLock},
    },
};
use std::{
    io,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// How often a follower looks at a canceller that its leader does not poll.
const FOREIGN_CANCELLER_PAUSE: Duration = Duration::from_millis(10);

/// The state that the threads that wait at an end share.
#[derive(Debug, Default)]
pub(crate) struct Parking {
    state: Mutex<State>,
    changed: Condvar,
    reading: DirectionLock,
    writing: DirectionLock,
    /// The waiters at this end beside the threads.
    readiness: Readiness,
}

#[derive(Debug, Default)]
struct State {
    /// Whether a thread sleeps for the others too, and what may end its wait.
    leader: Option<Leader>,
    /// How many threads wait for the leader's news, or for a turn.
    followers: usize,
}

#[derive(Debug)]
struct Leader {
    sleep: WaitKind,
    canceller: Option<Canceller>,
}

/// One direction of an end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Direction<'a> {
    parking: &'a Parking,
    operation: Operation,
}

/// The right to read, or to write; given back when it is dropped.
pub(crate) type DirectionGuard<'a> = direction_lock::DirectionGuard<Direction<'a>>;

/// The operations that a waiting thread needs from its end.
pub(crate) trait Sleeper {
    /// How to begin: with a light sleep where it is possible.
    fn first_sleep(&self) -> WaitKind;
    /// Announces to the other end that a thread is about to sleep; returns the value of the word to sleep at.
    fn announce(&self, sleep: WaitKind) -> u64;
    /// Whether what is waited for is there, or can't come any more.
    fn is_ready(&mut self) -> io::Result<bool>;
    /// Sleeps while the word has this value, as leader; gives how to go on.
    fn sleep_at_futex(&self, value: u64, limit: &WaitLimit) -> WaitKind;
    /// Waits at the socket and empties the doorbell, as leader.
    fn sleep_at_socket(&self, limit: &WaitLimit) -> io::Result<()>;
}

impl Parking {
    /// Locks a direction, waiting for its release.
    pub(crate) fn lock_direction(
        &self,
        operation: Operation,
        limit: &mut LazyWaitLimit<'_>,
    ) -> io::Result<DirectionGuard<'_>> {
        match self.try_lock_direction(operation) {
            Some(guard) => Ok(guard),
            None => DirectionGuard::lock(self.direction(operation), limit.get()),
        }
    }

    /// Locks a direction if it is free.
    pub(crate) fn try_lock_direction(&self, operation: Operation) -> Option<DirectionGuard<'_>> {
        DirectionGuard::try_lock(self.direction(operation))
    }

    /// Locks a direction if it is free; else its release wakes tasks and event loops.
    pub(crate) fn lock_direction_or_wake(&self, operation: Operation) -> Option<DirectionGuard<'_>> {
        DirectionGuard::lock_or_observe(self.direction(operation))
    }

    fn direction(&self, operation: Operation) -> Direction<'_> {
        Direction { parking: self, operation }
    }

    /// Sleeps until `sleeper` is ready or the limit is reached.
    pub(crate) fn sleep(&self, sleeper: &mut impl Sleeper, limit: &WaitLimit) -> io::Result<()> {
        let mut sleep = sleeper.first_sleep();
        let mut state = self.lock();
        loop {
            // The peer wakes a follower where the leader sleeps.
            let value = sleeper.announce(state.leader.as_ref().map_or(sleep, |leader| leader.sleep));
            if sleeper.is_ready()? {
                return Ok(());
            }
            limit.check()?;
            if state.leader.is_some() {
                state = self.follow(state, limit);
                continue;
            }
            state.leader = Some(Leader { sleep, canceller: limit.canceller().cloned() });
            drop(state);
            let slept = match sleep {
                WaitKind::Futex => Ok(sleeper.sleep_at_futex(value, limit)),
                WaitKind::Poll => sleeper.sleep_at_socket(limit).map(|()| WaitKind::Poll),
            };
            self.wake_tasks();
            state = self.lock();
            state.leader = None;
            self.notify_followers(&state);
            sleep = slept?;
            // Before it is announced again: then the peer need not wake a thread that is awake.
            if sleeper.is_ready()? {
                return Ok(());
            }
        }
    }

    /// Drains the doorbell without waiting, unless a leader is there to do it; says whether it did. The others are woken
    /// if `drain` says that something came, or fails.
    pub(crate) fn drain_now(&self, drain: impl FnOnce() -> io::Result<bool>) -> io::Result<bool> {
        let state = self.lock();
        // A leader that sleeps at the futex word leaves the socket alone.
        if state.leader.as_ref().is_some_and(|leader| leader.sleep == WaitKind::Poll) {
            return Ok(false);
        }
        let is_news = drain();
        if matches!(is_news, Ok(false)) {
            return Ok(true);
        }
        self.notify_followers(&state);
        drop(state);
        self.wake_tasks();
        is_news.map(|_| true)
    }

    /// Makes the tasks try again: a thread emptied the doorbell, or released a direction. Not under the lock:
    /// a task that is woken may end at once, and release a direction.
    fn wake_tasks(&self) {
        self.readiness.wake_tasks();
    }

    /// The waiters at this end beside the threads.
    pub(super) fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// Waits for the leader's news, or for a turn, or for a while.
    fn follow<'a>(&'a self, mut state: MutexGuard<'a, State>, limit: &WaitLimit) -> MutexGuard<'a, State> {
        let leader = state.leader.as_ref();
        let is_foreign = limit.canceller().is_some_and(|mine| {
            let theirs = leader.and_then(|leader| leader.canceller.as_ref());
            theirs.is_none_or(|theirs| !theirs.is_same(mine))
        });
        let pause = is_foreign.then_some(FOREIGN_CANCELLER_PAUSE);
        state.followers += 1;
        let mut state = match [limit.left(), pause].into_iter().flatten().min() {
            Some(time) => self.changed.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0,
            None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
        };
        state.followers -= 1;
        state
    }

    /// Makes the others look for themselves. It costs a system call, which most ends, with one thread, can do without.
    fn notify_followers(&self, state: &State) {
        if state.followers > 0 {
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in the state can be left half-changed by a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DirectionBackend for Direction<'_> {
    fn state(&self) -> &DirectionLock {
        match self.operation {
            Operation::Read => &self.parking.reading,
            Operation::Write => &self.parking.writing,
        }
    }

    fn park(&self, limit: &WaitLimit) -> io::Result<()> {
        let state = self.parking.lock();
        // A release from here on finds this thread asleep, because it wakes under the same mutex.
        if self.state().is_locked() {
            drop(self.parking.follow(state, limit));
        }
        Ok(())
    }

    fn unpark(&self) {
        let _state = self.parking.lock();
        self.parking.changed.notify_all();
    }

    fn wake_observers(&self) {
        self.parking.wake_tasks();
        self.parking.readiness.try_again();
    }
}

impl DirectionGuard<'_> {
    /// The direction that it is of.
    pub(super) fn operation(&self) -> Operation {
        self.direction().operation
    }
}
