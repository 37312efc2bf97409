//! Anonymous pipes: one-way, without a name, for a parent and its child.

use std::{
    fs::File,
    io::{self, IoSlice, IoSliceMut, PipeReader, PipeWriter, Read, Write},
    process::{ChildStderr, ChildStdin, ChildStdout, Stdio},
};

use crate::sys::anonymous::{Handle, adopt, create, write_vectored};

/// Creates a one-way pipe of the kernel and returns its two ends.
///
/// `buffer_size` is a suggestion in bytes ([rule P1](crate::rules#p1)); 0 is the system's default. A child inherits an end
/// only if the program gives it to the child ([rule P2](crate::rules#p2)). Corresponds to [`CreatePipe`].
///
/// # Platform-specific behavior
/// On Linux the pipe gets the largest size up to `buffer_size` that the system grants to this user. Other Unix systems choose
/// the size themselves.
///
/// [`CreatePipe`]: https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-createpipe
///
/// # Errors
/// The system's error, such as too many open files.
///
/// # Examples
/// ```
/// use std::io::{Read, Write};
///
/// let (mut read, mut write) = pipework::anonymous(0)?;
/// write.write_all(b"hello")?;
/// drop(write);
/// let mut text = String::new();
/// read.read_to_string(&mut text)?;
/// assert_eq!(text, "hello");
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "CreatePipe")]
pub fn anonymous(buffer_size: u32) -> io::Result<(AnonRead, AnonWrite)> {
    let (read, write) = create(buffer_size)?;
    Ok((AnonRead { pipe: read }, AnonWrite { pipe: write }))
}

/// The reading end of an anonymous pipe.
///
/// After the last writing end is closed, reads return the rest of the data and then the end (`Ok(0)`). A program that waits
/// for that end must not hold a writing end itself.
#[derive(Debug)]
pub struct AnonRead {
    pipe: PipeReader,
}

/// The writing end of an anonymous pipe. `flush` does nothing.
///
/// A write without an open reading end fails with [`PipeErrorKind::NoData`](crate::PipeErrorKind::NoData), of kind
/// [`BrokenPipe`](io::ErrorKind::BrokenPipe). It never raises `SIGPIPE`, whatever its disposition is.
#[derive(Debug)]
pub struct AnonWrite {
    pipe: PipeWriter,
}

impl AnonRead {
    /// Creates another handle to the same end, as `File::try_clone` does. The end closes with the last handle.
    ///
    /// # Errors
    /// The system's error, such as too many open files.
    pub fn try_clone(&self) -> io::Result<AnonRead> {
        Ok(AnonRead { pipe: self.pipe.try_clone()? })
    }

    /// The standard library's end inside, for the handle conversions of each system.
    pub(crate) fn pipe(&self) -> &PipeReader {
        &self.pipe
    }
}

impl AnonWrite {
    /// Creates another handle to the same end, as `File::try_clone` does. The end closes with the last handle.
    ///
    /// # Errors
    /// The system's error, such as too many open files.
    pub fn try_clone(&self) -> io::Result<AnonWrite> {
        Ok(AnonWrite { pipe: self.pipe.try_clone()? })
    }

    /// The standard library's end inside, for the handle conversions of each system.
    pub(crate) fn pipe(&self) -> &PipeWriter {
        &self.pipe
    }
}

impl Read for &AnonRead {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        // Windows would wait for data.
        if buf.is_empty() { Ok(0) } else { (&self.pipe).read(buf) }
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        if bufs.iter().all(|buf| buf.is_empty()) { Ok(0) } else { (&self.pipe).read_vectored(bufs) }
    }

    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        (&self.pipe).read_to_end(buf)
    }
}

impl Read for AnonRead {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(bufs)
    }

    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        (&*self).read_to_end(buf)
    }
}

