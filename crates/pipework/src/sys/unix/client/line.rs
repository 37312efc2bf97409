//! The tasks of this process that wait for one name: the first of them looks for an instance, and the others wait for that
//! to be their turn.

use crate::name::PipeName;
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    task::{Context, Poll, Waker},
};

/// Those who wait for one name, in order; with a waker once they wait for their turn.
type Line = BTreeMap<u64, Option<Waker>>;

#[derive(Debug, Default)]
struct Lines {
    lines: HashMap<String, Line>,
    next: u64,
}

/// A place in the line of a name; given up when it is dropped.
#[derive(Debug)]
pub(super) struct Ticket {
    folded: String,
    number: u64,
}

impl Ticket {
    /// The last place in the line.
    pub(super) fn new(name: &PipeName) -> Ticket {
        let (mut lines, folded) = (lines(), name.folded().to_owned());
        let number = lines.next;
        lines.next += 1;
        lines.lines.entry(folded.clone()).or_default().insert(number, None);
        Ticket { folded, number }
    }

    /// Whether it is the first.
    pub(super) fn is_first(&self) -> bool {
        let lines = lines();
        let first = lines.lines.get(&self.folded).and_then(|line| line.first_key_value());
        first.is_none_or(|(first, _)| *first == self.number)
    }

    /// The same. Where it is not, the task is woken when it is.
    pub(super) fn poll_first(&self, cx: &Context<'_>) -> Poll<()> {
        let mut lines = lines();
        let Some(line) = lines.lines.get_mut(&self.folded) else { return Poll::Ready(()) };
        if line.first_key_value().is_none_or(|(first, _)| *first == self.number) {
            return Poll::Ready(());
        }
        let waker = line.get_mut(&self.number).map(|waker| waker.replace(cx.waker().clone()));
        drop(lines);
        // Not under the lock: dropping a waker may drop a task, and with it its place.
        drop(waker);
        Poll::Pending
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut lines = lines();
        let Some(line) = lines.lines.get_mut(&self.folded) else { return };
        let mine = line.remove(&self.number);
        // It was the first if it was before the one that is first now.
        let first = line.first_entry().filter(|first| *first.key() > self.number);
        let first = first.and_then(|mut first| first.get_mut().take());
        if line.is_empty() {
            lines.lines.remove(&self.folded);
        }
        drop(lines);
        drop(mine);
        if let Some(first) = first {
            first.wake();
        }
    }
}

fn lines() -> MutexGuard<'static, Lines> {
    static LINES: OnceLock<Mutex<Lines>> = OnceLock::new();
    // Its changes are single insertions and removals.
    LINES.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::Wake,
    };

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A place, how often its task was woken, and the waker of that.
    fn place(name: &PipeName) -> (Ticket, Arc<Count>, Waker) {
        let count = Arc::new(Count::default());
        (Ticket::new(name), Arc::clone(&count), Waker::from(count))
    }

    #[test]
    fn the_first_is_first_and_the_next_follows_in_order() {
        let name = PipeName::unique("line").unwrap();
        let (first, ..) = place(&name);
        let mut others: Vec<_> = (0..5).map(|_| place(&name)).collect();
        let nobody = Context::from_waker(Waker::noop());
        assert!(first.poll_first(&nobody).is_ready());
        for (place, _, waker) in &others {
            assert!(place.poll_first(&Context::from_waker(waker)).is_pending());
        }
        // One that leaves from the middle wakes nobody.
        drop(others.remove(2));
        let woken = |others: &[(Ticket, Arc<Count>, Waker)]| {
            others.iter().map(|(_, count, _)| count.0.load(Ordering::Relaxed)).collect::<Vec<_>>()
        };
        assert_eq!(woken(&others), [0, 0, 0, 0]);
        drop(first);
        assert_eq!(woken(&others), [1, 0, 0, 0], "one at a time");
        while !others.is_empty() {
            assert!(others[0].0.poll_first(&nobody).is_ready());
            drop(others.remove(0));
            assert!(others.first().is_none_or(|(_, count, _)| count.0.load(Ordering::Relaxed) == 1));
        }
        assert!(!lines().lines.contains_key(name.folded()), "nothing is left of it");
    }

    #[test]
    fn one_that_is_woken_and_leaves_passes_it_on() {
        let name = PipeName::unique("line").unwrap();
        let (first, ..) = place(&name);
        let (second, _, waker) = place(&name);
        let (third, count, third_waker) = place(&name);
        assert!(second.poll_first(&Context::from_waker(&waker)).is_pending());
        assert!(third.poll_first(&Context::from_waker(&third_waker)).is_pending());
        drop(first);
        drop(second);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert!(third.poll_first(&Context::from_waker(&third_waker)).is_ready());
    }

    #[test]
    fn names_have_lines_of_their_own() {
        let (one, two) = (PipeName::unique("line").unwrap(), PipeName::unique("line").unwrap());
        let (_first, other) = (Ticket::new(&one), Ticket::new(&two));
        assert!(other.poll_first(&Context::from_waker(Waker::noop())).is_ready());
    }
}
