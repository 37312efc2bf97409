//! The server: it does what the frames ask, connection after connection, until one says that it was the last.

use super::{
    Actor, Connection,
    bounds::{WAIT, WAIT_REMOTE},
    end::{End, until_ready},
    frame::Ask,
};
use crate::plan::{Mode, NAME, Step, Surface};
use pipework::{
    Access, Listener, NamedPipe, NamedPipeBuilder, PipeErrorKind, list,
    os::unix::ListenerExt,
    tokio::{self as asynchronous, NamedPipeServer, ServerOptions},
};
use std::io;

/// Small, so that waits for room happen.
const QUOTA: u32 = 4096;

/// What listens.
enum Server {
    Pipe(NamedPipe),
    Listener(Box<Listener>),
    AsyncPipe(Box<NamedPipeServer>),
    AsyncListener(Box<asynchronous::Listener>),
}

pub(super) async fn run(actor: &Actor) -> io::Result<()> {
    let mut server = actor.step(Step::Create, async || create(actor, true)).await?;
    crate::process::say("ready");
    let mut count = 0;
    loop {
        // An instance that listened before does so anew: `connect` after `disconnect`.
        let is_reused = count > 0 && matches!(server, Server::Pipe(_) | Server::AsyncPipe(_));
        let step = if is_reused { Step::Relisten } else { Step::Accept };
        count += 1;
        let (number, outcome);
        (server, number, outcome) = serve_next(actor, step, server).await?;
        match outcome {
            Ok(Ask::Quit) => break,
            Ok(_) => {}
            Err(error) => {
                actor.ended(number, &error);
                // A shortage of this process does not pass.
                if actor.args.limit.is_some() || error.to_string().contains("WRONG DATA") {
                    return Err(error);
                }
            }
        }
    }
    if matches!(server, Server::Pipe(_) | Server::AsyncPipe(_)) {
        actor.step(Step::Publish, async || create(actor, false).map(drop)).await?;
    }
    let mut server = Some(server);
    actor
        .step(Step::Close, async || {
            drop(server.take());
            Ok(())
        })
        .await?;
    actor.step(Step::List, async || list()).await.map(drop)
}

fn create(actor: &Actor, first: bool) -> io::Result<Server> {
    let mode = actor.args.mode.of_pipe();
    if actor.args.surface.is_async() {
        let mut options = ServerOptions::new();
        options.pipe_mode(mode).in_buffer_size(QUOTA).out_buffer_size(QUOTA).first_pipe_instance(first);
        return match actor.args.surface {
            Surface::Async => options.create(NAME).map(Box::new).map(Server::AsyncPipe),
            _ => options.listen(NAME).map(Box::new).map(Server::AsyncListener),
        };
    }
    let mut builder = NamedPipeBuilder::new(NAME);
    builder.pipe_mode(mode).in_buffer_size(QUOTA).out_buffer_size(QUOTA).first(first);
    if actor.args.remote {
        builder.access(Access::everyone()).accept_remote(true);
    }
    match actor.args.surface {
        Surface::Blocking => builder.create().map(Server::Pipe),
        _ => builder.listen().map(Box::new).map(Server::Listener),
    }
}

/// Accepts a client and serves it to its end: the server as it is then, the connection's number, and how it ended.
async fn serve_next(actor: &Actor, step: Step, server: Server) -> io::Result<(Server, u8, io::Result<Ask>)> {
    let is_reused = matches!(server, Server::Pipe(_) | Server::AsyncPipe(_));
    let (server, end) = accept(actor, step, server).await?;
    let mut connection = Connection::new(actor, end, 0);
    let outcome = serve(&mut connection).await;
    if let Err(error) = &outcome {
        connection.read_rest(error).await;
    }
    let number = connection.connection;
    if !is_reused {
        connection.close().await?;
        return Ok((server.unwrap(), number, outcome));
    }
    let server = match (server, connection.end) {
        (None, End::AsyncServer(pipe)) => {
            disconnect(actor, async || pipe.disconnect()).await?;
            Server::AsyncPipe(Box::new(pipe))
        }
        (Some(Server::Pipe(pipe)), end) => {
            drop(end);
            disconnect(actor, async || pipe.disconnect()).await?;
            Server::Pipe(pipe)
        }
        _ => unreachable!("only these are reused"),
    };
    Ok((server, number, outcome))
}

