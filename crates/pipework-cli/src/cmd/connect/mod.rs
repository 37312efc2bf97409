//! `pipework connect`: stdin and stdout onto a pipe, both ways at once.
//!
//! One thread sends, this one receives. A read from stdin can't be ended from outside, so the sender is never waited
//! for unless the pipe is one that clients only write.

mod credentials;
mod hex;

use std::{
    io::{self, BufRead, Read, StdinLock, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::Duration,
};

use pipework::{
    Canceller, ClientOptions, MessageRead, PipeErrorKind, PipeMode, PipeName, PipeNameKind, PipeStream,
    is_gone,
};

use crate::{
    args::{ConnectArgs, Direction},
    cmd::connect::hex::HexDump,
    failure::{Failure, Status, too_late},
    interrupt,
    output::{count, filled, print},
};

/// The most that is read from stdin, or printed, at a time.
const CHUNK_LEN: usize = 64 * 1024;

/// How long to wait for more once stdin has ended, where the server can't be told.
const IDLE: Duration = Duration::from_secs(1);

/// How long a write that was on its way may take to fail.
const REPORT_PATIENCE: Duration = Duration::from_millis(500);

pub(crate) fn run(args: &ConnectArgs) -> Result<(), Failure> {
    let name = PipeName::new(&args.name)?;
    let interrupted = Canceller::new()?;
    // Used by the sender when stdin has ended, to tell the receiver, and by Ctrl-C.
    let ended = Canceller::new()?;
    let (report, sent) = mpsc::channel();
    interrupt::watch({
        let (interrupted, ended, report) = (interrupted.clone(), ended.clone(), report.clone());
        move || {
            interrupted.cancel();
            ended.cancel();
            // The sender may wait for stdin and can't be reached.
            report.send(Err(io::ErrorKind::ConnectionAborted.into())).ok();
        }
    })?;

    let (stream, direction) = open(args, &name, &interrupted)?;
    let stream = Arc::new(stream);
    stream.set_canceller(Some(&ended));
    let at_the_end = match name.kind() {
        PipeNameKind::Socket(_) => AtTheEnd::HalfClose,
        // What was written there was taken by the computer.
        PipeNameKind::Remote { .. } => AtTheEnd::Nothing,
        _ => AtTheEnd::Drain,
    };
    let writing = Arc::new(AtomicBool::new(false));
    if direction != Direction::Out {
        let (stream, writing) = (Arc::clone(&stream), Arc::clone(&writing));
        let sender = Sending { stream, at_the_end, writing, report, ended };
        let message = args.message;
        thread::spawn(move || sender.run(message));
    }
    let idle = match args.idle {
        None if args.stay || at_the_end == AtTheEnd::HalfClose => None,
        idle => Some(idle.unwrap_or(IDLE)),
    };
    let printer = Printer { message: args.message, hex: args.hex.then(HexDump::default) };
    let mut receiver = Receiving {
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

/// Opens the pipe in both directions, or in the one that it has, seen from its server.
fn open(
    args: &ConnectArgs,
    name: &PipeName,
    interrupted: &Canceller,
) -> Result<(PipeStream, Direction), Failure> {
    let mut options = ClientOptions::new();
    options.wait_absent(args.wait).canceller(interrupted);
    credentials::apply(&args.remote, name, &mut options)?;
    match args.timeout {
        Some(timeout) => _ = options.timeout(timeout),
        None if args.wait => _ = options.timeout(Duration::MAX),
        None => {}
    }
    let mut receiving = options.clone();
    if args.message {
        receiving.read_mode(PipeMode::Message);
    }
    let error = match receiving.connect(name) {
        Ok(stream) => return Ok((stream, Direction::Duplex)),
        // The pipe may go one way only.
        Err(error) if error == PipeErrorKind::AccessDenied => {
            if let Ok(stream) = receiving.write(false).connect(name) {
                return Ok((stream, Direction::Out));
            }
            if let Ok(stream) = options.read(false).connect(name) {
                return Ok((stream, Direction::In));
            }
            error
        }
        Err(error) => error,
    };
    if interrupted.is_cancelled() {
        return Err(Failure::interrupted("not connected yet"));
    }
    if error == PipeErrorKind::TimedOut {
        return Err(too_late(name));
    }
    let no_messages = args.message && error == PipeErrorKind::Invalid;
    let (absent, denied) = match name.kind() {
        PipeNameKind::Remote { .. } => (
            "its server has to accept the network (`pipework serve NAME --accept-remote`), and the computer to let callers in",
            "the account, and what the server of the pipe lets in, are the other computer's to decide",
        ),
        _ => (
            "start its server, or add --wait to wait for it; `pipework list` shows what there is",
            "its server decides who may come in; `pipework list` shows whose pipe it is",
        ),
    };
    let failure = Failure::about(name, error).hint_if(Status::Absent, absent).hint_if(Status::Denied, denied);
    Err(if no_messages { failure.hint("if this pipe carries bytes, leave --message out") } else { failure })
}

// ---------------------------------------------------------------------- sending

/// What the sender does when stdin has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AtTheEnd {
    /// Tells the other end.
    HalfClose,
    /// Waits until the other end has read everything, since it can't be told.
    Drain,
    Nothing,
}

/// What the sending thread works with.
struct Sending {
    stream: Arc<PipeStream>,
    at_the_end: AtTheEnd,
    /// Whether bytes of stdin are on their way.
    writing: Arc<AtomicBool>,
    report: Sender<io::Result<()>>,
    ended: Canceller,
}

impl Sending {
    /// Sends all of stdin and waits until the server has read it, then reports and ends the receiver's wait.
    fn run(self, message: bool) {
        let stdin = io::stdin().lock();
        let result = if message { self.send_lines(stdin) } else { self.send_bytes(stdin) };
        let end = || match self.at_the_end {
            AtTheEnd::HalfClose => self.stream.shutdown_write(),
            AtTheEnd::Drain => self.stream.drain(),
            AtTheEnd::Nothing => Ok(()),
        };
        let result = result.and_then(|()| match end() {
            // It has closed. Whether it wanted the rest is for it to know.
            Err(error) if is_gone(&error) => Ok(()),
            result => result,
        });
        // The receiver may have ended already.
        self.report.send(result).ok();
        self.ended.cancel();
    }

    fn send_bytes(&self, mut stdin: StdinLock<'_>) -> io::Result<()> {
        let mut buffer = vec![0; CHUNK_LEN];
        loop {
            match stdin.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(len) => self.write(|mut stream| stream.write_all(filled(&buffer, len)))?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Each line is a message, an empty line too; the line's end is not part of it.
    fn send_lines(&self, mut stdin: StdinLock<'_>) -> io::Result<()> {
        let mut line = Vec::new();
        while stdin.read_until(b'\n', &mut line)? > 0 {
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

// -------------------------------------------------------------------- receiving

/// What the receiving thread works with.
struct Receiving<'a> {
    stream: &'a PipeStream,
    interrupted: &'a Canceller,
    /// How long to wait for more once stdin has ended; `None` is for ever.
    idle: Option<Duration>,
    sent: &'a Receiver<io::Result<()>>,
    writing: &'a AtomicBool,
    printer: Printer,
    received: usize,
}

impl Receiving<'_> {
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
                    if self.idle == Some(Duration::ZERO) {
                        return self.finish();
                    }
                    self.stream.set_canceller(Some(self.interrupted));
                    self.stream.set_read_timeout(self.idle)?;
                }
                Some(PipeErrorKind::TimedOut) => return self.finish(),
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

    /// The conversation is over; it failed if something of stdin could not be sent.
    fn finish(&self) -> Result<(), Failure> {
        // A write to a server that has gone fails at once, so its report is on its way.
        let patience = if self.writing.load(Ordering::Relaxed) { REPORT_PATIENCE } else { Duration::ZERO };
        match self.sent.recv_timeout(patience) {
            Ok(result) => self.judge(result),
            Err(_) => Ok(()),
        }
    }

    /// For a pipe that clients only write to.
    fn wait_for_sender(&self) -> Result<(), Failure> {
        match self.sent.recv() {
            Ok(result) => self.judge(result),
            Err(_) => Ok(()),
        }
    }

    fn judge(&self, result: io::Result<()>) -> Result<(), Failure> {
        match result {
            Err(_) if self.interrupted.is_cancelled() => Err(self.interruption()),
            Err(error) if is_gone(&error) => {
                Err(Failure::failed("the server closed the pipe before it had taken all of stdin"))
            }
            result => result.map_err(Failure::from),
        }
    }

    fn interruption(&self) -> Failure {
        Failure::interrupted(format!("{} received", count(self.received, "byte")))
    }
}

/// Writes what arrives as the options say.
struct Printer {
    message: bool,
    hex: Option<HexDump>,
}

impl Printer {
    /// `whole` says that a message ends here.
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
    fn a_message_is_a_line_also_in_parts_and_when_empty() {
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
