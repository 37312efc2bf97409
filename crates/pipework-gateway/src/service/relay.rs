//! One connection: what smbd writes goes into the pipe, what the pipe gives goes to smbd, both at once, as fast as the slower one
//! takes it.
//!
//! Nothing is read that can't be passed on yet, so back-pressure reaches from one end to the other. The end does too: what was
//! written before a close arrives before the close.

mod bytes;
mod messages;
mod stream;

use std::{fmt, io, pin::pin, time::Duration};

use pipework::{PipeMode, tokio::NamedPipeClient};
use tokio::{net::UnixStream, time::Instant};
use tracing::info;

use super::{desk::Connection, opening::Pipe, socket::is_taken, table::Target};
use stream::Progress;

/// The longest message that the exchange with smbd has a length for.
const MESSAGE_LEN_MAX: usize = 65_535;
/// How much is moved at once; smbd's own buffers are as large.
const BUFFER_LEN: usize = 64 * 1024;
/// After smbd has taken everything, it still has to hand it to its client; at a close it would throw away what it has not.
const LINGER: Duration = Duration::from_millis(100);
/// How often to look whether smbd has taken everything: at first, and at last.
const LOOK_FIRST: Duration = Duration::from_millis(1);
const LOOK_LAST: Duration = Duration::from_millis(50);

/// How a connection, or one direction of it, has ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The caller has closed.
    Caller,
    /// The server has closed, or is dead.
    Server,
    /// No instance of a busy pipe became free in time, or it is gone.
    NoInstance(io::Error),
    /// The server has sent a message for which the exchange with smbd has no length.
    TooLong,
    /// The caller has written to a pipe that only gives.
    OneWay,
    /// smbd does not keep to the exchange.
    Exchange(&'static str),
    /// The pipe was another one than smbd had been told.
    OtherMode,
    Failed(io::Error),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Caller => f.write_str("the caller has closed"),
            End::Server => f.write_str("the server has closed"),
            // Texts of the library have names in them.
            End::NoInstance(error) => write!(f, "no instance: {:?}", error.to_string()),
            End::TooLong => {
                write!(
                    f,
                    "the server sent a message of more than {MESSAGE_LEN_MAX} bytes, which can't be passed on"
                )
            }
            End::OneWay => f.write_str("the caller wrote to a pipe that goes from the server to its clients"),
            End::Exchange(what) => write!(f, "smbd sent {what}"),
            End::OtherMode => f.write_str("the pipe was made anew with another mode"),
            End::Failed(error) => write!(f, "failed: {:?}", error.to_string()),
        }
    }
}

/// A connection from its beginning to its end, and the line in the log about it.
pub(crate) async fn run(connection: Connection) {
    let begun = Instant::now();
    let Connection { socket, pipe, target, busy_timeout, account, address, _place, _running } = connection;
    let progress = Progress::default();
    let end = match UnixStream::from_std(socket) {
        Err(error) => End::Failed(error),
        Ok(socket) => match have(pipe, busy_timeout, target.messages).await {
            Err(end) => end,
            Ok(pipe) => {
                let ways = Ways { socket: &socket, pipe: &pipe, target: &target, progress: &progress };
                if target.messages {
                    join(&ways, messages::up(&ways), messages::down(&ways)).await
                } else {
                    join(&ways, bytes::up(&ways), bytes::down(&ways)).await
                }
            }
        },
    };
    let seconds = begun.elapsed().as_secs_f64();
    let (received, sent) = (progress.up(), progress.down());
    let pipe = &target.label;
    info!(?account, ?address, ?pipe, received, sent, seconds, "ended: {end}");
}

/// The two ends of a connection, and what has gone through.
#[derive(Clone, Copy, Debug)]
struct Ways<'a> {
    socket: &'a UnixStream,
    pipe: &'a NamedPipeClient,
    target: &'a Target,
    progress: &'a Progress,
}

/// The open pipe, waited for if it is busy. smbd's client may write meanwhile: that stays in the socket.
async fn have(pipe: Pipe, timeout: Duration, messages: bool) -> Result<NamedPipeClient, End> {
    let pipe = match pipe {
        Pipe::Open(pipe) => pipe,
        Pipe::Busy(opening) => opening.wait(timeout).await.map_err(End::NoInstance)?,
    };
    let mode = pipe.info().map_err(End::Failed)?.mode;
    if (mode == PipeMode::Message) == messages { Ok(pipe) } else { Err(End::OtherMode) }
}

/// Runs both directions until the connection is over and nothing is under way.
async fn join(ways: &Ways<'_>, up: impl Future<Output = End>, down: impl Future<Output = End>) -> End {
    let (mut up, mut down) = (pin!(up), pin!(down));
    let first = tokio::select! {
        end = &mut up => (true, end),
        end = &mut down => (false, end),
    };
    match first {
        // The server is gone; what it has written before is still to be had.
        (true, end @ End::Server) => {
            let end = if ways.target.outbound { down.await } else { end };
            see_off(ways.socket).await;
            end
        }
        (false, end @ (End::Server | End::TooLong)) => {
            see_off(ways.socket).await;
            end
        }
        // The caller is gone; what it has written before is still in the socket.
        (false, End::Caller) => up.await,
        (_, end) => end,
    }
}

/// Waits until smbd has taken everything, and a little longer, or has closed.
async fn see_off(socket: &UnixStream) {
    let see_off = async {
        let mut pause = LOOK_FIRST;
        while matches!(is_taken(socket), Ok(false)) {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK_LAST);
        }
        tokio::time::sleep(LINGER).await;
    };
    tokio::select! {
        () = see_off => {}
        () = stream::closed(socket) => {}
    }
}
