//! The async ends of anonymous pipes. Their handles support only blocking calls, which run on threads of the runtime.

use super::{
    super::{anonymous::write_vectored, handle_info, pipe, writing::gathered},
    TRIES_MAX,
    blocking_call::BlockingCall,
    runtime::check_runtime,
};
use crate::{error::PipeErrorKind, sys::errors::closed};
use ::tokio::task::{JoinHandle, coop, spawn_blocking};
use std::{
    future::Future,
    io::{self, IoSlice, PipeReader, PipeWriter, Read},
    os::windows::io::AsHandle,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

/// The most bytes that one write copies.
const WRITE_LEN_MAX: usize = 65_536;

/// The reading end of an anonymous pipe.
#[derive(Debug)]
pub(crate) struct AsyncAnonRead {
    /// A read of length zero that returns when there is data. No other call uses the pipe meanwhile.
    watch: Option<BlockingCall<usize>>,
    pipe: Arc<PipeReader>,
}

/// The writing end of an anonymous pipe.
#[derive(Debug)]
pub(crate) struct AsyncAnonWrite {
    /// The last write, which owns a copy of its bytes. It continues when this is dropped.
    writing: Option<JoinHandle<io::Result<()>>>,
    pipe: Arc<PipeWriter>,
}

impl AsyncAnonRead {
    #[expect(clippy::unnecessary_wraps, reason = "as on other systems")]
    pub(crate) fn new(pipe: PipeReader) -> io::Result<AsyncAnonRead> {
        Ok(AsyncAnonRead { watch: None, pipe: Arc::new(pipe) })
    }

    pub(crate) fn into_pipe(self) -> io::Result<PipeReader> {
        let AsyncAnonRead { watch, pipe } = self;
        // The watch shares the pipe. It consumes nothing.
        drop(watch);
        Arc::try_unwrap(pipe).or_else(|pipe| pipe.try_clone())
    }

    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let progress = ready!(coop::poll_proceed(cx));
        for _ in 0..TRIES_MAX {
            if let Some(watch) = &mut self.watch {
                let ended = ready!(watch.poll(cx));
                self.watch = None;
                if ended.is_err_and(|error| error != PipeErrorKind::Broken) {
                    // Waiting failed, and not because of the end of the pipe. The peek finds out what there is.
                    cx.waker().wake_by_ref();
                }
            }
            let available = match pipe::peek(self.pipe.as_handle(), &mut []) {
                Ok(seen) => seen.available,
                Err(error) if error == PipeErrorKind::Broken => {
                    progress.made_progress();
                    return Poll::Ready(Ok(0));
                }
                Err(error) => return Poll::Ready(Err(error)),
            };
            if available > 0 {
                // A read of available bytes does not wait.
                let (buf, _) = buf.split_at_mut(available.min(buf.len()));
                progress.made_progress();
                return Poll::Ready((&*self.pipe).read(buf));
            }
            let pipe = Arc::clone(&self.pipe);
            let watch = move || (&*pipe).read(&mut []);
            self.watch = Some(BlockingCall::begin(Some(Arc::clone(&self.pipe)), watch)?);
        }
        // Other tasks run first.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl AsyncAnonWrite {
    #[expect(clippy::unnecessary_wraps, reason = "as on other systems")]
    pub(crate) fn new(pipe: PipeWriter) -> io::Result<AsyncAnonWrite> {
        Ok(AsyncAnonWrite { writing: None, pipe: Arc::new(pipe) })
    }

    /// A write under way continues. What is written through the returned end follows it.
    pub(crate) fn into_pipe(self) -> io::Result<PipeWriter> {
        let AsyncAnonWrite { writing, pipe } = self;
        drop(writing);
        Arc::try_unwrap(pipe).or_else(|pipe| pipe.try_clone())
    }

    /// Begins a write and returns. The next write waits for its completion and returns its error.
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
        // A handle without the right to query leaves the answer to the write.
        if handle_info::state(self.pipe.as_handle()).is_ok_and(|state| state == handle_info::State::Closing) {
            return Poll::Ready(Err(closed()));
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
