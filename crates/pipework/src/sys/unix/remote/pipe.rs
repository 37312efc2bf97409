//! An opened pipe: its pending requests to the server, and their waiters.
//!
//! A request that was begun is never taken back: its response goes into the pipe's state, whether or not a
//! reader waits. So a read that ends early loses nothing, and a write counts as written once it was handed
//! over.

use super::{
    background::{Background, background},
    queue::Queue,
    session::Session,
    wire::{self, Over, Received},
};
use crate::{
    error::{PipeErrorKind, context, fail, fail_from},
    sys::{
        errors::broken,
        waiters::{Waiter, Waiters},
    },
};
use ::tokio::{sync::oneshot, task::AbortHandle, time};
use smb2::types::FileId;
use std::{
    fmt,
    future::poll_fn,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

/// How long closing waits for what was handed over to be written, and then for the server's word.
const LAST_WRITE: Duration = Duration::from_secs(10);
const LAST_WORD: Duration = Duration::from_secs(5);

/// One opened pipe.
pub(super) struct Pipe {
    pub(super) session: Arc<Session>,
    file: FileId,
    state: Mutex<State>,
    readers: Arc<Waiters>,
    writers: Arc<Waiters>,
}

#[derive(Debug, Default)]
struct State {
    queue: Queue,
    /// Whether an answer is under way that goes into the queue.
    is_reading: bool,
    /// The task that waits for it.
    reading: Option<AbortHandle>,
    /// The error of the last read, for the next reader.
    read_failure: Option<io::Error>,
    /// How it is over, once everything in the queue is taken.
    over: Option<Over>,
    /// Whether one reader holds the read direction.
    is_read_locked: bool,
    /// Whether a write is under way.
    is_writing: bool,
    /// The error of a write that no writer waited for, for the next writer.
    write_failure: Option<io::Error>,
    /// Whether one writer holds the write direction.
    is_write_locked: bool,
    /// A read mode that was not sent to the server yet: whether to read messages.
    mode: Option<bool>,
}

/// The right to read, or to write, given back when it is dropped.
#[derive(Debug)]
pub(super) struct ReadWriteGuard<'a> {
    pipe: &'a Pipe,
    kind: ReadWrite,
}

#[derive(Clone, Copy, Debug)]
enum ReadWrite {
    Read,
    Write,
}

/// A write that is under way; if it is dropped, the next write reports its failure.
#[derive(Debug)]
struct Sent<'a> {
    pipe: &'a Pipe,
    result: oneshot::Receiver<io::Result<()>>,
}

impl Pipe {
    pub(super) fn new(session: Arc<Session>, file: FileId) -> Pipe {
        Pipe { session, file, state: Mutex::default(), readers: Arc::default(), writers: Arc::default() }
    }

    // ---------------------------------------------------------------- reading

    /// Takes something from the queue as soon as it is there; `None` is the end of the pipe. `guard` is the reader's, if it
    /// has one.
    pub(super) fn poll_take<T>(
        self: &Arc<Pipe>,
        cx: &mut Context<'_>,
        waiter: &mut Waiter,
        guard: Option<&ReadWriteGuard<'_>>,
        take: &mut dyn FnMut(&mut Queue) -> Option<T>,
    ) -> Poll<io::Result<Option<T>>> {
        let background = background()?;
        let mut state = self.lock();
        if state.is_read_locked && guard.is_none() {
            waiter.wait_at(&self.readers, cx);
            return Poll::Pending;
        }
        if let Some(outcome) = self.look(&mut state, take) {
            return Poll::Ready(outcome);
        }
        waiter.wait_at(&self.readers, cx);
        self.begin_reading(background, &mut state);
        Poll::Pending
    }

