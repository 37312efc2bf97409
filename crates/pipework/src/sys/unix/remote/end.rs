//! The client's end of a pipe on another computer.

use super::{
    super::link::denied,
    background::background,
    blocking::wait,
    pipe::Pipe,
    wire::{MESSAGE_LEN_MAX, too_long},
};
use crate::{
    error::{PipeErrorKind, fail},
    message::{MessageRead, Peek},
    options::{PipeInfo, PipeMode},
    sys::{
        settings::Settings,
        unix::{asynchronous::tasks::Waiter, peer::Peer},
    },
};
use std::{
    future::poll_fn,
    io::{self, IoSlice, IoSliceMut},
    sync::Arc,
    task::{Context, Poll},
};

/// The most that one request carries of a stream of bytes, if the server takes as much.
const PIECE_LEN: usize = 1 << 20;

/// One end; it closes when it is dropped.
#[derive(Debug)]
pub(crate) struct RemoteEnd {
    pipe: Arc<Pipe>,
    settings: Settings,
    may_read: bool,
    may_write: bool,
}

impl RemoteEnd {
    pub(super) fn new(pipe: Arc<Pipe>, settings: Settings, (may_read, may_write): (bool, bool)) -> RemoteEnd {
        RemoteEnd { pipe, settings, may_read, may_write }
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The other computer; as whom the pipe is served there, it does not tell.
    pub(crate) fn peer(&self) -> Peer {
        let session = &self.pipe.session;
        Peer::of_server(session.address().ip().to_string(), session.is_encrypted())
    }

    // ---------------------------------------------------------------- what can't be had

    pub(crate) fn peek(&self, _buf: &mut [u8]) -> io::Result<Peek> {
        Err(unsupported("a look at what is there without taking it"))
    }

    pub(crate) fn info(&self) -> io::Result<PipeInfo> {
        Err(unsupported("what kind of pipe it is"))
    }

    // ---------------------------------------------------------------- reading

    pub(crate) fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.wait_to_read(self.read_in_task(buf))
    }

    async fn read_in_task(&self, buf: &mut [u8]) -> io::Result<usize> {
        let (mut waiter, mut bufs) = (Waiter::default(), [IoSliceMut::new(buf)]);
        poll_fn(|cx| self.poll_read(cx, &mut waiter, &mut bufs)).await
    }

