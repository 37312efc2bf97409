//! The header of a message in the ring.

use super::Corrupt;

/// Bytes of a header. Records begin at multiples of it, so a header never wraps around the end of the ring.
pub(super) const HEADER_LEN: u64 = 16;
/// Marks a header of a message that lies in the ring; zeroed memory can't imitate it.
const INLINE: u64 = 0x5057_4d53_4721_0001;
/// Marks a header of a message that lies in a memory object of its own.
const ATTACHED: u64 = 0x5057_4d53_4721_0002;
/// The largest message, in bytes.
pub(crate) const MESSAGE_LEN_MAX: u64 = u32::MAX as u64;

/// The contents of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Bytes of the message.
    pub(super) len: u64,
    /// Whether the message lies in a memory object of its own.
    pub(super) attached: bool,
}

impl Record {
    /// Bytes that the record takes in the ring, its header and padding included.
    pub(super) fn ring_len(self) -> u64 {
        if self.attached { HEADER_LEN } else { HEADER_LEN + self.len.next_multiple_of(HEADER_LEN) }
    }

    pub(super) fn encode(self) -> [u8; 16] {
        let tag = if self.attached { ATTACHED } else { INLINE };
        (u128::from(tag) | u128::from(self.len) << 64).to_le_bytes()
    }

    pub(super) fn decode(bytes: [u8; 16]) -> Result<Record, Corrupt> {
        let word = u128::from_le_bytes(bytes);
        #[expect(clippy::cast_possible_truncation, reason = "the two halves of the header")]
        let (tag, len) = (word as u64, (word >> 64) as u64);
        let attached = match tag {
            INLINE => false,
            ATTACHED => true,
            _ => return Err(Corrupt("a message header without its tag")),
        };
        if len > MESSAGE_LEN_MAX {
            return Err(Corrupt("a message longer than any can be"));
        }
        Ok(Record { len, attached })
    }
}
