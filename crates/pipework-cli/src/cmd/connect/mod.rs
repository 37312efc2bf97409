//! `pipework connect`: connects stdin and stdout to a pipe, in both directions at the same time.
//!
//! One thread sends, and the main thread receives. A read from stdin can't be cancelled, so the main thread never waits
//! for the sender, unless clients only write to the pipe. Then it also checks whether the server is there.

mod credentials;
mod hex;

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError},
    },
    thread,
    time::{Duration, Instant},
};

use pipework::{
    Canceller, ClientOptions, MessageRead, PipeErrorKind, PipeMode, PipeName, PipeNameKind, PipeStream,
    is_gone,
};

use crate::{
    args::{ConnectArgs, Direction},
    cmd::connect::hex::HexDump,
    failure::{Failure, Status},
    interrupt,
    output::{count, filled, print},
    stdio::Stdin,
};

/// The maximum that is read from stdin, or printed, at a time.
const CHUNK_LEN: usize = 64 * 1024;

/// How long to wait for more data after the end of stdin, if the pipe can't be half-closed.
const IDLE: Duration = Duration::from_secs(1);

/// How often a client that only writes checks whether the server is there.
const TICK: Duration = Duration::from_millis(500);

/// How long a write in progress may take to fail after the server has closed.
const WRITE_FAILURE_TIMEOUT: Duration = Duration::from_millis(500);

pub(crate) fn run(args: &ConnectArgs) -> Result<(), Failure> {
    let name = PipeName::new(&args.name)?;
    let interrupted = Canceller::new()?;
    // Cancelled by the sender at the end of stdin, to wake the receiver, and by Ctrl-C.
    let ended = Canceller::new()?;
    let (report, sent) = mpsc::channel();
    interrupt::watch({
        let (interrupted, ended, report) = (interrupted.clone(), ended.clone(), report.clone());
        move || {
            interrupted.cancel();
            ended.cancel();
            // The sender may wait for stdin, which can't be cancelled.
            report.send(Err(io::ErrorKind::ConnectionAborted.into())).ok();
        }
    })?;

    let (stream, direction) = open(args, &name, &interrupted)?;
    let stream = Arc::new(stream);
    stream.set_canceller(Some(&ended));
    let on_eof = match name.kind() {
        PipeNameKind::Socket(_) => OnEof::HalfClose,
        // SMB can't wait until the server has read everything.
        PipeNameKind::Remote { .. } => OnEof::Nothing,
        _ => OnEof::Drain,
    };
    let writing = Arc::new(AtomicBool::new(false));
    if direction != Direction::Out {
        let (stream, writing) = (Arc::clone(&stream), Arc::clone(&writing));
        let sender = StdinSender { stream, on_eof, writing, report, ended };
        let message = args.message;
        thread::spawn(move || sender.run(message));
    }
    let idle = match args.idle {
        None if args.stay || on_eof == OnEof::HalfClose => None,
        idle => Some(idle.unwrap_or(IDLE)),
    };
    let printer = Printer { message: args.message, hex: args.hex.then(HexDump::default) };
    let mut receiver = PipeReceiver {
        stream: &stream,
        interrupted: &interrupted,
        idle,
        sent: &sent,
        writing: &writing,
        printer,
        received: 0,
    };
    if direction == Direction::In { receiver.wait_for_sender() } else { receiver.run() }
}

/// Opens the pipe in both directions, or in its only one. The result is the direction of the server.
fn open(
    args: &ConnectArgs,
    name: &PipeName,
    interrupted: &Canceller,
) -> Result<(PipeStream, Direction), Failure> {
    let mut options = ClientOptions::new();
    options.wait_absent(args.wait).canceller(interrupted);
    credentials::apply(&args.remote, name, &mut options)?;
    let timeout = args.timeout.or(args.wait.then_some(Duration::MAX));
    if let Some(timeout) = timeout {
        options.timeout(timeout);
    }
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let mut receiving = options.clone();
    if args.message {
        receiving.read_mode(PipeMode::Message);
    }
    let error = match receiving.connect(name) {
        Ok(stream) => return Ok((stream, Direction::Duplex)),
        // The pipe may have one direction only.
        Err(error) if error == PipeErrorKind::AccessDenied => {
            let one_way = [(Direction::Out, receiving.write(false)), (Direction::In, options.read(false))];
            match open_one_way(name, one_way, deadline) {
                Some(Ok(opened)) => return Ok(opened),
                Some(Err(error)) => error,
                None => error,
            }
        }
        Err(error) => error,
    };
    Err(not_opened(args, name, interrupted, error))
}

