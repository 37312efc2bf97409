//! Async reads from a connection, which never block a thread.

use super::{
    super::{connection::Connection, direction::DirectionGuard, reading::ReadOutcome},
    TRIES_MAX, TaskWait,
    completion::Operation,
    lock::lock,
    read_watch::{Reading, Watch},
    runtime::check_runtime,
    state::State,
};
use crate::{
    error::PipeErrorKind,
    message::{MessageBatch, MessageRead},
    sys::{
        WaitLimit,
        errors::{broken, of_transaction, unread_before_transaction},
    },
};
use ::tokio::task::coop;
use std::{
    future::poll_fn,
    io::{self, IoSliceMut},
    sync::Arc,
    task::{Context, Poll, ready},
};

/// The outcome of one try.
enum Try<T> {
    Done(T),
    /// Something happened meanwhile.
    Again,
    /// Nothing is there; an operation wakes the tasks when something arrives.
    Wait,
}

/// No other task reads while this lives.
struct Reservation<'a> {
    state: &'a State,
}

impl Connection {
    /// Reads bytes, in either read mode; 0 is the end.
    pub(crate) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        wait: &mut TaskWait,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(done) = self.read_into_nothing(bufs)? {
            return Poll::Ready(Ok(done));
        }
        self.poll_take(cx, wait, false, |reading, guard| self.take_bytes(reading, guard, bufs))
    }

    /// The same without waiting; `WouldBlock` if nothing is there.
    pub(crate) fn try_read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        if let Some(done) = self.read_into_nothing(bufs)? {
            return Ok(done);
        }
        self.take_now(|reading, guard| self.take_bytes(reading, guard, bufs))
    }

    /// Reads the messages that are there; `WouldBlock` if there is none.
    pub(crate) fn try_read_messages(&self, batch: &mut MessageBatch) -> io::Result<usize> {
        self.check_reads_messages()?;
        if batch.takes_nothing() {
            return self.check_usable().map(|()| 0);
        }
        self.take_now(|reading, guard| self.take_messages(reading, guard, batch))
    }

    /// Takes something if it is there, else `WouldBlock`.
    fn take_now<T>(
        &self,
        mut take: impl FnMut(&mut Reading, &DirectionGuard<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut reading = lock(&self.state().reading);
        reading.notice_end();
        // The watch may have taken an empty message without having completed: that one comes before what is visible now.
        let may_hold_empty = reading.watch.as_ref().is_some_and(|watch| watch.takes_empty);
        if reading.is_reserved || may_hold_empty {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.try_take(&mut reading, &mut take)?.ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }

    /// A read into empty buffers returns 0 without waiting (rule B4).
    fn read_into_nothing(&self, bufs: &[IoSliceMut<'_>]) -> io::Result<Option<usize>> {
        self.pipe.check_may_read()?;
        if bufs.iter().all(|buf| buf.is_empty()) {
            return self.check_usable().map(|()| Some(0));
        }
        Ok(None)
    }

    /// Takes the empty message that the watch has taken from the system, if it has.
    pub(in super::super) fn take_watched_empty(&self) -> bool {
        self.state.get().is_some_and(|state| std::mem::take(&mut lock(&state.reading).has_empty))
    }

    /// Ready when a read would not wait, be it for an error.
    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>, wait: &mut TaskWait) -> Poll<io::Result<()>> {
        if self.pipe.check_may_read().is_err() {
            return Poll::Ready(Ok(()));
        }
        self.poll_try(cx, wait, |reading| {
            if reading.watch.is_some() {
                return Ok(Try::Wait);
            }
            if reading.has_empty || self.is_readable() {
                return Ok(Try::Done(()));
            }
            reading.is_signalled = false;
            Ok(match self.begin_watch(reading)? {
                Try::Again => Try::Done(()),
                other => other,
            })
        })
    }

    /// Reads one message, or the part of it that fits.
    pub(crate) fn poll_read_message_into(
        &self,
        cx: &mut Context<'_>,
        wait: &mut TaskWait,
        buf: &mut [u8],
    ) -> Poll<io::Result<MessageRead>> {
        self.check_reads_messages()?;
        self.poll_take(cx, wait, false, |reading, guard| {
            if self.take_empty(reading)? {
                return Ok(MessageRead::Whole(0));
            }
            Ok(match self.read_once(guard, buf, &WaitLimit::zero())? {
                ReadOutcome::Whole(len) => MessageRead::Whole(len),
                ReadOutcome::Part(len) => MessageRead::Part(len),
                ReadOutcome::End => MessageRead::End,
            })
        })
    }

    /// Reads one whole message of at most `len_max` bytes; `None` is the end.
    pub(crate) fn poll_read_message_to(
        &self,
        cx: &mut Context<'_>,
        wait: &mut TaskWait,
        message: &mut Vec<u8>,
        len_max: usize,
    ) -> Poll<io::Result<Option<usize>>> {
        self.check_reads_messages()?;
        let take = |reading: &mut Reading, guard: &DirectionGuard<'_>| {
            self.take_message(reading, guard, message, len_max)
        };
        self.poll_take(cx, wait, false, take)
    }

    /// Reads at least one whole message, and others that are there; 0 is the end.
    pub(crate) fn poll_read_messages(
        &self,
        cx: &mut Context<'_>,
        wait: &mut TaskWait,
        batch: &mut MessageBatch,
    ) -> Poll<io::Result<usize>> {
        self.check_reads_messages()?;
        if batch.takes_nothing() {
            return Poll::Ready(self.check_usable().map(|()| 0));
        }
        self.poll_take(cx, wait, false, |reading, guard| self.take_messages(reading, guard, batch))
    }

    /// Writes a message and reads the reply.
    pub(crate) async fn transact_async(&self, request: &[u8], len_max: usize) -> io::Result<Vec<u8>> {
        self.pipe.check_may_write()?;
        self.check_reads_messages()?;
        let mut wait = TaskWait::default();
        // No other task reads between request and reply, or two tasks could get each other's replies.
        let reservation = poll_fn(|cx| self.poll_reservation(cx, &mut wait)).await?;
        let is_unread = self.pipe.within(self.generation, || self.pipe.peek(&mut []))?.available > 0;
        if is_unread || self.holds_empty_message() {
            return Err(unread_before_transaction());
        }
        self.write_message_async(request).await.map_err(of_transaction)?;
        let mut reply = Vec::new();
        let mut take = |reading: &mut Reading, guard: &DirectionGuard<'_>| {
            self.take_message(reading, guard, &mut reply, len_max)
        };
        let read = poll_fn(|cx| self.poll_take(cx, &mut wait, true, &mut take)).await?;
        drop(reservation);
        read.map(|_| reply).ok_or_else(broken)
    }

    fn poll_reservation(
        &self,
        cx: &mut Context<'_>,
        wait: &mut TaskWait,
    ) -> Poll<io::Result<Reservation<'_>>> {
        self.poll_try(cx, wait, |reading| {
            if std::mem::replace(&mut reading.is_reserved, true) {
                return Ok(Try::Wait);
            }
            Ok(Try::Done(Reservation { state: self.state() }))
        })
    }

    /// Whether a watch has taken an empty message that no read has returned yet.
    pub(in super::super) fn holds_empty_message(&self) -> bool {
        self.state.get().is_some_and(|state| {
            let mut reading = lock(&state.reading);
            reading.notice_end();
            reading.has_empty
        })
    }

    /// Switches the read mode by `switch`, while no watch is pending: the kernel completes a watch in the mode of that
    /// moment, and `Watch::takes_empty` is the mode of its beginning.
    pub(in super::super) fn without_watch<T>(&self, switch: impl FnOnce() -> T) -> T {
        let state = self.state();
        let switched = {
            let mut reading = lock(&state.reading);
            reading.cancel_watch();
            switch()
        };
        // The tasks that waited for the watch begin another one.
        state.readers.wake_all();
        switched
    }

    /// Polls until `take` takes something; `is_owner` says that the caller has the reservation, if there is one.
    fn poll_take<T>(
        &self,
        cx: &mut Context<'_>,
        wait: &mut TaskWait,
        is_owner: bool,
        mut take: impl FnMut(&mut Reading, &DirectionGuard<'_>) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        self.poll_try(cx, wait, |reading| {
            if reading.watch.is_some() || (reading.is_reserved && !is_owner) {
                return Ok(Try::Wait);
            }
            match self.try_take(reading, &mut take)? {
                Some(taken) => Ok(Try::Done(taken)),
                None => self.begin_watch(reading),
            }
        })
    }

    /// Tries a few times, then lets other tasks run.
    fn poll_try<T>(
        &self,
        cx: &mut Context<'_>,
        wait: &mut TaskWait,
        mut attempt: impl FnMut(&mut Reading) -> io::Result<Try<T>>,
    ) -> Poll<io::Result<T>> {
        let progress = ready!(coop::poll_proceed(cx));
        let state = self.state();
        for _ in 0..TRIES_MAX {
            // Registered before the try, so that whatever happens from here on wakes this task.
            wait.wait_at(&state.readers, cx);
            let tried = {
                let mut reading = lock(&state.reading);
                reading.notice_end();
                attempt(&mut reading)
            };
            match tried {
                Ok(Try::Done(value)) => {
                    progress.made_progress();
                    return Poll::Ready(Ok(value));
                }
                Ok(Try::Again) => {}
                Ok(Try::Wait) => return Poll::Pending,
                Err(error) => {
                    progress.made_progress();
                    return Poll::Ready(Err(error));
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Takes something if it is there.
    fn try_take<T>(
        &self,
        reading: &mut Reading,
        take: &mut impl FnMut(&mut Reading, &DirectionGuard<'_>) -> io::Result<T>,
    ) -> io::Result<Option<T>> {
        // After a signal the read is tried even if nothing is visible: it may be an empty message.
        if !std::mem::take(&mut reading.is_signalled) && !reading.has_empty && !self.is_readable() {
            return Ok(None);
        }
        let Some(guard) = self.reading.try_lock() else { return Ok(None) };
        match take(reading, &guard) {
            Ok(taken) => Ok(Some(taken)),
            Err(error) if error == PipeErrorKind::TimedOut => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether there are bytes to read, or an error that reading returns.
    fn is_readable(&self) -> bool {
        let seen = self.pipe.within(self.generation, || self.pipe.peek(&mut []));
        seen.map_or(true, |seen| seen.available > 0 || seen.left > 0)
    }

    /// Begins to watch for something to read.
    fn begin_watch<T>(&self, reading: &mut Reading) -> io::Result<Try<T>> {
        check_runtime()?;
        let takes_empty = self.options.reads_messages();
        let begun = Operation::read_nothing(&self.state().readers, &self.pipe, self.generation);
        match begun {
            Ok((operation, None)) => {
                let pipe = Arc::clone(&self.pipe);
                reading.watch = Some(Watch { operation, takes_empty, pipe });
                Ok(Try::Wait)
            }
            Ok((_, Some(ended))) => {
                reading.note_end(ended, takes_empty);
                Ok(Try::Again)
            }
            Err(_) => {
                // The read itself returns the error.
                reading.is_signalled = true;
                Ok(Try::Again)
            }
        }
    }

    fn take_messages(
        &self,
        reading: &mut Reading,
        guard: &DirectionGuard<'_>,
        batch: &mut MessageBatch,
    ) -> io::Result<usize> {
        self.fill_batch(batch, |len_max| {
            let mut message = Vec::new();
            Ok(self.take_message(reading, guard, &mut message, len_max)?.map(|_| message))
        })
    }

    fn take_message(
        &self,
        reading: &mut Reading,
        guard: &DirectionGuard<'_>,
        message: &mut Vec<u8>,
        len_max: usize,
    ) -> io::Result<Option<usize>> {
        if self.take_empty(reading)? {
            message.clear();
            return Ok(Some(0));
        }
        self.read_whole(guard, &WaitLimit::zero(), message, len_max)
    }

    /// Takes the empty message that a watch has taken from the kernel. A disconnect discards it as all other unread data
    /// (rule F2).
    fn take_empty(&self, reading: &mut Reading) -> io::Result<bool> {
        if std::mem::take(&mut reading.has_empty) {
            return self.check_usable().map(|()| true);
        }
        Ok(false)
    }

    /// Fills several buffers as one read would fill one.
    fn take_bytes(
        &self,
        reading: &mut Reading,
        guard: &DirectionGuard<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> io::Result<usize> {
        // An empty message has no bytes.
        reading.has_empty = false;
        let mut filled = 0;
        for buf in bufs.iter_mut().filter(|buf| !buf.is_empty()) {
            let (len, goes_on) = match self.fill(guard, buf) {
                Ok(Some(some)) => some,
                // The end; after some bytes the next read returns it.
                Ok(None) => return Ok(filled),
                Err(error) if filled == 0 => return Err(error),
                Err(_) => return Ok(filled),
            };
            filled += len;
            if len < buf.len() || !goes_on {
                break;
            }
        }
        Ok(filled)
    }

    /// Fills one buffer: returns the length, and whether the next buffer may continue the same read. `None` is the end.
    fn fill(&self, guard: &DirectionGuard<'_>, buf: &mut [u8]) -> io::Result<Option<(usize, bool)>> {
        loop {
            match self.read_once(guard, buf, &WaitLimit::zero())? {
                ReadOutcome::Whole(0) => {}
                ReadOutcome::Whole(len) => {
                    let goes_on = len == buf.len() && !self.options.reads_messages();
                    return Ok(Some((len, goes_on && self.is_readable())));
                }
                ReadOutcome::Part(len) => return Ok(Some((len, true))),
                ReadOutcome::End => return Ok(None),
            }
        }
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        lock(&self.state.reading).is_reserved = false;
        self.state.readers.wake_all();
    }
}

// Empty messages, which a watch takes from the kernel.
#[cfg(test)]
mod tests {
    use crate::{
        ClientOptions, NamedPipe, NamedPipeBuilder, PipeMode, PipeName, error::PipeErrorKind,
        sys::async_end::AsyncEnd,
    };
    use ::tokio::{runtime::Builder, task::yield_now, time::timeout};
    use std::{future::Future, io::Write, pin::pin, task::Poll, time::Duration};

    /// For what must happen, however slow the machine is.
    const LONG: Duration = Duration::from_secs(60);

    fn run(test: impl Future<Output = ()>) {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { timeout(LONG, test).await.unwrap() });
    }

    fn pair(client_mode: PipeMode) -> (NamedPipe, AsyncEnd) {
        let name = PipeName::unique("watch").unwrap();
        let server = NamedPipeBuilder::new(&name).pipe_mode(PipeMode::Message).create().unwrap();
        let client = ClientOptions::new().read_mode(client_mode).open(&name).unwrap();
        server.connect().unwrap();
        (server, AsyncEnd::new(client.into_end()))
    }

    /// On a message pipe each write is one message.
    fn send(mut server: &NamedPipe, message: &[u8]) {
        assert_eq!(server.write(message).unwrap(), message.len());
    }

    /// Polls for a read and gives it up. The watch stays.
    async fn begin_watch(end: &AsyncEnd) {
        let mut ready = pin!(std::future::poll_fn(|cx| end.poll_read_ready(cx)));
        let polled = std::future::poll_fn(|cx| Poll::Ready(ready.as_mut().poll(cx))).await;
        assert!(polled.is_pending());
    }

    #[test]
    fn an_empty_message_that_a_watch_took_is_unread() {
        run(async {
            let (server, client) = pair(PipeMode::Message);
            begin_watch(&client).await;
            send(&server, b"");
            while client.peek(&mut []).unwrap().message_left.is_none() {
                yield_now().await;
            }
            send(&server, b"next");
            let mut buf = [0; 9];
            let peek = client.peek(&mut buf).unwrap();
            assert_eq!((peek.copied, peek.available, peek.message_left), (0, 4, Some(0)));
            assert_eq!(client.read_message(9).await.unwrap().unwrap(), b"");
            assert_eq!(client.peek(&mut buf).unwrap().copied, 4);
            assert_eq!(client.read_message(9).await.unwrap().unwrap(), b"next");
        });
    }

    #[test]
    fn a_disconnect_discards_an_empty_message_that_a_watch_took() {
        run(async {
            let (server, client) = pair(PipeMode::Message);
            begin_watch(&client).await;
            send(&server, b"");
            while client.peek(&mut []).unwrap().message_left.is_none() {
                yield_now().await;
            }
            server.disconnect().unwrap();
            for _ in 0..2 {
                let error = client.read_message(9).await.unwrap_err();
                assert!(error == PipeErrorKind::NotConnected, "{error}");
            }
        });
    }

    #[test]
    fn a_watch_ends_when_the_read_mode_is_switched() {
        run(async {
            let (server, client) = pair(PipeMode::Byte);
            begin_watch(&client).await;
            client.set_read_mode(PipeMode::Message).unwrap();
            send(&server, b"");
            assert_eq!(client.read_message(9).await.unwrap().unwrap(), b"");
            begin_watch(&client).await;
            client.set_read_mode(PipeMode::Byte).unwrap();
            send(&server, b"");
            send(&server, b"bytes");
            let mut buf = [0; 9];
            let read =
                std::future::poll_fn(|cx| client.poll_read(cx, &mut [std::io::IoSliceMut::new(&mut buf)]));
            assert_eq!(read.await.unwrap(), 5);
        });
    }
}
