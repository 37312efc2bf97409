//! Data that was read and not yet taken, with the ends of messages.

use crate::{
    error::{PipeErrorKind, fail},
    message::MessageRead,
};
use std::{collections::VecDeque, io, time::Duration};

/// Some servers answer every read with no data once the pipe is over (impacket 0.13), and no client can distinguish that
/// from empty messages. After so many in a row, reads are sent at a slower pace.
const EMPTY_READS_MAX: u32 = 64;
const EMPTY_READ_PAUSE: Duration = Duration::from_millis(10);
/// So many empty messages in a row, of which a reader of bytes gets nothing, are a failed device: ten seconds of them.
const DOUBTFUL_MAX: u32 = 1000;

/// Messages, of which the last one may go on.
#[derive(Debug, Default)]
pub(super) struct Queue {
    messages: VecDeque<Message>,
    /// How many reads in a row gave no data.
    empty_reads: u32,
    /// How many empty messages in a row may be failures of a device. A reader of messages gets each of them, and none is
    /// left.
    doubtful: u32,
}

#[derive(Debug)]
struct Message {
    data: Vec<u8>,
    taken: usize,
    /// Whether all of it is here.
    is_whole: bool,
}

impl Message {
    fn left(&self) -> &[u8] {
        self.data.get(self.taken..).unwrap_or_default()
    }

    /// Moves what fits; says how much.
    fn take_into(&mut self, buf: &mut [u8]) -> usize {
        let left = self.left();
        let len = left.len().min(buf.len());
        if let (Some(from), Some(to)) = (left.get(..len), buf.get_mut(..len)) {
            to.copy_from_slice(from);
        }
        self.taken += len;
        len
    }
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Whether there is something that a read would give, be it an empty message.
    pub(super) fn is_readable(&self) -> bool {
        self.messages.iter().any(|message| message.is_whole || !message.left().is_empty())
    }

    /// Adds what one read gave; `is_end` says whether a message ends with it.
    pub(super) fn push(&mut self, data: Vec<u8>, is_end: bool) {
        if data.is_empty() {
            self.empty_reads = self.empty_reads.saturating_add(1);
        } else {
            (self.empty_reads, self.doubtful) = (0, 0);
        }
        match self.messages.back_mut() {
            Some(last) if !last.is_whole => {
                last.data.extend_from_slice(&data);
                last.is_whole = is_end;
            }
            _ => self.messages.push_back(Message { data, taken: 0, is_whole: is_end }),
        }
    }

    /// Adds an empty message that may be a failure of the device; says whether it still passes for a message.
    pub(super) fn push_empty(&mut self) -> bool {
        if self.doubtful >= DOUBTFUL_MAX {
            self.doubtful = 0;
            return false;
        }
        self.doubtful += 1;
        self.push(Vec::new(), true);
        true
    }

    /// How long to wait before the next read is sent.
    pub(super) fn pause_before_read(&self) -> Option<Duration> {
        (self.empty_reads > EMPTY_READS_MAX).then_some(EMPTY_READ_PAUSE)
    }

    /// Nothing more comes: what was begun is all there is of it.
    pub(super) fn finish(&mut self) {
        if let Some(last) = self.messages.back_mut() {
            last.is_whole = true;
        }
    }

    /// Takes bytes, across the ends of messages; `None` if there are none.
    pub(super) fn take_bytes(&mut self, buf: &mut [u8]) -> Option<usize> {
        let mut len = 0;
        while let Some(message) = self.messages.front_mut() {
            len += buf.get_mut(len..).map_or(0, |rest| message.take_into(rest));
            if !message.left().is_empty() {
                break;
            }
            if !message.is_whole {
                // It goes on; what was taken of it needs no place any more.
                message.data.clear();
                message.taken = 0;
                break;
            }
            self.messages.pop_front();
        }
        (len > 0).then_some(len)
    }

    /// Takes a message or the part of it that fills the buffer; `None` while more of it has to come.
    pub(super) fn take_message(&mut self, buf: &mut [u8]) -> Option<MessageRead> {
        let message = self.messages.front_mut()?;
        if message.left().len() > buf.len() || (!message.is_whole && message.left().len() == buf.len()) {
            return Some(MessageRead::Part(message.take_into(buf)));
        }
        if !message.is_whole {
            return None;
        }
        let len = message.take_into(buf);
        self.messages.pop_front();
        self.doubtful = 0;
        Some(MessageRead::Whole(len))
    }

