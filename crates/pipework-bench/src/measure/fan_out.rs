//! One thread writes to many instances in turn. Each instance has its own reader.

use std::{
    io::{self, Read, Write},
    thread,
};

use super::{
    Figures, ONLY,
    pace::{Pace, Stamp},
};
use crate::{endpoint::Server, peer_process::PeerProcess, sample_args::SampleArgs};

const INSTANCES: u32 = 16;
const RECEIPT: [u8; 1] = *b"!";

/// Is the server. The figure is 10^9 bytes per second, all instances together.
pub(super) fn time_server<S: Server>(peer: &mut PeerProcess, len: usize) -> io::Result<Figures> {
    let budget = peer.args().budget();
    let (listener, address) = S::listen()?;
    peer.start(&address)?;
    let mut streams = (0..INSTANCES).map(|_| S::accept(&listener)).collect::<io::Result<Vec<_>>>()?;
    let mut payload = vec![1; len];
    let mut rate = 0.0;
    for budget in [budget / 5, budget] {
        let mut pace = Pace::new(budget);
        loop {
            let stamp = pace.next();
            stamp.put(&mut payload);
            for stream in &mut streams {
                stream.write_all(&payload)?;
            }
            if stamp.is_last {
                break;
            }
        }
        for stream in &mut streams {
            let mut receipt = [0];
            stream.read_exact(&mut receipt)?;
            if receipt != RECEIPT {
                return Err(io::Error::other("received a receipt that no reader sends"));
            }
        }
        let (count, time) = pace.end();
        rate = len as f64 * f64::from(count) * f64::from(INSTANCES) / time.as_secs_f64() / 1e9;
    }
    Ok(vec![(ONLY.to_owned(), rate)])
}

/// Is the readers.
pub(super) fn run_clients<S: Server>(args: &SampleArgs, len: usize) -> io::Result<()> {
    thread::scope(|scope| {
        let readers: Vec<_> = (0..INSTANCES).map(|_| scope.spawn(|| read::<S>(&args.address, len))).collect();
        readers
            .into_iter()
            .try_for_each(|reader| reader.join().map_err(|_| io::Error::other("a reader panicked"))?)
    })
}

fn read<S: Server>(address: &str, len: usize) -> io::Result<()> {
    let mut stream = S::connect(address)?;
    let mut payload = vec![0; len];
    for _pass in 0..2 {
        for number in 0.. {
            stream.read_exact(&mut payload)?;
            if Stamp::check(&payload, number)?.is_last {
                break;
            }
        }
        stream.write_all(&RECEIPT)?;
    }
    Ok(())
}
