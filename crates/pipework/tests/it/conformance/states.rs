//! Every operation in every state of the peer, on every surface: one table.
//!
//! [`expected`] says once what each operation comes to in each state. A surface that differs from it differs from the
//! others too, and must be named, with a reason, in [`expected::EXCEPTIONS`]. The table is printed; `--nocapture` shows it.

mod expected;

use std::{
    fmt,
    time::{Duration, Instant},
};

use pipework::{MessageRead, PipeErrorKind};

use super::{Case, long, of_all_surfaces, pattern, plain};
use crate::{
    child::Other,
    harness::unique,
    surface::{Blocking, Direction, End, Fault, Instance, OpenSpec, Outcome, Spec, Surface},
};
use expected::{EXCEPTIONS, expected};

#[cfg(feature = "tokio")]
use crate::asynchronous::{TOKIO, TOKIO_CURRENT_THREAD};

pub(super) fn cases() -> Vec<Case> {
    vec![of_all_surfaces(long(plain("states", states_are_alike_on_every_surface)))]
}

/// How long a call is watched that should wait.
const BRIEF: Duration = Duration::from_millis(10);
/// How long a call may take that should not wait, on a machine that is busy with other things.
const PATIENT: Duration = Duration::from_secs(3);
/// How many faults are waited for so long.
const FAULTS_MAX: usize = 10;

// ------------------------------------------------------------------ the axes

/// What the pipe carries. The ends of a message pipe are in message read mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Bytes,
    Messages,
    /// What the peer has written is a message with a memory of its own.
    LargeMessages,
}

/// The quota of each direction.
const QUOTA: u32 = 1000;
/// What the end writes.
const MINE: &[u8] = b"mine";
/// The messages that the end writes in one call.
const BATCH: [&[u8]; 2] = [MINE, b""];
/// What is read of the peer at most.
const LEN_MAX: usize = 20_000;

impl Kind {
    /// What the peer has written where something is unread.
    fn unread(self) -> Vec<u8> {
        match self {
            Kind::LargeMessages => pattern(6, 10_000),
            _ => b"data!".to_vec(),
        }
    }
}

/// The end that the operation is called at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Client,
    Server,
}

/// What has become of the peer. `Unread` is what the peer wrote and the end has not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A server that no client has opened yet.
    Listening,
    /// A client whose server has neither read nor written, or a server whose client has said nothing yet.
    BeforeHello,
    Alive,
    AliveUnread,
    /// The end has written as much as there is room for.
    AliveFull,
    ClosedUnread,
    Closed,
    KilledUnread,
    Killed,
    /// By the server, whichever end is asked.
    Disconnected,
    DisconnectedUnread,
    ClosedBeforeHello,
    KilledBeforeHello,
    DisconnectedBeforeHello,
}

use State::{
    Alive, AliveFull, AliveUnread, BeforeHello, Closed, ClosedBeforeHello, ClosedUnread, Disconnected,
    DisconnectedBeforeHello, DisconnectedUnread, Killed, KilledBeforeHello, KilledUnread, Listening,
};

const STATES: [State; 14] = [
    Listening,
    BeforeHello,
    Alive,
    AliveUnread,
    AliveFull,
    ClosedUnread,
    Closed,
    KilledUnread,
    Killed,
    Disconnected,
    DisconnectedUnread,
    ClosedBeforeHello,
    KilledBeforeHello,
    DisconnectedBeforeHello,
];

impl State {
    fn is_killed(self) -> bool {
        matches!(self, KilledUnread | Killed | KilledBeforeHello)
    }

    fn is_closed(self) -> bool {
        self.is_killed() || matches!(self, ClosedUnread | Closed | ClosedBeforeHello)
    }

    fn is_disconnected(self) -> bool {
        matches!(self, Disconnected | DisconnectedUnread | DisconnectedBeforeHello)
    }

    fn is_before_hello(self) -> bool {
        matches!(self, BeforeHello | ClosedBeforeHello | KilledBeforeHello | DisconnectedBeforeHello)
    }

    /// Whether the peer wrote something before.
    fn has_unread(self) -> bool {
        matches!(self, AliveUnread | ClosedUnread | KilledUnread | DisconnectedUnread)
    }
}

