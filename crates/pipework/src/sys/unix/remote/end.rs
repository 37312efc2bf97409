//! The client's end of a remote pipe.

use super::{
    background::background,
    blocking::wait,
    pipe::Pipe,
    queue::Queue,
    wire::{MESSAGE_LEN_MAX, too_long},
};
use crate::{
    error::{PipeErrorKind, fail},
    message::{MessageBatch, MessageRead, Peek},
    options::{PipeInfo, PipeMode},
    sys::{
        end::{PipeEnd, Work, fill_batch},
        end_options::EndOptions,
        errors::{denied, reads_bytes},
        unix::{connection::task::TaskWait, peer::Peer},
    },
};
use std::{
    future::poll_fn,
    io::{self, IoSlice, IoSliceMut},
    os::fd::BorrowedFd,
    sync::Arc,
    task::{Context, Poll},
};

/// The most that one request carries of a stream of bytes, if the server takes as much.
const PIECE_LEN: usize = 1 << 20;

/// One end; it closes when it is dropped.
#[derive(Debug)]
pub(crate) struct RemoteEnd {
    pipe: Arc<Pipe>,
    options: EndOptions,
    may_read: bool,
    may_write: bool,
}

impl RemoteEnd {
    pub(super) fn new(
        pipe: Arc<Pipe>,
        options: EndOptions,
        (may_read, may_write): (bool, bool),
    ) -> RemoteEnd {
        RemoteEnd { pipe, options, may_read, may_write }
    }

    /// Sets message read mode on the server now.
    pub(super) async fn send_read_mode(&self) -> io::Result<()> {
        self.pipe.send_read_mode(true).await
    }

    // ---------------------------------------------------------------- checks

    fn wait_to_read<T>(&self, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        wait(&self.options.read_limit(), work)?
    }

    fn check_may_read(&self) -> io::Result<()> {
        if self.may_read { Ok(()) } else { Err(denied("read")) }
    }

    fn check_may_write(&self) -> io::Result<()> {
        if self.may_write { Ok(()) } else { Err(denied("write")) }
    }

    fn check_message_mode(&self) -> io::Result<()> {
        self.check_may_read()?;
        if self.options.reads_messages() {
            return Ok(());
        }
        Err(reads_bytes())
    }

    fn check_messages(&self, messages: &[IoSlice<'_>]) -> io::Result<()> {
        self.check_may_write()?;
        messages.iter().try_for_each(|message| check_message_len(message.len()))
    }

    /// The length of a write, which is a message where this end reads messages.
    fn check_len(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let len = bufs.iter().map(|buf| buf.len()).sum();
        if self.options.reads_messages() {
            check_message_len(len)?;
        }
        Ok(len)
    }
}

impl PipeEnd for RemoteEnd {
    fn options(&self) -> &EndOptions {
        &self.options
    }

    // ---------------------------------------------------------------- threads

    fn read(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let mut wait = TaskWait::default();
        self.wait_to_read(poll_fn(|cx| self.poll_read(cx, &mut wait, bufs)))
    }

    fn read_message_to(&self, message: &mut Vec<u8>, len_max: usize) -> io::Result<Option<usize>> {
        let mut wait = TaskWait::default();
        self.wait_to_read(poll_fn(|cx| self.poll_message_to(cx, &mut wait, message, len_max)))
    }

    fn read_message_into(&self, buf: &mut [u8]) -> io::Result<MessageRead> {
        let mut wait = TaskWait::default();
        self.wait_to_read(poll_fn(|cx| self.poll_message_into(cx, &mut wait, buf)))
    }

    /// Writes all of it, as a message if this end reads messages; or what was handed over before the limit was reached.
    fn write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.check_may_write()?;
        let len = self.check_len(bufs)?;
        let limit = self.options.write_limit();
        let mut written = 0;
        let writing =
            self.pipe.write(len, |from, len_max| piece(bufs, from, len_max.min(PIECE_LEN)), &mut written);
        match wait(&limit, writing) {
            Ok(Err(failure)) if written > 0 => {
                self.pipe.keep_write_failure(failure);
                Ok(written)
            }
            Ok(outcome) => outcome.map(|()| written),
            Err(_) if written > 0 => Ok(written),
            Err(ended) => Err(ended),
        }
    }

    fn write_message(&self, message: &[u8]) -> io::Result<()> {
        self.check_may_write()?;
        check_message_len(message.len())?;
        let limit = self.options.write_limit();
        let mut written = 0;
        let writing = self.pipe.write(message.len(), |_, _| message.to_vec(), &mut written);
        match wait(&limit, writing) {
            Ok(outcome) => outcome,
            // Data that was handed over counts as written.
            Err(_) if written > 0 => Ok(()),
            Err(ended) => Err(ended),
        }
    }

    fn read_messages(&self, batch: &mut MessageBatch) -> io::Result<usize> {
        let mut wait = TaskWait::default();
        self.wait_to_read(poll_fn(|cx| self.poll_messages(cx, &mut wait, batch)))
    }

