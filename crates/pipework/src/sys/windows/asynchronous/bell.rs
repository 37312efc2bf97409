//! Waking a task when an event is set or a time has passed: threads of the system's pool wait for both.
#![expect(unsafe_code, reason = "calls of the system")]

use super::{
    super::handle::{Event, done, milliseconds},
    check_runtime, lock,
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

/// The bells that may still ring. The system is given a number instead of a pointer, so that whenever it calls, nothing that
/// has gone is touched.
static BELLS: Mutex<BTreeMap<usize, Arc<Mutex<Rung>>>> = Mutex::new(BTreeMap::new());
static NEXT: AtomicUsize = AtomicUsize::new(1);

/// Rings once.
#[derive(Debug)]
pub(super) struct Bell {
    number: usize,
    rung: Arc<Mutex<Rung>>,
    /// The system's registration, by its address.
    wait: usize,
    event: Arc<Event>,
}

#[derive(Debug, Default)]
struct Rung {
    is_rung: bool,
    waker: Option<Waker>,
}

impl Bell {
    /// Rings when the event is set.
    pub(super) fn at(event: &Arc<Event>) -> io::Result<Bell> {
        Bell::new(Arc::clone(event), INFINITE)
    }

    /// Rings when the time is over.
    pub(super) fn after(time: Duration) -> io::Result<Bell> {
        // An event that nobody sets.
        Bell::new(Arc::new(Event::lasting()?), milliseconds(time))
    }

    fn new(event: Arc<Event>, milliseconds: u32) -> io::Result<Bell> {
        check_runtime()?;
        // Each gets another number; no memory depends on it.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let rung = Arc::<Mutex<Rung>>::default();
        lock(&BELLS).insert(number, Arc::clone(&rung));
        let mut bell = Bell { number, rung, wait: 0, event };
        let mut wait = ptr::null_mut();
        let object = bell.event.as_handle().as_raw_handle();
        let context = ptr::without_provenance(number);
        // SAFETY: the bell keeps the event open until it has ended the registration; `wait` is a local that the call writes;
        // the context is a number that nobody takes for an address.
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

    /// Whether it has rung; from then on it stays so. Tells one task.
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

impl Drop for Bell {
    fn drop(&mut self) {
        let gone = lock(&BELLS).remove(&self.number);
        drop(gone);
        if self.wait != 0 {
            // SAFETY: the registration is this bell's, and is ended once. A call that is under way finds no bell.
            unsafe { UnregisterWait(ptr::with_exposed_provenance_mut(self.wait)) };
        }
    }
}

/// What the system calls.
unsafe extern "system" fn ring(number: *mut c_void, _is_timeout: bool) {
    let Some(rung) = lock(&BELLS).remove(&number.addr()) else { return };
    let waker = {
        let mut rung = lock(&rung);
        rung.is_rung = true;
        rung.waker.take()
    };
    // Not under a lock: what wakes may drop a bell.
    if let Some(waker) = waker {
        waker.wake();
    }
}