impl Write for &AnonWrite {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        write_vectored(&self.pipe, &[IoSlice::new(buf)])
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        write_vectored(&self.pipe, bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for AnonWrite {
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

impl From<AnonRead> for PipeReader {
    fn from(end: AnonRead) -> PipeReader {
        end.pipe
    }
}

impl From<PipeReader> for AnonRead {
    fn from(end: PipeReader) -> AnonRead {
        AnonRead { pipe: end }
    }
}

impl From<AnonWrite> for PipeWriter {
    fn from(end: AnonWrite) -> PipeWriter {
        end.pipe
    }
}

impl From<PipeWriter> for AnonWrite {
    fn from(end: PipeWriter) -> AnonWrite {
        adopt(&end);
        AnonWrite { pipe: end }
    }
}

impl From<AnonRead> for Stdio {
    fn from(end: AnonRead) -> Stdio {
        Stdio::from(end.pipe)
    }
}

impl From<AnonWrite> for Stdio {
    fn from(end: AnonWrite) -> Stdio {
        Stdio::from(end.pipe)
    }
}

impl From<AnonRead> for File {
    fn from(end: AnonRead) -> File {
        File::from(Handle::from(end.pipe))
    }
}

impl From<AnonWrite> for File {
    fn from(end: AnonWrite) -> File {
        File::from(Handle::from(end.pipe))
    }
}

impl From<ChildStdout> for AnonRead {
    fn from(end: ChildStdout) -> AnonRead {
        AnonRead::from(PipeReader::from(Handle::from(end)))
    }
}

impl From<ChildStderr> for AnonRead {
    fn from(end: ChildStderr) -> AnonRead {
        AnonRead::from(PipeReader::from(Handle::from(end)))
    }
}

impl From<ChildStdin> for AnonWrite {
    fn from(end: ChildStdin) -> AnonWrite {
        AnonWrite::from(PipeWriter::from(Handle::from(end)))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        env,
        io::BufRead,
        panic::{RefUnwindSafe, UnwindSafe},
        process::{self, Command},
        sync::mpsc,
        thread,
        time::Duration,
    };

    use super::*;
    use crate::error::PipeErrorKind;

    const ROLE: &str = "PIPEWORK_ANONYMOUS_TEST_CHILD";
    const CHILD_CODE: i32 = 73;
    const WATCHDOG: Duration = Duration::from_secs(60);

    /// Not a test of its own: the child process of the tests below. It copies its stdin to stdout and stderr.
    #[test]
    fn child() {
        if env::var_os(ROLE).is_none() {
            return;
        }
        let mut input = Vec::new();
        io::stdin().read_to_end(&mut input).unwrap();
        io::stdout().write_all(&input).unwrap();
        io::stdout().flush().unwrap();
        io::stderr().write_all(&input).unwrap();
        process::exit(CHILD_CODE);
    }

    fn child_command() -> Command {
        let mut command = Command::new(env::current_exe().unwrap());
        command
            .args(["anonymous::tests::child", "--exact", "--nocapture", "--test-threads=1"])
            .env(ROLE, "1");
        command
    }

    /// Runs `work` on a thread of its own, so that a call that hangs fails its test instead of stopping it.
    #[track_caller]
    fn within_watchdog<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
        let (sender, receiver) = mpsc::channel();
        let worker = thread::spawn(move || sender.send(work()));
        match receiver.recv_timeout(WATCHDOG) {
            Ok(result) => result,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("still waiting after {WATCHDOG:?}"),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                std::panic::resume_unwind(worker.join().unwrap_err())
            }
        }
    }

    fn all_of(mut end: impl Read + Send + 'static) -> Vec<u8> {
        within_watchdog(move || {
            let mut bytes = Vec::new();
            end.read_to_end(&mut bytes).unwrap();
            bytes
        })
    }

    fn pattern(len: usize) -> Vec<u8> {
        (0..len).map(|index| u8::try_from(index * 7 % 251).unwrap()).collect()
    }

    #[test]
    fn the_ends_can_be_shared_and_sent() {
        fn shared<T: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe + 'static>() {}
        shared::<AnonRead>();
        shared::<AnonWrite>();
    }

    #[test]
    fn bytes_arrive_in_order_and_then_the_end() {
        let (mut read, mut write) = anonymous(0).unwrap();
        write.write_all(b"ab").unwrap();
        (&write).write_all(b"cd").unwrap();
        let parts = [IoSlice::new(b"e"), IoSlice::new(b""), IoSlice::new(b"fgh")];
        let mut left = write.write_vectored(&parts).unwrap();
        for part in &parts[..] {
            let done = left.min(part.len());
            write.write_all(&part[done..]).unwrap();
            left -= done;
        }
        write.flush().unwrap();
        (&write).flush().unwrap();
        let mut some = [0; 3];
        read.read_exact(&mut some).unwrap();
        assert_eq!(&some, b"abc");
        let (mut one, mut two) = ([0; 1], [0; 2]);
        let count = read.read_vectored(&mut [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)]).unwrap();
        assert!((1..=3).contains(&count));
        drop(write);
        let mut rest = Vec::new();
        (&read).read_to_end(&mut rest).unwrap();
        let mut all = [&one[..], &two[..]].concat();
        all.truncate(count);
        all.extend(rest);
        assert_eq!(all, b"defgh");
        assert_eq!(read.read(&mut some).unwrap(), 0);
        assert_eq!((&read).read(&mut some).unwrap(), 0);
    }

    #[test]
    fn empty_reads_and_writes_transfer_nothing() {
        let (mut read, mut write) = anonymous(0).unwrap();
        assert_eq!(read.read(&mut []).unwrap(), 0);
        assert_eq!(write.write(&[]).unwrap(), 0);
        assert_eq!(write.write_vectored(&[]).unwrap(), 0);
        drop(write);
        assert_eq!(all_of(read), b"");
    }

