//! A connected end.

use crate::{
    cancel::Canceller,
    message::{MessageBatch, MessageRead, Peek},
    options::{PipeInfo, PipeMode},
    peer::Peer,
    sys,
};
use std::{
    io::{self, IoSlice, IoSliceMut, Read, Write},
    time::Duration,
};

/// One end of a connected pipe, of the client or of the server.
///
/// Several threads can use clones of an end or references to it. A read and a write never wait for each other
/// ([rule B3](crate::rules#b3)). Two reads take turns, and so do two writes. Dropping the last handle closes the end: the peer
/// reads what was written and then the end of the pipe ([rule B5](crate::rules#b5), [rule F4](crate::rules#f4)).
///
/// [`Read`] always reads bytes. It never fails with `MoreData` and skips empty messages, so `Ok(0)` always means the end of
/// the pipe. In message read mode one read, also a vectored one, returns bytes of one message only. On a message pipe each
/// `write` or `write_vectored` is one message, which is written as a whole or not at all. [`Write::flush`] returns at once;
/// [`drain`](PipeStream::drain) waits for the reader.
///
/// On a remote pipe, a write that times out after it was sent counts as written. If it fails later, the next write returns the
/// error.
///
/// # Errors
/// Reads and writes return:
/// - `NotConnected`: the server has disconnected its client.
/// - `TimedOut`, `Aborted`: the time limit was reached, or the canceller was used.
/// - `AccessDenied`: this end may not read, or not write.
/// - `Corrupt`: the peer violated the protocol.
/// - `NoData`, from writes only: the peer has closed.
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

    /// Reads one whole message of at most `len_max` bytes. `None` is the end of the pipe.
    ///
    /// # Errors
    /// - `MoreData`: the message is longer. It stays unread: read it with a larger limit or in parts.
    /// - `BadPipe`: this end reads bytes. The text says what to call.
    /// - The [errors](PipeStream#errors) of reads.
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

    /// Reads one whole message of at most `len_max` bytes into `message`, in place of what is in it, and returns its length.
    /// `None` is the end of the pipe.
    ///
    /// A buffer that is used again saves the memory for each message, which is most of the time of a large one. After
    /// anything but a message the buffer is empty.
    ///
    /// # Errors
    /// Those of [`read_message`](PipeStream::read_message).
    ///
    /// # Examples
    /// ```
    /// use pipework::{ClientOptions, NamedPipeBuilder, PipeMode, PipeName};
    /// # fn main() -> std::io::Result<()> {
    /// let name = PipeName::unique("buffer")?;
    /// let server = NamedPipeBuilder::new(&name).pipe_mode(PipeMode::Message).create()?;
    /// let client = ClientOptions::new().read_mode(PipeMode::Message).open(&name)?;
    /// client.write_message(b"one")?;
    /// client.write_message(b"three")?;
    /// drop(client);
    ///
    /// let mut message = Vec::new();
    /// while let Some(len) = server.stream().read_message_to(&mut message, 65_536)? {
    ///     assert_eq!(len, message.len());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn read_message_to(&self, message: &mut Vec<u8>, len_max: usize) -> io::Result<Option<usize>> {
        self.end.read_message_to(message, len_max)
    }

    /// Reads one message, or as much of it as fits ([rule M2](crate::rules#m2)).
    ///
    /// A part is not an error here but [`MessageRead::Part`]. Corresponds to [`ReadFile`] in message read mode.
    ///
    /// [`ReadFile`]: https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-readfile
    ///
    /// # Errors
    /// `BadPipe` if this end reads bytes, and the [errors](PipeStream#errors) of reads.
    #[doc(alias = "ReadFile")]
    pub fn read_message_into(&self, buf: &mut [u8]) -> io::Result<MessageRead> {
        self.end.read_message_into(buf)
    }

    /// Writes one message as a whole or not at all ([rule M1](crate::rules#m1)). The message may be empty.
    ///
    /// The call returns at once if the message fits into the free part of the quota. Else it waits for the reader. Corresponds
    /// to [`WriteFile`] on a message pipe.
    ///
    /// [`WriteFile`]: https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-writefile
    ///
    /// # Platform-specific behavior
    /// On Unix a message that is larger than the ring travels in a memory object.
    ///
    /// # Errors
    /// - `BadPipe`: this is a byte pipe. A remote byte pipe can't be recognized.
    /// - `Invalid`: the message is longer than 4,294,967,295 bytes. A remote message must have 1 to 65,535 bytes, which is
    ///   checked before anything is sent.
    /// - The [errors](PipeStream#errors) of writes.
    #[doc(alias = "WriteFile")]
    pub fn write_message(&self, message: &[u8]) -> io::Result<()> {
        self.end.write_message(message)
    }

    /// Reads at least one whole message, and all others that are there already, up to the limits of `batch`. Returns how many;
    /// 0 is the end of the pipe, or a batch that takes no message ([rule M6](crate::rules#m6)).
    ///
    /// The messages replace those that are in the batch. What ends a batch early, such as the end of the pipe, an error, or a
    /// message that is too long for the rest of it, is found again by the next read. Where many messages are under way, this
    /// takes a small part of the time of single reads.
    ///
    /// # Platform-specific behavior
    /// On Windows, an empty message ends the batch before it. On Windows and on remote pipes, the calls save no time.
    ///
    /// # Errors
    /// - `MoreData`: the first message has more bytes than the batch may have. It stays unread: read it with another batch, by
    ///   [`read_message`](PipeStream::read_message) or in parts.
    /// - `BadPipe`: this end reads bytes. The text says what to call.
    /// - The [errors](PipeStream#errors) of reads.
    ///
    /// # Examples
    /// ```
    /// use pipework::{ClientOptions, MessageBatch, NamedPipeBuilder, PipeMode, PipeName};
    /// use std::io::IoSlice;
    /// # fn main() -> std::io::Result<()> {
    /// let name = PipeName::unique("batches")?;
    /// let server = NamedPipeBuilder::new(&name).pipe_mode(PipeMode::Message).create()?;
    /// let client = ClientOptions::new().open(&name)?;
    /// let messages = [b"one".as_slice(), b"", b"three"];
    /// assert_eq!(client.write_messages(&messages.map(IoSlice::new))?, 3);
    /// drop(client);
    ///
    /// let mut batch = MessageBatch::new(64, 65_536);
    /// let mut received = Vec::new();
    /// while server.stream().read_messages(&mut batch)? > 0 {
    ///     received.extend(batch.iter().map(<[u8]>::to_vec));
    /// }
    /// assert_eq!(received, messages);
    /// # Ok(())
    /// # }
    /// ```
    pub fn read_messages(&self, batch: &mut MessageBatch) -> io::Result<usize> {
        self.end.read_messages(batch)
    }

    /// Writes each of `messages` as a message of its own, in their order, and returns how many it has written
    /// ([rule M6](crate::rules#m6)).
    ///
    /// The messages may be empty and of different sizes. Each is written as [`write_message`](PipeStream::write_message)
    /// writes it, as a whole or not at all. Those that fit into the free part of the quota are published together, which takes
    /// a small part of the time of single writes.
    ///
    /// The call returns less than all if it reaches its time limit, is cancelled, or fails after some messages. The rest is
    /// not written then, and the next write finds the error again.
    ///
    /// # Platform-specific behavior
    /// On Windows and on remote pipes, the call writes one message after the other and saves no time.
    ///
    /// # Errors
    /// Those of [`write_message`](PipeStream::write_message), if no message was written. `Invalid` for the length of any
    /// message is checked before anything is written.
    pub fn write_messages(&self, messages: &[IoSlice<'_>]) -> io::Result<usize> {
        self.end.write_messages(messages)
    }

    /// Writes a message and reads the reply, of at most `len_max` bytes ([rule M5](crate::rules#m5)). Corresponds to
    /// [`TransactNamedPipe`].
    ///
    /// [`TransactNamedPipe`]: https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-transactnamedpipe
    ///
    /// # Errors
    /// - `BadPipe`: this end does not read messages.
    /// - `Busy`: there is unread data.
    /// - `Broken`: the peer has closed.
    /// - `MoreData`: the reply is longer. It stays unread.
    /// - The [errors](PipeStream#errors) of reads and writes.
    #[doc(alias = "TransactNamedPipe")]
    pub fn transact(&self, request: &[u8], len_max: usize) -> io::Result<Vec<u8>> {
        self.end.transact(request, len_max)
    }

    /// Copies unread data without taking it, and never waits ([rule M4](crate::rules#m4)). Corresponds to
    /// [`PeekNamedPipe`].
    ///
    /// On a message pipe it copies from the first message only, also in byte read mode.
    ///
    /// [`PeekNamedPipe`]: https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-peeknamedpipe
    ///
    /// # Errors
    /// - `Broken`: the peer has closed, and everything was read.
    /// - `BadPipe`: this is a server end without a client.
    /// - `NotConnected`: the server has disconnected its client.
    /// - `AccessDenied`: this end may not read.
    /// - `Unsupported`: the pipe is remote, on any system but Windows.
    #[doc(alias = "PeekNamedPipe")]
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<Peek> {
        self.end.peek(buf)
    }

    /// Waits until the peer has read everything that was written ([rule F1](crate::rules#f1)).
    ///
    /// [`set_write_timeout`](PipeStream::set_write_timeout) limits the wait. [`Write::flush`] does not wait. Corresponds to
    /// [`FlushFileBuffers`].
    ///
    /// [`FlushFileBuffers`]: https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-flushfilebuffers
    ///
    /// # Platform-specific behavior
    /// Plain Unix sockets support it on Linux only. A remote pipe supports it if the server does; Samba does not.
    ///
    /// # Errors
    /// - `Broken`: the peer closed first.
    /// - `AccessDenied`: this end may not write.
    /// - `TimedOut`, `Aborted`: the time limit was reached, or the canceller was used.
    #[doc(alias = "FlushFileBuffers")]
    pub fn drain(&self) -> io::Result<()> {
        self.end.drain()
    }

    /// Shuts down the sending direction of a plain Unix socket.
    ///
    /// # Errors
    /// `Unsupported` on a named pipe, since Windows has no such call.
    pub fn shutdown_write(&self) -> io::Result<()> {
        self.end.shutdown_write()
    }

    /// Sets how this end reads ([rule M3](crate::rules#m3)). Corresponds to [`SetNamedPipeHandleState`].
    ///
    /// A remote server receives the mode with the next read, which returns its error.
    ///
    /// [`SetNamedPipeHandleState`]: https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-setnamedpipehandlestate
    ///
    /// # Errors
    /// `Invalid` for message read mode on a byte pipe ([rule N5](crate::rules#n5)).
    #[doc(alias = "SetNamedPipeHandleState")]
    pub fn set_read_mode(&self, mode: PipeMode) -> io::Result<()> {
        self.end.set_read_mode(mode)
    }

    /// Sets the time limit of each later call that waits for data. `None` waits for ever.
    ///
    /// A [`transact`](PipeStream::transact) has this limit as a whole, for its request and the reply.
    ///
    /// # Errors
    /// `Invalid` for zero, as in `std::net`: with it no later call could wait.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.end.options().set_read_timeout(timeout)
    }

    /// Sets the time limit of each later write that waits for room, and of each [`drain`](PipeStream::drain). `None` waits for
    /// ever.
    ///
    /// A write that reaches its limit returns the number of bytes that it has written, which are exactly those that become
    /// readable. It is `TimedOut` if there are none ([rule T1](crate::rules#t1)).
    ///
    /// # Errors
    /// `Invalid` for zero, as in `std::net`: with it no later call could wait.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.end.options().set_write_timeout(timeout)
    }

    /// Returns the time limit that [`set_read_timeout`](PipeStream::set_read_timeout) has set.
    pub fn read_timeout(&self) -> Option<Duration> {
        self.end.options().read_timeout()
    }

    /// Returns the time limit that [`set_write_timeout`](PipeStream::set_write_timeout) has set.
    pub fn write_timeout(&self) -> Option<Duration> {
        self.end.options().write_timeout()
    }

    /// Lets `canceller` cancel the calls of this end that begin to wait from now on ([rule T2](crate::rules#t2)). `None`
    /// removes the canceller.
    pub fn set_canceller(&self, canceller: Option<&Canceller>) {
        self.end.options().set_canceller(canceller.map(Canceller::sys).cloned());
    }

    /// Returns the pipe's type, maximum of instances and buffer sizes, and the side of this end. Corresponds to
    /// [`GetNamedPipeInfo`].
    ///
    /// [`GetNamedPipeInfo`]: https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-getnamedpipeinfo
    ///
    /// # Errors
    /// The system's error for a plain socket. `Unsupported` for a remote pipe, on any system but Windows.
    #[doc(alias = "GetNamedPipeInfo")]
    pub fn info(&self) -> io::Result<PipeInfo> {
        self.end.info()
    }

    /// Returns the process and user at the other end, also after it has closed ([rule A3](crate::rules#a3)).
    ///
    /// # Errors
    /// `Listening` or `NotConnected` on a server end without a client.
    pub fn peer(&self) -> io::Result<Peer> {
        self.end.peer().map(Peer::new)
    }

    /// Returns whether the peer still has its end open, without waiting and without reading.
    ///
    /// A peer that has closed or died may have left data to read ([rule B6](crate::rules#b6)). So this also detects the end of
    /// a peer whose data is not read yet, and that of the reader of a pipe to which nothing is written. A peer that has only
    /// half-closed a plain socket is connected.
    ///
    /// # Errors
    /// `Listening` or `NotConnected` on a server end without a client. `Unsupported` for a remote pipe, on any system but
    /// Windows; and on Windows for a server end that only writes.
    pub fn is_connected(&self) -> io::Result<bool> {
        self.end.is_connected()
    }

    /// Creates another handle to the same end, as `File::try_clone` does. The end closes with the last handle.
    ///
    /// All handles share timeouts, canceller and read mode.
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

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.end.read(bufs)
    }
}

impl Read for &PipeStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.end.read(&mut [IoSliceMut::new(buf)])
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.end.read(bufs)
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
