//! The one waiting object of an end: who leads, who follows, whose turn it is.
//!
//! Of the threads that wait at an end, one leads: it polls the socket, drains the doorbell and wakes the others, which
//! wait on a condition variable. Two threads that both drained would take each other's wake-ups. No mutex is held while
//! waiting.

use super::super::{Canceller, Limit};
use std::{
    io,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering, fence},
    },
    time::Duration,
};

/// How often a follower looks at a canceller that its leader does not poll.
const FOREIGN_CANCELLER_PAUSE: Duration = Duration::from_millis(10);

/// What the threads that wait at an end share.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    state: Mutex<State>,
    changed: Condvar,
    reading: Turn,
    writing: Turn,
}

#[derive(Debug, Default)]
struct State {
    /// Whether a thread polls the socket, and what may end its wait.
    leader: Option<Leader>,
}

#[derive(Debug)]
struct Leader {
    canceller: Option<Canceller>,
}

/// Whether an operation of a kind is under way; the next one of that kind waits for it.
#[derive(Debug, Default)]
struct Turn {
    is_taken: AtomicBool,
    waiting: AtomicU32,
}

/// The right to read, or to write; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct TurnGuard<'a> {
    waiting: &'a Waiting,
    turn: &'a Turn,
}

/// Which turn.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation {
    Read,
    Write,
}

/// What a waiting thread needs from its end.
pub(crate) trait Sleeper {
    /// Tells the other end that a thread is about to sleep.
    fn announce(&self);
    /// Whether what is waited for is there, or can't come any more.
    fn is_ready(&mut self) -> io::Result<bool>;
    /// Waits at the socket and empties the doorbell, as leader.
    fn wait(&self, limit: &Limit) -> io::Result<()>;
}

impl Waiting {
    /// Takes the turn, waiting for the one who has it.
    pub(crate) fn turn(&self, operation: Operation, limit: impl Fn() -> Limit) -> io::Result<TurnGuard<'_>> {
        if let Some(guard) = self.try_turn(operation) {
            return Ok(guard);
        }
        let limit = limit();
        let turn = self.turn_of(operation);
        let mut state = self.lock();
        turn.waiting.fetch_add(1, Ordering::Relaxed);
        // Pairs with the fence of who gives the turn back: either it sees us wait, or we see it free.
        fence(Ordering::SeqCst);
        let outcome = loop {
            if turn.try_take() {
                break Ok(());
            }
            if let Err(error) = limit.check() {
                break Err(error);
            }
            state = self.follow(state, &limit);
        };
        turn.waiting.fetch_sub(1, Ordering::Relaxed);
        drop(state);
        outcome.map(|()| TurnGuard { waiting: self, turn })
    }

    /// Takes the turn if it is free.
    pub(crate) fn try_turn(&self, operation: Operation) -> Option<TurnGuard<'_>> {
        let turn = self.turn_of(operation);
        // Lazily: a guard that is made and thrown away would give back a turn that is another's.
        turn.try_take().then(|| TurnGuard { waiting: self, turn })
    }

    fn turn_of(&self, operation: Operation) -> &Turn {
        match operation {
            Operation::Read => &self.reading,
            Operation::Write => &self.writing,
        }
    }

    /// Sleeps until `sleeper` is ready or the limit is reached.
    pub(crate) fn sleep(&self, sleeper: &mut impl Sleeper, limit: &Limit) -> io::Result<()> {
        let mut state = self.lock();
        loop {
            sleeper.announce();
            if sleeper.is_ready()? {
                return Ok(());
            }
            limit.check()?;
            if state.leader.is_some() {
                state = self.follow(state, limit);
                continue;
            }
            state.leader = Some(Leader { canceller: limit.canceller().cloned() });
            drop(state);
            let waited = sleeper.wait(limit);
            state = self.lock();
            state.leader = None;
            self.changed.notify_all();
            waited?;
        }
    }

    /// Drains the doorbell without waiting, unless a leader is there to do it; says whether it did.
    pub(crate) fn drain_now(&self, drain: impl FnOnce() -> io::Result<()>) -> io::Result<bool> {
        let state = self.lock();
        if state.leader.is_some() {
            return Ok(false);
        }
        let drained = drain();
        self.changed.notify_all();
        drained.map(|()| true)
    }

    /// Waits for the leader's news, or for a turn, or for a while.
    fn follow<'a>(&'a self, state: MutexGuard<'a, State>, limit: &Limit) -> MutexGuard<'a, State> {
        let leader = state.leader.as_ref();
        let is_foreign = limit.canceller().is_some_and(|mine| {
            let theirs = leader.and_then(|leader| leader.canceller.as_ref());
            theirs.is_none_or(|theirs| !theirs.is_same(mine))
        });
        let pause = is_foreign.then_some(FOREIGN_CANCELLER_PAUSE);
        match [limit.left(), pause].into_iter().flatten().min() {
            Some(time) => self.changed.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0,
            None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in the state can be left half-changed by a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    fn try_take(&self) -> bool {
        self.is_taken.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }
}

impl Drop for TurnGuard<'_> {
    fn drop(&mut self) {
        self.turn.is_taken.store(false, Ordering::Release);
        // Pairs with the fence of who waits for the turn.
        fence(Ordering::SeqCst);
        if self.turn.waiting.load(Ordering::Relaxed) > 0 {
            // Under the lock, so that it can't fall between the other's last look and its sleep.
            let _state = self.waiting.lock();
            self.waiting.changed.notify_all();
        }
    }
}
