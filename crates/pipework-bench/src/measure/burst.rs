//! Clients of one process that connect to an async server at once, as after a restart of the server: the time until the
//! server has answered all of them.

use std::{
    io::{self, BufRead, BufReader, Write},
    time::Instant,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::{LocalSet, spawn_local},
};

use super::{Figures, ONLY};
use crate::{
    endpoint::{AsyncServer, run_on_tokio},
    peer_process::PeerProcess,
    sample_args::SampleArgs,
    system,
};

const REQUEST: [u8; 1] = *b"?";
const RESPONSE: [u8; 1] = *b"!";

/// The first crowd only warms up.
const CROWDS: u32 = 3;
/// What a client may need while it connects.
const DESCRIPTORS_OF_EACH: u32 = 4;
/// Descriptors that a process needs besides its connections.
const SPARE_DESCRIPTORS: u32 = 100;

/// Is the clients, and starts the server. The figure is the shortest time in milliseconds.
pub(super) fn time<S: AsyncServer + 'static>(count: u32, peer: &mut PeerProcess) -> io::Result<Figures> {
    let count = begin(count, peer.args())?;
    let (_stdin, stdout) = peer.start_piped("")?;
    let mut address = String::new();
    BufReader::new(stdout).read_line(&mut address)?;
    let times = run_on_tokio(LocalSet::new().run_until(async {
        let mut times = Vec::new();
        for _ in 0..CROWDS {
            times.push(time_crowd::<S>(address.trim(), count).await?);
        }
        io::Result::Ok(times)
    }))??;
    let shortest = times.into_iter().skip(1).fold(f64::INFINITY, f64::min);
    Ok(vec![(ONLY.to_owned(), shortest)])
}

async fn time_crowd<S: AsyncServer + 'static>(address: &str, count: u32) -> io::Result<f64> {
    let begin = Instant::now();
    let clients: Vec<_> = (0..count).map(|_| spawn_local(connect_and_ask::<S>(address.to_owned()))).collect();
    let mut connected = Vec::new();
    for client in clients {
        connected.push(client.await.map_err(io::Error::other)??);
    }
    Ok(begin.elapsed().as_secs_f64() * 1e3)
}

async fn connect_and_ask<S: AsyncServer + 'static>(address: String) -> io::Result<S::Connected> {
    let mut stream = S::connect(&address).await?;
    stream.write_all(&REQUEST).await?;
    let mut response = [0];
    stream.read_exact(&mut response).await?;
    if response == RESPONSE { Ok(stream) } else { Err(io::Error::other("not the response of the server")) }
}

/// Is the server.
pub(super) fn run_server<S: AsyncServer + 'static>(count: u32, args: &SampleArgs) -> io::Result<()> {
    let count = begin(count, args)?;
    run_on_tokio(async {
        let (listener, address) = S::listen().await?;
        writeln!(io::stdout(), "{address}")?;
        let mut tasks = Vec::new();
        for _ in 0..count * CROWDS {
            tasks.push(tokio::spawn(answer(S::accept(&listener).await?)));
        }
        for task in tasks {
            task.await.map_err(io::Error::other)??;
        }
        Ok(())
    })?
}

/// Answers, and waits until the client has closed.
async fn answer(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin) -> io::Result<()> {
    let mut request = [0];
    stream.read_exact(&mut request).await?;
    stream.write_all(&RESPONSE).await?;
    stream.read(&mut request).await.map(drop)
}

/// How many clients there are, once there can be as many.
fn begin(count: u32, args: &SampleArgs) -> io::Result<u32> {
    let count = count.min(args.connections_max);
    system::raise_descriptor_limit((count * DESCRIPTORS_OF_EACH + SPARE_DESCRIPTORS).into())?;
    Ok(count)
}
