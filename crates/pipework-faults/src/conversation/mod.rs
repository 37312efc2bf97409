//! A server or a client that does everything that the library has, in steps, and notes what came of it.

mod bounds;
mod client;
mod end;
mod frame;
mod remote;
mod server;

use crate::{
    journal::{Journal, now},
    limit::Limit,
    plan::{Mode, Side, Step, Surface},
    process,
};
pub(crate) use client::{AFTERWARDS, ask_to_quit};
pub(crate) use remote::{PASSWORD, PORT, USER};
pub(crate) use server::take_name;

use bounds::{TRIES, WAIT};
use end::End;
use frame::{Ask, Frame, HEAD, LARGE, LARGE_REMOTE, wrong};
use nix::unistd::Pid;
use pipework::{PipeErrorKind, is_gone};
use std::{
    io,
    path::PathBuf,
    pin::pin,
    process::ExitCode,
    task::{Context, Poll, Waker},
};

/// What `getpgid` is asked so that the injector sees where a step begins and ends. No process has these numbers.
pub(crate) const BEGIN: i32 = 0x7FFF_FA17;
pub(crate) const END: i32 = 0x7FFF_FA18;

/// The arguments of such a process.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Conversation {
    pub(crate) side: Side,
    pub(crate) surface: Surface,
    pub(crate) mode: Mode,
    pub(crate) journal: PathBuf,
    /// The step that is marked for the injector; with it this process is the victim
    #[arg(long)]
    pub(crate) step: Option<Step>,
    /// The other end may be killed: do not come back after the connection has ended
    #[arg(long)]
    pub(crate) once: bool,
    /// Be traced by the parent process
    #[arg(long)]
    pub(crate) traced: bool,
    /// The client is remote: the server accepts it, and the client has the environment of an smbd
    #[arg(long)]
    pub(crate) remote: bool,
    /// A limit of the system that this process sets for itself
    #[arg(long)]
    pub(crate) limit: Option<Limit>,
}

impl Conversation {
    pub(crate) fn new(side: Side, surface: Surface, mode: Mode, journal: impl Into<PathBuf>) -> Conversation {
        Conversation {
            side,
            surface,
            mode,
            journal: journal.into(),
            step: None,
            once: false,
            traced: false,
            remote: false,
            limit: None,
        }
    }

    pub(crate) fn words(&self) -> Vec<String> {
        use clap::ValueEnum;
        fn word(value: impl ValueEnum) -> String {
            value.to_possible_value().unwrap().get_name().to_owned()
        }
        let mut words = vec!["conversation".to_owned(), word(self.side), word(self.surface), word(self.mode)];
        words.push(self.journal.display().to_string());
        if let Some(step) = self.step {
            words.extend(["--step".into(), word(step)]);
        }
        words.extend(self.once.then(|| "--once".into()));
        words.extend(self.traced.then(|| "--traced".into()));
        words.extend(self.remote.then(|| "--remote".into()));
        words.extend(self.limit.iter().flat_map(|limit| ["--limit".into(), limit.to_string()]));
        words
    }
}

/// Runs a process of a conversation.
pub(crate) fn run(args: &Conversation) -> ExitCode {
    process::die_with_parent();
    if args.traced && !process::let_parent_trace() {
        return ExitCode::from(process::CANNOT);
    }
    let actor = Actor::new(args);
    // With the signals of tokio in the build, its first runtime opens sockets that the process keeps for ever.
    drop(tokio::runtime::Builder::new_current_thread().enable_all().build());
    if args.remote && args.side == Side::Client {
        remote::warm_up();
    }
    let before = process::Held::count();
    if let Some(limit) = args.limit {
        limit.set();
    }
    let result = actor.run();
    if let Some(limit) = args.limit {
        limit.lift();
    }
    let after = if args.remote { process::Held::settle("self", &before) } else { process::Held::count() };
    let leaks =
        if after.is_more_than(&before) { format!(" LEAK: {before:?} -> {after:?}") } else { String::new() };
    match result {
        Ok(()) => actor.journal.note(&format!("done{leaks}")),
        Err(error) => actor.journal.note(&format!("failed {}{leaks}", describe(&error))),
    }
    ExitCode::SUCCESS
}

/// An end, and what it notes.
struct Actor {
    args: Conversation,
    journal: Journal,
}

impl Actor {
    fn new(args: &Conversation) -> Actor {
        Actor { args: args.clone(), journal: Journal::open(&args.journal) }
    }

    fn run(&self) -> io::Result<()> {
        let work = async {
            match self.args.side {
                Side::Server => server::run(self).await,
                Side::Client => client::run(self).await,
            }
        };
        if self.args.surface.is_async() {
            return tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work);
        }
        run_blocking(work)
    }

    /// The length of a payload that no ring here holds.
    fn large(&self) -> usize {
        if self.args.remote { LARGE_REMOTE } else { LARGE }
    }

    /// Runs one call in its step, with the marks for the injector, and repeats it as a careful caller does.
    async fn step<T>(&self, step: Step, mut call: impl AsyncFnMut() -> io::Result<T>) -> io::Result<T> {
        let mut tries = 0;
        loop {
            let is_marked = self.args.step == Some(step);
            self.mark(is_marked, BEGIN);
            let outcome = if self.args.surface.is_async() { in_time(call()).await } else { call().await };
            self.mark(is_marked, END);
            let Err(error) = outcome else { return outcome };
            tries += 1;
            self.journal.note(&format!("error {step:?}: {}", describe(&error)));
            if tries == TRIES || !is_worth_retrying(&error) {
                return Err(error);
            }
        }
    }

    fn mark(&self, is_marked: bool, mark: i32) {
        if is_marked {
            // It fails: there is no such process.
            nix::unistd::getpgid(Some(Pid::from_raw(mark))).ok();
        }
    }

    /// Notes how a connection ended that was not over.
    fn ended(&self, connection: u8, error: &io::Error) {
        self.journal.note(&format!("ended {connection} {} {}", now(), describe(error)));
    }
}

