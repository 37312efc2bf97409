//! A connected end for tasks, whatever it is made of.

use super::{
    super::{End, Peer, connection::Connection, instance::Instance},
    accepting::Accepting,
    at_once, lock,
    tasks::Waiter,
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
    os::windows::io::BorrowedHandle,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
};

/// An end of a pipe, for tasks of a runtime.
#[derive(Debug)]
pub(crate) struct AsyncEnd {
    end: End,
    /// Who polled for reading last, and only that one.
    reader: Mutex<Waiter>,
    /// Who polled for writing last, and only that one.
    writer: Mutex<Waiter>,
}

impl AsyncEnd {
    pub(crate) fn new(end: End) -> AsyncEnd {
        AsyncEnd { end, reader: Mutex::default(), writer: Mutex::default() }
    }

    pub(crate) fn of_instance(instance: &Instance) -> AsyncEnd {
        AsyncEnd::new(instance.end())
    }

    /// The same end for blocking calls. The read of nothing that watches for data ends first: it would take an empty message
    /// away from them.
    pub(crate) fn into_end(self) -> End {
        if let Ok(connection) = self.connection() {
            connection.end_watching();
        }
        self.end
    }

    /// The handle, for as long as the end is borrowed.
    pub(crate) fn handle(&self) -> BorrowedHandle<'_> {
        self.end.handle()
    }

    // ---------------------------------------------------------------- the server's side

    /// Waits for a client.
    pub(crate) async fn connect(&self) -> io::Result<()> {
        // Whoever came as a client is connected for good.
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
            End::Instance(instance) => {
                let connection = instance.connection_now();
                instance.disconnect()?;
                if let Ok(connection) = connection {
                    connection.wake_tasks();
                }
                Ok(())
            }
            End::Connection(_) => Err(fail(PipeErrorKind::Unsupported, "only a server has an instance")),
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
        // What watches for something to read does it in the mode in which it began.
        let connection = self.connection();
        if let Ok(connection) = &connection {
            connection.end_watching();
        }
        let outcome = self.end.set_read_mode(mode);
        if let Ok(connection) = &connection {
            connection.wake_tasks();
        }
        outcome
    }

    pub(crate) fn try_read(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.connection()?.read_now(bufs)
    }

    pub(crate) fn try_write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.connection()?.write_now(bufs)
    }

    /// Nothing here has a sending side that could be ended by itself.
    #[expect(clippy::unused_self, reason = "as on other systems")]
    pub(crate) fn poll_shut_down(&self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    // ---------------------------------------------------------------- polling

    pub(crate) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        self.connection()?.poll_read(cx, &mut lock(&self.reader), bufs)
    }

    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.connection()?.poll_write(cx, &mut lock(&self.writer), bufs)
    }

    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_readable(cx, &mut lock(&self.reader))
    }

    pub(crate) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_writable(cx, &mut lock(&self.writer))
    }

    fn poll_readable(&self, cx: &mut Context<'_>, waiter: &mut Waiter) -> Poll<io::Result<()>> {
        match self.connection() {
            Ok(connection) => connection.poll_readable(cx, waiter),
            // The read will say it.
            Err(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_writable(&self, cx: &mut Context<'_>, waiter: &mut Waiter) -> Poll<io::Result<()>> {
        match self.connection() {
            Ok(connection) => connection.poll_writable(cx, waiter),
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
        self.connection()?.write_message_in_task(message).await
    }

    pub(crate) async fn transact(&self, request: &[u8], len_max: usize) -> io::Result<Vec<u8>> {
        self.connection()?.transact_in_task(request, len_max).await
    }

    pub(crate) async fn drain(&self) -> io::Result<()> {
        self.connection()?.drain_in_task().await
    }

    fn connection(&self) -> io::Result<Arc<Connection>> {
        self.end.connection()
    }
}
