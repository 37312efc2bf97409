//! The tasks that wait at one thing, and how all of them are woken.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Wake, Waker},
};

/// How many wakers are taken under the lock at a time.
const BATCH: usize = 8;

/// The tasks that wait at one thing. As a waker it wakes them all: each of them looks for itself.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    slots: Mutex<Vec<Slot>>,
}

/// The place of one waiter.
#[derive(Debug)]
enum Slot {
    Free,
    /// Taken by a waiter; with a waker while that waiter waits.
    Taken(Option<Waker>),
}

impl Waiters {
    /// Wakes all that wait now.
    pub(crate) fn wake_all(&self) {
        let mut next = 0;
        loop {
            let mut batch: [Option<Waker>; BATCH] = Default::default();
            let mut places = batch.iter_mut();
            let is_all = {
                let mut slots = self.lock();
                let waiting =
                    slots.iter_mut().enumerate().skip(next).filter_map(|(index, slot)| match slot {
                        Slot::Taken(waker) => waker.take().map(|waker| (index, waker)),
                        Slot::Free => None,
                    });
                // Which of the two ends first decides: with no place left there may be more wakers.
                let mut is_all = true;
                for (index, waker) in waiting {
                    next = index + 1;
                    let Some(place) = places.next() else { break };
                    *place = Some(waker);
                    is_all = places.len() > 0;
                    if !is_all {
                        break;
                    }
                }
                is_all
            };
            // Not under the lock: what wakes may look at once.
            batch.into_iter().flatten().for_each(Waker::wake);
            if is_all {
                return;
            }
        }
    }

    /// A waker that wakes them all.
    #[cfg(unix)]
    pub(crate) fn waker(self: &Arc<Waiters>) -> Waker {
        Waker::from(Arc::clone(self))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Slot>> {
        // Each slot is replaced as a whole, so a panic elsewhere leaves none half-changed.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Waiters {
    fn wake(self: Arc<Self>) {
        self.wake_all();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_all();
    }
}

/// The place of one waiter among the tasks that wait somewhere; given back when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Waiter {
    at: Option<(Arc<Waiters>, usize)>,
}

impl Waiter {
    /// From now on, and until it is woken once, this task waits there, and nowhere else.
    pub(crate) fn wait_at(&mut self, tasks: &Arc<Waiters>, cx: &Context<'_>) {
        if self.at.as_ref().is_some_and(|(at, _)| !Arc::ptr_eq(at, tasks)) {
            self.leave();
        }
        let mut slots = tasks.lock();
        let index = match &self.at {
            Some((_, index)) => *index,
            None => {
                let index = slots.iter().position(|slot| matches!(slot, Slot::Free)).unwrap_or_else(|| {
                    slots.push(Slot::Free);
                    slots.len() - 1
                });
                self.at = Some((Arc::clone(tasks), index));
                index
            }
        };
        if let Some(slot) = slots.get_mut(index) {
            match slot {
                Slot::Taken(Some(waker)) => waker.clone_from(cx.waker()),
                slot => *slot = Slot::Taken(Some(cx.waker().clone())),
            }
        }
    }

    fn leave(&mut self) {
        if let Some((tasks, index)) = self.at.take() {
            let left = {
                let mut slots = tasks.lock();
                let left = slots.get_mut(index).map(|slot| std::mem::replace(slot, Slot::Free));
                while matches!(slots.last(), Some(Slot::Free)) {
                    slots.pop();
                }
                left
            };
            // Not under the lock: dropping a waker may drop a task, and with it what that holds.
            drop(left);
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn counted() -> (Arc<Count>, Waker) {
        let count = Arc::new(Count::default());
        (Arc::clone(&count), Waker::from(count))
    }

    #[test]
    fn all_are_woken_and_each_once() {
        for many in [0, 1, BATCH - 1, BATCH, BATCH + 1, 3 * BATCH] {
            let tasks = Arc::new(Waiters::default());
            let (count, waker) = counted();
            let mut waiters: Vec<Waiter> = (0..many).map(|_| Waiter::default()).collect();
            for waiter in &mut waiters {
                waiter.wait_at(&tasks, &Context::from_waker(&waker));
            }
            tasks.wake_all();
            assert_eq!(count.0.load(Ordering::Relaxed), many);
            tasks.wake_all();
            assert_eq!(count.0.load(Ordering::Relaxed), many, "a woken task waits no more");
        }
    }

    #[test]
    fn a_waiter_has_one_place_and_gives_it_back() {
        let (tasks, others) = (Arc::new(Waiters::default()), Arc::new(Waiters::default()));
        let (count, waker) = counted();
        let cx = Context::from_waker(&waker);
        let (mut one, mut two) = (Waiter::default(), Waiter::default());
        for _ in 0..10 {
            one.wait_at(&tasks, &cx);
            two.wait_at(&tasks, &cx);
        }
        assert_eq!(tasks.lock().len(), 2);
        one.wait_at(&others, &cx);
        tasks.wake_all();
        assert_eq!(count.0.load(Ordering::Relaxed), 1, "it waits elsewhere by now");
        let mut three = Waiter::default();
        three.wait_at(&tasks, &cx);
        assert_eq!(tasks.lock().len(), 2, "a free place is used again");
        drop((two, three));
        assert_eq!(tasks.lock().len(), 0);
        drop(one);
        others.wake_all();
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
    }
}
