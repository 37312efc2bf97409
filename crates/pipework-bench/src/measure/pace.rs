//! How a run of operations is kept to its time, and how each piece of data is known at the other end.

use std::{
    io,
    time::{Duration, Instant},
};

/// Operations between two looks at the clock, which would cost as much as a small operation.
const STRIDE: u32 = 16;

/// Counts operations, and tells when it is time for the last one.
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

    /// How many there were, and in what time.
    pub(super) fn end(&self) -> (u32, Duration) {
        (self.count, self.begin.elapsed())
    }
}

/// What a piece of data says of itself at its beginning; its end has the number once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) number: u32,
    pub(super) is_last: bool,
}

/// Bytes of a number, and of a stamp.
const NUMBER_LEN: usize = 4;
const STAMP_LEN: usize = NUMBER_LEN + 1;

impl Stamp {
    /// Marks a piece that is to be sent.
    pub(super) fn put(self, piece: &mut [u8]) {
        let number = self.number.to_le_bytes();
        if let Some(end) = piece.last_chunk_mut() {
            *end = number;
        }
        for (byte, mark) in piece.iter_mut().zip(number.into_iter().chain([u8::from(self.is_last)])) {
            *byte = mark;
        }
    }

    /// The stamp of a piece that has come, which must be the one of this number.
    pub(super) fn check(piece: &[u8], number: u32) -> io::Result<Stamp> {
        let torn = || {
            let text = format!("piece {number} did not arrive as it was sent");
            io::Error::new(io::ErrorKind::InvalidData, text)
        };
        let head = piece.first_chunk::<STAMP_LEN>().ok_or_else(torn)?;
        let [a, b, c, d, is_last] = *head;
        let first = u32::from_le_bytes([a, b, c, d]);
        let last = piece.last_chunk().copied().map(u32::from_le_bytes);
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
    fn a_stamp_is_found_again_and_nothing_else_is() {
        let mut piece = [7; 64];
        let stamp = Stamp { number: 0x0102_0304, is_last: true };
        stamp.put(&mut piece);
        assert_eq!(Stamp::check(&piece, stamp.number).unwrap(), stamp);
        assert!(Stamp::check(&piece, 5).is_err());
        assert!(Stamp::check(&piece[..4], stamp.number).is_err());
        piece[63] ^= 1;
        assert!(Stamp::check(&piece, stamp.number).is_err());
    }
}
