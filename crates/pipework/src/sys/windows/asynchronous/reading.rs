//! Taking from a connection without ever keeping a thread waiting.

use super::{
    super::{
        connection::Connection,
        handle::{code, system_error},
        pipe::Pipe,
        reading::Got,
        turn::Taken,
    },
    LOOKS_MAX, State, at_once, check_runtime,
    completion::{Ended, Operation},
    lock,
    tasks::Waiter,
};
use crate::{
    error::{PipeErrorKind, fail},
    message::MessageRead,
};
use ::tokio::task::coop;
use std::{
    future::poll_fn,
    io::{self, IoSliceMut},
    sync::Arc,
    task::{Context, Poll, ready},
    thread,
};
use windows_sys::Win32::Foundation::{ERROR_BROKEN_PIPE, ERROR_NO_DATA};

/// How often to look whether an operation that is over was told of.
const ENDED_LOOKS_MAX: u32 = 100_000;

/// What is known of a connection's unread data.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// The read of nothing, which tells when there is something.
    watching: Option<Watching>,
    /// Whether it told, and nobody has looked since.
    is_told: bool,
    /// It took an empty message, which is the next one.
    has_empty: bool,
    /// A transaction waits for its reply: nobody else may read.
    is_reserved: bool,
}

#[derive(Debug)]
struct Watching {
    operation: Arc<Operation>,
    /// Whether it is one of message read mode, in which it takes an empty message.
    takes_empty: bool,
    pipe: Arc<Pipe>,
}

/// What a look came to.
enum Look<T> {
    Got(T),
    /// Something happened meanwhile.
    Again,
    /// Nothing is there; tasks are woken when something comes.
    Wait,
}

/// Nobody else reads while this lives.
struct Reservation<'a> {
    state: &'a State,
}

