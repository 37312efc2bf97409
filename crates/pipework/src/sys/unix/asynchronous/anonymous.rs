//! The async ends of anonymous pipes.

use super::{super::anonymous::write_vectored, reactor::Reactor};
use crate::sys::waiters::Waiter;
use ::tokio::{io::Interest, task::coop};
use std::{
    io::{self, IoSlice, PipeReader, PipeWriter, Read},
    os::fd::AsFd,
    sync::Arc,
    task::{Context, Poll, ready},
};

/// The reading end of an anonymous pipe.
#[derive(Debug)]
pub(crate) struct AsyncAnonRead {
    pipe: Arc<PipeReader>,
    reactor: Reactor,
    waiter: Waiter,
}

/// The writing end of an anonymous pipe.
#[derive(Debug)]
pub(crate) struct AsyncAnonWrite {
    pipe: Arc<PipeWriter>,
    reactor: Reactor,
    waiter: Waiter,
}

impl AsyncAnonRead {
    /// From now on reading does not wait, through any handle to this end.
    pub(crate) fn new(pipe: PipeReader) -> io::Result<AsyncAnonRead> {
        set_waiting(&pipe, false)?;
        Ok(AsyncAnonRead { pipe: Arc::new(pipe), reactor: Reactor::default(), waiter: Waiter::default() })
    }

    /// From now on reading waits.
    pub(crate) fn into_pipe(self) -> io::Result<PipeReader> {
        set_waiting(&*self.pipe, true)?;
        let AsyncAnonRead { pipe, reactor, .. } = self;
        // It holds a share of the pipe.
        drop(reactor);
        Arc::try_unwrap(pipe).or_else(|pipe| pipe.try_clone())
    }

    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let AsyncAnonRead { pipe, reactor, waiter } = self;
        poll_for(cx, reactor, waiter, pipe, Interest::READABLE, || (&**pipe).read(buf))
    }
}

impl AsyncAnonWrite {
    /// From now on writing does not wait, through any handle to this end.
    pub(crate) fn new(pipe: PipeWriter) -> io::Result<AsyncAnonWrite> {
        set_waiting(&pipe, false)?;
        Ok(AsyncAnonWrite { pipe: Arc::new(pipe), reactor: Reactor::default(), waiter: Waiter::default() })
    }

    /// From now on writing waits.
    pub(crate) fn into_pipe(self) -> io::Result<PipeWriter> {
        set_waiting(&*self.pipe, true)?;
        let AsyncAnonWrite { pipe, reactor, .. } = self;
        // It holds a share of the pipe.
        drop(reactor);
        Arc::try_unwrap(pipe).or_else(|pipe| pipe.try_clone())
    }

    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let AsyncAnonWrite { pipe, reactor, waiter } = self;
        poll_for(cx, reactor, waiter, pipe, Interest::WRITABLE, || write_vectored(pipe, bufs))
    }
}

fn set_waiting(pipe: impl AsFd, waits: bool) -> io::Result<()> {
    Ok(rustix::io::ioctl_fionbio(pipe, !waits)?)
}

fn poll_for<D: super::reactor::Descriptor + 'static, T>(
    cx: &mut Context<'_>,
    reactor: &Reactor,
    waiter: &mut Waiter,
    pipe: &Arc<D>,
    interest: Interest,
    mut attempt: impl FnMut() -> io::Result<T>,
) -> Poll<io::Result<T>> {
    let progress = ready!(coop::poll_proceed(cx));
    loop {
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // A signal that came before anything was transferred.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            outcome => {
                progress.made_progress();
                return Poll::Ready(outcome);
            }
        }
        reactor.join(waiter, cx);
        ready!(reactor.poll(pipe, interest, interest))?;
    }
}
