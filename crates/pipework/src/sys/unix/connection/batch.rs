//! Attempts to take and to give many messages at once. None of them waits.

use super::{
    Connection,
    large::Along,
    read::TakeOutcome,
    step::{On, Step},
    write::Published,
};
use crate::{
    message::{MessageBatch, MessageRead},
    ring::{Consumer, Front, MessageSink},
    sys::errors::{closed, more_data, out_of_memory},
};
use std::{
    io::{self, IoSlice},
    slice,
};

impl Connection {
    // ---------------------------------------------------------------- reading

    /// Reads the messages that are there, as many as the batch takes. 0 is the end.
    pub(super) fn attempt_read_messages(&self, batch: &mut MessageBatch) -> io::Result<Step<usize>> {
        let step = self.attempt_take(|consumer| self.take_messages(consumer, batch))?;
        Ok(step.map(|count| count.unwrap_or(0)))
    }

    /// Takes messages. What ends the batch after some of them, the next read finds again.
    fn take_messages(
        &self,
        consumer: &mut Consumer,
        batch: &mut MessageBatch,
    ) -> io::Result<TakeOutcome<usize>> {
        batch.clear();
        loop {
            let is_ring_empty = match self.checked(consumer.take_messages(batch)) {
                Err(error) if batch.is_empty() => return Err(error),
                outcome => outcome.unwrap_or(true),
            };
            if is_ring_empty || batch.len_left().is_none() {
                break;
            }
            // A message that does not lie in the ring, or of which a part was taken, or that is too long.
            match self.take_next(consumer, batch) {
                Ok(TakeOutcome::Some(())) => {}
                outcome if batch.is_empty() => return outcome.map(|taken| taken.map(|()| 0)),
                _ => break,
            }
        }
        Ok(if batch.is_empty() { TakeOutcome::Nothing } else { TakeOutcome::Some(batch.len()) })
    }

    /// Takes all that is left of the message at the front.
    fn take_next(&self, consumer: &mut Consumer, batch: &mut MessageBatch) -> io::Result<TakeOutcome<()>> {
        let Front::Message { left, .. } = self.checked(consumer.front())? else {
            return Ok(TakeOutcome::Nothing);
        };
        let (count, len_max) = (batch.len(), batch.len_left().unwrap_or(0));
        let len = usize::try_from(left).unwrap_or(usize::MAX);
        let Some(place) = batch.place(len).map_err(out_of_memory)? else {
            return Err(more_data(left, len_max));
        };
        let taken = self.take_message(consumer, place, &mut Along::default());
        if !matches!(taken, Ok(TakeOutcome::Some(MessageRead::Whole(_)))) {
            batch.truncate(count);
        }
        taken.map(|taken| taken.map(drop))
    }

    // ---------------------------------------------------------------- writing

    /// Publishes messages from the first one on, as many as there is room for. What was published counts messages.
    pub(super) fn attempt_write_messages(&self, messages: &[IoSlice<'_>]) -> io::Result<Step<Published>> {
        let Step::Done(rings) = self.attempt_rings()? else { return Ok(Step::Blocked(On::Hello)) };
        let rings = rings.ok_or_else(closed)?;
        if self.is_closed() {
            return Err(closed());
        }
        let mut producer = rings.producer()?;
        let len = self.checked(producer.write_messages(messages))?;
        let Some(first) = messages.first().filter(|_| len == 0) else {
            let is_settled = self.checked(producer.is_settled())?;
            return Ok(Step::Done(Published { len, is_settled }));
        };
        drop(producer);
        // It has no room, or does not lie in the ring.
        let step = self.publish_message(rings, slice::from_ref(first))?;
        Ok(step.map(|published| Published { len: 1, ..published }))
    }
}

impl MessageSink for MessageBatch {
    fn place(&mut self, len: u64) -> Option<&mut [u8]> {
        // What fails here fails again when the message is taken alone.
        MessageBatch::place(self, usize::try_from(len).ok()?).ok().flatten()
    }
}
