//! Who is measured. A peer makes two connected ends, one here and one in the other process.

#[cfg(windows)]
mod miow;
mod pipework;
mod std_pipe;
#[cfg(windows)]
mod tokio;
#[cfg(unix)]
mod unix_socket;

use std::{
    io::{self, Read, Write},
    pin::pin,
    task::{Context, Poll, Waker},
};

use crate::{
    args::FarJob,
    far::Far,
    measure::{self, Measure},
};

/// One end of a duplex connection. The calls of a blocking peer wait inside, and are ready at once.
pub(crate) trait End {
    /// Sends all of it.
    async fn send(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Fills the buffer.
    async fn receive(&mut self, buf: &mut [u8]) -> io::Result<()>;
}

/// How a peer makes its ends. It is the first process that makes the connection, and the other one that joins it.
trait Peer {
    const NAME: &'static str;
    type End: End;

    /// Makes what can be connected to, starts the other process, and waits for it to connect.
    async fn near(far: &mut Far) -> io::Result<Self::End>;

    /// Connects from the other process.
    async fn far(address: &str) -> io::Result<Self::End>;

    /// Runs what an end does; peers that do not block bring their runtime.
    fn drive<F: Future>(future: F) -> io::Result<F::Output> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => Ok(output),
            Poll::Pending => Err(io::Error::other("the call of a blocking end came back unfinished")),
        }
    }
}

/// A peer as the rounds see it.
#[derive(Debug)]
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    near: fn(&Measure, u32, &mut Far) -> io::Result<f64>,
    far: fn(&Measure, &FarJob) -> io::Result<()>,
}

/// The first one is ours, with which the others are compared.
pub(crate) const ALL: &[Contender] = &[
    contender::<pipework::Pipework>(),
    contender::<std_pipe::StdPipe>(),
    #[cfg(unix)]
    contender::<unix_socket::UnixSocket>(),
    #[cfg(windows)]
    contender::<miow::Miow>(),
    #[cfg(windows)]
    contender::<tokio::Tokio>(),
];

const fn contender<P: Peer>() -> Contender {
    Contender { name: P::NAME, near: near::<P>, far: far::<P> }
}

impl Contender {
    /// Takes one sample.
    pub(crate) fn sample(&self, measure: &Measure, count: u32) -> io::Result<f64> {
        let job = FarJob {
            peer: self.name.to_owned(),
            measure: measure.name.to_owned(),
            count,
            address: String::new(),
        };
        let mut far = Far::new(job);
        let sample = (self.near)(measure, count, &mut far).map_err(|error| {
            io::Error::new(error.kind(), format!("{}, {}: {error}", self.name, measure.name))
        })?;
        far.finish()?;
        Ok(sample)
    }
}

/// The other process of a sample.
pub(crate) fn run_far(job: &FarJob) -> io::Result<()> {
    let unknown = || io::Error::new(io::ErrorKind::InvalidInput, format!("no peer is called {:?}", job.peer));
    let contender = ALL.iter().find(|contender| contender.name == job.peer).ok_or_else(unknown)?;
    (contender.far)(measure::named(&job.measure)?, job)
}

fn near<P: Peer>(measure: &Measure, count: u32, far: &mut Far) -> io::Result<f64> {
    P::drive(async {
        let mut end = P::near(far).await?;
        measure.near(&mut end, count).await
    })?
}

fn far<P: Peer>(measure: &Measure, job: &FarJob) -> io::Result<()> {
    P::drive(async {
        let mut end = P::far(&job.address).await?;
        measure.far(&mut end, job.count).await
    })?
}

/// An end of the standard library's traits: one object each way, which may be the same.
struct Blocking<R, W> {
    reader: R,
    writer: W,
}

impl<R: Read, W: Write> End for Blocking<R, W> {
    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes)
    }

    async fn receive(&mut self, buf: &mut [u8]) -> io::Result<()> {
        self.reader.read_exact(buf)
    }
}

/// One object for both ways.
struct BlockingDuplex<T>(T);

impl<T: Read + Write> End for BlockingDuplex<T> {
    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    async fn receive(&mut self, buf: &mut [u8]) -> io::Result<()> {
        self.0.read_exact(buf)
    }
}

/// A name of its own for each connection of this process, for peers that do not make one.
fn unique_name() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};

    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("pipework-bench-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}
