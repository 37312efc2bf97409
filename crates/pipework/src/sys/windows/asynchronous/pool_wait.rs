//! Wakes a task when an event is set or a time has passed. Threads of the system's pool wait for both.
#![expect(unsafe_code, reason = "calls of the system")]

use super::{
    super::handle::{Event, done, milliseconds},
    lock::lock,
    runtime::check_runtime,
};
use std::{
    collections::BTreeMap,
    ffi::c_void,
    io,
    os::windows::io::{AsHandle, AsRawHandle},
    ptr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};
use windows_sys::Win32::System::Threading::{
    INFINITE, RegisterWaitForSingleObject, UnregisterWait, WT_EXECUTEONLYONCE,
};

/// The waits that may still end, by number. The system gets the number instead of a pointer, so that a late callback finds
/// nothing instead of freed memory.
static WAITS: Mutex<BTreeMap<usize, Arc<Mutex<Rung>>>> = Mutex::new(BTreeMap::new());
static NEXT: AtomicUsize = AtomicUsize::new(1);

/// A wait of the pool; ends once.
#[derive(Debug)]
pub(super) struct PoolWait {
    number: usize,
    rung: Arc<Mutex<Rung>>,
    /// The address of the system's registration; 0 is none.
    wait: usize,
    event: Arc<Event>,
}

#[derive(Debug, Default)]
struct Rung {
    is_rung: bool,
    waker: Option<Waker>,
}

impl PoolWait {
    /// Ends when the event is set.
    pub(super) fn at(event: &Arc<Event>) -> io::Result<PoolWait> {
        PoolWait::new(Arc::clone(event), INFINITE)
    }

    /// Ends when the time has passed.
    pub(super) fn after(time: Duration) -> io::Result<PoolWait> {
        // This event is never set.
        PoolWait::new(Arc::new(Event::manual_reset()?), milliseconds(time))
    }

    fn new(event: Arc<Event>, milliseconds: u32) -> io::Result<PoolWait> {
        check_runtime()?;
        // The numbers differ; no other memory depends on them.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let rung = Arc::<Mutex<Rung>>::default();
        lock(&WAITS).insert(number, Arc::clone(&rung));
        let mut bell = PoolWait { number, rung, wait: 0, event };
        let mut wait = ptr::null_mut();
        let object = bell.event.as_handle().as_raw_handle();
        let context = ptr::without_provenance(number);
        // SAFETY: the bell keeps the event open until it has removed the registration. `wait` is a local that the call
        // writes. The context is a number that is never dereferenced.
        let answer = unsafe {
            RegisterWaitForSingleObject(
                &mut wait,
                object,
                Some(ring),
                context,
                milliseconds,
                WT_EXECUTEONLYONCE,
            )
        };
        done(answer)?;
        bell.wait = wait.expose_provenance();
        Ok(bell)
    }

    pub(super) fn is_at(&self, event: &Arc<Event>) -> bool {
        Arc::ptr_eq(&self.event, event)
    }

    /// Ready when the wait has ended, and from then on. Wakes the task that polled last.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut rung = lock(&self.rung);
        if rung.is_rung {
            return Poll::Ready(());
        }
        match &mut rung.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

impl Drop for PoolWait {
    fn drop(&mut self) {
        let gone = lock(&WAITS).remove(&self.number);
        drop(gone);
        if self.wait != 0 {
            // SAFETY: the registration belongs to this bell and is removed once. A callback under way finds no entry.
            unsafe { UnregisterWait(ptr::with_exposed_provenance_mut(self.wait)) };
        }
    }
}

/// The callback of the pool.
unsafe extern "system" fn ring(number: *mut c_void, _is_timeout: bool) {
    let Some(rung) = lock(&WAITS).remove(&number.addr()) else { return };
    let waker = {
        let mut rung = lock(&rung);
        rung.is_rung = true;
        rung.waker.take()
    };
    // Not under a lock: the woken task may drop a bell.
    if let Some(waker) = waker {
        waker.wake();
    }
}
