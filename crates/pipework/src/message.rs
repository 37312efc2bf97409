//! What reading messages and looking ahead give.

/// What [`PipeStream::read_message_into`](crate::PipeStream::read_message_into) got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum MessageRead {
    /// A message that ends here, of this many bytes; 0 is an empty message.
    Whole(usize),
    /// The buffer is full and the message goes on in the next read.
    Part(usize),
    /// The other end closed and everything was read.
    End,
}

/// What [`PipeStream::peek`](crate::PipeStream::peek) saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Peek {
    /// Bytes copied into the buffer.
    pub copied: usize,
    /// Bytes that can be read now.
    pub available: usize,
    /// Bytes of the first message that were not copied; `None` on a byte pipe or when no message is there.
    pub message_left: Option<usize>,
}
