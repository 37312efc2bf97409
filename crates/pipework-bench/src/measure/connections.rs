//! Clients that come one after the other, each with a byte, and leave. With an answer, each stays until it has one.

use std::{
    io::{self, Read, Write},
    time::{Duration, Instant},
};

use super::{Figures, ONLY};
use crate::{far::Far, job::Job, peer::Server};

const ONE_OF_MANY: [u8; 1] = *b"+";
const LAST: [u8; 1] = *b".";
const ANSWER: [u8; 1] = *b"!";

/// The server; clients in a second.
pub(super) fn near<S: Server>(far: &mut Far, answers: bool) -> io::Result<Figures> {
    let (listener, address) = S::listen()?;
    far.start(&address)?;
    serve::<S>(&listener, answers)?;
    let (count, time) = serve::<S>(&listener, answers)?;
    Ok(vec![(ONLY.to_owned(), f64::from(count) / time.as_secs_f64())])
}

/// Until the last client has been served.
fn serve<S: Server>(listener: &S::Listener, answers: bool) -> io::Result<(u32, Duration)> {
    let begin = Instant::now();
    for count in 1.. {
        let mut stream = S::accept(listener)?;
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        if answers {
            stream.write_all(&ANSWER)?;
        }
        drop(stream);
        match byte {
            ONE_OF_MANY => {}
            LAST => return Ok((count, begin.elapsed())),
            _ => return Err(io::Error::other("a client brought a byte that nobody sent")),
        }
    }
    Err(io::Error::other("too many clients"))
}

/// The clients.
pub(super) fn far<S: Server>(job: &Job, answers: bool) -> io::Result<()> {
    for budget in [job.budget() / 5, job.budget()] {
        let begin = Instant::now();
        while begin.elapsed() < budget {
            visit::<S>(&job.address, ONE_OF_MANY, answers)?;
        }
        visit::<S>(&job.address, LAST, answers)?;
    }
    Ok(())
}

fn visit<S: Server>(address: &str, byte: [u8; 1], waits: bool) -> io::Result<()> {
    let mut stream = S::connect(address)?;
    stream.write_all(&byte)?;
    let mut answer = ANSWER;
    if waits {
        answer = [0];
        stream.read_exact(&mut answer)?;
    }
    if answer == ANSWER { Ok(()) } else { Err(io::Error::other("the server's answer is not one")) }
}