    #[test]
    fn a_clone_keeps_its_end_open() {
        let (read, write) = anonymous(0).unwrap();
        let mut write_again = write.try_clone().unwrap();
        drop(write);
        write_again.write_all(b"one").unwrap();
        let read_again = read.try_clone().unwrap();
        drop(read);
        write_again.write_all(b"two").unwrap();
        drop(write_again);
        assert_eq!(all_of(read_again), b"onetwo");
    }

    #[test]
    fn writing_without_a_reader_is_a_broken_pipe() {
        let (read, mut write) = anonymous(0).unwrap();
        write.write_all(b"unread").unwrap();
        drop(read);
        for _ in 0..2 {
            let error = write.write(b"x").unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
            assert!(error == PipeErrorKind::NoData);
            assert!(crate::error::is_gone(&error));
            assert!((&write).write_vectored(&[IoSlice::new(b"x")]).unwrap_err() == PipeErrorKind::NoData);
        }
    }

    #[test]
    fn a_blocked_write_ends_when_the_reader_goes() {
        let (mut read, mut write) = anonymous(0).unwrap();
        let writer = thread::spawn(move || write.write_all(&pattern(16 << 20)));
        let mut byte = [0; 1];
        read.read_exact(&mut byte).unwrap();
        drop(read);
        let error = within_watchdog(move || writer.join().unwrap()).unwrap_err();
        assert!(error == PipeErrorKind::NoData, "{error}");
    }

    #[test]
    fn a_large_transfer_is_complete() {
        for buffer_size in [0, 1, 4096, 1 << 20, u32::MAX] {
            let (read, mut write) = anonymous(buffer_size).unwrap();
            let writer = thread::spawn(move || write.write_all(&pattern(5_000_001)));
            assert!(all_of(read) == pattern(5_000_001), "buffer size {buffer_size}");
            writer.join().unwrap().unwrap();
        }
    }

    #[test]
    fn ends_convert_to_and_from_those_of_std() {
        let (read, write) = anonymous(0).unwrap();
        let (read, write) = (PipeReader::from(read), PipeWriter::from(write));
        let (read, mut write) = (AnonRead::from(read), AnonWrite::from(write));
        write.write_all(b"through").unwrap();
        let mut file = File::from(write);
        file.write_all(b" a file").unwrap();
        drop(file);
        assert_eq!(all_of(File::from(read)), b"through a file");
    }

    #[test]
    fn ends_become_the_stdio_of_a_child() {
        let (stdin, mut input) = anonymous(0).unwrap();
        let (output, stdout) = anonymous(0).unwrap();
        let (errors, stderr) = anonymous(0).unwrap();
        let mut child = child_command().stdin(stdin).stdout(stdout).stderr(stderr).spawn().unwrap();
        let output = thread::spawn(move || all_of(output));
        let errors = thread::spawn(move || all_of(errors));
        let text = pattern(200_000);
        input.write_all(&text).unwrap();
        drop(input);
        assert_eq!(child.wait().unwrap().code(), Some(CHILD_CODE));
        // The test runner of the child prints before the child's own output.
        assert!(output.join().unwrap().ends_with(&text));
        assert!(errors.join().unwrap().ends_with(&text));
    }

    #[test]
    fn the_stdio_of_a_child_becomes_ends() {
        let mut command = child_command();
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut input = AnonWrite::from(child.stdin.take().unwrap());
        let output = AnonRead::from(child.stdout.take().unwrap());
        let errors = AnonRead::from(child.stderr.take().unwrap());
        input.write_all(b"to a child\n").unwrap();
        drop(input);
        assert!(all_of(output).ends_with(b"to a child\n"));
        assert!(all_of(errors).ends_with(b"to a child\n"));
        assert_eq!(child.wait().unwrap().code(), Some(CHILD_CODE));
    }

    #[test]
    fn a_child_inherits_no_end() {
        let (read, write) = anonymous(0).unwrap();
        let (other_read, mut other_write) = anonymous(0).unwrap();
        let mut command = child_command();
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        // The first line of its test runner shows that the child runs. It runs until its stdin ends.
        let mut started = io::BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("running") {
            line.clear();
            assert_ne!(started.read_line(&mut line).unwrap(), 0, "the child ended early");
        }
        drop(write);
        assert_eq!(all_of(read), b"");
        drop(other_read);
        assert!(other_write.write(b"x").unwrap_err() == PipeErrorKind::NoData);
        assert!(child.try_wait().unwrap().is_none(), "the child ended before it was asked");
        drop(child.stdin.take());
        let mut rest = Vec::new();
        started.read_to_end(&mut rest).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(CHILD_CODE));
    }
}
