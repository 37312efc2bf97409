//! A reader for NDR, the encoding of the exchange: little-endian numbers, each aligned to its size. Offsets count
//! from the first byte of the prefix.

use super::malformed::Malformed;

/// The limit on names, paths and addresses.
const STRING_LEN_MAX: usize = 4096;

/// A cursor over the bytes of a request.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, offset: 0 }
    }

    /// Returns an error about the bytes before the cursor.
    pub(super) fn malformed(&self, what: &'static str) -> Malformed {
        Malformed::At { offset: self.offset, what }
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let end = self.offset.checked_add(len);
        let taken = end.and_then(|end| self.bytes.get(self.offset..end));
        let taken = taken.ok_or(self.malformed("an unexpected end"))?;
        self.offset += len;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| self.malformed("an unexpected end"))
    }

    /// Skips the padding up to a multiple of `size`. The padding must be zero.
    pub(super) fn align(&mut self, size: usize) -> Result<(), Malformed> {
        let padding = self.offset.next_multiple_of(size) - self.offset;
        if self.take(padding)?.iter().any(|byte| *byte != 0) {
            return Err(self.malformed("padding that is not zero"));
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

    /// Reads a pointer. Returns whether its target follows later.
    pub(super) fn pointer(&mut self) -> Result<bool, Malformed> {
        Ok(self.u32()? != 0)
    }

    /// Reads a pointer that must be null.
    pub(super) fn expect_null(&mut self, what: &'static str) -> Result<(), Malformed> {
        if self.pointer()? { Err(self.malformed(what)) } else { Ok(()) }
    }

    /// Reads a count of elements, each of which has at least one byte.
    pub(super) fn count(&mut self, max: usize) -> Result<usize, Malformed> {
        let count = usize::try_from(self.u32()?).unwrap_or(usize::MAX);
        if count > max {
            return Err(self.malformed("a count that is too large"));
        }
        if count > self.bytes.len() - self.offset {
            return Err(self.malformed("a count that exceeds the request"));
        }
        Ok(count)
    }

    /// Skips bytes that follow their length. They are secret or not needed.
    pub(super) fn skip_blob(&mut self, len_max: usize) -> Result<(), Malformed> {
        let len = self.count(len_max)?;
        self.take(len).map(drop)
    }

    /// Reads a string that ends with a NUL.
    pub(super) fn string(&mut self) -> Result<String, Malformed> {
        let max = self.count(STRING_LEN_MAX)?;
        if self.u32()? != 0 {
            return Err(self.malformed("a string with an offset"));
        }
        if self.count(STRING_LEN_MAX)? != max {
            return Err(self.malformed("a string with two different lengths"));
        }
        let bytes = self.take(max)?;
        let Some((0, text)) = bytes.split_last() else {
            return Err(self.malformed("a string without a NUL at its end"));
        };
        if text.contains(&0) {
            return Err(self.malformed("a string with a NUL before its end"));
        }
        std::str::from_utf8(text).map(str::to_owned).map_err(|_| self.malformed("a string that is not UTF-8"))
    }

    /// Skips a string if it is present.
    pub(super) fn skip_string(&mut self, is_present: bool) -> Result<(), Malformed> {
        if is_present { self.string().map(drop) } else { Ok(()) }
    }

    /// Checks that nothing follows.
    pub(super) fn expect_end(&self) -> Result<(), Malformed> {
        if self.offset == self.bytes.len() {
            Ok(())
        } else {
            Err(self.malformed("bytes after the end of the request"))
        }
    }
}