/// What is asked of the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Read,
    /// Into an empty buffer.
    ReadNothing,
    ReadMessage,
    ReadMessageInto,
    Peek,
    Write,
    WriteNothing,
    WriteMessage,
    ReadMessages,
    /// Of two.
    WriteMessages,
    Transact,
    Drain,
    /// After a write that the peer has not read.
    DrainUnread,
    /// `flush` of the trait for writing.
    Flush,
    /// A wait until reading is worth a try.
    Readable,
    /// A wait until writing is worth a try.
    Writable,
}

const OPERATIONS: [Operation; 16] = [
    Operation::Read,
    Operation::ReadNothing,
    Operation::ReadMessage,
    Operation::ReadMessageInto,
    Operation::Peek,
    Operation::Write,
    Operation::WriteNothing,
    Operation::WriteMessage,
    Operation::ReadMessages,
    Operation::WriteMessages,
    Operation::Transact,
    Operation::Drain,
    Operation::DrainUnread,
    Operation::Flush,
    Operation::Readable,
    Operation::Writable,
];

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    kind: Kind,
    side: Side,
    state: State,
    operation: Operation,
}

impl Row {
    /// Whether there is such a thing, here.
    fn exists(self) -> bool {
        // On Windows a write beyond the quota is taken back when its time is over.
        if self.kind == Kind::LargeMessages && (cfg!(windows) || !self.state.has_unread()) {
            return false;
        }
        match (self.side, self.state) {
            // A client says hello in the call that opens the pipe.
            (Side::Server, KilledBeforeHello | DisconnectedBeforeHello) | (Side::Client, Listening) => false,
            // The clients of Windows' kernel need no hello.
            (Side::Server, BeforeHello | ClosedBeforeHello) if cfg!(windows) => false,
            // Nothing can have been written there, or nothing more.
            (Side::Server, Listening | BeforeHello | ClosedBeforeHello) | (_, AliveFull) => {
                self.operation != Operation::DrainUnread
            }
            _ => true,
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row { kind, side, state, operation } = self;
        let text = format!("{kind:?}, {side:?}, {state:?}: {operation:?}");
        f.pad(&text)
    }
}

/// How a surface is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// By calls that wait.
    Calls,
    /// By tries, with waits for readiness between them.
    TriesWhenReady,
    /// By tries now and then.
    TriesNowAndThen,
}

/// One column of the table.
#[derive(Clone, Copy)]
struct Column {
    name: &'static str,
    surface: &'static dyn Surface,
    manner: Manner,
    is_async: bool,
}

fn columns() -> Vec<Column> {
    let blocking = Column { name: "blocking", surface: &Blocking, manner: Manner::Calls, is_async: false };
    let mut columns = vec![blocking];
    if cfg!(unix) {
        columns.push(Column { name: "event loop", manner: Manner::TriesWhenReady, ..blocking });
    }
    #[cfg(feature = "tokio")]
    {
        let one =
            Column { name: "async, one thread", surface: &TOKIO_CURRENT_THREAD, is_async: true, ..blocking };
        columns.extend([
            one,
            Column { name: "async, workers", surface: &TOKIO, ..one },
            Column { name: "async, tries", manner: Manner::TriesNowAndThen, ..one },
        ]);
    }
    columns
}

/// What an operation came to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    /// It moved, or found, so many bytes.
    Len(usize),
    Done,
    /// The end of the pipe, of a call for messages.
    End,
    /// It would wait.
    Waits,
    /// It is ready.
    Ready,
    /// It would not wait, and no wait for readiness has ended.
    Missed,
    Failed(PipeErrorKind),
    Other(String),
    /// The surface has no such operation.
    Absent,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Seen::Len(len) => f.pad(&format!("Ok({len})")),
            Seen::Done => f.pad("Ok"),
            Seen::Absent => f.pad("-"),
            Seen::Failed(kind) => f.pad(&format!("{kind:?}")),
            Seen::Other(text) => f.pad(text),
            seen => f.pad(&format!("{seen:?}").to_lowercase()),
        }
    }
}

impl<T> From<Outcome<T>> for Seen
where
    Seen: From<T>,
{
    fn from(outcome: Outcome<T>) -> Seen {
        match outcome {
            Ok(value) => Seen::from(value),
            Err(Fault { kind: Some(PipeErrorKind::TimedOut), .. }) => Seen::Waits,
            Err(Fault { kind: Some(kind), .. }) => Seen::Failed(kind),
            Err(fault) if is_would_block(&fault) => Seen::Waits,
            Err(fault) => Seen::Other(fault.io_kind),
        }
    }
}

