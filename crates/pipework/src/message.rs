//! Results of reading messages and of peeking, and the messages of one batch.

use std::{collections::TryReserveError, fmt};

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

/// The messages that one call of [`PipeStream::read_messages`](crate::PipeStream::read_messages) has read, and the most that a
/// call reads.
///
/// All messages lie in one buffer, which the next call reuses. The buffer grows to what the messages of one call have needed,
/// and never shrinks.
#[derive(Clone)]
pub struct MessageBatch {
    count_max: usize,
    len_max: usize,
    /// The messages, one after the other. What follows the last one is left over from longer batches, and needs no zeroing.
    bytes: Vec<u8>,
    /// Where each message ends.
    ends: Vec<usize>,
}

impl MessageBatch {
    /// An empty batch. A call puts at most `count_max` messages into it, which have at most `len_max` bytes together.
    ///
    /// A message that alone has more than `len_max` bytes can't be read with this batch.
    pub const fn new(count_max: usize, len_max: usize) -> MessageBatch {
        MessageBatch { count_max, len_max, bytes: Vec::new(), ends: Vec::new() }
    }

    /// The number of messages.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no message.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The message with this index, in the order in which they were written.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let begin = match index.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        self.bytes.get(begin..*self.ends.get(index)?)
    }

    /// The messages, in the order in which they were written.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &[u8]> + ExactSizeIterator + Clone {
        (0..self.len()).map(|index| self.get(index).unwrap_or_default())
    }

    /// Removes all messages, and keeps the memory.
    pub fn clear(&mut self) {
        self.ends.clear();
    }

    /// Removes all messages but the first `len`, and keeps the memory.
    pub fn truncate(&mut self, len: usize) {
        self.ends.truncate(len);
    }

    /// Whether a read can put anything into it.
    pub(crate) fn takes_nothing(&self) -> bool {
        self.count_max == 0
    }

    /// How many bytes the next message may have; `None` if there may be no more messages.
    pub(crate) fn len_left(&self) -> Option<usize> {
        (self.len() < self.count_max).then_some(self.len_max - self.end())
    }

    /// Adds a message of `len` bytes, and returns the place for its content. `None` if there is no room for it.
    pub(crate) fn place(&mut self, len: usize) -> Result<Option<&mut [u8]>, TryReserveError> {
        if self.len_left().is_none_or(|left| len > left) {
            return Ok(None);
        }
        let (begin, end) = (self.end(), self.end() + len);
        if let Some(more @ 1..) = end.checked_sub(self.bytes.len()) {
            self.bytes.try_reserve(more)?;
            self.bytes.resize(end, 0);
        }
        self.ends.try_reserve(1)?;
        self.ends.push(end);
        Ok(self.bytes.get_mut(begin..end))
    }

    fn end(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }
}

impl fmt::Debug for MessageBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(batch: &mut MessageBatch, message: &[u8]) -> bool {
        let place = batch.place(message.len()).unwrap();
        place.map(|place| place.copy_from_slice(message)).is_some()
    }

    #[test]
    fn a_batch_has_its_messages_in_order_and_no_more_than_its_limits() {
        let mut batch = MessageBatch::new(4, 10);
        assert!(push(&mut batch, b"one"));
        assert!(push(&mut batch, b""));
        assert!(!push(&mut batch, b"12345678"), "11 bytes in all");
        assert!(push(&mut batch, b"1234567"));
        assert_eq!(batch.len_left(), Some(0));
        assert!(push(&mut batch, b""));
        assert!(!push(&mut batch, b""), "a fifth message");
        let wanted: [&[u8]; 4] = [b"one", b"", b"1234567", b""];
        assert_eq!(batch.iter().collect::<Vec<_>>(), wanted);
        assert_eq!((batch.len(), batch.get(2), batch.get(4)), (4, Some(&b"1234567"[..]), None));
    }

    #[test]
    fn a_batch_shows_nothing_of_the_one_before_it() {
        let mut batch = MessageBatch::new(9, 100);
        assert!(push(&mut batch, b"long message"));
        batch.clear();
        assert!(batch.is_empty());
        assert!(push(&mut batch, b"ab"));
        assert!(push(&mut batch, b"c"));
        assert_eq!(format!("{batch:?}"), "[[97, 98], [99]]");
        batch.truncate(1);
        assert!(push(&mut batch, b"d"));
        assert_eq!(batch.iter().collect::<Vec<_>>(), [&b"ab"[..], b"d"]);
    }
}
