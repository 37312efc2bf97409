//! A connected end.

use crate::{
    cancel::Canceller,
    message::{MessageRead, Peek},
    options::{PipeInfo, PipeMode},
    peer::Peer,
    sys,
};
use std::{
    io::{self, IoSlice, IoSliceMut, Read, Write},
    time::Duration,
};

/// One end of a connected pipe, client or server; all ends look alike.
///
/// Clones and `&` work from several threads: a read and a write never wait for each other (rule B3); two reads, or two
/// writes, take turns. Dropping the last handle closes the end: the other end reads what was written, and then its
/// end (rules B5, F4).
///
/// [`Read`] is always bytes: it never fails with `MoreData` and skips empty messages, so that `Ok(0)` means the end and
/// nothing else. On a message pipe each `write` or `write_vectored` is one message, all of it or an error.
/// [`Write::flush`] returns at once; [`drain`](PipeStream::drain) waits for the reader.
///
/// Over the network a write that was handed over when its time was over counts as written; if it fails after all, the next write
/// says so.
///
/// # Errors
/// Reading: `NotConnected` after the server disconnected, `TimedOut` and `Aborted` when the wait was ended,
/// `AccessDenied` on an end that may not read, `Corrupt` if the other end broke the protocol. Writing: the same, and
/// `NoData` when the other end has closed.
#[derive(Debug)]
pub struct PipeStream {
    end: sys::End,
}

impl PipeStream {
    pub(crate) fn new(end: sys::End) -> PipeStream {
        PipeStream { end }
    }

    pub(crate) fn end(&self) -> &sys::End {
        &self.end
    }

    pub(crate) fn into_end(self) -> sys::End {
        self.end
    }

