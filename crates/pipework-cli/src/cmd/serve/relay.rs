//! One client and the command that serves it.
//!
//! Three threads work for the relay: one moves input (pipe to stdin), one moves output (stdout to pipe), and one waits
//! for the command. They send events to the relay, which acts on them. Only the relay owns the pipe; the movers borrow
//! it for one call at a time. So a mover that is blocked by the command (a daemon may keep its stdout open forever) keeps
//! no pipe open.
//!
//! A mover that is blocked by the command does not see that the client disconnects, and a pipe without input has no mover
//! that could. So the relay itself checks that, at each [`TICK`].

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    process::{ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender},
    },
    thread::{self, Builder},
    time::{Duration, Instant},
};

use pipework::{Canceller, MessageRead, Peer, PipeErrorKind, PipeStream, is_gone};

use crate::{
    args::{Direction, ServeArgs},
    cmd::serve::{CHUNK_LEN, PAUSE_AFTER_ERROR, command::RunningCommand},
    output::{filled, say},
};

/// The longest line that is sent as one message; a longer line becomes several messages.
const LINE_LEN_MAX: u64 = 64 << 20;

/// How often the relay checks whether the client is connected.
const TICK: Duration = Duration::from_millis(500);

/// How long a command may run after its client has disconnected, until it is asked to end. With a [`TICK`] to notice
/// that, and [`GRACE_TO_END`], it is killed within five seconds.
const GRACE: Duration = Duration::from_secs(4);

/// How long a command may run after the server was asked to stop, until it is asked to end.
const GRACE_AT_STOP: Duration = Duration::from_millis(500);

/// How long a command may run after it was asked to end, until it is killed.
const GRACE_TO_END: Duration = Duration::from_millis(500);

/// How long stdout may be silent after the command has exited. Then another process is assumed to keep it open.
const LINGER: Duration = Duration::from_secs(1);

/// An event that a thread reports to the relay.
#[derive(Debug)]
pub(super) enum Event {
    /// The client has disconnected.
    Disconnected,
    /// All output of the command has been sent to the client.
    OutputEnded,
    /// The client did not take the output of the command.
    OutputLost,
    /// The command has exited, with this status if it is known.
    Exited(Option<ExitStatus>),
    /// The server is stopping.
    Stop,
}

/// One client and its command.
pub(super) struct Relay {
    /// `None` once the connection has ended.
    stream: Option<Arc<PipeStream>>,
    /// Cancels the movers' waits on the pipe.
    canceller: Canceller,
    command: Arc<RunningCommand>,
    output: Option<Arc<OutputState>>,
    /// When the command is asked to end, once its client has disconnected or the server stops.
    terminate_at: Option<Instant>,
    /// Whether the client has left before it took all output.
    output_lost: bool,
    client: usize,
    program: String,
}

/// The progress of the output mover.
#[derive(Debug, Default)]
struct OutputState {
    /// Whether the mover waits for the command, not for the client.
    waits_for_command: AtomicBool,
    /// Whether output was sent since the relay last checked.
    moved: AtomicBool,
}

impl Relay {
    pub(super) fn start(
        args: &ServeArgs,
        client: usize,
        stream: PipeStream,
        half_close: bool,
        events: &Sender<Event>,
    ) -> io::Result<Relay> {
        let canceller = Canceller::new()?;
        stream.set_canceller(Some(&canceller));
        let (program, arguments) = args.command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(program);
        command.args(arguments);
        name_peer(&mut command, args, &stream);
        command.stdin(if args.direction == Direction::Out { Stdio::null() } else { Stdio::piped() });
        command.stdout(if args.direction == Direction::In { Stdio::inherit() } else { Stdio::piped() });
        let command = RunningCommand::start(&mut command).map_err(|error| {
            io::Error::new(error.kind(), format!("can't start `{}`: {error}", program.to_string_lossy()))
        })?;
        let (stream, command) = (Some(Arc::new(stream)), Arc::new(command));
        // From here on dropping the relay ends the command.
        let mut relay = Relay {
            stream,
            canceller,
            command,
            output: None,
            terminate_at: None,
            output_lost: false,
            client,
            program: program.to_string_lossy().into_owned(),
        };
        relay.start_threads(&Moving { client, message: args.message, half_close }, events)?;
        Ok(relay)
    }

