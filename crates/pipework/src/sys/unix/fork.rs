//! Which process something belongs to. A forked child has a copy of everything, and must give nothing back: it is the
//! parent's.
//!
//! The process number is no proof of that: the first process of a PID namespace is 1, and so is a child that it forks into
//! another one.

use super::os;
use std::sync::atomic::{AtomicU32, Ordering};

/// The process that made something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin(u32);

/// The number of this process among its ancestors, zero until it has one: in a forked child it is zero again.
fn number() -> &'static AtomicU32 {
    os::word_zeroed_on_fork()
}

impl Origin {
    /// This process.
    pub(crate) fn current() -> Origin {
        /// It is copied by a fork, so no process has the number of an ancestor.
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = number();
        let known = number.load(Ordering::Relaxed);
        if known != 0 {
            return Origin(known);
        }
        let new = NEXT.fetch_add(1, Ordering::Relaxed);
        // Another thread may have been quicker.
        let known = number.compare_exchange(0, new, Ordering::Relaxed, Ordering::Relaxed);
        Origin(known.map_or_else(|known| known, |_| new))
    }

    /// Whether it is this process, and not one that this process was forked from.
    pub(crate) fn is_here(self) -> bool {
        number().load(Ordering::Relaxed) == self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_keeps_its_origin() {
        let origin = Origin::current();
        assert!(origin.is_here());
        assert_eq!(std::thread::spawn(Origin::current).join().unwrap(), origin);
    }
}
