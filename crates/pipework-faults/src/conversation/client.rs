//! The client: one connection with everything in it, and one that ends the server.

use super::{
    Actor, Connection, Conversation,
    bounds::{OPEN, TRIES, WAIT},
    end::End,
    frame::Ask,
    remote,
};
use crate::plan::{Mode, NAME, Side, Step, Surface};
use pipework::{ClientOptions, NamedPipe, PipeErrorKind, list};
use std::{io, mem::replace};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Full,
    Last,
}

pub(super) async fn run(actor: &Actor) -> io::Result<()> {
    if actor.args.surface == Surface::Blocking && !actor.args.remote {
        actor.step(Step::Wait, async || NamedPipe::wait(NAME, Some(OPEN))).await?;
    }
    let mut connection = 0;
    for kind in [Kind::Full, Kind::Last] {
        for tries in 1.. {
            connection += 1;
            match converse(actor, kind, connection).await {
                Ok(()) => break,
                // The server had the word to quit, and its answer was lost with the connection.
                Err(error) if kind == Kind::Last && tries > 1 && error == PipeErrorKind::Absent => break,
                Err(error) => {
                    actor.ended(connection, &error);
                    if actor.args.once || tries == TRIES || error.to_string().contains("WRONG DATA") {
                        return Err(error);
                    }
                }
            }
        }
    }
    actor.step(Step::List, async || list()).await.map(drop)
}

async fn converse(actor: &Actor, kind: Kind, number: u8) -> io::Result<()> {
    let end = actor.step(Step::Open, async || open(actor).await).await?;
    let mut connection = Connection::new(actor, end, number);
    let outcome = match kind {
        Kind::Full => talk(&mut connection).await,
        Kind::Last => say_goodbye(&mut connection).await,
    };
    if let Err(error) = outcome {
        connection.read_rest(&error).await;
        return Err(error);
    }
    // The server disconnects, or closes.
    loop {
        match connection.read().await {
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(error) if pipework::is_gone(&error) => break,
            Err(error) => return Err(error),
        }
    }
    connection.close().await
}

async fn open(actor: &Actor) -> io::Result<End> {
    let mode = actor.args.mode;
    if actor.args.remote {
        return remote::open(mode.of_pipe());
    }
    if actor.args.surface.is_async() {
        let mut options = pipework::tokio::ClientOptions::new();
        options.timeout(OPEN).pipe_mode(mode.of_pipe());
        return options.connect(NAME).await.map(End::AsyncClient);
    }
    let stream = ClientOptions::new().timeout(OPEN).read_mode(mode.of_pipe()).connect(NAME)?;
    match actor.args.surface {
        Surface::EventLoop => Ok(End::EventLoop(stream)),
        _ => End::blocking(stream, WAIT),
    }
}

/// Everything, in both directions.
async fn talk(connection: &mut Connection<'_>) -> io::Result<()> {
    for _ in 0..2 {
        connection.write(Step::Write, connection.frame(Ask::Nothing, 10, false)).await?;
    }
    connection.write(Step::Write, connection.frame(Ask::Frames, 0, false)).await?;
    for _ in 0..4 {
        connection.expect().await?;
    }
    connection.write(Step::Write, connection.frame(Ask::Nothing, 3, true)).await?;
    // The second one uses the memory object of the first again.
    for is_first in [true, false] {
        let frame = connection.frame(Ask::Nothing, connection.actor.large(), is_first);
        connection.write(Step::Large, frame).await?;
    }
    ask_for_reply(connection).await?;
    let actor = connection.actor;
    // Samba refuses both.
    if !actor.args.remote {
        actor.step(Step::Peek, async || connection.end.peek()).await?;
        if actor.args.surface != Surface::EventLoop {
            connection.flush().await?;
        }
    }
    connection.write(Step::Write, connection.frame(Ask::Disconnect, 0, false)).await
}

async fn say_goodbye(connection: &mut Connection<'_>) -> io::Result<()> {
    connection.write(Step::Write, connection.frame(Ask::Reply, 10, false)).await?;
    connection.expect().await?;
    connection.write(Step::Write, connection.frame(Ask::Quit, 0, false)).await?;
    connection.expect().await.map(drop)
}

/// The number of that connection; no client has so many.
pub(crate) const AFTERWARDS: u8 = 100;

/// What the process does that comes after a client: one connection to the server that lives, which ends it.
pub(crate) fn ask_to_quit(mode: Mode, remote: bool) -> io::Result<()> {
    let args =
        Conversation { remote, ..Conversation::new(Side::Client, Surface::Blocking, mode, "/dev/null") };
    let actor = Actor::new(&args);
    let work = async {
        let mut connection = Connection::new(&actor, open(&actor).await?, AFTERWARDS);
        say_goodbye(&mut connection).await
    };
    super::run_blocking(work)
}

async fn ask_for_reply(connection: &mut Connection<'_>) -> io::Result<()> {
    let actor = connection.actor;
    let frame = connection.frame(Ask::Reply, 7, false);
    if !actor.args.mode.is_messages() || actor.args.surface == Surface::EventLoop {
        connection.write(Step::Write, frame).await?;
        return connection.expect().await.map(drop);
    }
    // After an error nobody knows whether the request was written: it is not repeated on this connection.
    let (request, end) = (frame.encode(), &mut connection.end);
    let mut was_tried = false;
    let reply = actor
        .step(Step::Transact, async || match replace(&mut was_tried, true) {
            true => Err(io::ErrorKind::UnexpectedEof.into()),
            false => end.transact(&request).await,
        })
        .await?;
    connection.note_written();
    connection.take(&reply).map(drop)
}