    pub(super) fn command(&self) -> Arc<RunningCommand> {
        Arc::clone(&self.command)
    }

    fn start_threads(&mut self, moving: &Moving, events: &Sender<Event>) -> io::Result<()> {
        let stream = self.stream.as_ref().map_or_else(Weak::new, Arc::downgrade);
        let new_mover = || Mover { stream: stream.clone(), moving: moving.clone(), events: events.clone() };
        if let Some(stdin) = self.command.take_stdin() {
            let mover = new_mover();
            Builder::new().spawn(move || mover.move_input(stdin))?;
        }
        if let Some(stdout) = self.command.take_stdout() {
            let (mover, state) = (new_mover(), Arc::new(OutputState::default()));
            let reported = Arc::clone(&state);
            Builder::new().spawn(move || mover.move_output(stdout, &reported))?;
            self.output = Some(state);
        }
        let (watched, events) = (self.command(), events.clone());
        Builder::new().spawn(move || {
            let status = watched.wait_until_exited();
            events.send(Event::Exited(status)).ok();
        })?;
        Ok(())
    }

    /// Runs until the command has exited and the client has its output, or until a timeout.
    pub(super) fn run(mut self, events: &Receiver<Event>) {
        let mut output_open = self.output.is_some();
        let mut exited = false;
        let mut terminated = false;
        let mut output_moved = Instant::now();
        while !exited || output_open {
            let now = Instant::now();
            match self.terminate_at {
                Some(at) if now >= at + GRACE_TO_END => break,
                Some(at) if now >= at && !terminated => {
                    terminated = true;
                    self.command.terminate();
                }
                _ => {}
            }
            if !exited || self.output_moves() {
                output_moved = now;
            } else if now >= output_moved + LINGER {
                break;
            }
            match events.recv_timeout(self.next_check(now, terminated)) {
                Ok(Event::Exited(status)) => {
                    exited = true;
                    if !terminated {
                        self.report_failure(status);
                    }
                }
                Ok(Event::OutputLost) => {
                    self.output_lost = true;
                    output_open = self.disconnected();
                }
                Ok(Event::OutputEnded) => output_open = false,
                Ok(Event::Disconnected) => output_open = self.disconnected(),
                Err(RecvTimeoutError::Timeout) if self.has_left() => output_open = self.disconnected(),
                Ok(Event::Stop) => {
                    // Ends the movers; the end of the input mover closes the command's stdin.
                    self.canceller.cancel();
                    output_open = false;
                    self.terminate_at = Some(Instant::now() + GRACE_AT_STOP);
                }
                Err(_) => {}
            }
        }
    }

    /// Limits the time of the command. The output has no reader any more, so it is not open.
    fn disconnected(&mut self) -> bool {
        self.terminate_at.get_or_insert_with(|| Instant::now() + GRACE);
        false
    }

    /// Reports that the command has failed, unless that is because the client has left.
    fn report_failure(&self, status: Option<ExitStatus>) {
        let Some(status) = status.filter(|status| !status.success()) else { return };
        let is_killed = status.code().is_none() && self.terminate_at.is_some();
        if !is_killed && !self.output_lost {
            say(format_args!("client {}: `{}` failed: {status}", self.client, self.program));
        }
    }

    /// Whether the client has disconnected unnoticed by the movers.
    fn has_left(&self) -> bool {
        self.stream.as_ref().is_some_and(|stream| matches!(stream.is_connected(), Ok(false)))
    }

    /// Whether output was sent since the last check, or waits for the client.
    fn output_moves(&self) -> bool {
        let Some(state) = &self.output else { return false };
        state.moved.swap(false, Ordering::Relaxed) || !state.waits_for_command.load(Ordering::Relaxed)
    }

    /// How long to wait for an event.
    fn next_check(&self, now: Instant, terminated: bool) -> Duration {
        let Some(at) = self.terminate_at else { return TICK };
        let at = if terminated { at + GRACE_TO_END } else { at };
        at.saturating_duration_since(now).min(TICK)
    }
}

