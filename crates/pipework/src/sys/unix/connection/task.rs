//! The async driver: tries, looks again for a short time, then waits in the reactor of the task's runtime.

use super::{
    super::asynchronous::{
        Delay, Reactor,
        sweep::{Sweep, SweepSeat},
    },
    Connection,
    fd_passing::DESCRIPTORS_PAUSE,
    large::Along,
    operation::Operation,
    parking::DirectionGuard,
    step::{On, Step},
    task_spin::TaskSpin,
};
use crate::{ring::WaitKind, sys::waiters::Waiter};
use ::tokio::{io::Interest as Readiness, runtime::Handle, task::coop};
use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
};

/// How often a poll looks at most before it lets other tasks run.
const LOOKS_MAX: usize = 3;

/// The state that a task that waits at an end keeps between polls.
#[derive(Debug, Default)]
pub(crate) struct TaskWait {
    pub(in crate::sys::unix) waiter: Waiter,
    policy: TaskSpin,
    blocked: Blocked,
    blocked_waiter: Waiter,
    /// How far a read has copied a large message along.
    pub(super) along: Along,
    /// How much of that message was there at the last look.
    filled: u64,
}

/// Where a writer waits for what the doorbell does not signal: rarely anywhere.
#[derive(Debug, Default)]
enum Blocked {
    #[default]
    Nowhere,
    /// Until the socket takes more. It is a duplicate of the socket: the connection's own is registered for reading.
    Socket(Arc<OwnedFd>, Reactor),
    /// For a while.
    Delay(Delay),
}

impl Connection {
    /// Waits until the identity of the client is known.
    pub(in crate::sys::unix) fn poll_identity(
        &self,
        cx: &mut Context<'_>,
        wait: &mut TaskWait,
    ) -> Poll<io::Result<()>> {
        self.poll_unlocked(cx, wait, Operation::Read, || {
            Ok(if self.identity_is_pending() { Step::Blocked(On::Hello) } else { Step::Done(()) })
        })
    }

