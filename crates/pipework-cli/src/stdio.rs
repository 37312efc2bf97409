//! The standard streams. On Unix another program that shares one of them may have made it non-blocking; then this
//! waits until the stream is ready, and no data is lost.

#[cfg(unix)]
pub(crate) use unix::{Stdin, write_stderr, write_stdout};
#[cfg(windows)]
pub(crate) use windows::{Stdin, write_stderr, write_stdout};

#[cfg(unix)]
mod unix {
    use std::{
        io::{self, Read},
        os::fd::BorrowedFd,
    };

    use rustix::{
        event::{PollFd, PollFlags, poll},
        io::Errno,
        stdio::{stderr, stdin, stdout},
    };

    /// Stdin, without a buffer.
    #[derive(Debug)]
    pub(crate) struct Stdin;

    impl Read for Stdin {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            when_ready(stdin(), PollFlags::IN, || rustix::io::read(stdin(), &mut *buf))
        }
    }

    pub(crate) fn write_stdout(bytes: &[u8]) -> io::Result<()> {
        write_all(stdout(), bytes)
    }

    pub(crate) fn write_stderr(bytes: &[u8]) -> io::Result<()> {
        write_all(stderr(), bytes)
    }

    fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match when_ready(fd, PollFlags::OUT, || rustix::io::write(fd, bytes))? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => bytes = bytes.get(written..).unwrap_or_default(),
            }
        }
        Ok(())
    }

    /// Repeats a call that was interrupted, or that did not wait because the descriptor is non-blocking.
    fn when_ready<T>(
        fd: BorrowedFd<'_>,
        events: PollFlags,
        mut call: impl FnMut() -> rustix::io::Result<T>,
    ) -> io::Result<T> {
        loop {
            match call() {
                Err(Errno::AGAIN) => match poll(&mut [PollFd::from_borrowed_fd(fd, events)], None) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                },
                Err(Errno::INTR) => {}
                outcome => return Ok(outcome?),
            }
        }
    }
}

#[cfg(windows)]
mod windows {
    use std::io::{self, Read, Write};

    /// Stdin. A console needs the conversions of the standard library.
    #[derive(Debug)]
    pub(crate) struct Stdin;

    impl Read for Stdin {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            io::stdin().lock().read(buf)
        }
    }

    pub(crate) fn write_stdout(bytes: &[u8]) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes)?;
        stdout.flush()
    }

    pub(crate) fn write_stderr(bytes: &[u8]) -> io::Result<()> {
        io::stderr().lock().write_all(bytes)
    }
}
