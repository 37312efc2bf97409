//! Clients that connect one after the other, send a byte and close. With a response, each closes once it has received that.

use std::{
    io::{self, Read, Write},
    time::{Duration, Instant},
};

use super::{Figures, ONLY};
use crate::{endpoint::Server, peer_process::PeerProcess, sample_args::SampleArgs};

const NOT_LAST: [u8; 1] = *b"+";
const LAST: [u8; 1] = *b".";
const RESPONSE: [u8; 1] = *b"!";

/// Is the server. The figure is clients per second.
pub(super) fn time_server<S: Server>(peer: &mut PeerProcess, responds: bool) -> io::Result<Figures> {
    let (listener, address) = S::listen()?;
    peer.start(&address)?;
    serve::<S>(&listener, responds)?;
    let (count, time) = serve::<S>(&listener, responds)?;
    Ok(vec![(ONLY.to_owned(), f64::from(count) / time.as_secs_f64())])
}

/// Serves clients up to the last one. Returns how many there were, and the time they took.
fn serve<S: Server>(listener: &S::Listener, responds: bool) -> io::Result<(u32, Duration)> {
    let begin = Instant::now();
    for count in 1.. {
        let mut stream = S::accept(listener)?;
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        if responds {
            stream.write_all(&RESPONSE)?;
        }
        drop(stream);
        match byte {
            NOT_LAST => {}
            LAST => return Ok((count, begin.elapsed())),
            _ => return Err(io::Error::other("received a byte that no client sends")),
        }
    }
    Err(io::Error::other("too many clients"))
}

/// Is the clients, one after the other.
pub(super) fn run_clients<S: Server>(args: &SampleArgs, responds: bool) -> io::Result<()> {
    for budget in [args.budget() / 5, args.budget()] {
        let begin = Instant::now();
        while begin.elapsed() < budget {
            connect_once::<S>(&args.address, NOT_LAST, responds)?;
        }
        connect_once::<S>(&args.address, LAST, responds)?;
    }
    Ok(())
}

fn connect_once<S: Server>(address: &str, byte: [u8; 1], responds: bool) -> io::Result<()> {
    let mut stream = S::connect(address)?;
    stream.write_all(&byte)?;
    let mut response = RESPONSE;
    if responds {
        response = [0];
        stream.read_exact(&mut response)?;
    }
    if response == RESPONSE {
        Ok(())
    } else {
        Err(io::Error::other("received a byte that the server never sends"))
    }
}
