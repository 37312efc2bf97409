//! The ends of anonymous pipes for tasks. Their handles know only calls that wait, so these are made aside.

use super::{
    super::{anonymous::write_vectored, facts, handle::system_error, pipe, writing::gathered},
    TRIES_MAX,
    aside::Aside,
    check_runtime,
};
use crate::error::PipeErrorKind;
use ::tokio::task::{JoinHandle, coop, spawn_blocking};
use std::{
    future::Future,
    io::{self, IoSlice, PipeReader, PipeWriter, Read},
    os::windows::io::AsHandle,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use windows_sys::Win32::Foundation::ERROR_NO_DATA;

/// How many bytes are copied at most for one write.
const WRITE_LEN_MAX: usize = 65_536;

/// The reading end of an anonymous pipe.
#[derive(Debug)]
pub(crate) struct AsyncAnonRead {
    /// A read of nothing, which returns when there is something; the pipe is not used beside it.
    watching: Option<Aside<usize>>,
    pipe: Arc<PipeReader>,
}

/// The writing end of an anonymous pipe.
#[derive(Debug)]
pub(crate) struct AsyncAnonWrite {
    /// The last write, which has its own copy of the bytes. It is not taken back, and goes on also when this is dropped.
    writing: Option<JoinHandle<io::Result<()>>>,
    pipe: Arc<PipeWriter>,
}

impl AsyncAnonRead {
    #[expect(clippy::unnecessary_wraps, reason = "as on other systems")]
    pub(crate) fn new(pipe: PipeReader) -> io::Result<AsyncAnonRead> {
        Ok(AsyncAnonRead { watching: None, pipe: Arc::new(pipe) })
    }

    pub(crate) fn into_pipe(self) -> io::Result<PipeReader> {
        let AsyncAnonRead { watching, pipe } = self;
        // It holds a share of the pipe, and takes nothing.
        drop(watching);
        Arc::try_unwrap(pipe).or_else(|pipe| pipe.try_clone())
    }

    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let progress = ready!(coop::poll_proceed(cx));
        for _ in 0..TRIES_MAX {
            if let Some(watching) = &mut self.watching {
                let told = ready!(watching.poll(cx));
                self.watching = None;
                if told.is_err_and(|error| error != PipeErrorKind::Broken) {
                    // It was not the end of the pipe that it could not wait for; the next look tells.
                    cx.waker().wake_by_ref();
                }
            }
            let seen = match pipe::peek(self.pipe.as_handle(), &mut []) {
                Ok(seen) => seen.available,
                Err(error) if error == PipeErrorKind::Broken => {
                    progress.made_progress();
                    return Poll::Ready(Ok(0));
                }
                Err(error) => return Poll::Ready(Err(error)),
            };
            if seen > 0 {
                // What is there is read without waiting.
                let (buf, _) = buf.split_at_mut(seen.min(buf.len()));
                progress.made_progress();
                return Poll::Ready((&*self.pipe).read(buf));
            }
            let pipe = Arc::clone(&self.pipe);
            let watch = move || (&*pipe).read(&mut []);
            self.watching = Some(Aside::begin(Some(Arc::clone(&self.pipe)), watch)?);
        }
        // Whatever keeps it coming back, other tasks run first.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl AsyncAnonWrite {
    #[expect(clippy::unnecessary_wraps, reason = "as on other systems")]
    pub(crate) fn new(pipe: PipeWriter) -> io::Result<AsyncAnonWrite> {
        Ok(AsyncAnonWrite { writing: None, pipe: Arc::new(pipe) })
    }

    /// A write that is under way goes on, and its end is followed by what is written from then on.
    pub(crate) fn into_pipe(self) -> io::Result<PipeWriter> {
        let AsyncAnonWrite { writing, pipe } = self;
        drop(writing);
        Arc::try_unwrap(pipe).or_else(|pipe| pipe.try_clone())
    }

    /// Begins a write and returns; the next one waits for its end, and tells if it has failed.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let progress = ready!(coop::poll_proceed(cx));
        if let Some(writing) = &mut self.writing {
            let written = ready!(Pin::new(writing).poll(cx));
            self.writing = None;
            written.map_err(io::Error::other)??;
        }
        progress.made_progress();
        let bytes = gathered(bufs);
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        check_runtime()?;
        // Not every handle may ask; then the write itself tells.
        if facts::state(self.pipe.as_handle()).is_ok_and(|state| state == facts::State::Closing) {
            return Poll::Ready(Err(system_error(ERROR_NO_DATA)));
        }
        let len = bytes.len().min(WRITE_LEN_MAX);
        let owned: Vec<u8> = bytes.iter().copied().take(len).collect();
        let pipe = Arc::clone(&self.pipe);
        self.writing = Some(spawn_blocking(move || write_all(&pipe, &owned)));
        Poll::Ready(Ok(len))
    }
}

fn write_all(pipe: &PipeWriter, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let len = write_vectored(pipe, &[IoSlice::new(bytes)])?;
        (_, bytes) = bytes.split_at_checked(len).unwrap_or_default();
    }
    Ok(())
}
