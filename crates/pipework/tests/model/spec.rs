//! The specification: what each operation must come to, with nothing but queues.

use pipework::PipeErrorKind::{
    self, Absent, AccessDenied, BadPipe, Broken, Busy, Invalid, Listening, MoreData, NameTaken, NoData,
    NotConnected, TimedOut,
};
use std::collections::VecDeque;

/// Bytes of a record's header in the ring; its payload is padded to a multiple of it.
const RECORD: usize = 16;
/// The smallest ring.
const PAGE: usize = 4096;

/// What the server fixes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) messages: bool,
    pub(crate) inbound: bool,
    pub(crate) outbound: bool,
    pub(crate) in_quota: usize,
    pub(crate) out_quota: usize,
}

/// Who does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Server,
    Client(usize),
}

/// What is done; lengths in bytes.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    At(Side, Box<Op>),
    Write(usize),
    WriteVectored(Vec<usize>),
    WriteMessage(usize),
    Read(usize),
    ReadMessage(usize),
    ReadMessageInto(usize),
    Peek(usize),
    Transact(usize, usize),
    Drain,
    SetReadMode(bool),
    Open { client: usize, read: bool, write: bool, messages: bool },
    DropClient(usize),
    Connect,
    Disconnect,
    Create,
    CreateAgain { first: bool, other_mode: bool },
    DropServer,
    Wait,
}

/// What it came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    Wrote(usize),
    Got(Vec<u8>),
    Whole(Vec<u8>),
    Part(Vec<u8>),
    End,
    Peeked {
        data: Vec<u8>,
        available: usize,
        message_left: Option<usize>,
    },
    Fails(PipeErrorKind),
    /// There is nothing to do it with.
    Skipped,
}

use Outcome::{Done, End, Fails, Got, Part, Peeked, Skipped, Whole, Wrote};

/// What is expected, and whether the call waits in vain for a while.
pub(crate) struct Expected {
    pub(crate) outcome: Outcome,
    pub(crate) waits: bool,
}

impl From<Outcome> for Expected {
    fn from(outcome: Outcome) -> Expected {
        // A time-out is the one outcome that takes time, besides a write that could not give away all it had.
        let waits = outcome == Fails(TimedOut);
        Expected { outcome, waits }
    }
}

#[derive(Debug)]
struct Message {
    data: Vec<u8>,
    taken: usize,
}

impl Message {
    fn left(&self) -> &[u8] {
        &self.data[self.taken..]
    }
}

/// One direction of one connection.
#[derive(Debug)]
struct Lane {
    messages: bool,
    quota: usize,
    /// Bytes of the ring: enough for the quota, twice that where messages need their headers.
    capacity: usize,
    /// On a byte pipe, at most one entry, which grows.
    queue: VecDeque<Message>,
}

impl Lane {
    fn new(messages: bool, quota: usize) -> Lane {
        let wanted = if messages { 2 * quota } else { quota };
        Lane { messages, quota, capacity: wanted.max(PAGE).next_power_of_two(), queue: VecDeque::new() }
    }

    fn unread(&self) -> usize {
        self.queue.iter().map(|message| message.left().len()).sum()
    }

    /// Whether a message is too large for the ring, so that it lies elsewhere.
    fn is_elsewhere(&self, len: usize) -> bool {
        RECORD + len.next_multiple_of(RECORD) > self.capacity
    }

    fn in_ring(&self, len: usize) -> usize {
        if self.is_elsewhere(len) { RECORD } else { RECORD + len.next_multiple_of(RECORD) }
    }

    /// Takes a write of bytes; it comes back late if not all of it was taken, or too much is unread.
    fn push_bytes(&mut self, data: &[u8]) -> Expected {
        let limit = if self.quota == 0 { self.capacity } else { self.quota };
        let len = data.len().min(limit - self.unread());
        if len == 0 {
            return Fails(TimedOut).into();
        }
        if self.queue.is_empty() {
            self.queue.push_back(Message { data: Vec::new(), taken: 0 });
        }
        self.queue[0].data.extend(&data[..len]);
        Expected { outcome: Wrote(len), waits: len < data.len() || self.unread() > self.quota }
    }

