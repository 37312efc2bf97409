#![expect(unsafe_code, reason = "the runtime takes descriptors by their numbers")]
//! Waiting in the runtime's reactor, at a descriptor that is registered when a task first waits at it.

use super::super::fork::Origin;
use crate::{
    error::context,
    sys::waiters::{Waiter, Waiters},
};
use ::tokio::{
    io::{Interest, Ready, unix::AsyncFd},
    runtime::{Handle, Id},
};
use std::{
    fmt::Debug,
    io::{self, PipeReader, PipeWriter},
    mem::ManuallyDrop,
    os::fd::{AsFd, AsRawFd, OwnedFd, RawFd},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    task::{Context, Poll},
};

/// An owner of a descriptor: keeps it open as long as it lives, and always answers with that one.
pub(crate) trait Descriptor: AsFd + Debug + Send + Sync {}

impl Descriptor for OwnedFd {}
impl Descriptor for PipeReader {}
impl Descriptor for PipeWriter {}

/// Where the tasks of one descriptor wait; costs nothing until one does.
#[derive(Debug, Default)]
pub(crate) struct Reactor {
    registrations: OnceLock<Box<Registrations>>,
}

#[derive(Debug)]
struct Registrations {
    waiters: Arc<Waiters>,
    /// In each runtime that a task has waited in: none of them has to run for the tasks of another.
    registered: Mutex<Vec<(Id, Registered)>>,
    /// The process that made it: a forked child must not take the parent's descriptor out of the reactor,
    /// which they share.
    origin: Origin,
}

type Registered = AsyncFd<Share<dyn Descriptor>>;

/// A share of a descriptor, which keeps it open.
#[derive(Debug)]
struct Share<D: ?Sized>(Arc<D>);

impl<D: Descriptor + ?Sized> AsRawFd for Share<D> {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Reactor {
    /// Lets a task wait here: from now on, and until it is woken once.
    pub(crate) fn join(&self, waiter: &mut Waiter, cx: &Context<'_>) {
        waiter.wait_at(&self.registrations().waiters, cx);
    }

    /// Whether the descriptor had an event since the last call that returned one; the caller looks for what
    /// happened. If there was none, the next event wakes all tasks that wait here.
    ///
    /// `interests` is always the same for one descriptor, and `interest` one of them.
    pub(crate) fn poll<D: Descriptor + 'static>(
        &self,
        descriptor: &Arc<D>,
        interests: Interest,
        interest: Interest,
    ) -> Poll<io::Result<Ready>> {
        let registrations = self.registrations();
        let runtime = current_runtime()?.id();
        let waker = registrations.waiters.waker();
        let mut cx = Context::from_waker(&waker);
        let mut registered = registrations.registered.lock().unwrap_or_else(PoisonError::into_inner);
        let at = match registered.iter().position(|(of, _)| *of == runtime) {
            Some(index) => registered.get(index),
            None => {
                // Those of runtimes that have ended are of no more use.
                registered.retain(|(_, at)| !matches!(at.poll_read_ready(&mut cx), Poll::Ready(Err(_))));
                let share = Share(Arc::clone(descriptor) as Arc<dyn Descriptor>);
                registered.push((runtime, register(share, interests)?));
                registered.last()
            }
        };
        let Some((_, at)) = at else { return Poll::Pending };
        let polled =
            if interest.is_readable() { at.poll_read_ready(&mut cx) } else { at.poll_write_ready(&mut cx) };
        polled.map_ok(|mut guard| {
            let ready = guard.ready();
            // The next poll reports events that come from here on.
            guard.clear_ready();
            ready
        })
    }

    /// Wakes all that wait here.
    pub(crate) fn wake(&self) {
        if let Some(registrations) = self.registrations.get() {
            registrations.waiters.wake_all();
        }
    }

    /// Those that wait here.
    pub(crate) fn waiters(&self) -> Arc<Waiters> {
        Arc::clone(&self.registrations().waiters)
    }

    fn registrations(&self) -> &Registrations {
        self.registrations.get_or_init(|| {
            Box::new(Registrations {
                waiters: Arc::default(),
                registered: Mutex::default(),
                origin: Origin::current(),
            })
        })
    }
}

impl Drop for Registrations {
    fn drop(&mut self) {
        let registered = self.registered.get_mut().unwrap_or_else(PoisonError::into_inner);
        let registered = std::mem::take(registered);
        if !self.origin.is_here() {
            let _left_to_the_parent = ManuallyDrop::new(registered);
            return;
        }
        drop(registered);
        // The registration that they waited at is gone, and nothing else would wake them.
        self.waiters.wake_all();
    }
}

fn current_runtime() -> io::Result<Handle> {
    Handle::try_current()
        .map_err(|error| context("waiting in a task needs a tokio runtime", io::Error::other(error)))
}

/// The object that a registration owns: keeps a descriptor open as long as it lives, and always answers with
/// that one.
pub(in crate::sys::unix) trait OwnsFd: AsRawFd {}

impl OwnsFd for Share<dyn Descriptor> {}

/// Registers a descriptor with the runtime of the caller.
pub(in crate::sys::unix) fn register<K: OwnsFd>(owner: K, interest: Interest) -> io::Result<AsyncFd<K>> {
    current_runtime()?;
    // SAFETY: a keeper, which the registration owns, keeps its descriptor open until it is dropped, and always answers with
    // that one.
    let registered = unsafe { AsyncFd::register_with_interest(owner, interest) };
    registered.map_err(|error| context("waiting in the runtime's reactor", io::Error::from(error)))
}