impl Connection {
    /// Reads bytes, in either read mode; 0 is the end.
    pub(super) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        waiter: &mut Waiter,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(done) = self.need_not_read(bufs)? {
            return Poll::Ready(Ok(done));
        }
        self.poll_take(cx, waiter, false, |reading, turn| self.take_bytes(reading, turn, bufs))
    }

    /// The same without waiting, else `WouldBlock`.
    pub(super) fn read_now(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        if let Some(done) = self.need_not_read(bufs)? {
            return Ok(done);
        }
        let mut reading = lock(&self.state().reading);
        reading.notice();
        // A message that was there before what is seen now may have been taken by an operation that has not told yet.
        let is_open = reading.watching.as_ref().is_some_and(|watching| watching.takes_empty);
        if reading.is_reserved || is_open {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut take = |reading: &mut Reading, turn: &Taken<'_>| self.take_bytes(reading, turn, bufs);
        self.take_now(&mut reading, &mut take)?.ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }

    fn need_not_read(&self, bufs: &[IoSliceMut<'_>]) -> io::Result<Option<usize>> {
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

    /// Whether a read would not wait, be it for an error.
    pub(super) fn poll_readable(&self, cx: &mut Context<'_>, waiter: &mut Waiter) -> Poll<io::Result<()>> {
        if self.pipe.check_may_read().is_err() {
            return Poll::Ready(Ok(()));
        }
        self.poll_look(cx, waiter, |reading| {
            if reading.watching.is_some() {
                return Ok(Look::Wait);
            }
            if reading.has_empty || self.shows_something() {
                return Ok(Look::Got(()));
            }
            reading.is_told = false;
            Ok(match self.watch(reading)? {
                Look::Again => Look::Got(()),
                other => other,
            })
        })
    }

    /// Reads one message, or the part of it that fits.
    pub(super) fn poll_message_into(
        &self,
        cx: &mut Context<'_>,
        waiter: &mut Waiter,
        buf: &mut [u8],
    ) -> Poll<io::Result<MessageRead>> {
        self.check_message_mode()?;
        self.poll_take(cx, waiter, false, |reading, turn| {
            if std::mem::take(&mut reading.has_empty) {
                return Ok(MessageRead::Whole(0));
            }
            Ok(match self.read_once(turn, buf, &at_once())? {
                Got::Whole(len) => MessageRead::Whole(len),
                Got::Part(len) => MessageRead::Part(len),
                Got::End => MessageRead::End,
            })
        })
    }

    /// Reads one whole message of at most `len_max` bytes; `None` is the end.
    pub(super) fn poll_message(
        &self,
        cx: &mut Context<'_>,
        waiter: &mut Waiter,
        len_max: usize,
    ) -> Poll<io::Result<Option<Vec<u8>>>> {
        self.check_message_mode()?;
        self.poll_take(cx, waiter, false, |reading, turn| self.take_message(reading, turn, len_max))
    }

    /// Writes a message and reads the reply.
    pub(super) async fn transact_in_task(&self, request: &[u8], len_max: usize) -> io::Result<Vec<u8>> {
        self.pipe.check_may_write()?;
        self.check_message_mode()?;
        let mut waiter = Waiter::default();
        // From the request to the reply nobody else may read, or two replies could change places.
        let reservation = poll_fn(|cx| self.poll_reservation(cx, &mut waiter)).await?;
        let is_unread = self.pipe.within(self.generation, || self.pipe.peek(&mut []))?.available > 0;
        let has_empty = {
            let mut reading = lock(&self.state().reading);
            reading.notice();
            reading.has_empty
        };
        if is_unread || has_empty {
            return Err(fail(PipeErrorKind::Busy, "a transaction can't begin while something is unread"));
        }
        self.write_message_in_task(request).await.map_err(|error| match code(&error) {
            Some(ERROR_NO_DATA) => system_error(ERROR_BROKEN_PIPE),
            _ => error,
        })?;
        let reply = poll_fn(|cx| {
            self.poll_take(cx, &mut waiter, true, |reading, turn| self.take_message(reading, turn, len_max))
        });
        let reply = reply.await?;
        drop(reservation);
        reply.ok_or_else(|| system_error(ERROR_BROKEN_PIPE))
    }

    fn poll_reservation(
        &self,
        cx: &mut Context<'_>,
        waiter: &mut Waiter,
    ) -> Poll<io::Result<Reservation<'_>>> {
        self.poll_look(cx, waiter, |reading| {
            if std::mem::replace(&mut reading.is_reserved, true) {
                return Ok(Look::Wait);
            }
            Ok(Look::Got(Reservation { state: self.state() }))
        })
    }

    /// Ends the watching, because it would end in another way from now on. Who waits has to look again.
    pub(super) fn end_watching(&self) {
        let Some(state) = self.state.get() else { return };
        let mut reading = lock(&state.reading);
        if let Some(watching) = &reading.watching {
            watching.operation.cancel(&self.pipe);
            // It is over by now; that this is told, and how it ended, is a matter of a moment.
            let mut patience = 0..ENDED_LOOKS_MAX;
            while watching.operation.ended().is_none() && patience.next().is_some() {
                thread::yield_now();
            }
        }
        reading.notice();
        reading.watching = None;
    }

    /// Polls for what `take` takes; `owns` says that the caller has the reservation, if there is one.
    fn poll_take<T>(
        &self,
        cx: &mut Context<'_>,
        waiter: &mut Waiter,
        owns: bool,
        mut take: impl FnMut(&mut Reading, &Taken<'_>) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        self.poll_look(cx, waiter, |reading| {
            if reading.watching.is_some() || (reading.is_reserved && !owns) {
                return Ok(Look::Wait);
            }
            match self.take_now(reading, &mut take)? {
                Some(taken) => Ok(Look::Got(taken)),
                None => self.watch(reading),
            }
        })
    }

    /// Looks until there is something, and lets other tasks run now and then.
    fn poll_look<T>(
        &self,
        cx: &mut Context<'_>,
        waiter: &mut Waiter,
        mut look: impl FnMut(&mut Reading) -> io::Result<Look<T>>,
    ) -> Poll<io::Result<T>> {
        let progress = ready!(coop::poll_proceed(cx));
        let state = self.state();
        for _ in 0..LOOKS_MAX {
            // Before looking: what comes from here on wakes this task.
            waiter.wait_at(&state.readers, cx);
            let looked = {
                let mut reading = lock(&state.reading);
                reading.notice();
                look(&mut reading)
            };
            match looked {
                Ok(Look::Got(value)) => {
                    progress.made_progress();
                    return Poll::Ready(Ok(value));
                }
                Ok(Look::Again) => {}
                Ok(Look::Wait) => return Poll::Pending,
                Err(error) => {
                    progress.made_progress();
                    return Poll::Ready(Err(error));
                }
            }
        }
        // Whatever keeps it coming back, other tasks run first.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Takes something if it is there.
    fn take_now<T>(
        &self,
        reading: &mut Reading,
        take: &mut impl FnMut(&mut Reading, &Taken<'_>) -> io::Result<T>,
    ) -> io::Result<Option<T>> {
        // What was told is surely there, and what is not seen may be an empty message.
        if !std::mem::take(&mut reading.is_told) && !reading.has_empty && !self.shows_something() {
            return Ok(None);
        }
        let taken = self.reading.take(&at_once()).and_then(|turn| take(reading, &turn));
        match taken {
            Ok(taken) => Ok(Some(taken)),
            Err(error) if error == PipeErrorKind::TimedOut => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether there are bytes to read, or an error that reading tells.
    fn shows_something(&self) -> bool {
        let seen = self.pipe.within(self.generation, || self.pipe.peek(&mut []));
        seen.map_or(true, |seen| seen.available > 0 || seen.left > 0)
    }

    /// Begins to watch for something to read.
    fn watch<T>(&self, reading: &mut Reading) -> io::Result<Look<T>> {
        check_runtime()?;
        let takes_empty = self.settings.reads_messages();
        let begun = Operation::read_nothing(&self.state().readers, &self.pipe, self.generation);
        match begun {
            Ok((operation, None)) => {
                let pipe = Arc::clone(&self.pipe);
                reading.watching = Some(Watching { operation, takes_empty, pipe });
                Ok(Look::Wait)
            }
            Ok((_, Some(ended))) => {
                reading.is_told_of(ended, takes_empty);
                Ok(Look::Again)
            }
            Err(_) => {
                // The read itself tells.
                reading.is_told = true;
                Ok(Look::Again)
            }
        }
    }

    fn take_message(
        &self,
        reading: &mut Reading,
        turn: &Taken<'_>,
        len_max: usize,
    ) -> io::Result<Option<Vec<u8>>> {
        if std::mem::take(&mut reading.has_empty) {
            return Ok(Some(Vec::new()));
        }
        self.take_whole(turn, &at_once(), len_max)
    }

    /// Fills several buffers as one read would fill one.
    fn take_bytes(
        &self,
        reading: &mut Reading,
        turn: &Taken<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> io::Result<usize> {
        // As a stream of bytes it is nothing.
        reading.has_empty = false;
        let mut filled = 0;
        for buf in bufs.iter_mut().filter(|buf| !buf.is_empty()) {
            let (len, goes_on) = match self.take_some(turn, buf) {
                Ok(Some(some)) => some,
                // The end, or what is told the next time.
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

    /// Fills one buffer: with how much, and whether a read may go on behind that. `None` is the end.
    fn take_some(&self, turn: &Taken<'_>, buf: &mut [u8]) -> io::Result<Option<(usize, bool)>> {
        loop {
            match self.read_once(turn, buf, &at_once())? {
                Got::Whole(0) => {}
                Got::Whole(len) => {
                    let goes_on = len == buf.len() && !self.settings.reads_messages();
                    return Ok(Some((len, goes_on && self.shows_something())));
                }
                Got::Part(len) => return Ok(Some((len, true))),
                Got::End => return Ok(None),
            }
        }
    }
}

impl Reading {
    /// Looks how watching ended, if it did.
    fn notice(&mut self) {
        if let Some(watching) = &self.watching
            && let Some(ended) = watching.operation.ended()
        {
            let takes_empty = watching.takes_empty;
            self.watching = None;
            self.is_told_of(ended, takes_empty);
        }
    }

    fn is_told_of(&mut self, ended: Ended, takes_empty: bool) {
        if takes_empty && ended.outcome().is_ok() {
            self.has_empty = true;
        } else {
            self.is_told = true;
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        if self.operation.ended().is_none() {
            self.operation.cancel(&self.pipe);
        }
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        lock(&self.state.reading).is_reserved = false;
        self.state.readers.wake_all();
    }
}
