//! A server process: echoes, on a thread for each client.

use crate::{
    frame::{Frame, Reader},
    journal::{Direction, Journal, Seen},
    process::{Held, Plan, Stop, say, warm_up},
};
use pipework::{Listener, NamedPipeBuilder, PipeErrorKind, PipeStream, is_gone};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// How often it looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(20);

pub(crate) fn run(plan: &Plan, stop: &Stop) {
    warm_up();
    let journal = plan.journal.as_deref().map(|directory| Arc::new(Journal::open(directory)));
    let listener = NamedPipeBuilder::new(&plan.name).first(false).pipe_mode(plan.mode).listen().unwrap();
    say("ready");
    let before = Held::count();
    // Of clients that say something: one that waits at two servers may come to the other and leave (rule C2).
    let connections = Arc::new(AtomicUsize::new(0));
    let mut workers: Vec<thread::JoinHandle<()>> = Vec::new();
    loop {
        // After the word to stop, who is there already is served still.
        let is_last = stop.is_asked();
        match accept(&listener, if is_last { Duration::ZERO } else { LOOK }) {
            Some(client) => {
                let (mode, journal, connections) = (plan.mode, journal.clone(), Arc::clone(&connections));
                workers.push(thread::spawn(move || {
                    if serve(&client, Reader::new(mode), journal.as_deref()) {
                        connections.fetch_add(1, Ordering::Relaxed);
                    }
                }));
                if workers.len() > 256 {
                    workers.retain(|worker| !worker.is_finished());
                }
            }
            None if is_last => break,
            None => {}
        }
    }
    for worker in workers {
        worker.join().unwrap();
    }
    before.expect_again();
    say(&format!("quiet {}", connections.load(Ordering::Relaxed)));
    // The instance that listens stays, for the test to kill.
    let _: PipeStream = listener.accept().unwrap();
}

fn accept(listener: &Listener, timeout: Duration) -> Option<PipeStream> {
    match listener.accept_timeout(timeout) {
        Ok(client) => Some(client),
        Err(error) if error == PipeErrorKind::TimedOut => None,
        Err(error) => panic!("accepting: {error}"),
    }
}

/// Echoes until the end, and returns whether there was anything to echo. Who can't be answered any more is still read to the
/// end: it may have written more.
fn serve(client: &PipeStream, mut reader: Reader, journal: Option<&Journal>) -> bool {
    let peer = client.peer().unwrap().process_id().unwrap();
    let mut seen = Seen::default();
    let mut out = None;
    let (mut is_there, mut has_spoken) = (true, false);
    while let Some(frame) = expect_frame(reader.next(client)) {
        has_spoken = true;
        seen.take(&frame);
        if !is_there {
            continue;
        }
        if let Some(journal) = journal {
            let out = out.get_or_insert_with(|| journal.writer(frame.connection, Direction::ToClient, peer));
            match frame.write(client) {
                Ok(()) => out.wrote(frame.number + 1),
                Err(error) => is_there = expect_gone(&error),
            }
        } else if let Err(error) = frame.write(client) {
            panic!("echoing: {error}");
        }
    }
    if let Some(journal) = journal {
        journal.ended(seen, Direction::ToServer, peer);
    }
    has_spoken
}

/// Reading never fails, whoever is killed: all that was written, and then the end.
pub(crate) fn expect_frame(read: io::Result<Option<Frame>>) -> Option<Frame> {
    read.unwrap_or_else(|error| panic!("reading: {error}, {:?}", PipeErrorKind::of(&error)))
}

/// A write fails only because the other end has gone, and says so.
pub(crate) fn expect_gone(error: &io::Error) -> bool {
    assert!(is_gone(error), "writing: {error}, {:?}", PipeErrorKind::of(error));
    false
}