/// Runs what blocks its thread wherever it waits.
fn run_blocking<T>(work: impl Future<Output = T>) -> T {
    match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => unreachable!("calls that block do not suspend"),
    }
}

/// Whether the call may succeed when it is repeated.
fn is_worth_retrying(error: &io::Error) -> bool {
    let is_final = is_gone(error)
        || *error == PipeErrorKind::Corrupt
        || *error == PipeErrorKind::Absent
        || [io::ErrorKind::TimedOut, io::ErrorKind::UnexpectedEof].contains(&error.kind())
        || error.to_string().contains("WRONG DATA");
    !is_final
}

/// The error as the driver compares it: its kind first.
fn describe(error: &io::Error) -> String {
    let kind = PipeErrorKind::of(error).map_or_else(|| "untyped".to_owned(), |kind| format!("{kind:?}"));
    format!("{kind} ({:?}): {error}", error.kind())
}

async fn in_time<T>(call: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(WAIT, call).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// A connection: its end, and the numbers of the frames in each direction.
struct Connection<'a> {
    actor: &'a Actor,
    end: End,
    /// Given by the client; the server learns it from the first frame.
    connection: u8,
    written: u32,
    read: u32,
    is_large_next: bool,
}

impl<'a> Connection<'a> {
    fn new(actor: &'a Actor, end: End, connection: u8) -> Connection<'a> {
        Connection { actor, end, connection, written: 0, read: 0, is_large_next: false }
    }

    fn frame(&self, ask: Ask, len: usize, before_large: bool) -> Frame {
        Frame { ask, connection: self.connection, before_large, len, number: self.written }
    }

    async fn write(&mut self, step: Step, frame: Frame) -> io::Result<()> {
        let bytes = frame.encode();
        let mut done = 0;
        while done < bytes.len() {
            let (mode, end) = (self.actor.args.mode, &mut self.end);
            done += self.actor.step(step, async || end.write(mode, &bytes[done..]).await).await?;
        }
        self.note_written();
        Ok(())
    }

    /// Notes that the library accepted a frame.
    fn note_written(&mut self) {
        self.written += 1;
        self.actor.journal.note(&format!("wrote {}", self.connection));
    }

    /// Reads a frame; none is the end of the pipe.
    async fn read(&mut self) -> io::Result<Option<Frame>> {
        let step = match (self.actor.args.side, self.is_large_next, self.read) {
            (_, true, _) => Step::Large,
            (Side::Server, _, 0) => Step::Hello,
            _ => Step::Read,
        };
        let bytes = if self.actor.args.mode.is_messages() {
            let end = &mut self.end;
            match self.actor.step(step, async || end.read_message().await).await? {
                Some(message) => message,
                None => return Ok(None),
            }
        } else {
            match self.read_bytes(step).await? {
                Some(bytes) => bytes,
                None => return Ok(None),
            }
        };
        self.take(&bytes).map(Some)
    }

    async fn read_bytes(&mut self, step: Step) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = vec![0; HEAD];
        let mut done = 0;
        loop {
            let end = &mut self.end;
            let len = self.actor.step(step, async || end.read(&mut bytes[done..]).await).await?;
            if len == 0 {
                return Ok(None);
            }
            done += len;
            if done == HEAD && bytes.len() == HEAD {
                bytes.resize(Frame::len_of(&bytes)?, 0);
            }
            if done == bytes.len() {
                return Ok(Some(bytes));
            }
        }
    }

    /// Checks a frame that was read, and that it is the next one.
    fn take(&mut self, bytes: &[u8]) -> io::Result<Frame> {
        let frame = Frame::decode(bytes)?;
        if frame.number != self.read {
            return Err(wrong(&format!("frame {} in the place of frame {}", frame.number, self.read)));
        }
        if self.actor.args.side == Side::Server {
            self.connection = frame.connection;
        } else if frame.connection != self.connection {
            return Err(wrong("a frame of another connection"));
        }
        self.read += 1;
        self.is_large_next = frame.before_large;
        self.actor.journal.note(&format!("read {}", self.connection));
        Ok(frame)
    }

    /// After the peer has gone, what it had written is still there.
    async fn read_rest(&mut self, error: &io::Error) {
        if is_gone(error) {
            while let Ok(Some(_)) = self.read().await {}
        }
    }

    /// The next frame, of a peer that owes one.
    async fn expect(&mut self) -> io::Result<Frame> {
        self.read().await?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    async fn flush(&mut self) -> io::Result<()> {
        let end = &mut self.end;
        self.actor.step(Step::Flush, async || end.drain().await).await
    }

    /// Drops the end, with the marks for the injector.
    async fn close(self) -> io::Result<()> {
        let mut end = Some(self.end);
        self.actor
            .step(Step::Close, async || {
                drop(end.take());
                Ok(())
            })
            .await
    }
}