impl From<usize> for Seen {
    fn from(len: usize) -> Seen {
        Seen::Len(len)
    }
}

impl From<()> for Seen {
    fn from((): ()) -> Seen {
        Seen::Done
    }
}

/// What a read of several messages came to: the bytes of all of them.
fn seen_batch(outcome: Outcome<Vec<Vec<u8>>>) -> Seen {
    match outcome {
        Ok(messages) if messages.is_empty() => Seen::End,
        outcome => outcome.map(|messages| messages.concat().len()).into(),
    }
}

fn is_would_block(fault: &Fault) -> bool {
    fault.kind.is_none() && fault.io_kind == "WouldBlock"
}

// ------------------------------------------------------------------ bringing an end into a state

/// An end in a state, and what keeps it there.
struct Scene {
    subject: Subject,
    /// The peer, as long as it is there.
    peer: Peer,
}

enum Subject {
    Client(Box<dyn End>),
    Server(Box<dyn Instance>),
}

impl Subject {
    fn end(&self) -> &dyn End {
        match self {
            Subject::Client(end) => end.as_ref(),
            Subject::Server(instance) => instance.end(),
        }
    }
}

enum Peer {
    Server(Box<dyn Instance>),
    Client(Box<dyn End>),
    /// A client that never says hello.
    #[cfg(unix)]
    Silent(#[expect(dead_code, reason = "keeps the connection open")] std::os::unix::net::UnixStream),
    Nobody,
}

/// `peers` is where the peer lives; one that is to be killed is killed by the caller.
fn scene(column: &Column, row: Row, peers: &dyn Surface) -> Scene {
    let name = unique();
    let is_messages = row.kind != Kind::Bytes;
    let spec = Spec::new(&name).quota(QUOTA);
    let spec = if is_messages { spec.messages() } else { spec };
    let open = if is_messages { OpenSpec::new(&name).messages() } else { OpenSpec::new(&name) };
    let scene = match row.side {
        Side::Client => {
            let server = peers.create(&spec).unwrap();
            let subject = Subject::Client(column.surface.open(&open).unwrap());
            if !row.state.is_before_hello() || row.state.is_disconnected() {
                server.connect().unwrap();
            }
            if !row.state.is_before_hello() {
                // Takes the hello.
                server.end().peek(0).unwrap();
            }
            Scene { subject, peer: Peer::Server(server) }
        }
        Side::Server => {
            let server = column.surface.create(&spec).unwrap();
            let peer = match row.state {
                Listening => Peer::Nobody,
                state if state.is_before_hello() => silent_client(&name),
                _ => Peer::Client(peers.open(&open).unwrap()),
            };
            if row.state != Listening {
                server.connect().unwrap();
            }
            if let Peer::Client(_) = peer {
                server.end().peek(0).unwrap();
            }
            Scene { subject: Subject::Server(server), peer }
        }
    };
    scene.prepared(row)
}

#[cfg(unix)]
fn silent_client(name: &str) -> Peer {
    Peer::Silent(super::bad_input::unix::raw_connection(name))
}

#[cfg(not(unix))]
fn silent_client(_name: &str) -> Peer {
    unreachable!("there is no hello on this system, so no row asks for this")
}

impl Scene {
    fn prepared(mut self, row: Row) -> Scene {
        if row.operation == Operation::DrainUnread {
            assert_eq!(self.subject.end().write(MINE).unwrap(), MINE.len());
        }
        if row.state == AliveFull {
            let full = vec![0; usize::try_from(QUOTA).unwrap()];
            assert_eq!(self.subject.end().write(&full).unwrap(), full.len());
        }
        if row.state.has_unread() {
            let peer = match &self.peer {
                Peer::Server(server) => server.end(),
                Peer::Client(client) => client.as_ref(),
                _ => panic!("{row}: nobody is there to write"),
            };
            let unread = row.kind.unread();
            // A write beyond the quota would wait for its reader; what was published counts as written.
            peer.set_write_timeout(Some(Duration::from_millis(1))).unwrap();
            assert_eq!(peer.write(&unread).unwrap(), unread.len());
        }
        if row.state.is_disconnected() {
            match (&self.subject, &self.peer) {
                (Subject::Server(server), _) | (_, Peer::Server(server)) => server.disconnect().unwrap(),
                _ => panic!("{row}: no server is there to disconnect"),
            }
        }
        if row.state.is_closed() && !row.state.is_killed() {
            self.peer = Peer::Nobody;
        }
        self
    }
}

// ------------------------------------------------------------------ asking

fn run(column: &Column, subject: &Subject, operation: Operation, limit: Duration) -> Seen {
    let end = subject.end();
    if let Operation::Readable | Operation::Writable = operation {
        let is_direct = column.is_async || column.manner == Manner::TriesWhenReady;
        return if is_direct && column.manner != Manner::TriesNowAndThen {
            run_readiness(end, operation, limit)
        } else {
            Seen::Absent
        };
    }
    if column.manner != Manner::Calls {
        return run_tries(column, end, operation, limit);
    }
    end.set_read_timeout(Some(limit)).unwrap();
    end.set_write_timeout(Some(limit)).unwrap();
    match operation {
        Operation::Read => end.read(&mut vec![0; LEN_MAX]).into(),
        Operation::ReadNothing => end.read(&mut []).into(),
        Operation::ReadMessage => match end.read_message(LEN_MAX) {
            Ok(None) => Seen::End,
            outcome => outcome.map(|message| message.map_or(0, |message| message.len())).into(),
        },
        Operation::ReadMessageInto => match end.read_message_into(&mut vec![0; LEN_MAX]) {
            Ok(MessageRead::Whole(len)) => Seen::Len(len),
            Ok(MessageRead::End) => Seen::End,
            Ok(MessageRead::Part(len)) => Seen::Other(format!("a part of {len}")),
            Err(fault) => Err::<(), _>(fault).into(),
        },
        Operation::Peek => end.peek(9).map(|peeked| peeked.available).into(),
        Operation::Write => end.write(MINE).into(),
        Operation::WriteNothing => end.write(b"").into(),
        Operation::WriteMessage => end.write_message(MINE).into(),
        Operation::ReadMessages => seen_batch(end.read_messages(9, LEN_MAX)),
        Operation::WriteMessages => end.write_messages(&BATCH).into(),
        Operation::Transact => end.transact(MINE, LEN_MAX).map(|reply| reply.len()).into(),
        Operation::Drain | Operation::DrainUnread => end.drain().into(),
        Operation::Flush => match subject {
            Subject::Server(server) if !column.is_async => server.flush().into(),
            _ => end.write_flush().map_or(Seen::Absent, Seen::from),
        },
        Operation::Readable | Operation::Writable => Seen::Absent,
    }
}

fn run_tries(column: &Column, end: &dyn End, operation: Operation, limit: Duration) -> Seen {
    let Some(tries) = end.tries() else { return Seen::Absent };
    let attempt = || match operation {
        Operation::Read => Some((Direction::Reading, tries.try_read(&mut vec![0; LEN_MAX]).into())),
        Operation::ReadNothing => Some((Direction::Reading, tries.try_read(&mut []).into())),
        Operation::Write => Some((Direction::Writing, tries.try_write(MINE).into())),
        Operation::WriteNothing => Some((Direction::Writing, tries.try_write(b"").into())),
        Operation::ReadMessages => {
            Some((Direction::Reading, seen_batch(tries.try_read_messages(9, LEN_MAX))))
        }
        Operation::WriteMessages => Some((Direction::Writing, tries.try_write_messages(&BATCH).into())),
        _ => None,
    };
    let deadline = Instant::now() + limit;
    loop {
        let Some((direction, seen)) = attempt() else { return Seen::Absent };
        match seen {
            Seen::Waits => {}
            seen => return seen,
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if column.manner == Manner::TriesNowAndThen {
            if left.is_zero() {
                return Seen::Waits;
            }
            tries.pass();
        } else if !tries.await_ready(direction, left).unwrap() {
            let late = attempt().map(|(_, seen)| seen);
            return if late == Some(Seen::Waits) { Seen::Waits } else { Seen::Missed };
        }
    }
}

fn run_readiness(end: &dyn End, operation: Operation, limit: Duration) -> Seen {
    let Some(tries) = end.tries() else { return Seen::Absent };
    let direction = if operation == Operation::Readable { Direction::Reading } else { Direction::Writing };
    let would_wait = || {
        let outcome = match direction {
            Direction::Reading => tries.try_read(&mut vec![0; LEN_MAX]),
            Direction::Writing => tries.try_write(MINE),
        };
        Seen::from(outcome) == Seen::Waits
    };
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // Where there is no connection there is no descriptor; trying says so.
        let is_ready = tries.await_ready(direction, left).unwrap_or(true);
        match (is_ready, would_wait()) {
            (true, false) => return Seen::Ready,
            (false, true) => return Seen::Waits,
            (false, false) => return Seen::Missed,
            // Ready for a try, which found nothing: that may be.
            (true, true) => {}
        }
    }
}

// ------------------------------------------------------------------ the table

/// The table, and what is wrong with it.
fn states_are_alike_on_every_surface() {
    let columns = columns();
    let mut table: Vec<(Row, Vec<Seen>)> = rows().into_iter().map(|row| (row, Vec::new())).collect();
    let mut count = 0;
    for column in &columns {
        for state in STATES {
            let there = state.is_killed().then(|| Other::spawn(&Blocking));
            let peers: &dyn Surface = there.as_ref().map_or(&Blocking, |there| there);
            let cells = table.iter_mut().filter(|(row, _)| row.state == state);
            let mut scenes: Vec<_> =
                cells.map(|(row, seen)| (scene(column, *row, peers), *row, seen)).collect();
            if let Some(there) = &there {
                there.kill();
            }
            for (scene, row, seen) in scenes.drain(..) {
                let wanted = wanted(column, row).0;
                let limit = match wanted {
                    Seen::Waits => BRIEF,
                    // Where much is wrong, the table is to be seen before the watchdog ends the case.
                    _ if count > FAULTS_MAX => BRIEF * 10,
                    _ => PATIENT,
                };
                let is = run(column, &scene.subject, row.operation, limit);
                count += usize::from(is != wanted && is != Seen::Absent);
                seen.push(is);
                drop(scene);
            }
        }
    }
    print(&columns, &table);
    let faults = faults(&columns, &table);
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for kind in [Kind::Bytes, Kind::Messages, Kind::LargeMessages] {
        for side in [Side::Client, Side::Server] {
            for state in STATES {
                for operation in OPERATIONS {
                    rows.push(Row { kind, side, state, operation });
                }
            }
        }
    }
    rows.retain(|row| row.exists());
    rows
}

/// What a cell should have, and whether that is an exception.
fn wanted(column: &Column, row: Row) -> (Seen, bool) {
    let exception = EXCEPTIONS.iter().find(|exception| exception.is_of(column, row));
    exception.map_or_else(|| (expected(row), false), |exception| (exception.instead.clone(), true))
}

fn print(columns: &[Column], table: &[(Row, Vec<Seen>)]) {
    let mut lines = vec![format!("{:<60}", "")];
    lines[0].extend(columns.iter().map(|column| format!("{:<18}", column.name)));
    for (row, seen) in table {
        let cells = columns.iter().zip(seen).map(|(column, seen)| {
            let mark = if wanted(column, *row).1 && *seen != Seen::Absent { " *" } else { "" };
            format!("{:<18}", format!("{seen}{mark}"))
        });
        lines.push(format!("{row:<60}{}", cells.collect::<String>()).trim_end().to_owned());
    }
    let mut stdout = std::io::stdout().lock();
    std::io::Write::write_all(
        &mut stdout,
        (lines.join("\n") + "\n* differs, as EXCEPTIONS says\n").as_bytes(),
    )
    .unwrap();
}

fn faults(columns: &[Column], table: &[(Row, Vec<Seen>)]) -> Vec<String> {
    let mut faults = Vec::new();
    for (row, seen) in table {
        for (column, seen) in columns.iter().zip(seen) {
            let (wanted, _) = wanted(column, *row);
            if *seen != Seen::Absent && *seen != wanted {
                faults.push(format!("{row} on {}: {seen} instead of {wanted}", column.name));
            }
        }
    }
    for exception in EXCEPTIONS {
        let is_used = |(row, _): &(Row, Vec<Seen>)| {
            columns.iter().any(|column| exception.is_of(column, *row) && expected(*row) != exception.instead)
        };
        // Without the async surface its exceptions can't be needed.
        let is_everything = columns.iter().any(|column| column.is_async);
        if is_everything && exception.is_of_this_system() && !table.iter().any(is_used) {
            faults.push(format!("this exception makes no difference: {}", exception.why));
        }
    }
    faults
}
