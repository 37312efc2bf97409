//! `pipework connect`: connects stdin and stdout to a pipe, in both directions at the same time.
//!
//! One thread sends, and the main thread receives. A read from stdin can't be cancelled, so the main thread never waits
//! for the sender, unless clients only write to the pipe. Then it also checks whether the server is there.

mod framing;
mod hex;

use std::{
    io::{self, BufReader, Read, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError},
    },
    thread,
    time::Duration,
};

use pipework::{Canceller, MessageRead, PipeErrorKind, PipeName, PipeNameKind, PipeStream, is_gone};

use crate::{
    args::{ConnectArgs, Direction},
    cmd::{
        client::{Progress, end_at_deadline, open},
        connect::framing::{Framing, Input, Printer},
    },
    failure::Failure,
    interrupt,
    output::{filled, print},
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
    let progress = Arc::new(Progress::default());
    end_at_deadline(args.open.deadline, &progress)?;
    let name = PipeName::new(&args.open.name)?;
    let interrupted = Canceller::new()?;
    // Cancelled by the sender at the end of stdin, to wake the receiver, and by Ctrl-C.
    let ended = Canceller::new()?;
    let (report, sent) = mpsc::channel();
    interrupt::watch({
        let (interrupted, ended, report) = (interrupted.clone(), ended.clone(), report.clone());
        move |_| {
            interrupted.cancel();
            ended.cancel();
            // The sender may wait for stdin, which can't be cancelled.
            report.send(Err(io::ErrorKind::ConnectionAborted.into())).ok();
        }
    })?;

    let framing = Framing::new(args);
    let (stream, direction) = open(&args.open, framing.has_messages(), &name, &interrupted)?;
    progress.connected();
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
        let (stream, writing, progress) = (Arc::clone(&stream), Arc::clone(&writing), Arc::clone(&progress));
        let sender = StdinSender { stream, on_eof, writing, progress, report, ended };
        let input = Input { framing, hex: args.hex };
        thread::spawn(move || sender.run(input));
    }
    let idle = match args.idle {
        None if args.stay || args.replies.is_some() || on_eof == OnEof::HalfClose => None,
        idle => Some(idle.unwrap_or(IDLE)),
    };
    let mut receiver = PipeReceiver {
        stream: &stream,
        interrupted: &interrupted,
        idle,
        sent: &sent,
        writing: &writing,
        has_messages: framing.has_messages(),
        printer: Printer::new(framing, args.hex),
        progress: &progress,
        replies: args.replies.map(Replies::new),
        within_message: false,
    };
    if direction == Direction::In { receiver.wait_for_sender() } else { receiver.run() }
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
    progress: Arc<Progress>,
    report: Sender<io::Result<()>>,
    ended: Canceller,
}

impl StdinSender {
    /// Sends all of stdin and waits until the server has read it. Then reports the result and wakes the receiver.
    fn run(self, input: Input) {
        let result = self.send(input);
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

    /// Sends each piece: a message, or bytes.
    fn send(&self, input: Input) -> io::Result<()> {
        let mut stdin = BufReader::with_capacity(CHUNK_LEN, Stdin);
        let mut piece = Vec::new();
        while input.read(&mut stdin, &mut piece).map_err(unreadable)? {
            if input.framing.has_messages() {
                self.write(|stream| stream.write_message(&piece))?;
            } else {
                self.write(|mut stream| stream.write_all(&piece))?;
            }
        }
        Ok(())
    }

    fn write(&self, write: impl FnOnce(&PipeStream) -> io::Result<()>) -> io::Result<()> {
        self.writing.store(true, Ordering::Relaxed);
        self.progress.sending();
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
    has_messages: bool,
    printer: Printer,
    progress: &'a Progress,
    /// The replies to wait for.
    replies: Option<Replies>,
    /// Whether the last read returned a part of a message.
    within_message: bool,
}

/// How the answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AnswerEnd {
    /// The server has closed the pipe.
    Closed,
    /// Nothing arrived for the time of `--idle`.
    Idle,
}

/// The replies to wait for, and those that have arrived: messages, or lines of bytes.
#[derive(Debug)]
struct Replies {
    wanted: u64,
    received: u64,
}

impl Replies {
    fn new(wanted: u64) -> Replies {
        Replies { wanted, received: 0 }
    }

    fn are_complete(&self) -> bool {
        self.received >= self.wanted
    }

    /// Adds a message.
    fn add(&mut self) {
        self.received = self.received.saturating_add(1);
    }

    /// Adds the lines that end in these bytes. Returns the bytes up to the end of the last one that is wanted.
    fn add_lines<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        for (index, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
            self.add();
            if self.are_complete() {
                return bytes.get(..=index).unwrap_or(bytes);
            }
        }
        bytes
    }
}