    pub(crate) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        waiter: &mut Waiter,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check_may_read()?;
        let Some(buf) = first_of(bufs) else { return Poll::Ready(Ok(0)) };
        let read = self.pipe.poll_take(cx, waiter, None, &mut |queue| queue.take_bytes(buf));
        read.map_ok(|read| read.unwrap_or(0))
    }

    /// Reads what is there, else `WouldBlock`; then something has been asked for.
    pub(crate) fn read_now(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.check_may_read()?;
        let Some(buf) = first_of(bufs) else { return Ok(0) };
        Ok(self.pipe.take_now(&mut |queue| queue.take_bytes(buf))?.unwrap_or(0))
    }

    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>, waiter: &mut Waiter) -> Poll<io::Result<()>> {
        if self.may_read { self.pipe.poll_readable(cx, waiter) } else { Poll::Ready(Ok(())) }
    }

    pub(crate) fn read_message(&self, len_max: usize) -> io::Result<Option<Vec<u8>>> {
        self.wait_to_read(self.read_message_in_task(len_max))
    }

    pub(crate) async fn read_message_in_task(&self, len_max: usize) -> io::Result<Option<Vec<u8>>> {
        self.check_message_mode()?;
        let mut waiter = Waiter::default();
        let mut take = |queue: &mut super::queue::Queue| queue.take_whole(len_max);
        poll_fn(|cx| self.pipe.poll_take(cx, &mut waiter, None, &mut take)).await?.transpose()
    }

    pub(crate) fn read_message_into(&self, buf: &mut [u8]) -> io::Result<MessageRead> {
        self.wait_to_read(self.read_message_into_in_task(buf))
    }

    pub(crate) async fn read_message_into_in_task(&self, buf: &mut [u8]) -> io::Result<MessageRead> {
        self.check_message_mode()?;
        let mut waiter = Waiter::default();
        let mut take = |queue: &mut super::queue::Queue| queue.take_message(buf);
        let read = poll_fn(|cx| self.pipe.poll_take(cx, &mut waiter, None, &mut take)).await?;
        Ok(read.unwrap_or(MessageRead::End))
    }

    pub(crate) fn transact(&self, request: &[u8], len_max: usize) -> io::Result<Vec<u8>> {
        self.wait_to_read(self.transact_in_task(request, len_max))
    }

    pub(crate) async fn transact_in_task(&self, request: &[u8], len_max: usize) -> io::Result<Vec<u8>> {
        self.check_message_mode()?;
        self.check_may_write()?;
        check_message_len(request.len())?;
        self.pipe.transact(request.to_vec(), len_max).await
    }

    /// Switches how this end reads; the server is told before the next read.
    pub(crate) fn set_read_mode(&self, mode: PipeMode) -> io::Result<()> {
        // Whether it is a byte pipe the server says then.
        self.settings.set_read_mode(mode, true)?;
        self.pipe.set_read_mode(mode == PipeMode::Message)
    }

    /// Tells the server now that this end reads messages.
    pub(super) async fn tell_read_mode(&self) -> io::Result<()> {
        self.pipe.tell_read_mode(true).await
    }

    // ---------------------------------------------------------------- writing

    /// Writes all of it, as a message if this end reads messages; or what was handed over before the limit was reached.
    pub(crate) fn write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.check_may_write()?;
        let len = self.check_len(bufs)?;
        let limit = self.settings.write_limit();
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

    pub(crate) fn write_message(&self, message: &[u8]) -> io::Result<()> {
        self.check_may_write()?;
        check_message_len(message.len())?;
        let limit = self.settings.write_limit();
        let mut written = 0;
        let writing = self.pipe.write(message.len(), |_, _| message.to_vec(), &mut written);
        match wait(&limit, writing) {
            Ok(outcome) => outcome,
            // What was handed over counts as written.
            Err(_) if written > 0 => Ok(()),
            Err(ended) => Err(ended),
        }
    }

    pub(crate) async fn write_message_in_task(&self, message: &[u8]) -> io::Result<()> {
        self.check_may_write()?;
        check_message_len(message.len())?;
        self.pipe.write(message.len(), |_, _| message.to_vec(), &mut 0).await
    }

    /// Hands over what one request carries; it counts as written, and its failure is told by the next write.
    pub(crate) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        waiter: &mut Waiter,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check_may_write()?;
        if self.check_len(bufs)? == 0 {
            return Poll::Ready(Ok(0));
        }
        self.pipe.poll_hand_over(cx, waiter, |len_max| piece(bufs, 0, len_max.min(PIECE_LEN)))
    }

    /// The same at once, else `WouldBlock`.
    pub(crate) fn write_now(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.check_may_write()?;
        if self.check_len(bufs)? == 0 {
            return Ok(0);
        }
        self.pipe.hand_over_now(|len_max| piece(bufs, 0, len_max.min(PIECE_LEN)))
    }

    pub(crate) fn poll_writable(&self, cx: &mut Context<'_>, waiter: &mut Waiter) -> Poll<io::Result<()>> {
        if self.may_write { self.pipe.poll_writable(cx, waiter) } else { Poll::Ready(Ok(())) }
    }

    /// Waits for what was handed over to be written.
    pub(crate) fn poll_written(&self, cx: &mut Context<'_>, waiter: &mut Waiter) -> Poll<io::Result<()>> {
        self.pipe.poll_written(cx, waiter)
    }

    pub(crate) fn drain(&self) -> io::Result<()> {
        wait(&self.settings.write_limit(), self.drain_in_task())?
    }

    pub(crate) async fn drain_in_task(&self) -> io::Result<()> {
        self.check_may_write()?;
        self.pipe.drain().await
    }

    // ---------------------------------------------------------------- checks

    fn wait_to_read<T>(&self, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        wait(&self.settings.read_limit(), work)?
    }

    fn check_may_read(&self) -> io::Result<()> {
        if self.may_read { Ok(()) } else { Err(denied("read")) }
    }

    fn check_may_write(&self) -> io::Result<()> {
        if self.may_write { Ok(()) } else { Err(denied("write")) }
    }

    fn check_message_mode(&self) -> io::Result<()> {
        self.check_may_read()?;
        if self.settings.reads_messages() {
            return Ok(());
        }
        let text = "this end reads bytes: switch it with `set_read_mode(PipeMode::Message)`, or call `read`";
        Err(fail(PipeErrorKind::BadPipe, text))
    }

    /// The length of a write, which is a message where this end reads messages.
    fn check_len(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let len = bufs.iter().map(|buf| buf.len()).sum();
        if self.settings.reads_messages() {
            check_message_len(len)?;
        }
        Ok(len)
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
    fail(PipeErrorKind::Unsupported, format!("over the network there is no such thing as {what}"))
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
