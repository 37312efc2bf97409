//! What goes through the pipe: frames that say what is asked, who wrote them and as which, with a payload that follows from
//! that.

use std::io;

/// Bytes of a frame before its payload.
pub(super) const HEAD: usize = 16;
/// More than any ring here holds.
pub(super) const LARGE: usize = 100_000;
/// The same of a remote pipe, whose messages Samba limits to 65,535 bytes.
pub(super) const LARGE_REMOTE: usize = 60_000;
/// The largest frame.
pub(super) const FRAME_MAX: usize = HEAD + LARGE;

/// What a frame asks of its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Nothing,
    /// Three small frames and a large one.
    Frames,
    /// One frame.
    Reply,
    /// Whatever was written is read: then flush and disconnect.
    Disconnect,
    /// The same, and it was the last connection.
    Quit,
}

const ASKS: [Ask; 5] = [Ask::Nothing, Ask::Frames, Ask::Reply, Ask::Disconnect, Ask::Quit];

/// A frame without its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) ask: Ask,
    pub(super) connection: u8,
    /// Whether the next frame of this writer is a large one.
    pub(super) before_large: bool,
    pub(super) len: usize,
    pub(super) number: u32,
}

impl Frame {
    pub(super) fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD + self.len);
        let ask = ASKS.iter().position(|ask| *ask == self.ask).unwrap();
        bytes.extend([u8::try_from(ask).unwrap(), self.connection, u8::from(self.before_large), 0xFA]);
        bytes.extend(u32::try_from(self.len).unwrap().to_le_bytes());
        bytes.extend(self.number.to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend((0..self.len).map(|index| self.byte(index)));
        bytes
    }

    fn byte(self, index: usize) -> u8 {
        let [low, high, ..] = index.to_le_bytes();
        let [number, ..] = self.number.to_le_bytes();
        low.wrapping_mul(31) ^ high ^ number.wrapping_mul(7) ^ self.connection
    }

    /// The whole length of the frame that begins with these bytes.
    pub(super) fn len_of(head: &[u8]) -> io::Result<usize> {
        let len = head.get(4..8).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
        let len = len.and_then(|len| usize::try_from(len).ok()).filter(|len| *len <= LARGE);
        len.map(|len| HEAD + len).ok_or_else(|| wrong("a length that nobody wrote"))
    }

    /// Checks every byte.
    pub(super) fn decode(bytes: &[u8]) -> io::Result<Frame> {
        if bytes.len() < HEAD || Frame::len_of(bytes)? != bytes.len() {
            return Err(wrong("a frame of another length"));
        }
        let ask =
            ASKS.get(usize::from(bytes[0])).copied().ok_or_else(|| wrong("a frame that nobody wrote"))?;
        let number = u32::from_le_bytes(bytes[8..12].try_into().unwrap());
        let frame =
            Frame { ask, connection: bytes[1], before_large: bytes[2] != 0, len: bytes.len() - HEAD, number };
        if frame.encode() == bytes { Ok(frame) } else { Err(wrong("a frame with other bytes")) }
    }
}

/// The error of data that is not what was written; the driver looks for it.
pub(super) fn wrong(what: &str) -> io::Error {
    io::Error::other(format!("WRONG DATA: {what}"))
}
