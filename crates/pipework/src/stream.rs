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

/// How many bytes one read into several buffers takes at most.
const GATHERED_LEN_MAX: usize = 64 * 1024;

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
        self.end.read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        read_vectored(&self.end, bufs)
    }
}

impl Read for &PipeStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.end.read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        read_vectored(&self.end, bufs)
    }
}

/// One read, whose bytes go into the buffers one after the other.
///
/// Several reads would not do: in message read mode the second one could begin the next message.
fn read_vectored(end: &sys::End, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    let len: usize = bufs.iter().map(|buf| buf.len()).sum();
    let mut filled = bufs.iter_mut().filter(|buf| !buf.is_empty());
    match filled.next() {
        None => end.read(&mut []),
        // Where there is no other buffer, or enough room in this one.
        Some(first) if first.len() == len || first.len() >= GATHERED_LEN_MAX => end.read(first),
        Some(first) => {
            let mut gathered = vec![0; len.min(GATHERED_LEN_MAX)];
            let read = end.read(&mut gathered)?;
            let mut rest = gathered.get(..read).unwrap_or_default();
            for buf in std::iter::once(first).chain(filled) {
                let (now, later) = rest.split_at(rest.len().min(buf.len()));
                buf.iter_mut().zip(now).for_each(|(to, from)| *to = *from);
                rest = later;
            }
            Ok(read)
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ClientOptions, NamedPipe, NamedPipeBuilder, PipeErrorKind, PipeName};

    fn pair(mode: PipeMode) -> (NamedPipe, PipeStream) {
        let name = PipeName::unique("stream").unwrap();
        let server = NamedPipeBuilder::new(&name).pipe_mode(mode).create().unwrap();
        (server, ClientOptions::new().read_mode(mode).open(&name).unwrap())
    }

    /// Reads into buffers of these lengths, and returns what each got.
    fn read_into(mut end: impl Read, lens: &[usize]) -> (usize, Vec<Vec<u8>>) {
        let mut bufs: Vec<Vec<u8>> = lens.iter().map(|len| vec![b'.'; *len]).collect();
        let mut slices: Vec<IoSliceMut<'_>> = bufs.iter_mut().map(|buf| IoSliceMut::new(buf)).collect();
        let read = end.read_vectored(&mut slices).unwrap();
        (read, bufs)
    }

    fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
        texts.iter().map(|text| text.as_bytes().to_vec()).collect()
    }

    #[test]
    fn one_read_fills_the_buffers_in_their_order() {
        let (server, mut client) = pair(PipeMode::Byte);
        (&server).write_all(b"abcdefgh").unwrap();
        assert_eq!(read_into(&client, &[0, 2, 0, 3, 0]), (5, texts(&["", "ab", "", "cde", ""])));
        assert_eq!(read_into(&mut client, &[2, 5]), (3, texts(&["fg", "h...."])));
        assert_eq!(read_into(&client, &[0, 0]), (0, texts(&["", ""])));
        client.write_all(b"xyz").unwrap();
        assert_eq!(read_into(&server, &[1, 2]), (3, texts(&["x", "yz"])));
        drop(server);
        assert_eq!(read_into(&client, &[1, 1]), (0, texts(&[".", "."])));
    }

    #[test]
    fn one_read_takes_of_one_message_only() {
        let (server, client) = pair(PipeMode::Message);
        for message in ["one", "two", "long one"] {
            server.stream().write_message(message.as_bytes()).unwrap();
        }
        assert_eq!(read_into(&client, &[2, 9]), (3, texts(&["on", "e........"])));
        assert_eq!(read_into(&client, &[3, 3]), (3, texts(&["two", "..."])));
        assert_eq!(read_into(&client, &[1, 3]), (4, texts(&["l", "ong"])));
        assert_eq!(client.read_message(9).unwrap().as_deref(), Some(&b" one"[..]));
    }

    #[test]
    fn much_data_comes_whole_through_several_buffers() {
        let (server, client) = pair(PipeMode::Byte);
        let data: Vec<u8> = (0..200_000_u32).map(|index| (index % 251) as u8).collect();
        (&server).write_all(&data).unwrap();
        let mut got: Vec<u8> = Vec::new();
        while got.len() < data.len() {
            let (read, bufs) = read_into(&client, &[1, 70_000, 7]);
            got.extend(bufs.concat().get(..read).unwrap());
        }
        assert!(got == data);
    }

    #[test]
    fn an_end_that_may_not_read_says_so() {
        let name = PipeName::unique("stream").unwrap();
        let server = NamedPipeBuilder::new(&name).inbound(false).create().unwrap();
        let _client = ClientOptions::new().write(false).open(&name).unwrap();
        let (mut one, mut two) = ([0], [0]);
        let mut bufs = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)];
        assert!((&server).read_vectored(&mut bufs).unwrap_err() == PipeErrorKind::AccessDenied);
        assert!((&server).read_vectored(&mut []).unwrap_err() == PipeErrorKind::AccessDenied);
    }
}