impl PipeReceiver<'_> {
    fn run(&mut self) -> Result<(), Failure> {
        let mut buffer = vec![0; CHUNK_LEN];
        loop {
            let error = match self.read(&mut buffer) {
                Ok(MessageRead::End) => return self.finish(AnswerEnd::Closed),
                Ok(MessageRead::Whole(len)) => {
                    if self.receive(filled(&buffer, len), true)? {
                        return Ok(());
                    }
                    continue;
                }
                Ok(MessageRead::Part(len)) => {
                    self.receive(filled(&buffer, len), false)?;
                    continue;
                }
                Err(error) => error,
            };
            if self.interrupted.is_cancelled() {
                return Err(self.progress.interruption());
            }
            match PipeErrorKind::of(&error) {
                Some(PipeErrorKind::Aborted) => {
                    self.check_sent()?;
                    // No answer is expected.
                    if self.idle == Some(Duration::ZERO) && self.replies.is_none() {
                        return Ok(());
                    }
                    if self.idle == Some(Duration::ZERO) {
                        return self.finish(AnswerEnd::Idle);
                    }
                    self.stream.set_canceller(Some(self.interrupted));
                    self.stream.set_read_timeout(self.idle)?;
                }
                Some(PipeErrorKind::TimedOut) => return self.finish(AnswerEnd::Idle),
                // The server's close is no error of a read: the connection to a remote server was lost.
                Some(PipeErrorKind::Broken) => return Err(error.into()),
                _ if is_gone(&error) => return self.finish(AnswerEnd::Closed),
                _ => return Err(error.into()),
            }
        }
    }

    /// Prints what was received. `whole` means that a message ends here. Returns whether all replies have arrived.
    fn receive(&mut self, bytes: &[u8], whole: bool) -> Result<bool, Failure> {
        self.progress.received(bytes.len());
        self.within_message = !whole;
        let bytes = match &mut self.replies {
            Some(replies) if !self.has_messages => replies.add_lines(bytes),
            Some(replies) if whole => {
                replies.add();
                bytes
            }
            _ => bytes,
        };
        print(|out| self.printer.write(out, bytes, whole))?;
        Ok(self.replies.as_ref().is_some_and(Replies::are_complete))
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<MessageRead> {
        if self.has_messages {
            return self.stream.read_message_into(buffer);
        }
        let mut stream = self.stream;
        match stream.read(buffer)? {
            0 => Ok(MessageRead::End),
            len => Ok(MessageRead::Whole(len)),
        }
    }

    /// Ends the connection. It is a failure if a part of stdin could not be sent, or if an answer is missing.
    fn finish(&self, end: AnswerEnd) -> Result<(), Failure> {
        // A write in progress fails soon after the server has closed; wait for that result.
        let timeout =
            if self.writing.load(Ordering::Relaxed) { WRITE_FAILURE_TIMEOUT } else { Duration::ZERO };
        if let Ok(result) = self.sent.recv_timeout(timeout) {
            self.check(result)?;
        }
        let missing = match &self.replies {
            Some(replies) if !replies.are_complete() => {
                Some(format!("{} of {} received", replies.received, count_replies(replies.wanted)))
            }
            _ if self.within_message => Some("the last message is not whole".to_owned()),
            // A server that closes without an answer may have nothing to say.
            None if end == AnswerEnd::Idle && self.progress.is_unanswered() => {
                Some("no answer received".to_owned())
            }
            _ => None,
        };
        let Some(missing) = missing else { return Ok(()) };
        Err(match end {
            AnswerEnd::Closed => Failure::failed(format!("the server closed the pipe: {missing}")),
            AnswerEnd::Idle => {
                let idle = humantime::format_duration(self.idle.unwrap_or_default());
                Failure::failed(format!("gave up, since nothing arrived for {idle}: {missing}"))
                    .hint("wait longer with --idle, or with --stay; --idle 0s expects no answer")
            }
        })
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
                    return self.finish(AnswerEnd::Closed);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }

    fn check(&self, result: io::Result<()>) -> Result<(), Failure> {
        match result {
            Err(_) if self.interrupted.is_cancelled() => Err(self.progress.interruption()),
            // A lost connection to a remote server has a text of its own.
            Err(error) if is_gone(&error) && error != PipeErrorKind::Broken => {
                Err(Failure::failed("the server closed the pipe before it had read all of stdin"))
            }
            result => result.map_err(Failure::from),
        }
    }
}

fn count_replies(number: u64) -> String {
    if number == 1 { "1 reply".to_owned() } else { format!("{number} replies") }
}
