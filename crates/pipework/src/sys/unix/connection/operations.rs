//! The operations of a connection, on each of its surfaces: the checks that come first, the attempt, and its
//! driver.

use super::{
    super::{end_options::EndOptions, peer::Peer},
    Connection, LazyWaitLimit,
    large::Along,
    operation::Operation,
    read::of_reply,
    write::Progress,
};
#[cfg(feature = "tokio")]
use super::{task::TaskWait, write::ignore_unless_over};
#[cfg(feature = "tokio")]
use crate::sys::end::Work;
use crate::{
    message::{MessageBatch, MessageRead, Peek},
    options::{PipeInfo, PipeMode},
    sys::{
        end::PipeEnd,
        errors::{broken, of_transaction},
    },
};
#[cfg(feature = "tokio")]
use std::{
    future::poll_fn,
    task::{Context, Poll},
};
use std::{
    io::{self, IoSlice, IoSliceMut},
    os::fd::{AsFd, BorrowedFd},
};

impl PipeEnd for Connection {
    fn options(&self) -> &EndOptions {
        &self.options
    }

    // ---------------------------------------------------------------- threads

    fn read(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        if !self.check_read(bufs)? {
            return Ok(0);
        }
        self.block_to_read(|| self.attempt_read(bufs))
    }

    fn read_message_to(&self, message: &mut Vec<u8>, len_max: usize) -> io::Result<Option<usize>> {
        self.check_read_message()?;
        let mut along = Along::default();
        self.block_to_read(|| self.attempt_whole_message(message, len_max, &mut along))
    }

    fn read_message_into(&self, buf: &mut [u8]) -> io::Result<MessageRead> {
        self.check_read_message()?;
        let mut along = Along::default();
        self.block_to_read(|| self.attempt_message(buf, &mut along))
    }