    /// Takes a message, all of it or nothing.
    fn push_message(&mut self, data: Vec<u8>) -> Expected {
        let used: usize = self.queue.iter().map(|message| self.in_ring(message.data.len())).sum();
        let is_within_quota = self.unread() + data.len() <= self.quota || self.queue.is_empty();
        if !is_within_quota || used + self.in_ring(data.len()) > self.capacity {
            return Fails(TimedOut).into();
        }
        self.queue.push_back(Message { data, taken: 0 });
        Expected { outcome: Done, waits: self.unread() > self.quota }
    }

    /// Gives at most `len` bytes of the first message, and forgets it when that was all of it.
    fn pop(&mut self, len: usize) -> Vec<u8> {
        let Some(first) = self.queue.front_mut() else { return Vec::new() };
        let data = first.left()[..len.min(first.data.len() - first.taken)].to_vec();
        first.taken += data.len();
        if first.taken == first.data.len() {
            self.queue.pop_front();
        }
        data
    }

    /// Gives bytes; in byte read mode over the bounds of messages. A message that lies elsewhere begins a read of its
    /// own.
    fn pop_bytes(&mut self, len: usize, reads_messages: bool) -> Vec<u8> {
        let mut data = Vec::new();
        while data.len() < len
            && let Some(first) = self.queue.front()
        {
            let ends_here = reads_messages || (cfg!(unix) && self.is_elsewhere(first.data.len()));
            if self.messages && !data.is_empty() && ends_here {
                break;
            }
            data.extend(self.pop(len - data.len()));
        }
        data
    }

    fn peek(&self, len: usize) -> Outcome {
        let available = self.unread();
        // On Windows an empty message can't be distinguished from no message.
        let first = self.queue.front().filter(|_| cfg!(unix) || available > 0);
        let Some(first) = first else {
            return Peeked { data: Vec::new(), available: 0, message_left: None };
        };
        let data = first.left()[..len.min(first.left().len())].to_vec();
        let message_left = self.messages.then_some(first.left().len() - data.len());
        Peeked { data, available, message_left }
    }
}

/// One connection.
#[derive(Debug)]
struct Connection {
    inbound: Lane,
    outbound: Lane,
    has_client: bool,
    has_server: bool,
    is_thrown_out: bool,
}

#[derive(Debug)]
enum Server {
    Listening,
    Connected(usize),
    Disconnected,
}

#[derive(Debug)]
struct Client {
    connection: usize,
    read: bool,
    write: bool,
    reads_messages: bool,
}

/// One name, one instance at most, two clients.
#[derive(Debug)]
pub(crate) struct Spec {
    shape: Shape,
    server: Option<Server>,
    server_reads_messages: bool,
    clients: [Option<Client>; 2],
    connections: Vec<Connection>,
    next_byte: u8,
}

/// An end of a connection at the time of a call.
struct EndNow {
    connection: usize,
    is_server: bool,
    read: bool,
    write: bool,
    reads_messages: bool,
}

impl Spec {
    pub(crate) fn new(shape: Shape) -> Spec {
        Spec {
            shape,
            server: None,
            server_reads_messages: false,
            clients: [None, None],
            connections: Vec::new(),
            next_byte: 0,
        }
    }

    /// The bytes of the next write, all different from those before as long as possible.
    pub(crate) fn next_data(&mut self, len: usize) -> Vec<u8> {
        let data = (0..len).map(|index| self.next_byte.wrapping_add(index.to_le_bytes()[0])).collect();
        self.next_byte = self.next_byte.wrapping_add(17);
        data
    }

    /// Does one operation; `data` is what it writes.
    pub(crate) fn apply(&mut self, op: &Op, data: &[u8]) -> Expected {
        if cfg!(windows) && self.is_left_out(op) {
            return Skipped.into();
        }
        match op {
            Op::At(side, op) => self.at(*side, op, data),
            Op::Open { client, read, write, messages } => self.open(*client, *read, *write, *messages).into(),
            Op::DropClient(client) => self.drop_client(*client).into(),
            Op::Connect => self.connect().into(),
            Op::Disconnect => self.disconnect().into(),
            Op::Create => self.create().into(),
            Op::CreateAgain { first, other_mode } => self.create_again(*first, *other_mode).into(),
            Op::DropServer => self.drop_server().into(),
            Op::Wait => self.wait().into(),
            other => panic!("{other:?} is done at a side"),
        }
    }