    /// Waits for the lock of a direction.
    pub(super) fn poll_lock(
        &self,
        cx: &mut Context<'_>,
        wait: &mut TaskWait,
        operation: Operation,
    ) -> Poll<io::Result<DirectionGuard<'_>>> {
        self.poll_unlocked(cx, wait, operation, || {
            self.check_usable()?;
            // The release of the lock wakes the tasks, wherever they wait.
            Ok(self.parking.lock_direction_or_wake(operation).map_or(Step::Blocked(On::Data), Step::Done))
        })
    }

    /// Polls `attempt`, which takes the lock of its direction each time.
    pub(super) fn poll_locked<T>(
        &self,
        cx: &mut Context<'_>,
        wait: &mut TaskWait,
        operation: Operation,
        mut attempt: impl FnMut() -> io::Result<Step<T>>,
    ) -> Poll<io::Result<T>> {
        self.poll_step(cx, wait, operation, |is_last_look| {
            let lock = if is_last_look {
                self.parking.lock_direction_or_wake(operation)
            } else {
                self.parking.try_lock_direction(operation)
            };
            lock.map(|lock| self.step(Some(&lock), &mut attempt)).transpose()
        })
    }

    /// Polls `attempt` under a lock that the task holds.
    pub(super) fn poll_holding<T>(
        &self,
        cx: &mut Context<'_>,
        wait: &mut TaskWait,
        lock: &DirectionGuard<'_>,
        mut attempt: impl FnMut() -> io::Result<Step<T>>,
    ) -> Poll<io::Result<T>> {
        self.poll_step(cx, wait, lock.operation(), |_| self.step(Some(lock), &mut attempt).map(Some))
    }

    /// Polls `attempt`, which publishes nothing and needs no lock.
    pub(super) fn poll_unlocked<T>(
        &self,
        cx: &mut Context<'_>,
        wait: &mut TaskWait,
        operation: Operation,
        mut attempt: impl FnMut() -> io::Result<Step<T>>,
    ) -> Poll<io::Result<T>> {
        self.poll_step(cx, wait, operation, |_| self.step(None, &mut attempt).map(Some))
    }

    /// Polls with the budget that the runtime gives each task. A look without an outcome did not get its lock.
    fn poll_step<T>(
        &self,
        cx: &mut Context<'_>,
        wait: &mut TaskWait,
        operation: Operation,
        look: impl FnMut(bool) -> io::Result<Option<Step<T>>>,
    ) -> Poll<io::Result<T>> {
        let progress = ready!(coop::poll_proceed(cx));
        let outcome = self.poll_unbounded(cx, wait, operation, look);
        self.pay_ring_in_task();
        if outcome.is_ready() {
            wait.policy.end(self.spin_for(operation.interest()));
            wait.blocked = Blocked::Nowhere;
            progress.made_progress();
        }
        outcome
    }

    /// Tries, announces that this end is about to sleep, tries again, and only then waits: what the peer publishes after
    /// the last try rings the doorbell.
    fn poll_unbounded<T>(
        &self,
        cx: &mut Context<'_>,
        wait: &mut TaskWait,
        operation: Operation,
        mut look: impl FnMut(bool) -> io::Result<Option<Step<T>>>,
    ) -> Poll<io::Result<T>> {
        let interest = operation.interest();
        match look(false)? {
            Some(Step::Done(value)) => return Poll::Ready(Ok(value)),
            // A large message that grows is what the task waited for, so a new wait begins.
            Some(Step::Blocked(On::Rest(filled))) if filled != wait.filled => {
                wait.filled = filled;
                wait.policy.end(self.spin_for(interest));
            }
            Some(Step::Blocked(On::Data)) if self.joins_sweep(cx, wait)? => return Poll::Pending,
            _ => {}
        }
        let (is_stream, may_look) = (|| self.is_stream(interest), || self.may_look_again());
        if wait.policy.goes_on(self.spin_for(interest), is_stream, may_look) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        for _ in 0..LOOKS_MAX {
            if self.socket.count_sleep() {
                self.parking.drain_now(|| self.empty_doorbell())?;
                self.socket.count_sleep();
            }
            let is_armed = self.arm_doorbell(cx, wait)?;
            let rings = self.rings_now()?;
            if let Some(rings) = rings {
                rings.wait_words.announce(interest, WaitKind::Poll);
            }
            let on = match look(true)? {
                Some(Step::Done(value)) => return Poll::Ready(Ok(value)),
                // The hello came just now: nothing was announced in its memory yet.
                _ if rings.is_none() && self.rings_now()?.is_some() => continue,
                Some(Step::Blocked(on)) => Some(on),
                None => None,
            };
            match on {
                Some(On::Socket) => ready!(self.poll_socket(cx, wait))?,
                Some(On::Descriptors) => ready!(poll_pause(cx, &mut wait.blocked))?,
                Some(On::Data | On::Rest(_) | On::Space(_) | On::Hello | On::Attachment) | None
                    if is_armed =>
                {
                    if on == Some(On::Data) {
                        self.leave_sweep();
                    }
                    return Poll::Pending;
                }
                Some(On::Data | On::Rest(_) | On::Space(_) | On::Hello | On::Attachment) | None => {}
            }
        }
        // Whatever keeps it coming back, other tasks run first.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Lets the next ring of the doorbell wake the task; whether it will. A few rings stay in the socket, since the reactor
    /// signals each new one all the same.
    fn arm_doorbell(&self, cx: &Context<'_>, wait: &mut TaskWait) -> io::Result<bool> {
        let reactor = &self.parking.readiness().reactor;
        reactor.join(&mut wait.waiter, cx);
        let poll = || reactor.poll(&self.socket, Readiness::READABLE, Readiness::READABLE);
        let Poll::Ready(news) = poll()? else { return Ok(true) };
        if news.is_read_closed() {
            // Seen at once, also where the doorbell has to be emptied first to find it there.
            self.poll_hangup();
        }
        // It rang before. From here on it signals what comes after this.
        Ok(poll()?.is_pending())
    }

    /// Lets the sweeper of the runtime wake the task, and the doorbell for all but data; whether it will.
    fn joins_sweep(&self, cx: &Context<'_>, wait: &mut TaskWait) -> io::Result<bool> {
        let Some(sweep) = Sweep::running() else { return Ok(false) };
        let Some(rings) = self.rings_known() else { return Ok(false) };
        let seat =
            self.sweep_seat.get_or_init(|| Arc::new(SweepSeat::new(&self.parking.readiness().reactor)));
        // What the doorbell signals but data is seen there. It is to be looked at first.
        if seat.is_sent_away() || !self.spins.load(Ordering::Relaxed) || !self.arm_doorbell(cx, wait)? {
            return Ok(false);
        }
        let tail = rings.consumer()?.watch();
        // The next look reports what is wrong with the ring.
        let joins = tail.is_ok_and(|tail| tail.is_some_and(|tail| sweep.add(seat, tail)));
        if joins {
            wait.policy.sleep();
        }
        Ok(joins)
    }

    /// The task sleeps at the doorbell.
    fn leave_sweep(&self) {
        if let Some(seat) = self.sweep_seat.get() {
            seat.forget();
        }
        if self.spins.load(Ordering::Relaxed) {
            Sweep::count_sleep(std::ptr::from_ref(self).addr());
        }
    }

    /// Waits until the socket takes more, or the peer has gone.
    fn poll_socket(&self, cx: &mut Context<'_>, wait: &mut TaskWait) -> Poll<io::Result<()>> {
        if !matches!(wait.blocked, Blocked::Socket(..)) {
            wait.blocked =
                Blocked::Socket(Arc::new(self.socket.as_fd().try_clone_to_owned()?), Reactor::default());
        }
        let Blocked::Socket(socket, reactor) = &wait.blocked else { return Poll::Pending };
        reactor.join(&mut wait.blocked_waiter, cx);
        reactor.poll(socket, Readiness::WRITABLE, Readiness::WRITABLE).map_ok(drop)
    }

    /// Whether the peer can run while a task of this end keeps looking, and something runs this task again.
    fn may_look_again(&self) -> bool {
        Handle::try_current().is_ok()
            && self.rings_now().is_ok_and(|rings| rings.is_some_and(|rings| self.may_spin(rings)))
    }
}

fn poll_pause(cx: &mut Context<'_>, blocked: &mut Blocked) -> Poll<io::Result<()>> {
    if !matches!(blocked, Blocked::Delay(_)) {
        *blocked = Blocked::Delay(Delay::new(DESCRIPTORS_PAUSE)?);
    }
    let Blocked::Delay(pause) = blocked else { return Poll::Pending };
    let over = pause.poll(cx);
    if over.is_ready() {
        *blocked = Blocked::Nowhere;
    }
    over
}
