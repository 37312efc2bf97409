//! One look at all busy connections of a runtime, instead of a doorbell for each message.
//!
//! A task that sleeps announces that, its peer rings its doorbell, and the runtime takes the ring: several system calls for each
//! message. While tasks of many connections sleep in turn, one more task of their runtime, the sweeper, looks at the rings of all
//! of them and wakes those that have something. They announce nothing, and no peer rings. Where the looks find nothing any more,
//! the sweeper sends all tasks to their doorbells and ends.

use super::{super::os::Timer, reactor::Reactor};
use crate::{
    ring::TailWatch,
    sys::waiters::{Waiter, Waiters},
};
use ::tokio::{
    io::Interest,
    runtime::{Handle, Id},
};
use std::{
    cell::RefCell,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

/// How many sleeps begin a sweep; each sweep that finds less than so many doubles it.
const SLEEPS_MIN: u32 = 32;
const SLEEPS_MAX: u32 = 4096;
/// Of how many connections they are at least.
const CONNECTIONS_MIN: u32 = 16;
/// The longest pause between two of them.
const PAUSE_MAX: Duration = Duration::from_millis(1);

/// How long the sweeper looks again and again without success.
const SPIN: Duration = Duration::from_micros(30);
/// How many connections a look must have found since the last nap, or the next nap costs more than their doorbells.
const FOUND_MIN: usize = 8;
/// How many naps a sweep takes whatever it finds: connections come to it one by one, each after a last ring.
const NAPS_AT_FIRST: u32 = 8;
/// The first nap, after which the sweeper looks again. Each that finds nothing makes the next one longer.
const NAP: Duration = Duration::from_micros(100);
const NAP_FACTOR: u32 = 4;
/// How many naps may find nothing, one after the other.
const NAPS_MAX: u32 = 3;
/// How long a connection stays without anything to read. One that is seldom used has its doorbell, however busy others are.
const STAY_MAX: Duration = Duration::from_millis(100);

/// How many sweepers there are in this process: mostly none, and then nothing is asked but this.
static SWEEPERS: AtomicUsize = AtomicUsize::new(0);

static SWEEPS: Mutex<Vec<(Id, Weak<Sweep>)>> = Mutex::new(Vec::new());

thread_local! {
    /// The sweep of the runtime that this thread last ran a task of.
    static LAST: RefCell<Option<(Id, Arc<Sweep>)>> = const { RefCell::new(None) };
}

/// The sweep of a runtime.
#[derive(Debug)]
pub(in crate::sys::unix) struct Sweep {
    /// Whether there is a sweeper. It is changed under the lock only.
    is_on: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    members: Vec<Member>,
    /// The last sleep at a doorbell, how many came soon after each other, and the connections that they were of: one bit for
    /// some of them.
    slept: Option<Instant>,
    sleeps: u32,
    connections: u64,
    /// How many are needed.
    sleeps_min: u32,
}

#[derive(Debug)]
struct Member {
    seat: Arc<SweepSeat>,
    tail: TailWatch,
    since: Instant,
}

/// What the sweep and a connection share.
#[derive(Debug)]
pub(in crate::sys::unix) struct SweepSeat {
    state: AtomicU8,
    waiters: Arc<Waiters>,
}

/// The sweeper looks at the connection, or has sent it to its doorbell; else neither.
const SWEPT: u8 = 1;
const SENT_AWAY: u8 = 2;
const OUTSIDE: u8 = 0;

impl SweepSeat {
    pub(in crate::sys::unix) fn new(reactor: &Reactor) -> SweepSeat {
        SweepSeat { state: AtomicU8::new(OUTSIDE), waiters: reactor.waiters() }
    }

    /// Whether the tasks of the connection are to sleep at its doorbell.
    pub(in crate::sys::unix) fn is_sent_away(&self) -> bool {
        self.state.load(Ordering::Acquire) == SENT_AWAY
    }

    /// A task sleeps at the doorbell: its next wait is another one.
    pub(in crate::sys::unix) fn forget(&self) {
        self.state.compare_exchange(SENT_AWAY, OUTSIDE, Ordering::AcqRel, Ordering::Relaxed).ok();
    }

    /// Wakes the tasks that have joined before. One that joins later sees the new state.
    fn release(&self, state: u8) {
        self.state.store(state, Ordering::Release);
        self.waiters.wake_all();
    }
}

impl Sweep {
    /// The sweep of the runtime that runs this task.
    fn current() -> Option<Arc<Sweep>> {
        let id = Handle::try_current().ok()?.id();
        LAST.with_borrow_mut(|last| match last {
            Some((of, sweep)) if *of == id => Some(Arc::clone(sweep)),
            _ => Some(Arc::clone(&last.insert((id, Sweep::of(id))).1)),
        })
    }

    fn of(id: Id) -> Arc<Sweep> {
        let mut sweeps = SWEEPS.lock().unwrap_or_else(PoisonError::into_inner);
        let known = sweeps.iter().find(|(of, _)| *of == id).and_then(|(_, sweep)| sweep.upgrade());
        known.unwrap_or_else(|| {
            sweeps.retain(|(_, sweep)| sweep.strong_count() > 0);
            let state =
                State { members: Vec::new(), slept: None, sleeps: 0, connections: 0, sleeps_min: SLEEPS_MIN };
            let sweep = Arc::new(Sweep { is_on: AtomicBool::new(false), state: Mutex::new(state) });
            sweeps.push((id, Arc::downgrade(&sweep)));
            sweep
        })
    }

    /// The same, if it has a sweeper.
    pub(in crate::sys::unix) fn running() -> Option<Arc<Sweep>> {
        // Relaxed here and below: a wait that misses the begin of a sweep has its doorbell.
        if SWEEPERS.load(Ordering::Relaxed) == 0 {
            return None;
        }
        Sweep::current().filter(|sweep| sweep.is_on())
    }

    fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// From now on the sweeper wakes the tasks of this connection, which wait there. Whether it does.
    pub(in crate::sys::unix) fn add(&self, seat: &Arc<SweepSeat>, tail: TailWatch) -> bool {
        let mut state = self.lock();
        if !self.is_on() {
            return false;
        }
        match seat.state.compare_exchange(OUTSIDE, SWEPT, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {
                state.members.push(Member { seat: Arc::clone(seat), tail, since: Instant::now() });
                true
            }
            Err(state) => state == SWEPT,
        }
    }

    /// A task is about to sleep at the doorbell of its connection. Many of them begin a sweep.
    pub(in crate::sys::unix) fn count_sleep(connection: usize) {
        if let Some(sweep) = Sweep::current() {
            sweep.begin_if_busy(connection);
        }
    }

    fn begin_if_busy(self: &Arc<Sweep>, connection: usize) {
        let now = Instant::now();
        {
            let mut state = self.lock();
            if self.is_on() {
                return;
            }
            if state.slept.replace(now).is_none_or(|slept| now - slept > PAUSE_MAX) {
                (state.sleeps, state.connections) = (0, 0);
            }
            state.sleeps += 1;
            // Some connections share a bit, which takes a few sleeps more.
            state.connections |= 1 << ((connection / 64) % 61);
            if state.sleeps < state.sleeps_min || state.connections.count_ones() < CONNECTIONS_MIN {
                return;
            }
            (state.sleeps, state.connections) = (0, 0);
            self.is_on.store(true, Ordering::Relaxed);
        }
        SWEEPERS.fetch_add(1, Ordering::Relaxed);
        // Where the runtime ends now, this drops the sweeper, which ends the sweep.
        ::tokio::spawn(Sweeper {
            sweep: Arc::clone(self),
            found: now,
            found_most: 0,
            found_all: 0,
            naps: 0,
            naps_all: 0,
            nap: None,
            is_napping: false,
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each step leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at all members; how many have something to read.
    fn look(&self, now: Instant) -> usize {
        // Not under the lock, for which other workers of the runtime wait.
        let mut members = std::mem::take(&mut self.lock().members);
        let mut found = 0;
        members.retain(|member| {
            if member.tail.has_moved() {
                found += 1;
                member.seat.release(OUTSIDE);
                return false;
            }
            let stays = now.saturating_duration_since(member.since) < STAY_MAX;
            if !stays {
                member.seat.release(SENT_AWAY);
            }
            stays
        });
        let mut state = self.lock();
        if state.members.is_empty() {
            state.members = members;
        } else {
            state.members.append(&mut members);
        }
        found
    }

    /// Ends after it has found so much.
    fn end(&self, found: usize) {
        let members = {
            let mut state = self.lock();
            state.sleeps_min = if found >= state.sleeps_min as usize {
                SLEEPS_MIN
            } else {
                (state.sleeps_min * 2).min(SLEEPS_MAX)
            };
            self.is_on.store(false, Ordering::Relaxed);
            std::mem::take(&mut state.members)
        };
        for member in members {
            member.seat.release(SENT_AWAY);
        }
    }
}

/// The task that sweeps.
#[derive(Debug)]
struct Sweeper {
    sweep: Arc<Sweep>,
    /// When it last found something.
    found: Instant,
    /// The most that a look found since the last nap.
    found_most: usize,
    /// All that it found.
    found_all: usize,
    /// How many naps have found nothing, one after the other.
    naps: u32,
    naps_all: u32,
    nap: Option<Nap>,
    is_napping: bool,
}

#[derive(Debug)]
struct Nap {
    timer: Arc<Timer>,
    reactor: Reactor,
    waiter: Waiter,
}

impl Future for Sweeper {
    type Output = ();

    fn poll(self: Pin<&mut Sweeper>, cx: &mut Context<'_>) -> Poll<()> {
        let sweeper = self.get_mut();
        if sweeper.is_napping {
            match sweeper.poll_nap(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(())) => sweeper.is_napping = false,
            }
        }
        let now = Instant::now();
        let found = sweeper.sweep.look(now);
        if found > 0 {
            (sweeper.found, sweeper.naps) = (now, 0);
            sweeper.found_all += found;
            sweeper.found_most = sweeper.found_most.max(found);
        }
        if now - sweeper.found < SPIN {
            // All tasks that can run do so first.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if sweeper.begin_nap().is_err() {
            return Poll::Ready(());
        }
        sweeper.poll_nap(cx).map(drop)
    }
}

impl Sweeper {
    /// Fails where a nap would not pay.
    fn begin_nap(&mut self) -> io::Result<()> {
        let is_first = self.naps_all < NAPS_AT_FIRST;
        if self.naps >= NAPS_MAX || (self.naps == 0 && self.found_most < FOUND_MIN && !is_first) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let time = NAP * NAP_FACTOR.pow(self.naps);
        (self.found_most, self.is_napping) = (0, true);
        self.naps += 1;
        self.naps_all += 1;
        match &self.nap {
            Some(nap) => nap.timer.restart(Some(time)),
            None => {
                let timer = Arc::new(Timer::new(time)?);
                self.nap = Some(Nap { timer, reactor: Reactor::default(), waiter: Waiter::default() });
                Ok(())
            }
        }
    }

    fn poll_nap(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(nap) = &mut self.nap else { return Poll::Ready(Ok(())) };
        nap.reactor.join(&mut nap.waiter, cx);
        nap.reactor.poll(&nap.timer, Interest::READABLE, Interest::READABLE).map_ok(drop)
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        SWEEPERS.fetch_sub(1, Ordering::Relaxed);
        self.sweep.end(self.found_all);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::tokio::{
        runtime::Builder,
        time::{sleep, timeout},
    };

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_sweep_begins_with_many_sleeps_of_many_connections_and_ends_by_itself() {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let sweep = Sweep::current().unwrap();
            (0..10 * SLEEPS_MIN).for_each(|_| Sweep::count_sleep(64));
            assert!(!sweep.is_on(), "one pair has its doorbell");
            let begins = async {
                // A thread that is stopped for a while takes more than one try.
                while !sweep.is_on() {
                    (0..SLEEPS_MIN as usize).for_each(|connection| Sweep::count_sleep(64 * connection));
                }
                while sweep.is_on() {
                    sleep(Duration::from_millis(1)).await;
                }
            };
            timeout(LONG, begins).await.expect("nothing was found");
            assert_eq!(Handle::current().metrics().num_alive_tasks(), 0, "nothing runs any more");
            assert_eq!(sweep.lock().sleeps_min, 2 * SLEEPS_MIN, "the next one begins later");
        });
    }

    #[test]
    fn a_runtime_that_ends_sends_its_connections_to_their_doorbells() {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let reactor = Reactor::default();
        let seat = Arc::new(SweepSeat::new(&reactor));
        let sweep = {
            let _context = runtime.enter();
            let sweep = Sweep::current().unwrap();
            while !sweep.is_on() {
                (0..SLEEPS_MIN as usize).for_each(|connection| Sweep::count_sleep(64 * connection));
            }
            assert!(sweep.add(&seat, TailWatch::of_nothing()));
            assert!(!seat.is_sent_away());
            sweep
        };
        drop(runtime);
        assert!(seat.is_sent_away() && !sweep.is_on());
        assert!(!sweep.add(&seat, TailWatch::of_nothing()));
    }
}
