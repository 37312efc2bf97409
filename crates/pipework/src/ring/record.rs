//! The header of a message in the ring.

use super::Corrupt;

/// Bytes of a header. Records begin at multiples of it, so a header never wraps around the end of the ring.
pub(super) const HEADER_LEN: u64 = 16;
/// Marks a header of a message that lies in the ring; zeroed memory can't imitate it.
const INLINE: u64 = 0x5057_4d53_4721_0001;
/// Marks a header of a large message, whose memory object comes through the socket.
const ATTACHED: u64 = 0x5057_4d53_4721_0002;
/// Marks a header of a large message that lies in the memory object of the one before.
const KEPT: u64 = 0x5057_4d53_4721_0003;
/// The largest message, in bytes.
pub(crate) const MESSAGE_LEN_MAX: u64 = u32::MAX as u64;

/// Where the bytes of a message are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Storage {
    /// In the ring, behind the header.
    Ring,
    /// In a memory object that comes through the socket.
    NewObject,
    /// In the memory object of the large message before.
    KeptObject,
}

/// The contents of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Bytes of the message.
    pub(super) len: u64,
    pub(super) storage: Storage,
}

impl Record {
    /// Bytes that the record takes in the ring, its header and padding included.
    pub(super) fn ring_len(self) -> u64 {
        match self.storage {
            Storage::Ring => HEADER_LEN + self.len.next_multiple_of(HEADER_LEN),
            Storage::NewObject | Storage::KeptObject => HEADER_LEN,
        }
    }

    pub(super) fn encode(self) -> [u8; 16] {
        let tag = match self.storage {
            Storage::Ring => INLINE,
            Storage::NewObject => ATTACHED,
            Storage::KeptObject => KEPT,
        };
        (u128::from(tag) | u128::from(self.len) << 64).to_le_bytes()
    }

    pub(super) fn decode(bytes: [u8; 16]) -> Result<Record, Corrupt> {
        let word = u128::from_le_bytes(bytes);
        #[expect(clippy::cast_possible_truncation, reason = "the two halves of the header")]
        let (tag, len) = (word as u64, (word >> 64) as u64);
        let storage = match tag {
            INLINE => Storage::Ring,
            ATTACHED => Storage::NewObject,
            KEPT => Storage::KeptObject,
            _ => return Err(Corrupt("a message header without its tag")),
        };
        if len > MESSAGE_LEN_MAX {
            return Err(Corrupt("a message longer than any can be"));
        }
        Ok(Record { len, storage })
    }
}