    /// Writes one after the other. What ends it after some of them is kept for the next write.
    fn write_messages(&self, messages: &[IoSlice<'_>]) -> io::Result<usize> {
        self.check_messages(messages)?;
        let limit = self.options.write_limit();
        for (count, message) in messages.iter().enumerate() {
            let mut written = 0;
            let writing = self.pipe.write(message.len(), |_, _| message.to_vec(), &mut written);
            match wait(&limit, writing) {
                Ok(Ok(())) => {}
                Ok(Err(failure)) if count > 0 => {
                    self.pipe.keep_write_failure(failure);
                    return Ok(count);
                }
                Ok(Err(failure)) => return Err(failure),
                // Data that was handed over counts as written.
                Err(_) if count > 0 || written > 0 => return Ok(count + usize::from(written > 0)),
                Err(ended) => return Err(ended),
            }
        }
        Ok(messages.len())
    }

    fn transact(&self, request: &[u8], len_max: usize) -> io::Result<Vec<u8>> {
        self.wait_to_read(self.transact_async(request, len_max))
    }

    fn peek(&self, _: &mut [u8]) -> io::Result<Peek> {
        Err(unsupported("`peek`"))
    }

    fn drain(&self) -> io::Result<()> {
        wait(&self.options.write_limit(), self.drain_async())?
    }

    // ---------------------------------------------------------------- settings and facts

    /// The server hears of it before the next read. Whether it is a byte pipe the server says then.
    fn set_read_mode(&self, mode: PipeMode) -> io::Result<()> {
        self.options.set_read_mode(mode, true)?;
        self.pipe.set_read_mode(mode == PipeMode::Message)
    }

    fn info(&self) -> io::Result<PipeInfo> {
        Err(unsupported("`info`"))
    }

    fn is_connected(&self) -> io::Result<bool> {
        Err(unsupported("`is_connected`"))
    }

    /// The server's host; SMB does not report the user that serves the pipe.
    fn peer(&self) -> io::Result<Peer> {
        let session = &self.pipe.session;
        Ok(Peer::of_server(session.address().ip().to_string(), session.is_encrypted()))
    }

    // ---------------------------------------------------------------- event loops

    /// Where nothing is there, something has been asked for.
    fn try_read(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.check_may_read()?;
        let Some(buf) = first_of(bufs) else { return Ok(0) };
        Ok(self.pipe.take_now(&mut |queue| queue.take_bytes(buf))?.unwrap_or(0))
    }

    fn try_write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.check_may_write()?;
        if self.check_len(bufs)? == 0 {
            return Ok(0);
        }
        self.pipe.hand_over_now(|len_max| piece(bufs, 0, len_max.min(PIECE_LEN)))
    }

    fn try_read_messages(&self, batch: &mut MessageBatch) -> io::Result<usize> {
        self.check_message_mode()?;
        if batch.takes_nothing() {
            return Ok(0);
        }
        self.pipe.take_now(&mut |queue| take_messages(queue, batch))?.unwrap_or(Ok(0))
    }

    fn try_write_messages(&self, messages: &[IoSlice<'_>]) -> io::Result<usize> {
        self.check_messages(messages)?;
        let Some(first) = messages.first() else { return Ok(0) };
        self.pipe.hand_over_now(|_| first.to_vec()).map(|_| 1)
    }

    fn read_ready_fd(&self) -> io::Result<BorrowedFd<'_>> {
        Err(no_descriptor())
    }