/// Opens the pipe in the one direction that it has, and waits for it as the options say. `None` if it is refused in both:
/// then it is not a matter of the direction.
fn open_one_way(
    name: &PipeName,
    one_way: [(Direction, &mut ClientOptions); 2],
    deadline: Option<Instant>,
) -> Option<io::Result<(PipeStream, Direction)>> {
    for (direction, options) in one_way {
        // The first attempt does not wait, so that a refusal is not waited for.
        let opened = match options.open(name) {
            Err(error) if error == PipeErrorKind::AccessDenied => continue,
            Err(error) if error == PipeErrorKind::Busy || error == PipeErrorKind::Absent => {
                if let Some(deadline) = deadline {
                    options.timeout(deadline.saturating_duration_since(Instant::now()));
                }
                options.connect(name)
            }
            opened => opened,
        };
        return Some(opened.map(|stream| (stream, direction)));
    }
    None
}

/// Why the pipe could not be opened.
fn not_opened(args: &ConnectArgs, name: &PipeName, interrupted: &Canceller, error: io::Error) -> Failure {
    if interrupted.is_cancelled() {
        return Failure::interrupted("not connected yet");
    }
    let no_messages = args.message && error == PipeErrorKind::Invalid;
    let (absent, denied) = match name.kind() {
        PipeNameKind::Remote { .. } => (
            "the pipe's server must accept remote clients (`pipework serve NAME --accept-remote`), and the SMB server must export the pipe",
            "check the account, and the access that the pipe's server grants",
        ),
        _ => (
            "start its server, or add --wait to wait for it; `pipework list` lists the pipes",
            "the pipe's server decides which users can connect; `pipework list` shows its owner",
        ),
    };
    let failure =
        Failure::of_pipe(name, error).hint_if(Status::Absent, absent).hint_if(Status::Denied, denied);
    if no_messages { failure.hint("if this is a byte pipe, omit --message") } else { failure }
}

// ---------------------------------------------------------------------- sending

/// What the sender does at the end of stdin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnEof {
    /// Half-closes the socket.
    HalfClose,
    /// Waits until the server has read everything, since a named pipe can't be half-closed.
    Drain,
    Nothing,
}

/// The state of the sending thread.
struct StdinSender {
    stream: Arc<PipeStream>,
    on_eof: OnEof,
    /// Whether a write to the pipe is in progress.
    writing: Arc<AtomicBool>,
    report: Sender<io::Result<()>>,
    ended: Canceller,
}

impl StdinSender {
    /// Sends all of stdin and waits until the server has read it. Then reports the result and wakes the receiver.
    fn run(self, message: bool) {
        let result = if message { self.send_lines(BufReader::new(Stdin)) } else { self.send_bytes(Stdin) };
        let end = || match self.on_eof {
            OnEof::HalfClose => self.stream.shutdown_write(),
            OnEof::Drain => self.stream.drain(),
            OnEof::Nothing => Ok(()),
        };
        let result = result.and_then(|()| match end() {
            // The server has closed the pipe, which it may do before it has read everything.
            Err(error) if is_gone(&error) => Ok(()),
            result => result,
        });
        // The receiver may have exited already.
        self.report.send(result).ok();
        self.ended.cancel();
    }

    fn send_bytes(&self, mut stdin: impl Read) -> io::Result<()> {
        let mut buffer = vec![0; CHUNK_LEN];
        loop {
            match stdin.read(&mut buffer).map_err(unreadable)? {
                0 => return Ok(()),
                len => self.write(|mut stream| stream.write_all(filled(&buffer, len)))?,
            }
        }
    }

    /// Sends each line as a message, without the line end. An empty line is an empty message.
    fn send_lines(&self, mut stdin: impl BufRead) -> io::Result<()> {
        let mut line = Vec::new();
        while stdin.read_until(b'\n', &mut line).map_err(unreadable)? > 0 {
            self.write(|stream| stream.write_message(line.strip_suffix(b"\n").unwrap_or(&line)))?;
            line.clear();
        }
        Ok(())
    }

    fn write(&self, write: impl FnOnce(&PipeStream) -> io::Result<()>) -> io::Result<()> {
        self.writing.store(true, Ordering::Relaxed);
        write(&self.stream)?;
        self.writing.store(false, Ordering::Relaxed);
        Ok(())
    }
}

/// Stdin can't be read: a directory, or a terminal that is gone.
fn unreadable(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("can't read stdin: {error}"))
}

// -------------------------------------------------------------------- receiving

/// The state of the receiving thread.
struct PipeReceiver<'a> {
    stream: &'a PipeStream,
    interrupted: &'a Canceller,
    /// How long to wait for more data after the end of stdin; `None` is no limit.
    idle: Option<Duration>,
    sent: &'a Receiver<io::Result<()>>,
    writing: &'a AtomicBool,
    printer: Printer,
    received: usize,
}