    /// Whether Windows does it otherwise, or Wine does not do it as Windows does.
    fn is_left_out(&self, op: &Op) -> bool {
        match op {
            // What a pipe is can only be seen by opening it: the attempt is a client that comes and leaves.
            Op::Open { messages: true, .. } if !self.shape.messages => true,
            Op::Open { read, write, .. } if is_wine() => {
                (*read && !self.shape.outbound) || (*write && !self.shape.inbound)
            }
            Op::CreateAgain { first, other_mode } if is_wine() => *first || *other_mode,
            Op::Disconnect if is_wine() => matches!(self.server, Some(Server::Listening)),
            Op::At(side, op) if is_wine() && matches!(**op, Op::Drain) => self.has_lost(*side),
            // The system lets only ends that write change how they read.
            Op::At(Side::Server, op) if matches!(**op, Op::SetReadMode(_)) => !self.shape.outbound,
            // An empty message can't be distinguished from no message.
            Op::At(side, op) if matches!(**op, Op::Transact(..)) => self.has_only_empty_messages(*side),
            // What moves nothing does not ask the system, and a client that may only write has no other question.
            Op::At(side, op) => moves_nothing(op) && self.is_thrown_out_and_blind(*side),
            _ => false,
        }
    }

    fn has_only_empty_messages(&self, side: Side) -> bool {
        let Ok(end) = self.end(side) else { return false };
        let connection = &self.connections[end.connection];
        let lane = if end.is_server { &connection.inbound } else { &connection.outbound };
        !lane.queue.is_empty() && lane.unread() == 0
    }

    fn is_thrown_out_and_blind(&self, side: Side) -> bool {
        self.end(side).is_ok_and(|end| !end.read && self.connections[end.connection].is_thrown_out)
    }

    /// Whether the other end closed before it had read everything.
    fn has_lost(&self, side: Side) -> bool {
        let Ok(end) = self.end(side) else { return false };
        let connection = &self.connections[end.connection];
        let (lane, is_open) = if end.is_server {
            (&connection.outbound, connection.has_client)
        } else {
            (&connection.inbound, connection.has_server)
        };
        !is_open && !lane.queue.is_empty()
    }

    fn create(&mut self) -> Outcome {
        if self.server.is_some() {
            return Skipped;
        }
        self.server = Some(Server::Listening);
        self.server_reads_messages = self.shape.messages;
        Done
    }

    fn create_again(&self, first: bool, other_mode: bool) -> Outcome {
        match (self.server.is_some(), first, other_mode) {
            (false, ..) => Skipped,
            (true, true, _) => Fails(NameTaken),
            (true, false, true) => Fails(AccessDenied),
            // One instance is all that the first one allowed.
            (true, false, false) => Fails(Busy),
        }
    }

    fn drop_server(&mut self) -> Outcome {
        match self.server.take() {
            None => return Skipped,
            Some(Server::Connected(connection)) => self.connections[connection].has_server = false,
            Some(_) => {}
        }
        Done
    }

    fn wait(&self) -> Outcome {
        match self.server {
            None => Fails(Absent),
            Some(Server::Listening) => Done,
            Some(_) => Fails(TimedOut),
        }
    }

    fn connect(&mut self) -> Outcome {
        match &mut self.server {
            None => Skipped,
            Some(Server::Connected(connection)) => {
                if self.connections[*connection].has_client {
                    Done
                } else {
                    Fails(NoData)
                }
            }
            Some(server) => {
                *server = Server::Listening;
                Fails(TimedOut)
            }
        }
    }

    fn disconnect(&mut self) -> Outcome {
        match self.server.replace(Server::Disconnected) {
            None => {
                self.server = None;
                return Skipped;
            }
            Some(Server::Disconnected) => return Fails(NotConnected),
            Some(Server::Listening) => {}
            Some(Server::Connected(connection)) => self.connections[connection].is_thrown_out = true,
        }
        Done
    }

