//! Does to a real pipe what the specification does to its queues, and compares.

use crate::spec::{Op, Outcome, Shape, Side, Spec};
use pipework::{
    ClientOptions, MessageRead, NamedPipe, NamedPipeBuilder, PipeErrorKind, PipeMode, PipeName, PipeStream,
};
use proptest::test_runner::TestCaseError;
use std::{
    io::{self, IoSlice, Read, Write},
    time::Duration,
};

/// For a call that waits in vain: nobody else is there, so any time will do.
const IN_VAIN: Duration = Duration::from_millis(1);
/// For a call that has no reason to wait: a time in which it would be noticed.
const NEVER_OVER: Duration = Duration::from_secs(20);

struct Real {
    shape: Shape,
    name: PipeName,
    server: Option<NamedPipe>,
    clients: [Option<PipeStream>; 2],
}

pub(crate) fn run(shape: Shape, ops: &[Op]) -> Result<(), TestCaseError> {
    let mut spec = Spec::new(shape);
    let name = PipeName::unique("model").unwrap();
    let mut real = Real { shape, name, server: None, clients: [None, None] };
    // Most of what is worth doing needs a connection.
    let beginning =
        [Op::Create, Op::Open { client: 0, read: shape.outbound, write: shape.inbound, messages: false }];
    let mut done = Vec::new();
    for op in beginning.iter().chain(ops) {
        let data = spec.next_data(written_len(op));
        let expected = spec.apply(op, &data);
        let outcome = match expected.outcome {
            Outcome::Skipped => Outcome::Skipped,
            _ => real.apply(op, &data, expected.waits),
        };
        done.push(op);
        if outcome != expected.outcome {
            let text = format!("{shape:?}\n{done:#?}\nexpected {:?}\n     got {outcome:?}", expected.outcome);
            return Err(TestCaseError::fail(text));
        }
    }
    Ok(())
}

fn written_len(op: &Op) -> usize {
    match op {
        Op::At(_, op) => written_len(op),
        Op::Write(len) | Op::WriteMessage(len) | Op::Transact(len, _) => *len,
        Op::WriteVectored(parts) => parts.iter().sum(),
        _ => 0,
    }
}

impl Real {
    fn apply(&mut self, op: &Op, data: &[u8], waits: bool) -> Outcome {
        match op {
            Op::At(side, op) => self.at(*side, op, data, waits),
            Op::Open { client, read, write, messages } => {
                let mode = if *messages { PipeMode::Message } else { PipeMode::Byte };
                let opened = ClientOptions::new().read(*read).write(*write).read_mode(mode).open(&self.name);
                done(opened.map(|stream| self.clients[*client] = Some(stream)))
            }
            Op::DropClient(client) => {
                self.clients[*client] = None;
                Outcome::Done
            }
            Op::DropServer => {
                // A server that has not taken its client's hello can leave no mark for it, and a client that wrote a
                // moment ago takes the server for alive for some microseconds more.
                let end = self.server().stream();
                end.set_write_timeout(Some(IN_VAIN)).unwrap();
                drop((end.peek(&mut []), end.drain()));
                self.server = None;
                Outcome::Done
            }
            Op::Create => {
                let created = self.builder(self.shape.messages).create();
                done(created.map(|server| self.server = Some(server)))
            }
            Op::CreateAgain { first, other_mode } => {
                let mut builder = self.builder(self.shape.messages != *other_mode);
                done(builder.first(*first).create().map(drop))
            }
            Op::Connect => done(self.server().connect_timeout(Duration::ZERO)),
            Op::Disconnect => done(self.server().disconnect()),
            Op::Wait => done(NamedPipe::wait(&self.name, Some(if waits { IN_VAIN } else { NEVER_OVER }))),
            other => panic!("{other:?} is done at a side"),
        }
    }

    fn builder(&self, messages: bool) -> NamedPipeBuilder {
        let quota = |len| u32::try_from(len).unwrap();
        let mut builder = NamedPipeBuilder::new(&self.name);
        builder
            .pipe_mode(if messages { PipeMode::Message } else { PipeMode::Byte })
            .max_instances(1)
            .inbound(self.shape.inbound)
            .outbound(self.shape.outbound)
            .in_buffer_size(quota(self.shape.in_quota))
            .out_buffer_size(quota(self.shape.out_quota));
        builder
    }