impl PipeReceiver<'_> {
    fn run(&mut self) -> Result<(), Failure> {
        let mut buffer = vec![0; CHUNK_LEN];
        loop {
            let error = match self.read(&mut buffer) {
                Ok(MessageRead::End) => return self.finish(),
                Ok(read) => {
                    let (MessageRead::Whole(len) | MessageRead::Part(len)) = read else { continue };
                    self.received = self.received.saturating_add(len);
                    let whole = matches!(read, MessageRead::Whole(_));
                    let printer = &mut self.printer;
                    print(|out| printer.write(out, filled(&buffer, len), whole))?;
                    continue;
                }
                Err(error) => error,
            };
            if self.interrupted.is_cancelled() {
                return Err(self.interruption());
            }
            match PipeErrorKind::of(&error) {
                Some(PipeErrorKind::Aborted) => {
                    self.check_sent()?;
                    if self.idle == Some(Duration::ZERO) {
                        return Ok(());
                    }
                    self.stream.set_canceller(Some(self.interrupted));
                    self.stream.set_read_timeout(self.idle)?;
                }
                Some(PipeErrorKind::TimedOut) => return self.finish(),
                // The server's close is no error of a read: the connection to a remote server was lost.
                Some(PipeErrorKind::Broken) => return Err(error.into()),
                _ if is_gone(&error) => return self.finish(),
                _ => return Err(error.into()),
            }
        }
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<MessageRead> {
        if self.printer.message {
            return self.stream.read_message_into(buffer);
        }
        let mut stream = self.stream;
        match stream.read(buffer)? {
            0 => Ok(MessageRead::End),
            len => Ok(MessageRead::Whole(len)),
        }
    }

    /// Ends the connection. It is a failure if a part of stdin could not be sent.
    fn finish(&self) -> Result<(), Failure> {
        // A write in progress fails soon after the server has closed; wait for that result.
        let timeout =
            if self.writing.load(Ordering::Relaxed) { WRITE_FAILURE_TIMEOUT } else { Duration::ZERO };
        match self.sent.recv_timeout(timeout) {
            Ok(result) => self.check(result),
            Err(_) => Ok(()),
        }
    }

    /// The sender has ended, and has reported its result.
    fn check_sent(&mut self) -> Result<(), Failure> {
        match self.sent.try_recv() {
            Ok(result) => self.check(result),
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => Ok(()),
        }
    }

    /// Waits for the sender, on a pipe that clients only write to. The sender may wait for stdin while the server closes.
    fn wait_for_sender(&self) -> Result<(), Failure> {
        loop {
            match self.sent.recv_timeout(TICK) {
                Ok(result) => return self.check(result),
                Err(RecvTimeoutError::Timeout) if matches!(self.stream.is_connected(), Ok(false)) => {
                    return self.finish();
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }

    fn check(&self, result: io::Result<()>) -> Result<(), Failure> {
        match result {
            Err(_) if self.interrupted.is_cancelled() => Err(self.interruption()),
            // A lost connection to a remote server has a text of its own.
            Err(error) if is_gone(&error) && error != PipeErrorKind::Broken => {
                Err(Failure::failed("the server closed the pipe before it had read all of stdin"))
            }
            result => result.map_err(Failure::from),
        }
    }

    fn interruption(&self) -> Failure {
        Failure::interrupted(format!("{} received", count(self.received, "byte")))
    }
}

/// Prints received data in the format that the options select.
struct Printer {
    message: bool,
    hex: Option<HexDump>,
}

impl Printer {
    /// `whole` means that a message ends here.
    fn write(&mut self, out: &mut impl Write, bytes: &[u8], whole: bool) -> io::Result<()> {
        match &mut self.hex {
            Some(hex) => {
                hex.write(out, bytes)?;
                if self.message && whole { hex.end_message(out) } else { Ok(()) }
            }
            None => {
                out.write_all(bytes)?;
                if self.message && whole { out.write_all(b"\n") } else { Ok(()) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_a_line_even_in_parts_or_empty() {
        let mut printer = Printer { message: true, hex: None };
        let mut out = Vec::new();
        printer.write(&mut out, b"ab", false).unwrap();
        printer.write(&mut out, b"c", true).unwrap();
        printer.write(&mut out, b"", true).unwrap();
        assert_eq!(out, b"abc\n\n");
    }

    #[test]
    fn bytes_are_printed_as_they_are() {
        let mut printer = Printer { message: false, hex: None };
        let mut out = Vec::new();
        printer.write(&mut out, b"a\nb", true).unwrap();
        assert_eq!(out, b"a\nb");
    }
}
