//! Spinning before a sleep, only while that pays.

use std::{
    io,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

/// The longest spin: about what a wake-up through the kernel takes across processors.
const SPIN: Duration = Duration::from_micros(30);
/// The most waits that go to sleep at once after a spin that did not pay.
const WAITS_SKIPPED_MAX: u32 = 255;

/// Whether spinning pays, by what it did lately: each failure doubles how many waits go to sleep at once before the
/// next try, each success halves it.
#[derive(Debug, Default)]
pub(crate) struct Spin {
    skipped: AtomicU32,
    left: AtomicU32,
}

impl Spin {
    /// Waits actively for `is_ready`; says whether it came true.
    pub(crate) fn until(&self, mut is_ready: impl FnMut() -> io::Result<bool>) -> io::Result<bool> {
        if !has_several_processors() {
            return Ok(false);
        }
        // Relaxed, and no single steps: a count that is a little off costs a little time.
        let left = self.left.load(Ordering::Relaxed);
        if left > 0 {
            self.left.store(left - 1, Ordering::Relaxed);
            return Ok(false);
        }
        let skipped = self.skipped.load(Ordering::Relaxed);
        let begun = Instant::now();
        loop {
            for _ in 0..16 {
                if is_ready()? {
                    self.skipped.store(skipped / 2, Ordering::Relaxed);
                    return Ok(true);
                }
                std::hint::spin_loop();
            }
            if begun.elapsed() >= SPIN {
                let skipped = (skipped * 2 + 1).min(WAITS_SKIPPED_MAX);
                self.skipped.store(skipped, Ordering::Relaxed);
                self.left.store(skipped, Ordering::Relaxed);
                return Ok(false);
            }
        }
    }
}

fn has_several_processors() -> bool {
    static COUNT: OnceLock<usize> = OnceLock::new();
    *COUNT.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from)) > 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spinning_that_does_not_pay_becomes_rare_and_one_that_pays_common() {
        if !has_several_processors() {
            return;
        }
        let spin = Spin::default();
        let tries = |count: u32, pays: bool| {
            let mut spun = 0;
            for _ in 0..count {
                let mut looked = false;
                let outcome = spin.until(|| {
                    looked = true;
                    Ok(pays)
                });
                assert_eq!(outcome.unwrap(), looked && pays);
                spun += u32::from(looked);
            }
            spun
        };
        assert!(tries(1000, false) <= 11, "each failure doubles the pause");
        tries(WAITS_SKIPPED_MAX + 1, true);
        assert_eq!(tries(100, true), 100);
        assert!(spin.until(|| Err(io::ErrorKind::Other.into())).is_err());
    }
}
