//! Spinning before a sleep, only while that pays.

use std::{
    ffi::OsStr,
    io,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

/// The variable of the environment that forbids spinning, by `0` or `off`.
const SPIN_VARIABLE: &str = "PIPEWORK_SPIN";

/// The longest spin: what a peer needs to be woken on another processor and to answer, so that one end that spins
/// brings the other to it.
pub(crate) const SPIN: Duration = Duration::from_micros(100);
/// A wait that was over within this time, the sleep and the wake-up included, might have been over within a spin.
const SHORT: Duration = Duration::from_micros(200);
/// The most waits that go to sleep at once after a spin that did not pay.
const WAITS_SKIPPED_MAX: u32 = 255;
/// How often to look between two looks at the clock, which cost more.
const LOOKS: u32 = 16;
/// How long a reader leaves a writer alone that sends one thing after the other. Each look takes away the
/// cache line into which the writer publishes its progress; after a while there is much to read for one look.
const GATHERING: Duration = Duration::from_micros(1);

/// Whether spinning pays, by what it did lately: each failure doubles how many waits go to sleep at once before the
/// next try, each success halves it; and a short sleep halves what is left of them.
///
/// The last is for two ends that both sleep. Each waits long only because it wakes the other, and a spin of one of them
/// alone ends that.
#[derive(Debug, Default)]
pub(crate) struct Spin {
    skipped: AtomicU32,
    left: AtomicU32,
}

impl Spin {
    pub(crate) const fn new() -> Spin {
        Spin { skipped: AtomicU32::new(0), left: AtomicU32::new(0) }
    }

    /// Waits actively for `is_ready`; says whether it came true. Looks later at what comes in a stream.
    pub(crate) fn until(
        &self,
        is_stream: bool,
        mut is_ready: impl FnMut() -> io::Result<bool>,
    ) -> io::Result<bool> {
        if !self.is_due() {
            return Ok(false);
        }
        let mut begun = None;
        if is_stream {
            let begun = begun.insert(Instant::now());
            while begun.elapsed() < GATHERING {
                std::hint::spin_loop();
            }
        }
        loop {
            for _ in 0..LOOKS {
                if is_ready()? {
                    self.paid();
                    return Ok(true);
                }
                std::hint::spin_loop();
            }
            if begun.get_or_insert_with(Instant::now).elapsed() >= SPIN {
                self.failed();
                return Ok(false);
            }
        }
    }

    /// Whether this wait is to begin with a spin.
    pub(crate) fn is_due(&self) -> bool {
        // Relaxed here and below, and no single steps: a count that is a little off costs a little time.
        let left = self.left.load(Ordering::Relaxed);
        if left > 0 {
            self.left.store(left - 1, Ordering::Relaxed);
        }
        left == 0
    }

    /// A spin was worth it.
    pub(crate) fn paid(&self) {
        self.skipped.store(self.skipped.load(Ordering::Relaxed) / 2, Ordering::Relaxed);
    }

    /// A spin ended without success.
    pub(crate) fn failed(&self) {
        let skipped = (self.skipped.load(Ordering::Relaxed) * 2 + 1).min(WAITS_SKIPPED_MAX);
        self.skipped.store(skipped, Ordering::Relaxed);
        self.left.store(skipped, Ordering::Relaxed);
    }

    /// Takes notice of how long a wait took that was not over within a spin.
    pub(crate) fn learn(&self, waited: Duration) {
        if waited < SHORT {
            self.left.store(self.left.load(Ordering::Relaxed) / 2, Ordering::Relaxed);
        }
    }
}

/// Whether ends spin by default: the environment may forbid it.
pub(crate) fn is_wanted() -> bool {
    static IS_WANTED: OnceLock<bool> = OnceLock::new();
    *IS_WANTED.get_or_init(|| std::env::var_os(SPIN_VARIABLE).is_none_or(|value| !means_no(&value)))
}

fn means_no(value: &OsStr) -> bool {
    value == "0" || value == "off"
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of `count` waits spun; each spin pays or none, and each wait takes so long in all.
    fn spins(spin: &Spin, count: u32, pays: bool, waited: Duration) -> u32 {
        let mut spun = 0;
        for _ in 0..count {
            let mut looked = false;
            let outcome = spin.until(false, || {
                looked = true;
                Ok(pays)
            });
            assert_eq!(outcome.unwrap(), looked && pays);
            if !(looked && pays) {
                spin.learn(waited);
            }
            spun += u32::from(looked);
        }
        spun
    }

    #[test]
    fn spinning_that_does_not_pay_becomes_rare_and_one_that_pays_common() {
        let spin = Spin::default();
        assert!(spins(&spin, 1000, false, SHORT) <= 11, "each failure doubles the pause");
        spins(&spin, WAITS_SKIPPED_MAX + 1, true, SHORT);
        assert_eq!(spins(&spin, 100, true, SHORT), 100);
        assert!(spin.until(false, || Err(io::ErrorKind::Other.into())).is_err());
    }

    #[test]
    fn the_environment_forbids_spinning_in_two_ways() {
        let values = ["0", "off", "", "1", "on"].map(OsStr::new);
        assert_eq!(values.map(means_no), [true, true, false, false, false]);
    }

    #[test]
    fn two_ends_that_wake_each_other_come_to_spin() {
        let spin = Spin::default();
        spins(&spin, 1000, false, SHORT);
        let short = SHORT / 2;
        assert!(spins(&spin, 12, true, short) > 2, "soon it is tried again");
        assert_eq!(spins(&spin, 100, true, short), 100);
        assert!(spins(&spin, 1000, false, short) < 130, "and seldom where it never pays");
    }
}
