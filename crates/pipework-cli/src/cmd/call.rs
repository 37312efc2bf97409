//! `pipework call`: sends one question, and prints the answer to it.
//!
//! A byte pipe does not mark the end of an answer, so a rule says where it ends. An answer that is missing, or not whole, is
//! a failure.

use std::{
    ffi::OsString,
    io::{self, Read, Write},
    sync::Arc,
    thread::Builder,
    time::Duration,
};

use pipework::{Canceller, PipeErrorKind, PipeName, PipeNameKind, PipeStream, is_gone};

use crate::{
    args::CallArgs,
    cmd::client::{Progress, end_at_deadline, open},
    failure::{Failure, Status},
    interrupt,
    output::{filled, print},
    stdio::Stdin,
};

/// The longest message that is an answer.
const ANSWER_LEN_MAX: usize = 64 << 20;

/// The maximum that is received at a time.
const CHUNK_LEN: usize = 64 * 1024;

/// Where the answer of a byte pipe ends. It always ends when the server closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AnswerEnd {
    Line,
    Close,
    /// When nothing more has arrived for this time.
    Idle(Duration),
}

pub(crate) fn run(args: &CallArgs) -> Result<(), Failure> {
    let progress = Arc::new(Progress::default());
    end_at_deadline(args.open.deadline, &progress)?;
    let name = PipeName::new(&args.open.name)?;
    let half_close = matches!(name.kind(), PipeNameKind::Socket(_));
    // Before this the process has nothing to clean up, and a read of stdin can't be cancelled: Ctrl-C just ends it.
    let question = question(args)?;
    if question.is_empty() && !args.message && !half_close {
        return Err(Failure::new(Status::Usage, "the question is empty")
            .hint("add it after the name, or provide it on stdin"));
    }
    let interrupted = Canceller::new()?;
    interrupt::watch({
        let interrupted = interrupted.clone();
        move |_| interrupted.cancel()
    })?;
    let (stream, _) = open(&args.open, args.message, &name, &interrupted)?;
    progress.connected();
    stream.set_canceller(Some(&interrupted));
    let asked = if args.message {
        ask_message(args, &name, &stream, &question)
    } else {
        let end = match args.idle {
            Some(idle) => AnswerEnd::Idle(idle),
            None if args.close || (half_close && !args.line) => AnswerEnd::Close,
            None => AnswerEnd::Line,
        };
        ask_bytes(&Arc::new(stream), question, end, half_close, &progress)
    };
    asked.map_err(|failure| if interrupted.is_cancelled() { progress.interruption() } else { failure })
}

/// The question: the argument, or all of stdin.
fn question(args: &CallArgs) -> Result<Vec<u8>, Failure> {
    let mut question = Vec::new();
    match &args.question {
        Some(argument) => question.extend_from_slice(as_bytes(argument)?),
        None => {
            let read = Stdin.read_to_end(&mut question);
            read.map_err(|error| Failure::failed(format!("can't read stdin: {error}")))?;
        }
    }
    if !args.exact {
        match (&args.question, args.message) {
            (None, true) if question.ends_with(b"\n") => drop(question.pop()),
            (Some(_), false) => question.push(b'\n'),
            _ => {}
        }
    }
    Ok(question)
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "an argument of another system may be no text")]
fn as_bytes(argument: &OsString) -> Result<&[u8], Failure> {
    use std::os::unix::ffi::OsStrExt;
    Ok(argument.as_os_str().as_bytes())
}

#[cfg(not(unix))]
fn as_bytes(argument: &OsString) -> Result<&[u8], Failure> {
    let text = argument.to_str().map(str::as_bytes);
    text.ok_or_else(|| Failure::new(Status::Usage, "the question is not Unicode"))
}

fn ask_message(
    args: &CallArgs,
    name: &PipeName,
    stream: &PipeStream,
    question: &[u8],
) -> Result<(), Failure> {
    let is_remote = matches!(name.kind(), PipeNameKind::Remote { .. });
    let answer = stream.transact(question, ANSWER_LEN_MAX).map_err(|error| {
        // A lost connection to a remote server has a text of its own.
        if is_gone(&error) && !is_remote { without_answer() } else { Failure::of_pipe(name, error) }
    })?;
    print(|out| {
        out.write_all(&answer)?;
        out.write_all(if args.exact { b"" } else { b"\n" })
    })
}

/// Sends the question on a thread of its own, since the answer may begin before its end.
fn ask_bytes(
    stream: &Arc<PipeStream>,
    question: Vec<u8>,
    end: AnswerEnd,
    half_close: bool,
    progress: &Progress,
) -> Result<(), Failure> {
    let writer = Arc::clone(stream);
    let send = move || {
        writer.as_ref().write_all(&question)?;
        if half_close { writer.shutdown_write() } else { Ok(()) }
    };
    let sender = Builder::new().spawn(send)?;
    if receive(stream, end, progress)? == Received::UntilClosed {
        // The writes fail now, if they have not succeeded.
        let sent = sender.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()));
        sent.map_err(|error| match PipeErrorKind::of(&error) {
            Some(PipeErrorKind::Aborted) => error.into(),
            _ if is_gone(&error) => {
                Failure::failed("the server closed the pipe before it had read the whole question")
            }
            _ => error.into(),
        })?;
    }
    Ok(())
}

/// How the end of the answer was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Received {
    UntilClosed,
    UntilEnd,
}

/// Prints the answer as it arrives.
fn receive(mut stream: &PipeStream, end: AnswerEnd, progress: &Progress) -> Result<Received, Failure> {
    let mut buffer = vec![0; CHUNK_LEN];
    let mut received_any = false;
    loop {
        let len = match stream.read(&mut buffer) {
            Ok(len) => len,
            // Only then is there a limit.
            Err(error) if error == PipeErrorKind::TimedOut && received_any => return Ok(Received::UntilEnd),
            Err(error) if is_gone(&error) && error != PipeErrorKind::Broken => 0,
            Err(error) => return Err(error.into()),
        };
        if len == 0 {
            return if received_any { Ok(Received::UntilClosed) } else { Err(without_answer()) };
        }
        progress.received(len);
        let bytes = filled(&buffer, len);
        let line_end = bytes.iter().position(|byte| *byte == b'\n').filter(|_| end == AnswerEnd::Line);
        let (answer, rest) = bytes.split_at(line_end.map_or(len, |index| index.saturating_add(1)));
        print(|out| out.write_all(answer))?;
        if !rest.is_empty() {
            return Err(Failure::failed("the answer has more than one line, and only the first is printed")
                .hint(
                    "read until the server closes with --close, or until nothing arrives for --idle TIME",
                ));
        }
        if line_end.is_some() {
            return Ok(Received::UntilEnd);
        }
        if let (AnswerEnd::Idle(idle), false) = (end, received_any) {
            if idle.is_zero() {
                return Ok(Received::UntilEnd);
            }
            stream.set_read_timeout(Some(idle))?;
        }
        received_any = true;
    }
}

fn without_answer() -> Failure {
    Failure::failed("the server closed the pipe without an answer")
}