    /// The same without waiting, else `WouldBlock`; then an answer is under way.
    pub(super) fn take_now<T>(
        self: &Arc<Pipe>,
        take: &mut dyn FnMut(&mut Queue) -> Option<T>,
    ) -> io::Result<Option<T>> {
        let background = background()?;
        let mut state = self.lock();
        if !state.is_read_locked {
            if let Some(outcome) = self.look(&mut state, take) {
                return outcome;
            }
            self.begin_reading(background, &mut state);
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Begins to read, unless an answer is under way.
    fn begin_reading(self: &Arc<Pipe>, background: &Background, state: &mut State) {
        if !std::mem::replace(&mut state.is_reading, true) {
            state.reading = Some(background.spawn(read(Arc::clone(self))));
        }
    }

    /// The data that a reader gets now, if any.
    fn look<T>(
        &self,
        state: &mut State,
        take: &mut dyn FnMut(&mut Queue) -> Option<T>,
    ) -> Option<io::Result<Option<T>>> {
        if let Some(taken) = take(&mut state.queue) {
            return Some(Ok(Some(taken)));
        }
        if let Some(failure) = state.read_failure.take() {
            return Some(Err(failure));
        }
        match state.over? {
            Over::Closed => Some(Ok(None)),
            Over::Disconnected => Some(Err(wire::disconnected())),
            Over::Lost => Some(Err(self.session.loss())),
        }
    }

    /// Whether a read would not wait; if it would, an answer is under way.
    pub(super) fn poll_readable(
        self: &Arc<Pipe>,
        cx: &mut Context<'_>,
        waiter: &mut Waiter,
    ) -> Poll<io::Result<()>> {
        background()?;
        let state = self.lock();
        // The read reports the failure.
        if state.read_failure.is_some() || state.over.is_some() {
            return Poll::Ready(Ok(()));
        }
        drop(state);
        self.poll_take(cx, waiter, None, &mut |queue| queue.is_readable().then_some(())).map_ok(drop)
    }

    /// Sets the read mode, which is sent to the server before the next read.
    pub(super) fn set_read_mode(&self, messages: bool) -> io::Result<()> {
        background()?;
        self.lock().mode = Some(messages);
        Ok(())
    }

    /// Sends the read mode to the server now.
    pub(super) async fn send_read_mode(&self, messages: bool) -> io::Result<()> {
        wire::set_read_mode(&self.session, self.file, messages).await
    }

    /// Writes a message and takes the reply, by one request where nothing is under way.
    pub(super) async fn transact(self: &Arc<Pipe>, request: Vec<u8>, len_max: usize) -> io::Result<Vec<u8>> {
        let mut waiter = Waiter::default();
        // From the request to the reply nobody else may read, or two replies could change places.
        let reading = poll_fn(|cx| self.poll_guard(cx, &mut waiter, ReadWrite::Read)).await?;
        let writing = poll_fn(|cx| self.poll_guard(cx, &mut waiter, ReadWrite::Write)).await;
        let writing = writing.map_err(said_by_transact)?;
        let is_one_request = self.begin_transaction()?;
        if is_one_request {
            let transaction = background()?.spawn(transceive(Arc::clone(self), request));
            self.lock().reading = Some(transaction);
        } else {
            let written = self.send(request)?.done().await;
            written.map_err(said_by_transact)?;
        }
        drop(writing);
        let reply = poll_fn(|cx| {
            self.poll_take(cx, &mut waiter, Some(&reading), &mut |queue| queue.take_whole(len_max))
        });
        let reply = reply.await.map_err(|error| {
            // A request that brings its reply with it is refused as a whole, unless a part of the reply came.
            let is_written = !is_one_request || !self.lock().queue.is_empty();
            if is_written { of_reply(error) } else { error }
        })?;
        reply.ok_or_else(broken)?
    }

    /// Whether the reply can come with the request; else a read for it is under way already.
    fn begin_transaction(&self) -> io::Result<bool> {
        let mut state = self.lock();
        if !state.queue.is_empty() {
            return Err(fail(PipeErrorKind::Busy, "a transaction can't begin while something is unread"));
        }
        if let Some(failure) = state.read_failure.take() {
            return Err(failure);
        }
        match state.over {
            Some(Over::Closed) => return Err(broken()),
            Some(Over::Disconnected) => return Err(wire::disconnected()),
            Some(Over::Lost) => return Err(self.session.loss()),
            None => {}
        }
        // A read mode that has to be sent goes before a read of its own.
        Ok(state.mode.is_none() && !std::mem::replace(&mut state.is_reading, true))
    }

    fn received(&self, received: Received) {
        let mut state = self.lock();
        state.is_reading = false;
        match received {
            Received::Data { data, is_end } => state.queue.push(data, is_end),
            Received::Empty if state.queue.push_empty() => {}
            Received::Empty => state.read_failure = Some(wire::device_failed()),
            Received::Failed(error) => state.read_failure = Some(error),
            Received::Over(over) => {
                state.queue.finish();
                state.over = Some(over);
            }
        }
        drop(state);
        self.readers.wake_all();
    }

    // ---------------------------------------------------------------- writing

    /// Writes all of it, in pieces; `written` counts what was handed over, but for a piece that failed.
    pub(super) async fn write(
        self: &Arc<Pipe>,
        len: usize,
        piece: impl Fn(usize, usize) -> Vec<u8>,
        written: &mut usize,
    ) -> io::Result<()> {
        let mut waiter = Waiter::default();
        let _guard = poll_fn(|cx| self.poll_guard(cx, &mut waiter, ReadWrite::Write)).await?;
        while *written < len {
            let data = piece(*written, self.session.len_max());
            let before = *written;
            *written += data.len();
            if let Err(error) = self.send(data)?.done().await {
                *written = before;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Hands data over without waiting for its end, once nothing is under way.
    pub(super) fn poll_hand_over(
        self: &Arc<Pipe>,
        cx: &mut Context<'_>,
        waiter: &mut Waiter,
        data: impl FnOnce(usize) -> Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        match self.poll_guard(cx, waiter, ReadWrite::Write)? {
            Poll::Ready(_guard) => Poll::Ready(self.hand_over(data)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// The same at once, else `WouldBlock`.
    pub(super) fn hand_over_now(self: &Arc<Pipe>, data: impl FnOnce(usize) -> Vec<u8>) -> io::Result<usize> {
        background()?;
        match self.try_guard(ReadWrite::Write) {
            Some(guard) => guard.and_then(|_guard| self.hand_over(data)),
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn hand_over(self: &Arc<Pipe>, data: impl FnOnce(usize) -> Vec<u8>) -> io::Result<usize> {
        let data = data(self.session.len_max());
        let len = data.len();
        self.send(data).map(|_sent| len)
    }

    /// Whether a write would not wait.
    pub(super) fn poll_writable(&self, cx: &mut Context<'_>, waiter: &mut Waiter) -> Poll<io::Result<()>> {
        background()?;
        let state = self.lock();
        if state.is_writing || state.is_write_locked {
            waiter.wait_at(&self.writers, cx);
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    /// Waits for the pending write, and reports its failure.
    pub(super) fn poll_written(&self, cx: &mut Context<'_>, waiter: &mut Waiter) -> Poll<io::Result<()>> {
        background()?;
        let mut state = self.lock();
        if state.is_writing {
            waiter.wait_at(&self.writers, cx);
            return Poll::Pending;
        }
        Poll::Ready(state.write_failure.take().map_or(Ok(()), Err))
    }

    /// Keeps a failure for the next writer.
    pub(super) fn keep_write_failure(&self, failure: io::Error) {
        self.lock().write_failure = Some(failure);
    }

    /// Waits until the other end has read everything, where the server can report it.
    pub(super) async fn drain(self: &Arc<Pipe>) -> io::Result<()> {
        let mut waiter = Waiter::default();
        let _guard = poll_fn(|cx| self.poll_guard(cx, &mut waiter, ReadWrite::Write)).await?;
        let (sender, done) = oneshot::channel();
        let pipe = Arc::clone(self);
        background()?.spawn(async move {
            // The waiter may be gone.
            sender.send(wire::flush(&pipe.session, pipe.file).await).ok();
        });
        done.await.unwrap_or_else(|_| Err(self.session.loss()))
    }

    /// Begins a write; the caller has the guard, and nothing is under way.
    fn send(self: &Arc<Pipe>, data: Vec<u8>) -> io::Result<Sent<'_>> {
        let background = background()?;
        self.lock().is_writing = true;
        let (sender, result) = oneshot::channel();
        background.spawn(write(Writing { pipe: Arc::clone(self), sender: Some(sender) }, data));
        Ok(Sent { pipe: self, result })
    }

    fn wrote(&self, result: io::Result<()>, sender: WriteSender) {
        let mut state = self.lock();
        state.is_writing = false;
        // The writer that waits gets the failure, else the next writer.
        if let Err(Err(failure)) = sender.send(result) {
            state.write_failure = Some(failure);
        }
        drop(state);
        self.writers.wake_all();
    }

    // ---------------------------------------------------------------- guards

    fn poll_guard(
        &self,
        cx: &mut Context<'_>,
        waiter: &mut Waiter,
        kind: ReadWrite,
    ) -> Poll<io::Result<ReadWriteGuard<'_>>> {
        background()?;
        if let Some(guard) = self.try_guard(kind) {
            return Poll::Ready(guard);
        }
        waiter.wait_at(self.tasks_of(kind), cx);
        // It may have been given back in between.
        self.try_guard(kind).map_or(Poll::Pending, Poll::Ready)
    }

    /// The guard if it is free; for a writer, an error if an earlier write has failed.
    fn try_guard(&self, kind: ReadWrite) -> Option<io::Result<ReadWriteGuard<'_>>> {
        let mut state = self.lock();
        match kind {
            ReadWrite::Read if state.is_read_locked => return None,
            ReadWrite::Read => state.is_read_locked = true,
            ReadWrite::Write if state.is_write_locked || state.is_writing => return None,
            ReadWrite::Write => match (state.write_failure.take(), state.over) {
                (Some(failure), _) => return Some(Err(failure)),
                (None, Some(over)) => return Some(Err(over.of_write(&self.session))),
                (None, None) => state.is_write_locked = true,
            },
        }
        Some(Ok(ReadWriteGuard { pipe: self, kind }))
    }

    fn tasks_of(&self, kind: ReadWrite) -> &Arc<Waiters> {
        match kind {
            ReadWrite::Read => &self.readers,
            ReadWrite::Write => &self.writers,
        }
    }

    // ---------------------------------------------------------------- closing

    /// Closes the pipe, after what was handed over; no handle to it is left.
    pub(super) async fn close(self: Arc<Pipe>) {
        let mut waiter = Waiter::default();
        let written = poll_fn(|cx| self.poll_writable(cx, &mut waiter));
        // Data that is not written by then is lost.
        time::timeout(LAST_WRITE, written).await.ok();
        time::timeout(LAST_WORD, wire::close(&self.session, self.file)).await.ok();
        // Samba never answers a read that waits when its pipe is closed.
        if let Some(reading) = self.lock().reading.take() {
            reading.abort();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in the state can be left half-changed by a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipe")
            .field("session", &self.session)
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

/// Ends what is under way however its task ends.
struct Answer(Option<Arc<Pipe>>);

impl Answer {
    fn is(mut self, received: Received) {
        if let Some(pipe) = self.0.take() {
            pipe.received(received);
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(pipe) = self.0.take() {
            pipe.received(Received::Over(Over::Lost));
        }
    }
}

async fn read(pipe: Arc<Pipe>) {
    let answer = Answer(Some(Arc::clone(&pipe)));
    let mode = pipe.lock().mode.take();
    if let Some(messages) = mode
        && let Err(error) = pipe.send_read_mode(messages).await
    {
        // It is sent again before the next read, unless the caller has set another one by then.
        pipe.lock().mode.get_or_insert(messages);
        return answer.is(Received::Failed(error));
    }
    let pause = pipe.lock().queue.pause_before_read();
    if let Some(pause) = pause {
        time::sleep(pause).await;
    }
    let received = wire::read(&pipe.session, pipe.file).await;
    answer.is(wire::with_its_true_end(&pipe.session, pipe.file, received).await);
}

async fn transceive(pipe: Arc<Pipe>, request: Vec<u8>) {
    let answer = Answer(Some(Arc::clone(&pipe)));
    let received = wire::transceive(&pipe.session, pipe.file, request).await;
    answer.is(wire::with_its_true_end(&pipe.session, pipe.file, received).await);
}

async fn write(mut writing: Writing, data: Vec<u8>) {
    let pipe = Arc::clone(&writing.pipe);
    let result = wire::write(&pipe.session, pipe.file, data).await;
    if let Some(sender) = writing.sender.take() {
        pipe.wrote(result, sender);
    }
}

/// Where the outcome of a write goes.
type WriteSender = oneshot::Sender<io::Result<()>>;

/// A write that is under way, for its task: ended however that ends.
struct Writing {
    pipe: Arc<Pipe>,
    sender: Option<WriteSender>,
}

impl Drop for Writing {
    fn drop(&mut self) {
        if let Some(sender) = self.sender.take() {
            self.pipe.wrote(Err(self.pipe.session.loss()), sender);
        }
    }
}

impl Sent<'_> {
    async fn done(mut self) -> io::Result<()> {
        (&mut self.result).await.unwrap_or_else(|_| Err(self.pipe.session.loss()))
    }
}

impl Drop for Sent<'_> {
    fn drop(&mut self) {
        self.result.close();
        if let Ok(Err(failure)) = self.result.try_recv() {
            self.pipe.keep_write_failure(failure);
        }
    }
}

impl Drop for ReadWriteGuard<'_> {
    fn drop(&mut self) {
        let mut state = self.pipe.lock();
        match self.kind {
            ReadWrite::Read => state.is_read_locked = false,
            ReadWrite::Write => state.is_write_locked = false,
        }
        drop(state);
        self.pipe.tasks_of(self.kind).wake_all();
    }
}

/// The failure of a transaction after its request was written. Where the pipe goes on, whoever repeats the whole
/// transaction delivers the request twice.
fn of_reply(error: io::Error) -> io::Error {
    const WRITTEN: &str = "the request was written; read its reply with `read_message`";
    match PipeErrorKind::of(&error) {
        None => context(WRITTEN, error),
        Some(kind @ (PipeErrorKind::AccessDenied | PipeErrorKind::Invalid)) => {
            fail_from(kind, WRITTEN, error)
        }
        Some(_) => error,
    }
}

/// The peer does not read and does not answer: in a transaction that is one error.
fn said_by_transact(error: io::Error) -> io::Error {
    if error == PipeErrorKind::NoData { broken() } else { error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_reply_says_that_the_request_was_written() {
        for kind in [PipeErrorKind::AccessDenied, PipeErrorKind::Invalid] {
            let error = of_reply(fail(kind, "why"));
            assert!(error == kind && error.to_string().contains("the request was written"), "{error}");
            assert!(error.to_string().ends_with(": why"), "{error}");
        }
        assert!(of_reply(io::Error::other("why")).to_string().contains("the request was written"));
        assert_eq!(of_reply(fail(PipeErrorKind::Broken, "why")).to_string(), "why");
    }
}