    /// Reads one whole message, at most `len_max` bytes; `None` is the end of the pipe.
    ///
    /// # Errors
    /// - `MoreData`: the message is longer; nothing is lost, read it with a larger limit or in parts.
    /// - `BadPipe`: this end reads bytes; the text says what to call.
    /// - And those of reading.
    ///
    /// # Examples
    /// ```
    /// use pipework::{ClientOptions, NamedPipeBuilder, PipeMode, PipeName};
    /// # fn main() -> std::io::Result<()> {
    /// let name = PipeName::unique("messages")?;
    /// let server = NamedPipeBuilder::new(&name).pipe_mode(PipeMode::Message).create()?;
    /// let client = ClientOptions::new().read_mode(PipeMode::Message).open(&name)?;
    /// client.write_message(b"one")?;
    /// client.write_message(b"")?;
    /// assert_eq!(server.stream().read_message(100)?.as_deref(), Some(&b"one"[..]));
    /// assert_eq!(server.stream().read_message(100)?.as_deref(), Some(&b""[..]));
    /// drop(client);
    /// assert_eq!(server.stream().read_message(100)?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub fn read_message(&self, len_max: usize) -> io::Result<Option<Vec<u8>>> {
        self.end.read_message(len_max)
    }

    /// Reads one message, or the part of it that fits (rule M2).
    ///
    /// # Errors
    /// `BadPipe` when this end reads bytes, and those of reading. A part is not an error here but
    /// [`MessageRead::Part`].
    #[doc(alias = "ReadFile")]
    pub fn read_message_into(&self, buf: &mut [u8]) -> io::Result<MessageRead> {
        self.end.read_message_into(buf)
    }

    /// Writes one message, also an empty one: all of it or an error (rule M1).
    ///
    /// A message that fits into what is free of the quota returns at once. A larger one waits for its reader; on Unix
    /// one that is larger than the ring goes through a memory object of its own.
    ///
    /// # Errors
    /// `BadPipe` on a byte pipe, `Invalid` beyond 4,294,967,295 bytes, and those of writing. Over the network `Invalid` unless it has
    /// 1 to 65,535 bytes, before anything is sent; a byte pipe is not told there.
    #[doc(alias = "WriteFile")]
    pub fn write_message(&self, message: &[u8]) -> io::Result<()> {
        self.end.write_message(message)
    }

    /// Writes a message and reads the reply, at most `len_max` bytes (rule M5). Corresponds to `TransactNamedPipe`.
    ///
    /// # Errors
    /// - `BadPipe`: this end does not read messages.
    /// - `Busy`: something is unread.
    /// - `Broken`: the other end has closed.
    /// - `MoreData`: the reply is longer; it is still there to be read.
    /// - And those of reading and writing.
    #[doc(alias = "TransactNamedPipe")]
    pub fn transact(&self, request: &[u8], len_max: usize) -> io::Result<Vec<u8>> {
        self.end.transact(request, len_max)
    }

    /// Looks at what is there without taking it; never waits (rule M4). Corresponds to `PeekNamedPipe`.
    ///
    /// On a message pipe it looks at the first message, in byte read mode too, where a read would go on into the next.
    ///
    /// # Errors
    /// - `Broken`: the other end has closed, and everything was read.
    /// - `BadPipe`: a server end without a client, or a disconnected pipe.
    /// - `AccessDenied`: this end may not read.
    /// - `Unsupported`: the pipe is on another computer, and this one not Windows.
    #[doc(alias = "PeekNamedPipe")]
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<Peek> {
        self.end.peek(buf)
    }

    /// Waits until the other end has read everything written (rule F1); [`Write::flush`] does not. Corresponds to
    /// `FlushFileBuffers`. Limited by [`set_write_timeout`](PipeStream::set_write_timeout).
    ///
    /// # Platform-specific behavior
    /// At a plain Unix socket this is supported on Linux only, and over the network where the server knows it, as Samba does not.
    ///
    /// # Errors
    /// `Broken` when the other end goes away first, `AccessDenied` on an end that may not write, `TimedOut`, `Aborted`.
    #[doc(alias = "FlushFileBuffers")]
    pub fn drain(&self) -> io::Result<()> {
        self.end.drain()
    }

    /// Ends the sending side of a plain Unix socket.
    ///
    /// # Errors
    /// `Unsupported` on a named pipe: Windows has no such thing.
    pub fn shutdown_write(&self) -> io::Result<()> {
        self.end.shutdown_write()
    }

    /// Switches how this end reads (rules M3, N5). Corresponds to `SetNamedPipeHandleState`.
    ///
    /// Over the network the other computer is told with the next read, which then is the one to fail.
    ///
    /// # Errors
    /// `Invalid` for message read mode on a byte pipe.
    #[doc(alias = "SetNamedPipeHandleState")]
    pub fn set_read_mode(&self, mode: PipeMode) -> io::Result<()> {
        self.end.set_read_mode(mode)
    }

    /// Limits every later wait for data, one call each; `None` waits for ever.
    ///
    /// # Errors
    /// `Invalid` for zero, as in `std::net`.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.end.settings().set_read_timeout(timeout)
    }

    /// Limits every later wait for space or, in [`drain`](PipeStream::drain), for the reader; `None` waits for ever.
    ///
    /// A write whose time is over returns how many bytes were published, and just those become readable; if there are
    /// none it is `TimedOut` (rule T1).
    ///
    /// # Errors
    /// `Invalid` for zero, as in `std::net`.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.end.settings().set_write_timeout(timeout)
    }

    /// What [`set_read_timeout`](PipeStream::set_read_timeout) set.
    pub fn read_timeout(&self) -> Option<Duration> {
        self.end.settings().read_timeout()
    }

    /// What [`set_write_timeout`](PipeStream::set_write_timeout) set.
    pub fn write_timeout(&self) -> Option<Duration> {
        self.end.settings().write_timeout()
    }

    /// Lets `canceller` end the waits of this end that begin from now on; `None` takes it away.
    pub fn set_canceller(&self, canceller: Option<&Canceller>) {
        self.end.settings().set_canceller(canceller.map(Canceller::sys).cloned());
    }

    /// Tells type, end, instances and buffer sizes. Corresponds to `GetNamedPipeInfo`.
    ///
    /// # Errors
    /// Those of the system, for a plain socket. `Unsupported` of a pipe on another computer, except on Windows.
    #[doc(alias = "GetNamedPipeInfo")]
    pub fn info(&self) -> io::Result<PipeInfo> {
        self.end.info()
    }

    /// Tells who the other end is; answers still after it has gone (rule A3).
    ///
    /// # Errors
    /// `Listening` or `NotConnected` on a server end without a client.
    pub fn peer(&self) -> io::Result<Peer> {
        self.end.peer().map(Peer::new)
    }

    /// Makes a second handle to the same end, as `File::try_clone`; the end closes with the last one. Handles share
    /// timeouts, canceller and read mode.
    ///
    /// # Errors
    /// `Listening` or `NotConnected` on a server end without a client.
    pub fn try_clone(&self) -> io::Result<PipeStream> {
        self.end.try_clone().map(PipeStream::new)
    }
}

impl Read for PipeStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.end.read(&mut [IoSliceMut::new(buf)])
    }
}

impl Read for &PipeStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.end.read(&mut [IoSliceMut::new(buf)])
    }
}

impl Write for PipeStream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for &PipeStream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.end.write(&[IoSlice::new(buf)])
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.end.write(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
