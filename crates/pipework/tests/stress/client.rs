//! A client process: one connection after the other.

use crate::{
    frame::{Frame, Numbers, Reader},
    journal::{Direction, Journal, Seen, Writer},
    process::{Held, Plan, Stop, say, warm_up},
    server::{expect_frame, expect_gone},
};
use pipework::{ClientOptions, PipeErrorKind, PipeStream};
use std::time::Duration;

/// As long as it may take a crowd to let one in on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn run(plan: &Plan, stop: &Stop) {
    warm_up();
    let journal = plan.journal.as_deref().map(Journal::open);
    say("ready");
    let before = Held::count();
    let mut numbers = Numbers::new(u64::from(std::process::id()));
    let (mut done, mut bytes) = (0_u32, 0_u64);
    while !stop.is_asked() && plan.count.is_none_or(|count| done < count) {
        let Some(server) = connect(plan) else { continue };
        // No other process has this number now, and none of ours has this one.
        let connection = u64::from(std::process::id()) << 32 | u64::from(done);
        bytes += match &journal {
            None => converse(&server, plan, connection, &mut numbers),
            Some(journal) => converse_among_the_dying(&server, plan, connection, &mut numbers, journal),
        };
        done += 1;
    }
    before.expect_again();
    say(&format!("quiet {done} {bytes}"));
}

/// Waits for an instance. While servers die, so may the name.
fn connect(plan: &Plan) -> Option<PipeStream> {
    let mut options = ClientOptions::new();
    options.read_mode(plan.mode).timeout(PATIENCE);
    if plan.journal.is_some() {
        // Short, so that a word to stop is heard where no server comes any more.
        options.wait_absent(true).timeout(Duration::from_secs(1));
    }
    match options.connect(&plan.name) {
        Ok(server) => Some(server),
        Err(error) if plan.journal.is_some() && error == PipeErrorKind::TimedOut => None,
        Err(error) => panic!("connecting: {error}, {:?}", PipeErrorKind::of(&error)),
    }
}

/// Some frames and their echoes; says how many bytes went each way.
fn converse(server: &PipeStream, plan: &Plan, connection: u64, numbers: &mut Numbers) -> u64 {
    let mut reader = Reader::new(plan.mode);
    let mut bytes = 0;
    let count = if numbers.below(2) == 0 { 1 } else { 2 };
    for number in 0..count {
        let frame = Frame::new(connection, number, numbers.len());
        frame.write(server).unwrap();
        bytes += frame.payload.len() as u64;
        let echo = reader.next(server).unwrap().expect("the echo of what was written");
        assert!(echo == frame, "the echo is not what was written");
    }
    bytes
}

/// The same with a journal: a few frames ahead of their echoes, until all are back or the server has gone.
fn converse_among_the_dying(
    server: &PipeStream,
    plan: &Plan,
    connection: u64,
    numbers: &mut Numbers,
    journal: &Journal,
) -> u64 {
    let peer = server.peer().unwrap().process_id().unwrap();
    let mut reader = Reader::new(plan.mode);
    let mut out = journal.writer(connection, Direction::ToServer, peer);
    let mut seen = Seen::default();
    seen.expect(connection);
    let (mut bytes, mut number) = (0, 0);
    for _ in 0..2 + numbers.below(8) {
        // Small enough that none of the two ends can be in the way of the other.
        for _ in 0..1 + numbers.below(3) {
            let len = numbers.len().min(8000);
            if !write(server, &Frame::new(connection, number, len), &mut out) {
                break;
            }
            number += 1;
            bytes += len as u64;
        }
        while seen.count() < number {
            let Some(echo) = expect_frame(reader.next(server)) else {
                // The end of the pipe is the server's end: this client has not closed.
                journal.ended(seen, Direction::ToClient, peer);
                return bytes;
            };
            seen.take(&echo);
        }
    }
    journal.left(seen, Direction::ToClient, peer);
    bytes
}

fn write(server: &PipeStream, frame: &Frame, out: &mut Writer<'_>) -> bool {
    match frame.write(server) {
        Ok(()) => {
            out.wrote(frame.number + 1);
            true
        }
        Err(error) => expect_gone(&error),
    }
}