    fn write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        if !self.check_write(bufs)? {
            return Ok(0);
        }
        self.block_to_write(bufs)
    }

    fn write_message(&self, message: &[u8]) -> io::Result<()> {
        let parts = [IoSlice::new(message)];
        self.check_write_message(&parts)?;
        self.block_to_write(&parts).map(drop)
    }

    fn read_messages(&self, batch: &mut MessageBatch) -> io::Result<usize> {
        if !self.check_read_messages(batch)? {
            return Ok(0);
        }
        self.block_to_read(|| self.attempt_read_messages(batch))
    }

    fn write_messages(&self, messages: &[IoSlice<'_>]) -> io::Result<usize> {
        self.check_write_messages(messages)?;
        self.block_to_write_messages(messages)
    }

    fn transact(&self, request: &[u8], len_max: usize) -> io::Result<Vec<u8>> {
        self.check_transaction()?;
        let make = || self.options.read_limit();
        let mut limit = LazyWaitLimit::new(&make);
        // From the request to the reply no other thread may read, or two threads could get each other's
        // replies.
        let lock = self.parking.lock_direction(Operation::Read, &mut limit)?;
        self.block_on(Some(&lock), &mut limit, || self.attempt_transaction())?;
        let parts = [IoSlice::new(request)];
        self.check_write_message(&parts).map_err(of_transaction)?;
        // One deadline for the whole call; the request has that of a write besides.
        let request_limit = || self.options.write_limit().sooner_of(limit.get());
        self.block_to_write_within(&parts, &request_limit).map_err(of_transaction)?;
        let (mut message, mut along) = (Vec::new(), Along::default());
        let take = || self.attempt_whole_message(&mut message, len_max, &mut along);
        let reply = self.block_on(Some(&lock), &mut limit, take);
        reply.map_err(of_reply)?.map(|_| message).ok_or_else(broken)
    }

    fn peek(&self, buf: &mut [u8]) -> io::Result<Peek> {
        Connection::peek(self, buf)
    }

    fn drain(&self) -> io::Result<()> {
        self.check_drain()?;
        let make = || self.options.write_limit();
        self.block_on(None, &mut LazyWaitLimit::new(&make), || self.attempt_drained())
    }

    // ---------------------------------------------------------------- settings and facts

    fn set_read_mode(&self, mode: PipeMode) -> io::Result<()> {
        self.options.set_read_mode(mode, self.shape.messages)
    }

    fn info(&self) -> io::Result<PipeInfo> {
        Ok(Connection::info(self))
    }

    fn is_connected(&self) -> io::Result<bool> {
        self.poll_hangup();
        Ok(!self.is_over())
    }

    fn peer(&self) -> io::Result<Peer> {
        self.await_identity(&self.options.read_limit())?;
        Connection::peer(self)
    }

    #[cfg(feature = "tokio")]
    fn peer_now(&self) -> io::Result<Peer> {
        Connection::peer(self)
    }

    fn set_spin(&self, spins: bool) {
        Connection::set_spin(self, spins);
    }

    // ---------------------------------------------------------------- event loops

    fn try_read(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        if !self.check_read(bufs)? {
            return Ok(0);
        }
        self.try_now(Operation::Read, || self.attempt_read(bufs))
    }

    fn try_write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        if !self.check_write(bufs)? {
            return Ok(0);
        }
        self.try_now(Operation::Write, || self.attempt_write(bufs, Progress::ONCE)).map(|done| done.len)
    }

    fn try_read_messages(&self, batch: &mut MessageBatch) -> io::Result<usize> {
        if !self.check_read_messages(batch)? {
            return Ok(0);
        }
        self.try_now(Operation::Read, || self.attempt_read_messages(batch))
    }

    fn try_write_messages(&self, messages: &[IoSlice<'_>]) -> io::Result<usize> {
        self.check_write_messages(messages)?;
        self.try_now(Operation::Write, || self.attempt_write_messages(messages)).map(|done| done.len)
    }

    fn read_ready_fd(&self) -> io::Result<BorrowedFd<'_>> {
        self.readiness().read_fd(self.as_fd())
    }

    fn write_ready_fd(&self) -> io::Result<BorrowedFd<'_>> {
        self.readiness().write_fd(self.as_fd())
    }

    // ---------------------------------------------------------------- tasks

    #[cfg(feature = "tokio")]
    fn poll_read(
        &self,
        cx: &mut Context<'_>,
        wait: &mut TaskWait,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        if !self.check_read(bufs)? {
            return Poll::Ready(Ok(0));
        }
        self.poll_locked(cx, wait, Operation::Read, || self.attempt_read(bufs))
    }

    #[cfg(feature = "tokio")]
    fn poll_write(
        &self,
        cx: &mut Context<'_>,
        wait: &mut TaskWait,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if !self.check_write(bufs)? {
            return Poll::Ready(Ok(0));
        }
        let written =
            self.poll_locked(cx, wait, Operation::Write, || self.attempt_write(bufs, Progress::ONCE));
        written.map_ok(|published| published.len)
    }

    #[cfg(feature = "tokio")]
    fn poll_readable(&self, cx: &mut Context<'_>, wait: &mut TaskWait) -> Poll<io::Result<()>> {
        self.poll_unlocked(cx, wait, Operation::Read, || self.attempt_readable())
    }

    #[cfg(feature = "tokio")]
    fn poll_writable(&self, cx: &mut Context<'_>, wait: &mut TaskWait, len: usize) -> Poll<io::Result<()>> {
        self.poll_unlocked(cx, wait, Operation::Write, || self.attempt_writable(len as u64))
    }

    #[cfg(feature = "tokio")]
    fn poll_message_to(
        &self,
        cx: &mut Context<'_>,
        wait: &mut TaskWait,
        message: &mut Vec<u8>,
        len_max: usize,
    ) -> Poll<io::Result<Option<usize>>> {
        self.check_read_message()?;
        let mut along = wait.along;
        let take = || self.attempt_whole_message(message, len_max, &mut along);
        let read = self.poll_locked(cx, wait, Operation::Read, take);
        wait.along = along;
        read
    }

    #[cfg(feature = "tokio")]
    fn poll_message_into(
        &self,
        cx: &mut Context<'_>,
        wait: &mut TaskWait,
        buf: &mut [u8],
    ) -> Poll<io::Result<MessageRead>> {
        self.check_read_message()?;
        let mut along = wait.along;
        let read = self.poll_locked(cx, wait, Operation::Read, || self.attempt_message(buf, &mut along));
        wait.along = along;
        read
    }

    #[cfg(feature = "tokio")]
    fn poll_messages(
        &self,
        cx: &mut Context<'_>,
        wait: &mut TaskWait,
        batch: &mut MessageBatch,
    ) -> Poll<io::Result<usize>> {
        if !self.check_read_messages(batch)? {
            return Poll::Ready(Ok(0));
        }
        self.poll_locked(cx, wait, Operation::Read, || self.attempt_read_messages(batch))
    }

    #[cfg(feature = "tokio")]
    fn poll_write_messages(
        &self,
        cx: &mut Context<'_>,
        wait: &mut TaskWait,
        messages: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check_write_messages(messages)?;
        let written = self.poll_locked(cx, wait, Operation::Write, || self.attempt_write_messages(messages));
        written.map_ok(|published| published.len)
    }

    #[cfg(feature = "tokio")]
    fn write_message_async<'a>(&'a self, message: &'a [u8]) -> Work<'a, ()> {
        Box::pin(async move {
            let (parts, mut wait) = ([IoSlice::new(message)], TaskWait::default());
            self.check_write_message(&parts)?;
            let write = || self.attempt_write(&parts, Progress::ONCE);
            let published = poll_fn(|cx| self.poll_locked(cx, &mut wait, Operation::Write, write)).await?;
            if published.is_settled {
                return Ok(());
            }
            let settle = || self.attempt_settled();
            let settled = poll_fn(|cx| self.poll_unlocked(cx, &mut wait, Operation::Write, settle)).await;
            ignore_unless_over(settled)
        })
    }

    #[cfg(feature = "tokio")]
    fn transact_async<'a>(&'a self, request: &'a [u8], len_max: usize) -> Work<'a, Vec<u8>> {
        Box::pin(async move {
            self.check_transaction()?;
            let mut wait = TaskWait::default();
            // From the request to the reply no other task may read, or two tasks could get each other's
            // replies.
            let lock = poll_fn(|cx| self.poll_lock(cx, &mut wait, Operation::Read)).await?;
            poll_fn(|cx| self.poll_holding(cx, &mut wait, &lock, || self.attempt_transaction())).await?;
            self.write_message_async(request).await.map_err(of_transaction)?;
            let (mut message, mut along) = (Vec::new(), Along::default());
            let mut take = || self.attempt_whole_message(&mut message, len_max, &mut along);
            let reply = poll_fn(|cx| self.poll_holding(cx, &mut wait, &lock, &mut take)).await;
            reply.map_err(of_reply)?.map(|_| message).ok_or_else(broken)
        })
    }

    #[cfg(feature = "tokio")]
    fn drain_async(&self) -> Work<'_, ()> {
        Box::pin(async move {
            self.check_drain()?;
            let mut wait = TaskWait::default();
            poll_fn(|cx| self.poll_unlocked(cx, &mut wait, Operation::Write, || self.attempt_drained())).await
        })
    }
}
