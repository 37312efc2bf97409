//! One thread that writes to many instances in turn; each has a reader of its own.

use std::{
    io::{self, Read, Write},
    thread,
};

use super::{
    Figures, ONLY,
    pace::{Pace, Stamp},
};
use crate::{far::Far, job::Job, peer::Server};

const INSTANCES: u32 = 16;
const RECEIPT: [u8; 1] = *b"!";

/// The server; 10^9 bytes in a second, all instances together.
pub(super) fn near<S: Server>(far: &mut Far, len: usize) -> io::Result<Figures> {
    let budget = far.job().budget();
    let (listener, address) = S::listen()?;
    far.start(&address)?;
    let mut streams = (0..INSTANCES).map(|_| S::accept(&listener)).collect::<io::Result<Vec<_>>>()?;
    let mut piece = vec![1; len];
    let mut rate = 0.0;
    for budget in [budget / 5, budget] {
        let mut pace = Pace::new(budget);
        loop {
            let stamp = pace.next();
            stamp.put(&mut piece);
            for stream in &mut streams {
                stream.write_all(&piece)?;
            }
            if stamp.is_last {
                break;
            }
        }
        for stream in &mut streams {
            let mut receipt = [0];
            stream.read_exact(&mut receipt)?;
            if receipt != RECEIPT {
                return Err(io::Error::other("the receipt is not one"));
            }
        }
        let (count, time) = pace.end();
        rate = len as f64 * f64::from(count) * f64::from(INSTANCES) / time.as_secs_f64() / 1e9;
    }
    Ok(vec![(ONLY.to_owned(), rate)])
}

/// The readers.
pub(super) fn far<S: Server>(job: &Job, len: usize) -> io::Result<()> {
    thread::scope(|scope| {
        let readers: Vec<_> = (0..INSTANCES).map(|_| scope.spawn(|| read::<S>(&job.address, len))).collect();
        readers
            .into_iter()
            .try_for_each(|reader| reader.join().map_err(|_| io::Error::other("a reader panicked"))?)
    })
}

fn read<S: Server>(address: &str, len: usize) -> io::Result<()> {
    let mut stream = S::connect(address)?;
    let mut piece = vec![0; len];
    for _pass in 0..2 {
        for number in 0.. {
            stream.read_exact(&mut piece)?;
            if Stamp::check(&piece, number)?.is_last {
                break;
            }
        }
        stream.write_all(&RECEIPT)?;
    }
    Ok(())
}