    fn server(&self) -> &NamedPipe {
        self.server.as_ref().expect("the specification has a server here")
    }

    fn at(&mut self, side: Side, op: &Op, data: &[u8], waits: bool) -> Outcome {
        let mut end = match side {
            Side::Server => self.server().stream(),
            Side::Client(client) => self.clients[client].as_ref().expect("the specification has this client"),
        };
        let is_write = matches!(op, Op::Write(_) | Op::WriteVectored(_) | Op::WriteMessage(_));
        if waits && is_write && side == Side::Server {
            // A server takes the client's hello in its first call; that is not to happen in the time of this one.
            // While nothing was written it returns at once.
            end.set_write_timeout(Some(IN_VAIN)).unwrap();
            drop(end.drain());
        }
        let timeout = Some(if waits { IN_VAIN } else { NEVER_OVER });
        end.set_read_timeout(timeout).unwrap();
        end.set_write_timeout(timeout).unwrap();
        let wrote = |written: io::Result<usize>| written.map_or_else(fails, Outcome::Wrote);
        match op {
            Op::Write(_) => wrote(end.write(data)),
            Op::WriteVectored(parts) => wrote(end.write_vectored(&slices(parts, data))),
            Op::WriteMessage(_) => done(end.write_message(data)),
            Op::Read(len) => read(end, *len),
            Op::ReadMessage(len) => {
                let message = end.read_message(*len);
                message.map_or_else(fails, |message| message.map_or(Outcome::End, Outcome::Whole))
            }
            Op::ReadMessageInto(len) => read_message_into(end, *len),
            Op::Peek(len) => peek(end, *len),
            Op::Transact(_, len) => end.transact(data, *len).map_or_else(fails, Outcome::Whole),
            Op::Drain => match side {
                // The two doors to the same thing.
                Side::Server => done((&mut self.server()).flush()),
                Side::Client(_) => done(end.drain()),
            },
            Op::SetReadMode(messages) => {
                done(end.set_read_mode(if *messages { PipeMode::Message } else { PipeMode::Byte }))
            }
            other => panic!("{other:?} is not done at a side"),
        }
    }
}

fn fails(error: io::Error) -> Outcome {
    Outcome::Fails(PipeErrorKind::of(&error).unwrap_or_else(|| panic!("an error of no kind: {error}")))
}

fn done(outcome: io::Result<()>) -> Outcome {
    outcome.map_or_else(fails, |()| Outcome::Done)
}

fn slices<'a>(parts: &[usize], mut data: &'a [u8]) -> Vec<IoSlice<'a>> {
    let mut slices = Vec::new();
    for len in parts {
        let (part, rest) = data.split_at(*len);
        slices.push(IoSlice::new(part));
        data = rest;
    }
    slices
}

fn read(mut end: &PipeStream, len: usize) -> Outcome {
    let mut buf = vec![0xEE; len];
    match end.read(&mut buf) {
        Ok(len) => {
            buf.truncate(len);
            Outcome::Got(buf)
        }
        Err(error) => fails(error),
    }
}

fn read_message_into(end: &PipeStream, len: usize) -> Outcome {
    let mut buf = vec![0xEE; len];
    match end.read_message_into(&mut buf) {
        Ok(MessageRead::Whole(len)) => Outcome::Whole(buf[..len].to_vec()),
        Ok(MessageRead::Part(len)) => Outcome::Part(buf[..len].to_vec()),
        Ok(MessageRead::End) => Outcome::End,
        Err(error) => fails(error),
    }
}

fn peek(end: &PipeStream, len: usize) -> Outcome {
    let mut buf = vec![0xEE; len];
    match end.peek(&mut buf) {
        Ok(peek) => Outcome::Peeked {
            data: buf[..peek.copied].to_vec(),
            available: peek.available,
            message_left: peek.message_left,
        },
        Err(error) => fails(error),
    }
}