impl Drop for Relay {
    /// Ends the connection, and then what still runs of the command.
    fn drop(&mut self) {
        // The movers' waits end, so that the relay is the last owner of the pipe.
        self.canceller.cancel();
        self.stream = None;
        let now = Instant::now();
        let kill_at = self.terminate_at.map_or(now, |at| at) + GRACE_TO_END;
        self.command.end(kill_at.min(now + GRACE_TO_END));
    }
}

/// Sets the variables by which the command knows its client. One that is not known is removed: this process may have it
/// from another server.
fn name_peer(command: &mut Command, args: &ServeArgs, stream: &PipeStream) {
    command.env("PIPEWORK_NAME", &args.name);
    let peer = stream.peer().ok();
    let peer = peer.as_ref();
    let network = peer.and_then(Peer::network);
    let variables = [
        ("PIPEWORK_PEER_PID", peer.and_then(Peer::process_id).map(|id| id.to_string())),
        ("PIPEWORK_PEER_UID", peer.and_then(Peer::user_id).map(|id| id.to_string())),
        ("PIPEWORK_PEER_USER", peer.and_then(|peer| peer.account().ok())),
        ("PIPEWORK_PEER_ACCOUNT", network.map(|network| network.account.clone())),
        ("PIPEWORK_PEER_ADDRESS", network.map(|network| network.address.clone())),
    ];
    for (variable, value) in variables {
        match value {
            // No process can have a variable with a NUL character.
            Some(value) if !value.is_empty() && !value.contains('\0') => command.env(variable, value),
            _ => command.env_remove(variable),
        };
    }
}

/// What both movers of a client do.
#[derive(Clone, Debug)]
struct Moving {
    /// The client's number.
    client: usize,
    message: bool,
    /// Whether the client can half-close the connection.
    half_close: bool,
}

/// The state of a thread that moves data.
struct Mover {
    stream: Weak<PipeStream>,
    moving: Moving,
    events: Sender<Event>,
}

impl Mover {
    /// Moves input until the client disconnects, then closes the command's stdin.
    fn move_input(self, mut stdin: ChildStdin) {
        let mut buffer = vec![0; CHUNK_LEN];
        // Read on after the command has closed its stdin, to notice when the client disconnects.
        let mut command_reads = true;
        while let Ok(Some((len, whole))) = self.until_done("read", || self.read(&mut buffer)) {
            if command_reads {
                let end: &[u8] = if self.moving.message && whole { b"\n" } else { b"" };
                command_reads =
                    stdin.write_all(filled(&buffer, len)).and_then(|()| stdin.write_all(end)).is_ok();
            }
        }
        drop(stdin);
        if !self.moving.half_close {
            self.report(Event::Disconnected);
        }
    }

    /// Reads the next bytes from the client. The flag says whether a message ends with them.
    fn read(&self, buffer: &mut [u8]) -> io::Result<Option<(usize, bool)>> {
        let Some(stream) = self.stream.upgrade() else { return Ok(None) };
        if self.moving.message {
            return Ok(match stream.read_message_into(buffer)? {
                MessageRead::Whole(len) => Some((len, true)),
                MessageRead::Part(len) => Some((len, false)),
                MessageRead::End => None,
            });
        }
        match stream.as_ref().read(buffer)? {
            0 => Ok(None),
            len => Ok(Some((len, false))),
        }
    }

    /// Moves output until the command's stdout ends, or the client disconnects.
    fn move_output(self, stdout: ChildStdout, state: &OutputState) {
        let mut stdout = BufReader::with_capacity(CHUNK_LEN, stdout);
        let mut piece = Vec::new();
        loop {
            state.waits_for_command.store(true, Ordering::Relaxed);
            let taken = self.read_output(&mut stdout, &mut piece);
            state.waits_for_command.store(false, Ordering::Relaxed);
            if !matches!(taken, Ok(true)) {
                return self.report(Event::OutputEnded);
            }
            if self.send(&piece).is_err() {
                // Before the command notices it.
                return self.report(Event::OutputLost);
            }
            state.moved.store(true, Ordering::Relaxed);
        }
    }

