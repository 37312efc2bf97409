//! Reads NDR, the encoding of the exchange: little-endian, each number aligned to its size, counted from the first byte of the prefix.

use super::{Malformed, STRING_LEN_MAX};

/// Bytes, and how far they were read.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, offset: 0 }
    }

    /// An error about what was just read.
    pub(super) fn wrong(&self, what: &'static str) -> Malformed {
        Malformed::At { offset: self.offset, what }
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let end = self.offset.checked_add(len);
        let taken = end.and_then(|end| self.bytes.get(self.offset..end));
        let taken = taken.ok_or(self.wrong("an early end"))?;
        self.offset += len;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| self.wrong("an early end"))
    }

    /// Passes over what fills up to a multiple of `size`, which is zero.
    pub(super) fn align(&mut self, size: usize) -> Result<(), Malformed> {
        let padding = self.offset.next_multiple_of(size) - self.offset;
        if self.take(padding)?.iter().any(|byte| *byte != 0) {
            return Err(self.wrong("padding that is not zero"));
        }
        Ok(())
    }

    pub(super) fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Malformed> {
        self.align(2)?;
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        self.align(4)?;
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Malformed> {
        self.align(8)?;
        self.array().map(u64::from_le_bytes)
    }

    /// A pointer: whether what it points to comes later.
    pub(super) fn pointer(&mut self) -> Result<bool, Malformed> {
        Ok(self.u32()? != 0)
    }

    /// A pointer that must point to nothing.
    pub(super) fn null(&mut self, what: &'static str) -> Result<(), Malformed> {
        if self.pointer()? { Err(self.wrong(what)) } else { Ok(()) }
    }

    /// A number of things, each of which takes at least a byte.
    pub(super) fn count(&mut self, max: usize) -> Result<usize, Malformed> {
        let count = usize::try_from(self.u32()?).unwrap_or(usize::MAX);
        if count > max {
            return Err(self.wrong("a count that is too large"));
        }
        if count > self.bytes.len() - self.offset {
            return Err(self.wrong("a count of more than there is"));
        }
        Ok(count)
    }

    /// Bytes with their length before them, of no interest or a secret.
    pub(super) fn pass_blob(&mut self, len_max: usize) -> Result<(), Malformed> {
        let len = self.count(len_max)?;
        self.take(len).map(drop)
    }

    /// Text with a NUL at its end.
    pub(super) fn string(&mut self) -> Result<String, Malformed> {
        let max = self.count(STRING_LEN_MAX)?;
        if self.u32()? != 0 {
            return Err(self.wrong("a string that does not begin at its beginning"));
        }
        if self.count(STRING_LEN_MAX)? != max {
            return Err(self.wrong("a string of two different lengths"));
        }
        let bytes = self.take(max)?;
        let Some((0, text)) = bytes.split_last() else {
            return Err(self.wrong("a string without an end"));
        };
        if text.contains(&0) {
            return Err(self.wrong("a string with an early end"));
        }
        std::str::from_utf8(text).map(str::to_owned).map_err(|_| self.wrong("a string that is not UTF-8"))
    }

    /// A string of no interest, if it is there.
    pub(super) fn pass_string(&mut self, is_there: bool) -> Result<(), Malformed> {
        if is_there { self.string().map(drop) } else { Ok(()) }
    }

    /// Nothing may be left.
    pub(super) fn end(&self) -> Result<(), Malformed> {
        if self.offset == self.bytes.len() { Ok(()) } else { Err(self.wrong("more than a request")) }
    }
}