    fn write_ready_fd(&self) -> io::Result<BorrowedFd<'_>> {
        Err(no_descriptor())
    }

    // ---------------------------------------------------------------- tasks

    fn poll_read(
        &self,
        cx: &mut Context<'_>,
        wait: &mut TaskWait,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check_may_read()?;
        let Some(buf) = first_of(bufs) else { return Poll::Ready(Ok(0)) };
        let read = self.pipe.poll_take(cx, &mut wait.waiter, None, &mut |queue| queue.take_bytes(buf));
        read.map_ok(|read| read.unwrap_or(0))
    }

    /// Hands over what one request carries; it counts as written, and the next write reports its failure.
    fn poll_write(
        &self,
        cx: &mut Context<'_>,
        wait: &mut TaskWait,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check_may_write()?;
        if self.check_len(bufs)? == 0 {
            return Poll::Ready(Ok(0));
        }
        self.pipe.poll_hand_over(cx, &mut wait.waiter, |len_max| piece(bufs, 0, len_max.min(PIECE_LEN)))
    }

    fn poll_readable(&self, cx: &mut Context<'_>, wait: &mut TaskWait) -> Poll<io::Result<()>> {
        if self.may_read { self.pipe.poll_readable(cx, &mut wait.waiter) } else { Poll::Ready(Ok(())) }
    }

    fn poll_writable(&self, cx: &mut Context<'_>, wait: &mut TaskWait, _: usize) -> Poll<io::Result<()>> {
        if self.may_write { self.pipe.poll_writable(cx, &mut wait.waiter) } else { Poll::Ready(Ok(())) }
    }

    /// Waits for what was handed over to be written.
    fn poll_shutdown(&self, cx: &mut Context<'_>, wait: &mut TaskWait) -> Poll<io::Result<()>> {
        self.pipe.poll_written(cx, &mut wait.waiter)
    }

    fn poll_message_to(
        &self,
        cx: &mut Context<'_>,
        wait: &mut TaskWait,
        message: &mut Vec<u8>,
        len_max: usize,
    ) -> Poll<io::Result<Option<usize>>> {
        self.check_message_mode()?;
        let read = self.pipe.poll_take(cx, &mut wait.waiter, None, &mut |queue| queue.take_whole(len_max));
        read.map(|read| {
            Ok(read?.transpose()?.map(|received| {
                *message = received;
                message.len()
            }))
        })
    }

    fn poll_message_into(
        &self,
        cx: &mut Context<'_>,
        wait: &mut TaskWait,
        buf: &mut [u8],
    ) -> Poll<io::Result<MessageRead>> {
        self.check_message_mode()?;
        let read = self.pipe.poll_take(cx, &mut wait.waiter, None, &mut |queue| queue.take_message(buf));
        read.map_ok(|read| read.unwrap_or(MessageRead::End))
    }

    fn poll_messages(
        &self,
        cx: &mut Context<'_>,
        wait: &mut TaskWait,
        batch: &mut MessageBatch,
    ) -> Poll<io::Result<usize>> {
        self.check_message_mode()?;
        if batch.takes_nothing() {
            return Poll::Ready(Ok(0));
        }
        let read = self.pipe.poll_take(cx, &mut wait.waiter, None, &mut |queue| take_messages(queue, batch));
        read.map(|read| read?.unwrap_or(Ok(0)))
    }

    /// Hands one message over, since one request is under way at a time.
    fn poll_write_messages(
        &self,
        cx: &mut Context<'_>,
        wait: &mut TaskWait,
        messages: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check_messages(messages)?;
        let Some(first) = messages.first() else { return Poll::Ready(Ok(0)) };
        self.pipe.poll_hand_over(cx, &mut wait.waiter, |_| first.to_vec()).map_ok(|_| 1)
    }

    fn write_message_async<'a>(&'a self, message: &'a [u8]) -> Work<'a, ()> {
        Box::pin(async move {
            self.check_may_write()?;
            check_message_len(message.len())?;
            self.pipe.write(message.len(), |_, _| message.to_vec(), &mut 0).await
        })
    }

    fn transact_async<'a>(&'a self, request: &'a [u8], len_max: usize) -> Work<'a, Vec<u8>> {
        Box::pin(async move {
            self.check_message_mode()?;
            self.check_may_write()?;
            check_message_len(request.len())?;
            self.pipe.transact(request.to_vec(), len_max).await
        })
    }

    fn drain_async(&self) -> Work<'_, ()> {
        Box::pin(async move {
            self.check_may_write()?;
            self.pipe.drain().await
        })
    }
}

impl Drop for RemoteEnd {
    fn drop(&mut self) {
        // In a forked child the pipe is the parent's.
        if let Ok(background) = background() {
            background.spawn(Arc::clone(&self.pipe).close());
        }
    }
}

/// Takes the messages that are there; `None` if there is none.
fn take_messages(queue: &mut Queue, batch: &mut MessageBatch) -> Option<io::Result<usize>> {
    match fill_batch(batch, |_, len_max| queue.take_whole(len_max).transpose()) {
        Ok(0) => None,
        filled => Some(filled),
    }
}

fn check_message_len(len: usize) -> io::Result<()> {
    if (1..=MESSAGE_LEN_MAX).contains(&len) { Ok(()) } else { Err(too_long(len)) }
}

fn first_of<'a>(bufs: &'a mut [IoSliceMut<'_>]) -> Option<&'a mut [u8]> {
    bufs.iter_mut().map(|buf| &mut **buf).find(|buf| !buf.is_empty())
}

/// A copy of what the buffers have from a place on, at most so much.
fn piece(bufs: &[IoSlice<'_>], mut from: usize, len_max: usize) -> Vec<u8> {
    let mut piece = Vec::new();
    for buf in bufs {
        let rest = buf.get(from..).unwrap_or_default();
        from = from.saturating_sub(buf.len());
        let room = len_max - piece.len();
        piece.extend_from_slice(rest.get(..room).unwrap_or(rest));
        if piece.len() == len_max {
            break;
        }
    }
    piece
}

fn unsupported(what: &str) -> io::Error {
    fail(PipeErrorKind::Unsupported, format!("SMB has no request for {what} of a remote pipe"))
}

fn no_descriptor() -> io::Error {
    let text =
        "a remote pipe has no descriptor of its own: use threads, or the async ends of `pipework::tokio`";
    fail(PipeErrorKind::Unsupported, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_all_of_it_in_order() {
        let parts: [&[u8]; 4] = [b"ab", b"", b"cdef", b"g"];
        let bufs = parts.map(IoSlice::new);
        for len_max in 1..9 {
            let mut all = Vec::new();
            while all.len() < 7 {
                let piece = piece(&bufs, all.len(), len_max);
                assert!((1..=len_max).contains(&piece.len()));
                all.extend(piece);
            }
            assert_eq!(all, b"abcdefg");
        }
    }
}