    /// Takes a whole message of at most so many bytes; `None` while more of it has to come.
    pub(super) fn take_whole(&mut self, len_max: usize) -> Option<io::Result<Vec<u8>>> {
        let message = self.messages.front()?;
        let len = message.left().len();
        if len > len_max {
            let text = format!("the message has {len} bytes or more, and at most {len_max} were asked for");
            return Some(Err(fail(PipeErrorKind::MoreData, text)));
        }
        if !message.is_whole {
            return None;
        }
        let Message { mut data, taken, .. } = self.messages.pop_front()?;
        data.drain(..taken.min(data.len()));
        self.doubtful = 0;
        Some(Ok(data))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(parts: &[(&str, bool)]) -> Queue {
        let mut queue = Queue::default();
        for (data, is_end) in parts {
            queue.push(data.as_bytes().to_vec(), *is_end);
        }
        queue
    }

    #[test]
    fn bytes_go_across_messages_and_skip_empty_ones() {
        let mut queue = queue(&[("", true), ("one", true), ("", true), ("two", false)]);
        let mut buf = [0; 5];
        assert_eq!((queue.take_bytes(&mut buf), &buf), (Some(5), b"onetw"));
        assert_eq!((queue.take_bytes(&mut buf), buf[0]), (Some(1), b'o'));
        assert_eq!(queue.take_bytes(&mut buf), None);
        assert!(!queue.is_empty(), "the message goes on");
        queue.push(b"!".to_vec(), true);
        assert_eq!(queue.take_bytes(&mut buf), Some(1));
        assert!(queue.is_empty());
    }

    #[test]
    fn messages_come_whole_or_in_parts_that_fill_the_buffer() {
        let mut queue = queue(&[("", true), ("three", false)]);
        let mut buf = [0; 3];
        assert_eq!(queue.take_message(&mut buf), Some(MessageRead::Whole(0)));
        assert_eq!(queue.take_message(&mut buf), Some(MessageRead::Part(3)));
        assert_eq!(queue.take_message(&mut buf), None, "two bytes, and more has to come");
        queue.push(b"!".to_vec(), true);
        assert_eq!(queue.take_message(&mut buf), Some(MessageRead::Whole(3)));
        assert_eq!(queue.take_message(&mut buf), None);
        queue.push(b"abc".to_vec(), false);
        assert_eq!(queue.take_message(&mut buf), Some(MessageRead::Part(3)));
        queue.finish();
        assert_eq!(queue.take_message(&mut buf), Some(MessageRead::Whole(0)));
    }

    #[test]
    fn whole_messages_stay_if_they_are_too_long() {
        let mut queue = queue(&[("long", false)]);
        assert!(queue.take_whole(4).is_none());
        assert!(queue.take_whole(3).unwrap().unwrap_err() == PipeErrorKind::MoreData);
        queue.push(b"er".to_vec(), true);
        assert!(queue.take_whole(5).unwrap().unwrap_err() == PipeErrorKind::MoreData);
        let mut buf = [0; 1];
        assert_eq!(queue.take_message(&mut buf), Some(MessageRead::Part(1)));
        assert_eq!(queue.take_whole(5).unwrap().unwrap(), b"onger");
        assert!(queue.take_whole(5).is_none() && queue.is_empty());
    }

    #[test]
    fn a_server_that_sends_only_empty_reads_is_asked_slowly() {
        let mut queue = Queue::default();
        for _ in 0..EMPTY_READS_MAX {
            queue.push(Vec::new(), true);
            assert_eq!(queue.pause_before_read(), None, "a server may send some empty messages in a row");
        }
        queue.push(Vec::new(), true);
        assert_eq!(queue.pause_before_read(), Some(EMPTY_READ_PAUSE));
        queue.push(vec![1], true);
        assert_eq!(queue.pause_before_read(), None);
    }

    #[test]
    fn a_reader_of_bytes_hears_of_a_failed_device() {
        let mut queue = Queue::default();
        let mut buf = [0; 1];
        let mut skip = |queue: &mut Queue| queue.push_empty() && queue.take_bytes(&mut buf).is_none();
        assert!((0..DOUBTFUL_MAX).all(|_| skip(&mut queue)));
        assert!(!queue.push_empty() && queue.is_empty());
        // The pipe may go on.
        assert!((0..DOUBTFUL_MAX).all(|_| skip(&mut queue)));
        queue.push(vec![1], true);
        assert_eq!(queue.take_bytes(&mut [0]), Some(1));
        assert!(skip(&mut queue));
    }

    #[test]
    fn a_reader_of_messages_gets_every_empty_one() {
        let mut queue = Queue::default();
        for _ in 0..=DOUBTFUL_MAX {
            assert!(queue.push_empty());
            assert_eq!(queue.take_message(&mut []), Some(MessageRead::Whole(0)));
        }
        for _ in 0..=DOUBTFUL_MAX {
            assert!(queue.push_empty());
            assert_eq!(queue.take_whole(0).unwrap().unwrap(), b"");
        }
    }
}