    fn open(&mut self, client: usize, read: bool, write: bool, reads_messages: bool) -> Outcome {
        let shape = self.shape;
        if self.clients[client].is_some() {
            return Skipped;
        }
        if !read && !write {
            return Fails(Invalid);
        }
        let Some(server) = &mut self.server else { return Fails(Absent) };
        if reads_messages && !shape.messages {
            return Fails(Invalid);
        }
        if (read && !shape.outbound) || (write && !shape.inbound) {
            return Fails(AccessDenied);
        }
        if !matches!(server, Server::Listening) {
            return Fails(Busy);
        }
        // Whether the server has taken notice makes no difference to anybody.
        let connection = self.connections.len();
        *server = Server::Connected(connection);
        self.connections.push(Connection {
            inbound: Lane::new(shape.messages, shape.in_quota),
            outbound: Lane::new(shape.messages, shape.out_quota),
            has_client: true,
            has_server: true,
            is_thrown_out: false,
        });
        self.clients[client] = Some(Client { connection, read, write, reads_messages });
        Done
    }

    fn drop_client(&mut self, client: usize) -> Outcome {
        let Some(client) = self.clients[client].take() else { return Skipped };
        self.connections[client.connection].has_client = false;
        Done
    }

    fn at(&mut self, side: Side, op: &Op, data: &[u8]) -> Expected {
        if let Op::SetReadMode(messages) = op {
            return self.set_read_mode(side, *messages).into();
        }
        let end = match self.end(side) {
            Ok(end) => end,
            // An instance without a client is another error to a peek than to a read.
            Err(Fails(_)) if matches!(op, Op::Peek(_)) && side == Side::Server => {
                return Fails(BadPipe).into();
            }
            Err(outcome) => return outcome.into(),
        };
        match op {
            Op::Read(len) => self.read(&end, *len).into(),
            Op::ReadMessage(len) => self.read_message(&end, *len).into(),
            Op::ReadMessageInto(len) => self.read_message_into(&end, *len).into(),
            Op::Peek(len) => self.peek(&end, *len).into(),
            Op::Write(_) | Op::WriteVectored(_) => self.write(&end, data),
            Op::WriteMessage(_) => self.write_message(&end, data),
            Op::Transact(..) => self.transact(&end, data).into(),
            Op::Drain => self.drain(&end).into(),
            other => panic!("{other:?} is not done at a side"),
        }
    }

    fn set_read_mode(&mut self, side: Side, messages: bool) -> Outcome {
        let reads_messages = match side {
            Side::Server if self.server.is_some() => &mut self.server_reads_messages,
            Side::Client(client) if self.clients[client].is_some() => {
                &mut self.clients[client].as_mut().unwrap().reads_messages
            }
            _ => return Skipped,
        };
        if messages && !self.shape.messages {
            return Fails(Invalid);
        }
        *reads_messages = messages;
        Done
    }

    fn end(&self, side: Side) -> Result<EndNow, Outcome> {
        match side {
            Side::Server => match self.server {
                None => Err(Skipped),
                Some(Server::Listening) => Err(Fails(Listening)),
                Some(Server::Disconnected) => Err(Fails(NotConnected)),
                Some(Server::Connected(connection)) => Ok(EndNow {
                    connection,
                    is_server: true,
                    read: self.shape.inbound,
                    write: self.shape.outbound,
                    reads_messages: self.server_reads_messages,
                }),
            },
            Side::Client(client) => {
                let Client { connection, read, write, reads_messages } =
                    *self.clients[client].as_ref().ok_or(Skipped)?;
                Ok(EndNow { connection, is_server: false, read, write, reads_messages })
            }
        }
    }

    /// The lanes that this end reads from and writes to, and whether the other end is open.
    fn lanes(&mut self, end: &EndNow) -> Result<(&mut Lane, &mut Lane, bool), Outcome> {
        let connection = &mut self.connections[end.connection];
        if connection.is_thrown_out {
            return Err(Fails(NotConnected));
        }
        Ok(if end.is_server {
            (&mut connection.inbound, &mut connection.outbound, connection.has_client)
        } else {
            (&mut connection.outbound, &mut connection.inbound, connection.has_server)
        })
    }

    fn read(&mut self, end: &EndNow, len: usize) -> Outcome {
        if !end.read {
            return Fails(AccessDenied);
        }
        let (lane, _, is_open) = match self.lanes(end) {
            Ok(lanes) => lanes,
            Err(outcome) => return outcome,
        };
        let data = lane.pop_bytes(len, end.reads_messages);
        if data.is_empty() && len > 0 && is_open { Fails(TimedOut) } else { Got(data) }
    }

