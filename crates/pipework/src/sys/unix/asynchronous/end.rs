//! A connected end for tasks, whatever it is made of.

use super::{
    super::{connection::Connection, end::End, instance::Instance, peer::Peer, plain::PlainEnd},
    accepting::Accepting,
    at_once,
    tasks::Waiter,
    writing::Writer,
};
use crate::{
    error::{PipeErrorKind, fail},
    message::{MessageRead, Peek},
    options::{PipeInfo, PipeMode},
};
use ::tokio::io::{Interest, Ready};
use std::{
    future::poll_fn,
    io::{self, IoSlice, IoSliceMut},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

/// An end of a pipe, for tasks of a runtime.
#[derive(Debug)]
pub(crate) struct AsyncEnd {
    end: End,
    /// Who polled for reading last, and only that one.
    reader: Mutex<Waiter>,
    /// Who polled for writing last, and only that one.
    writer: Mutex<Writer>,
    /// What the last try to write had no room for: less room is no reason to try again.
    wanted: AtomicUsize,
}

/// What an operation goes to at the time of a call.
enum Now<'a> {
    Connection(Arc<Connection>),
    Plain(&'a PlainEnd),
}

impl AsyncEnd {
    pub(crate) fn new(end: End) -> AsyncEnd {
        AsyncEnd { end, reader: Mutex::default(), writer: Mutex::default(), wanted: AtomicUsize::new(1) }
    }

    pub(crate) fn of_instance(instance: &Instance) -> AsyncEnd {
        AsyncEnd::new(instance.end())
    }

    // ---------------------------------------------------------------- the server's side

    /// Waits for a client.
    pub(crate) async fn connect(&self) -> io::Result<()> {
        // Whoever came by a path, or as a client, is connected for good.
        let End::Instance(instance) = &self.end else { return Ok(()) };
        let mut accepting = Accepting::default();
        poll_fn(|cx| {
            loop {
                match instance.connect(&at_once()) {
                    Err(error) if error == PipeErrorKind::TimedOut => {}
                    outcome => return Poll::Ready(outcome),
                }
                ready!(accepting.poll_client(cx, instance))?;
            }
        })
        .await
    }

    /// Throws the client out.
    pub(crate) fn disconnect(&self) -> io::Result<()> {
        match &self.end {
            End::Instance(instance) => instance.disconnect(),
            _ => Err(fail(
                PipeErrorKind::Unsupported,
                "a plain socket has no instance that could be used again",
            )),
        }
    }

    // ---------------------------------------------------------------- what needs no waiting

    pub(crate) fn info(&self) -> io::Result<PipeInfo> {
        self.end.info()
    }

    pub(crate) fn peer(&self) -> io::Result<Peer> {
        self.end.peer()
    }

    pub(crate) fn peek(&self, buf: &mut [u8]) -> io::Result<Peek> {
        self.end.peek(buf)
    }

    pub(crate) fn set_read_mode(&self, mode: PipeMode) -> io::Result<()> {
        self.end.set_read_mode(mode)
    }

    pub(crate) fn try_read(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        match self.now()? {
            Now::Connection(connection) => connection.read_now(bufs),
            Now::Plain(plain) => plain.read_now(bufs),
        }
    }

    pub(crate) fn try_write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let written = match self.now()? {
            Now::Connection(connection) => connection.write_now(bufs),
            Now::Plain(plain) => plain.write_now(bufs),
        };
        let has_no_room = written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        let wanted = if has_no_room { bufs.iter().map(|buf| buf.len()).sum() } else { 1 };
        // A hint for the same task: nothing else depends on its order.
        self.wanted.store(wanted, Ordering::Relaxed);
        written
    }

    /// Ends the sending side where there is such a thing, and does nothing elsewhere.
    pub(crate) fn shut_down(&self) -> io::Result<()> {
        match &self.end {
            End::Plain(plain) => plain.shutdown_write(),
            End::Connection(_) | End::Instance(_) => Ok(()),
        }
    }

    // ---------------------------------------------------------------- polling

    pub(crate) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut waiter = lock(&self.reader);
        match self.now()? {
            Now::Connection(connection) => connection.poll_read(cx, &mut waiter, bufs),
            Now::Plain(plain) => plain.poll_read(cx, &mut waiter, bufs),
        }
    }

    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut writer = lock(&self.writer);
        match self.now()? {
            Now::Connection(connection) => connection.poll_write(cx, &mut writer, bufs),
            Now::Plain(plain) => plain.poll_write(cx, &mut writer.waiter, bufs),
        }
    }

    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_readable(cx, &mut lock(&self.reader))
    }

    pub(crate) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_writable(cx, &mut lock(&self.writer).waiter)
    }

    fn poll_readable(&self, cx: &mut Context<'_>, waiter: &mut Waiter) -> Poll<io::Result<()>> {
        match self.now() {
            Ok(Now::Connection(connection)) => connection.poll_readable(cx, waiter),
            Ok(Now::Plain(plain)) => plain.poll_ready(cx, waiter, Interest::READABLE),
            // The read will say it.
            Err(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_writable(&self, cx: &mut Context<'_>, waiter: &mut Waiter) -> Poll<io::Result<()>> {
        let wanted = self.wanted.load(Ordering::Relaxed);
        match self.now() {
            Ok(Now::Connection(connection)) => connection.poll_writable(cx, waiter, wanted as u64),
            Ok(Now::Plain(plain)) => plain.poll_ready(cx, waiter, Interest::WRITABLE),
            // The write will say it.
            Err(_) => Poll::Ready(Ok(())),
        }
    }

    // ---------------------------------------------------------------- waiting

    /// Waits until a read or a write, whichever `interest` asks for, would not wait.
    pub(crate) async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        let (mut reader, mut writer) = (Waiter::default(), Waiter::default());
        poll_fn(|cx| {
            let mut ready = Ready::EMPTY;
            if interest.is_readable() && self.poll_readable(cx, &mut reader)?.is_ready() {
                ready |= Ready::READABLE;
            }
            if interest.is_writable() && self.poll_writable(cx, &mut writer)?.is_ready() {
                ready |= Ready::WRITABLE;
            }
            let asks_for_something = interest.is_readable() || interest.is_writable();
            if ready.is_empty() && asks_for_something { Poll::Pending } else { Poll::Ready(Ok(ready)) }
        })
        .await
    }

    pub(crate) async fn read_message(&self, len_max: usize) -> io::Result<Option<Vec<u8>>> {
        let (connection, mut waiter) = (self.connection()?, Waiter::default());
        poll_fn(|cx| connection.poll_message(cx, &mut waiter, len_max)).await
    }

    pub(crate) async fn read_message_into(&self, buf: &mut [u8]) -> io::Result<MessageRead> {
        let (connection, mut waiter) = (self.connection()?, Waiter::default());
        poll_fn(|cx| connection.poll_message_into(cx, &mut waiter, buf)).await
    }

    pub(crate) async fn write_message(&self, message: &[u8]) -> io::Result<()> {
        self.connection()?.write_message_in_task(&[IoSlice::new(message)]).await
    }

    pub(crate) async fn transact(&self, request: &[u8], len_max: usize) -> io::Result<Vec<u8>> {
        self.connection()?.transact_in_task(request, len_max).await
    }

    pub(crate) async fn drain(&self) -> io::Result<()> {
        match self.now()? {
            Now::Plain(plain) => plain.drain_in_task().await,
            Now::Connection(connection) => {
                let mut waiter = Waiter::default();
                poll_fn(|cx| connection.poll_drained(cx, &mut waiter)).await
            }
        }
    }

    fn now(&self) -> io::Result<Now<'_>> {
        match &self.end {
            End::Plain(plain) => Ok(Now::Plain(plain)),
            _ => self.connection().map(Now::Connection),
        }
    }

    fn connection(&self) -> io::Result<Arc<Connection>> {
        self.end.connection()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a poll leaves in it is whole at every step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
