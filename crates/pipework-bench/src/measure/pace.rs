//! A run of operations for a given time, and the stamps by which the other end checks each payload.

use std::{
    io,
    time::{Duration, Instant},
};

/// Operations per reading of the clock, which costs as much as a small operation.
const STRIDE: u32 = 16;

/// Counts operations, and marks the last one when the time is over.
#[derive(Debug)]
pub(super) struct Pace {
    begin: Instant,
    budget: Duration,
    count: u32,
}

impl Pace {
    pub(super) fn new(budget: Duration) -> Pace {
        Pace { begin: Instant::now(), budget, count: 0 }
    }

    /// The stamp of the next operation.
    pub(super) fn next(&mut self) -> Stamp {
        let number = self.count;
        self.count = self.count.wrapping_add(1);
        let is_last = self.count.is_multiple_of(STRIDE) && self.begin.elapsed() >= self.budget;
        Stamp { number, is_last }
    }

    /// The number of operations, and the time they took.
    pub(super) fn end(&self) -> (u32, Duration) {
        (self.count, self.begin.elapsed())
    }
}

/// The first bytes of a payload: its number, and whether it is the last. The last bytes repeat the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) number: u32,
    pub(super) is_last: bool,
}

/// Bytes of a number, and of a stamp.
const NUMBER_LEN: usize = 4;
const STAMP_LEN: usize = NUMBER_LEN + 1;

impl Stamp {
    /// Writes the stamp into a payload.
    pub(super) fn put(self, payload: &mut [u8]) {
        let number = self.number.to_le_bytes();
        if let Some(end) = payload.last_chunk_mut() {
            *end = number;
        }
        for (byte, mark) in payload.iter_mut().zip(number.into_iter().chain([u8::from(self.is_last)])) {
            *byte = mark;
        }
    }

    /// Returns the stamp of a received payload, if that has this number and is intact.
    pub(super) fn check(payload: &[u8], number: u32) -> io::Result<Stamp> {
        let torn = || {
            let text = format!("payload {number} did not arrive intact");
            io::Error::new(io::ErrorKind::InvalidData, text)
        };
        let head = payload.first_chunk::<STAMP_LEN>().ok_or_else(torn)?;
        let [a, b, c, d, is_last] = *head;
        let first = u32::from_le_bytes([a, b, c, d]);
        let last = payload.last_chunk().copied().map(u32::from_le_bytes);
        if first == number && last == Some(number) {
            Ok(Stamp { number, is_last: is_last != 0 })
        } else {
            Err(torn())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_checked_by_its_stamp() {
        let mut payload = [7; 64];
        let stamp = Stamp { number: 0x0102_0304, is_last: true };
        stamp.put(&mut payload);
        assert_eq!(Stamp::check(&payload, stamp.number).unwrap(), stamp);
        assert!(Stamp::check(&payload, 5).is_err());
        assert!(Stamp::check(&payload[..4], stamp.number).is_err());
        payload[63] ^= 1;
        assert!(Stamp::check(&payload, stamp.number).is_err());
    }
}
