//! What goes through the pipes: frames that have their writer and their number in them, and can be checked in every byte.

use pipework::{MessageRead, PipeMode, PipeStream};
use std::io::{self, Read, Write};

/// Bytes of a frame's head.
const HEAD: usize = 32;
/// The largest payload.
pub(crate) const PAYLOAD_MAX: usize = 65536;
const MAGIC: u32 = 0x46_52_4D_31;

/// Pseudo-random numbers.
#[derive(Clone, Debug)]
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Numbers {
        Numbers(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 11) as usize % limit
    }

    /// From one byte to 64 KiB, each order of magnitude as often as the others.
    pub(crate) fn len(&mut self) -> usize {
        let limit = 1 << self.below(17);
        1 + self.below(limit)
    }
}

/// One frame: number `number` of what this end of the connection writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) connection: u64,
    pub(crate) number: u32,
    pub(crate) payload: Vec<u8>,
}

fn fill(seed: u64, payload: &mut [u8]) {
    let mut numbers = Numbers::new(seed);
    for chunk in payload.chunks_mut(8) {
        chunk.copy_from_slice(&numbers.next().to_le_bytes()[..chunk.len()]);
    }
}

impl Frame {
    /// The one whose payload follows from who it is.
    pub(crate) fn new(connection: u64, number: u32, len: usize) -> Frame {
        let mut payload = vec![0; len];
        fill(connection ^ u64::from(number) << 40, &mut payload);
        Frame { connection, number, payload }
    }

    fn head(&self) -> [u8; HEAD] {
        let mut head = [0; HEAD];
        head[..4].copy_from_slice(&MAGIC.to_le_bytes());
        head[4..8].copy_from_slice(&u32::try_from(self.payload.len()).unwrap().to_le_bytes());
        head[8..16].copy_from_slice(&self.connection.to_le_bytes());
        head[16..20].copy_from_slice(&self.number.to_le_bytes());
        head[24..].copy_from_slice(&sum(&self.payload).to_le_bytes());
        head
    }

    /// The whole of it in one write.
    pub(crate) fn write(&self, mut end: &PipeStream) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(HEAD + self.payload.len());
        bytes.extend(self.head());
        bytes.extend(&self.payload);
        let written = end.write(&bytes)?;
        assert_eq!(written, bytes.len(), "without a time limit all of it is written");
        Ok(())
    }

    /// Checks every byte.
    fn check(head: &[u8], payload: Vec<u8>) -> Frame {
        let connection = u64::from_le_bytes(head[8..16].try_into().unwrap());
        let number = u32::from_le_bytes(head[16..20].try_into().unwrap());
        let frame = Frame { connection, number, payload };
        assert_eq!(head, frame.head(), "a torn frame: head and payload do not belong together");
        assert!(
            frame == Frame::new(connection, number, frame.payload.len()),
            "a frame is not what was written"
        );
        frame
    }
}

fn sum(payload: &[u8]) -> u64 {
    payload.iter().fold(payload.len() as u64, |sum, byte| sum.rotate_left(5) ^ u64::from(*byte))
}

fn payload_len(head: &[u8]) -> usize {
    assert_eq!(head[..4], MAGIC.to_le_bytes(), "not the beginning of a frame");
    let len = u32::from_le_bytes(head[4..8].try_into().unwrap()) as usize;
    assert!(len <= PAYLOAD_MAX, "a frame of {len} bytes");
    len
}

/// Reads frames in either mode.
#[derive(Debug)]
pub(crate) struct Reader {
    mode: PipeMode,
    buf: Vec<u8>,
}

impl Reader {
    pub(crate) fn new(mode: PipeMode) -> Reader {
        Reader { mode, buf: Vec::new() }
    }

    /// The next frame; `None` is the end of the pipe. A stream of bytes may end amid a frame whose write was not over;
    /// a message never does.
    pub(crate) fn next(&mut self, end: &PipeStream) -> io::Result<Option<Frame>> {
        self.buf.resize(HEAD + PAYLOAD_MAX, 0);
        if self.mode == PipeMode::Message {
            return Ok(match end.read_message_into(&mut self.buf)? {
                MessageRead::End => None,
                MessageRead::Part(len) => panic!("a message of more than {len} bytes"),
                MessageRead::Whole(len) => {
                    let (head, payload) = self.buf[..len].split_at(HEAD);
                    assert_eq!(payload_len(head), payload.len(), "a torn message");
                    Some(Frame::check(head, payload.to_vec()))
                }
            });
        }
        let mut head = [0; HEAD];
        if !fill_from(end, &mut head)? {
            return Ok(None);
        }
        let mut payload = vec![0; payload_len(&head)];
        if !fill_from(end, &mut payload)? {
            return Ok(None);
        }
        Ok(Some(Frame::check(&head, payload)))
    }
}

fn fill_from(mut end: &PipeStream, buf: &mut [u8]) -> io::Result<bool> {
    let mut filled = 0;
    while filled < buf.len() {
        match end.read(&mut buf[filled..])? {
            0 => return Ok(false),
            len => filled += len,
        }
    }
    Ok(true)
}
