//! Results of reading messages and of peeking.

/// The result of [`PipeStream::read_message_into`](crate::PipeStream::read_message_into).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum MessageRead {
    /// This many bytes, with which the message ends. 0 is an empty message.
    Whole(usize),
    /// This many bytes, which fill the buffer. The next read continues the message.
    Part(usize),
    /// The peer has closed, and everything was read.
    End,
}

/// The result of [`PipeStream::peek`](crate::PipeStream::peek).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Peek {
    /// The number of bytes that were copied into the buffer.
    pub copied: usize,
    /// The number of bytes that can be read now.
    pub available: usize,
    /// The number of bytes of the first message that were not copied. `None` on a byte pipe, and if there is no message.
    pub message_left: Option<usize>,
}