/// Waits for a client; a server whose pipe is the end itself is not returned.
async fn accept(actor: &Actor, step: Step, server: Server) -> io::Result<(Option<Server>, End)> {
    let had_left = |outcome: io::Result<()>| match outcome {
        Err(error) if error == PipeErrorKind::NoData => Ok(()),
        outcome => outcome,
    };
    match server {
        Server::Pipe(pipe) => {
            actor.step(step, async || had_left(pipe.connect_timeout(WAIT))).await?;
            let end =
                actor.step(Step::Accept, async || End::blocking(pipe.stream().try_clone()?, WAIT)).await?;
            Ok((Some(Server::Pipe(pipe)), end))
        }
        Server::AsyncPipe(pipe) => {
            actor.step(step, async || had_left(pipe.connect().await)).await?;
            Ok((None, End::AsyncServer(*pipe)))
        }
        Server::AsyncListener(listener) => {
            let end = actor.step(step, async || listener.accept().await.map(End::AsyncServer)).await?;
            Ok((Some(Server::AsyncListener(listener)), end))
        }
        Server::Listener(listener) => {
            let is_loop = actor.args.surface == Surface::EventLoop;
            let wait = if actor.args.remote { WAIT_REMOTE } else { WAIT };
            let end = actor
                .step(step, async || match is_loop {
                    true => until_ready(|| listener.try_accept(), || listener.ready_fd()).map(End::EventLoop),
                    false => End::blocking(listener.accept_timeout(wait)?, wait),
                })
                .await?;
            Ok((Some(Server::Listener(listener)), end))
        }
    }
}

/// Disconnects. A retry that finds it done is right.
async fn disconnect(actor: &Actor, mut call: impl AsyncFnMut() -> io::Result<()>) -> io::Result<()> {
    match actor.step(Step::Disconnect, async || call().await).await {
        Err(error) if error == PipeErrorKind::NotConnected => Ok(()),
        outcome => outcome,
    }
}

/// Does what the frames ask; the last one asked to end.
async fn serve(connection: &mut Connection<'_>) -> io::Result<Ask> {
    loop {
        let frame = connection.expect().await?;
        match frame.ask {
            Ask::Nothing => {}
            Ask::Frames => {
                for number in 0..3 {
                    connection.write(Step::Write, connection.frame(Ask::Nothing, 10, number == 2)).await?;
                }
                connection
                    .write(Step::Large, connection.frame(Ask::Nothing, connection.actor.large(), false))
                    .await?;
            }
            Ask::Reply => connection.write(Step::Write, connection.frame(Ask::Nothing, 5, false)).await?,
            Ask::Disconnect => {
                flush(connection).await?;
                return Ok(Ask::Disconnect);
            }
            Ask::Quit => {
                connection.actor.journal.note(&format!("quit {}", connection.connection));
                // The word counts, also where its answer is not read any more.
                if let Err(error) = answer_quit(connection).await {
                    connection.actor.ended(connection.connection, &error);
                }
                return Ok(Ask::Quit);
            }
        }
    }
}

async fn answer_quit(connection: &mut Connection<'_>) -> io::Result<()> {
    connection.write(Step::Write, connection.frame(Ask::Nothing, 0, false)).await?;
    flush(connection).await
}

/// Waits until everything was read; an event loop can't.
async fn flush(connection: &mut Connection<'_>) -> io::Result<()> {
    if connection.actor.args.surface == Surface::EventLoop { Ok(()) } else { connection.flush().await }
}

/// What the next process does with the name of a server that was killed: the first instance, one client, both ways.
pub(crate) fn take_name(mode: Mode) -> io::Result<()> {
    use pipework::ClientOptions;
    use std::{
        io::{Read, Write},
        time::Duration,
    };

    let limit = Some(Duration::from_secs(2));
    let pipe = NamedPipeBuilder::new(NAME).pipe_mode(mode.of_pipe()).create()?;
    let mut client = ClientOptions::new().open(NAME)?;
    pipe.connect_timeout(Duration::from_secs(2))?;
    pipe.stream().set_read_timeout(limit)?;
    client.set_read_timeout(limit)?;
    let mut buf = [0; 4];
    client.write_all(b"ping")?;
    (&pipe).read_exact(&mut buf)?;
    (&pipe).write_all(b"pong")?;
    client.read_exact(&mut buf)?;
    if &buf == b"pong" { Ok(()) } else { Err(super::wrong("an answer that nobody wrote")) }
}