    /// Reads the next line in message mode, otherwise the available bytes. Returns `false` at the end.
    fn read_output(&self, stdout: &mut impl BufRead, piece: &mut Vec<u8>) -> io::Result<bool> {
        piece.clear();
        if !self.moving.message {
            let available = stdout.fill_buf()?;
            piece.extend_from_slice(available);
            stdout.consume(piece.len());
            return Ok(!piece.is_empty());
        }
        let len = stdout.take(LINE_LEN_MAX).read_until(b'\n', piece)?;
        if piece.last() == Some(&b'\n') {
            piece.pop();
        }
        Ok(len > 0)
    }

    fn send(&self, piece: &[u8]) -> io::Result<()> {
        let stream = || self.stream.upgrade().ok_or_else(|| io::Error::from(PipeErrorKind::Aborted));
        if self.moving.message {
            return self.until_done("write", || stream()?.write_message(piece));
        }
        let mut rest = piece;
        while !rest.is_empty() {
            match self.until_done("write", || stream()?.as_ref().write(rest))? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                len => rest = rest.get(len..).unwrap_or_default(),
            }
        }
        Ok(())
    }

    /// Repeats a call that failed with an error of the system, such as too many open files: it may pass, and the client is
    /// still there.
    fn until_done<T>(&self, what: &str, call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        let client = self.moving.client;
        repeat(call, |error, is_final| {
            let then = if is_final { "" } else { "; trying again" };
            say(format_args!("client {client}: can't {what}: {error}{then}"));
        })
    }

    fn report(&self, event: Event) {
        // If the channel is closed, the relay has ended.
        self.events.send(event).ok();
    }
}

/// Repeats a call with pauses, until it succeeds or its error can't pass. Each error is reported when it first comes; that
/// the client or the relay has ended is none.
fn repeat<T>(
    mut call: impl FnMut() -> io::Result<T>,
    mut report: impl FnMut(&io::Error, bool),
) -> io::Result<T> {
    let mut last = None;
    loop {
        let error = match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if is_gone(&error) || error == PipeErrorKind::Aborted => return Err(error),
            Err(error) => error,
            done => return done,
        };
        // The library's own errors have a kind, and none of them passes by itself.
        let is_final = PipeErrorKind::of(&error).is_some();
        let text = error.to_string();
        if last.as_ref() != Some(&text) {
            report(&error, is_final);
        }
        if is_final {
            return Err(error);
        }
        last = Some(text);
        thread::park_timeout(PAUSE_AFTER_ERROR);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What [`repeat`] returns when the calls return these, and its reports.
    fn repeated(outcomes: Vec<io::Result<u8>>) -> (io::Result<u8>, Vec<bool>) {
        let (mut outcomes, mut reports) = (outcomes.into_iter(), Vec::new());
        let outcome = repeat(|| outcomes.next().unwrap(), |_, is_final| reports.push(is_final));
        assert!(outcomes.next().is_none(), "no more calls than needed, and no fewer");
        (outcome, reports)
    }

    #[test]
    fn an_error_that_may_pass_is_reported_once_and_ends_no_relay() {
        let shortage = || Err(io::Error::from_raw_os_error(24));
        let (outcome, reports) = repeated(vec![shortage(), shortage(), Ok(7)]);
        assert_eq!((outcome.unwrap(), reports), (7, vec![false]));
    }

    #[test]
    fn a_hang_up_is_final_and_no_error() {
        for kind in [PipeErrorKind::Broken, PipeErrorKind::NotConnected, PipeErrorKind::Aborted] {
            let (outcome, reports) = repeated(vec![Err(kind.into())]);
            assert_eq!((outcome.unwrap_err() == kind, reports), (true, vec![]));
        }
    }

    #[test]
    fn a_peer_that_violates_the_protocol_is_reported_and_final() {
        let (outcome, reports) = repeated(vec![Err(PipeErrorKind::Corrupt.into())]);
        assert_eq!((outcome.unwrap_err() == PipeErrorKind::Corrupt, reports), (true, vec![true]));
    }
}