    fn read_message_into(&mut self, end: &EndNow, len: usize) -> Outcome {
        match self.first_message(end) {
            Ok(Some(lane)) => {
                let is_whole = lane.queue[0].left().len() <= len;
                let data = lane.pop(len);
                if is_whole { Whole(data) } else { Part(data) }
            }
            Ok(None) => End,
            Err(outcome) => outcome,
        }
    }

    fn read_message(&mut self, end: &EndNow, len_max: usize) -> Outcome {
        match self.first_message(end) {
            Ok(Some(lane)) if lane.queue[0].left().len() > len_max => Fails(MoreData),
            Ok(Some(lane)) => Whole(lane.pop(len_max)),
            Ok(None) => End,
            Err(outcome) => outcome,
        }
    }

    /// The lane with a message at its front; `None` is the end.
    fn first_message(&mut self, end: &EndNow) -> Result<Option<&mut Lane>, Outcome> {
        if !end.read {
            return Err(Fails(AccessDenied));
        }
        if !end.reads_messages {
            return Err(Fails(BadPipe));
        }
        let (lane, _, is_open) = self.lanes(end)?;
        match (lane.queue.is_empty(), is_open) {
            (false, _) => Ok(Some(lane)),
            (true, true) => Err(Fails(TimedOut)),
            (true, false) => Ok(None),
        }
    }

    fn peek(&mut self, end: &EndNow, len: usize) -> Outcome {
        if !end.read {
            return Fails(AccessDenied);
        }
        let (lane, _, is_open) = match self.lanes(end) {
            Ok(lanes) => lanes,
            Err(outcome) => return outcome,
        };
        if lane.queue.is_empty() && !is_open { Fails(Broken) } else { lane.peek(len) }
    }

    fn write(&mut self, end: &EndNow, data: &[u8]) -> Expected {
        if self.shape.messages {
            let mut expected = self.write_message(end, data);
            if expected.outcome == Done {
                expected.outcome = Wrote(data.len());
            }
            return expected;
        }
        if !end.write {
            return Fails(AccessDenied).into();
        }
        match self.lanes(end) {
            Err(outcome) => outcome.into(),
            Ok(_) if data.is_empty() => Wrote(0).into(),
            Ok((_, _, false)) => Fails(NoData).into(),
            Ok((_, lane, true)) => lane.push_bytes(data),
        }
    }

    fn write_message(&mut self, end: &EndNow, data: &[u8]) -> Expected {
        if !end.write {
            return Fails(AccessDenied).into();
        }
        if !self.shape.messages {
            return Fails(BadPipe).into();
        }
        match self.lanes(end) {
            Err(outcome) => outcome.into(),
            Ok((_, _, false)) => Fails(NoData).into(),
            Ok((_, lane, true)) => lane.push_message(data.to_vec()),
        }
    }

    /// Nobody replies, since one thread does everything.
    fn transact(&mut self, end: &EndNow, data: &[u8]) -> Outcome {
        if !end.read || !end.write {
            return Fails(AccessDenied);
        }
        if !end.reads_messages {
            return Fails(BadPipe);
        }
        match self.lanes(end) {
            Err(outcome) => return outcome,
            Ok((lane, ..)) if !lane.queue.is_empty() => return Fails(Busy),
            Ok(_) => {}
        }
        match self.write_message(end, data).outcome {
            Fails(NoData) => Fails(Broken),
            Done => Fails(TimedOut),
            outcome => outcome,
        }
    }

    fn drain(&mut self, end: &EndNow) -> Outcome {
        if !end.write {
            return Fails(AccessDenied);
        }
        match self.lanes(end) {
            Err(outcome) => outcome,
            Ok((_, lane, _)) if lane.queue.is_empty() => Done,
            Ok((_, _, false)) => Fails(Broken),
            Ok((_, _, true)) => Fails(TimedOut),
        }
    }
}

/// Whether this is Wine, which brings a program that Windows does not have.
fn is_wine() -> bool {
    cfg!(windows) && std::path::Path::new(r"C:\windows\system32\winecfg.exe").exists()
}

fn moves_nothing(op: &Op) -> bool {
    match op {
        Op::Write(len) | Op::Read(len) => *len == 0,
        Op::WriteVectored(parts) => parts.iter().sum::<usize>() == 0,
        _ => false,
    }
}
