//! Who is measured. A peer makes two connected ends, one here and one in the other process; one that is a server takes
//! connections from there.

mod anonymous;
#[cfg(target_os = "linux")]
mod iceoryx;
#[cfg(target_os = "linux")]
mod interprocess;
#[cfg(target_os = "linux")]
mod ipc_channel;
#[cfg(windows)]
mod miow;
mod pipework;
#[cfg(target_os = "linux")]
mod seqpacket;
mod std_pipe;
mod tokio;
#[cfg(unix)]
mod unix_socket;

use std::{
    io::{self, Read, Write},
    pin::pin,
    task::{Context, Poll, Waker},
};

use crate::{
    far::Far,
    job::Job,
    measure::{self, Figures, Measure, Role},
    near::Sample,
};

/// One end of a duplex connection. The calls of a blocking peer wait inside, and are ready at once.
pub(crate) trait End {
    /// Sends all of it; as one message, where there are messages.
    async fn send(&mut self, piece: &[u8]) -> io::Result<()>;
    /// Receives exactly as much as the buffer has; an end that makes a buffer for each message may replace it.
    async fn receive(&mut self, piece: &mut Vec<u8>) -> io::Result<()>;
}

/// How a peer makes its ends. It is the first process that makes the connection, and the other one that joins it.
trait Peer {
    type End: End;

    /// Why it can't take pieces of this length, if it can't.
    fn declines(_len: usize) -> io::Result<Option<String>> {
        Ok(None)
    }

    /// Makes what can be connected to, starts the other process, and waits for it to connect.
    async fn near(far: &mut Far, len: usize) -> io::Result<Self::End>;

    /// Connects from the other process.
    async fn far(address: &str, len: usize) -> io::Result<Self::End>;

    /// Runs what an end does; peers that do not block bring their runtime.
    fn drive<F: Future>(future: F) -> io::Result<F::Output> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => Ok(output),
            Poll::Pending => Err(io::Error::other("the call of a blocking end came back unfinished")),
        }
    }
}

/// A peer that takes connections, as its documentation shows it: one call to listen, one to accept, one to connect.
pub(crate) trait Server {
    type Listener: Sync;
    type Stream: Read + Write;

    /// Listens at an address of its own, which it tells.
    fn listen() -> io::Result<(Self::Listener, String)>;
    fn accept(listener: &Self::Listener) -> io::Result<Self::Stream>;
    fn connect(address: &str) -> io::Result<Self::Stream>;
}

/// A peer as the rounds see it.
#[derive(Debug)]
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    roles: &'static [Role],
    near: fn(&Measure, &mut Far) -> io::Result<Sample>,
    far: fn(&Measure, &Job) -> io::Result<()>,
}

use Role::{Anonymous, Buffers, Bulk, Crowd, Duplex, Messages, Server as Serving, Tasks};

/// What our named pipe is called in every report.
pub(crate) const OURS: &str = "pipework";
pub(crate) const OURS_LARGE: &str = "pipework 1 MiB buffers";
pub(crate) const OURS_MESSAGES: &str = "pipework messages";
pub(crate) const OURS_ANONYMOUS: &str = "pipework anonymous";
pub(crate) const OURS_ANONYMOUS_LARGE: &str = "pipework anonymous 1 MiB";
pub(crate) const OURS_TASKS: &str = "pipework::tokio";
pub(crate) const TOKIO_STREAM: &str = "tokio UnixStream";
pub(crate) const STD_PIPE: &str = "std pipes (child stdio)";
pub(crate) const UNIX_STREAM: &str = "std UnixStream";
pub(crate) const SEQPACKET: &str = "Unix seqpacket";
pub(crate) const ICEORYX_SPINS: &str = "iceoryx2 spinning";
pub(crate) const MIOW: &str = "miow";
pub(crate) const TOKIO_PIPE: &str = "tokio (current thread)";

/// Ours come first: with the first one of a measure the others are compared.
const ALL: &[Contender] = &[
    duplex::<pipework::Bytes<0>>(OURS, &[Duplex, Bulk]),
    serving::<pipework::Bytes<0>>(OURS, &[Serving, Crowd]),
    duplex::<pipework::Bytes<{ 1 << 20 }>>(OURS_LARGE, &[Bulk]),
    duplex::<pipework::Bytes<{ 4 << 10 }>>("pipework 4 KiB buffers", &[Buffers]),
    duplex::<pipework::Bytes<{ 16 << 10 }>>("pipework 16 KiB buffers", &[Buffers]),
    duplex::<pipework::Bytes<{ 64 << 10 }>>("pipework 64 KiB buffers", &[Buffers]),
    duplex::<pipework::Bytes<{ 256 << 10 }>>("pipework 256 KiB buffers", &[Buffers]),
    duplex::<pipework::Bytes<{ 1 << 20 }>>(OURS_LARGE, &[Buffers]),
    duplex::<pipework::Bytes<{ 4 << 20 }>>("pipework 4 MiB buffers", &[Buffers]),
    duplex::<pipework::Messages<0>>(OURS_MESSAGES, &[Messages]),
    duplex::<pipework::Messages<{ 1 << 20 }>>("pipework messages 1 MiB buffers", &[Messages]),
    duplex::<anonymous::Anonymous<0>>(OURS_ANONYMOUS, &[Anonymous]),
    duplex::<anonymous::Anonymous<{ 1 << 20 }>>(OURS_ANONYMOUS_LARGE, &[Anonymous]),
    duplex::<std_pipe::StdPipe>(STD_PIPE, &[Duplex, Bulk, Anonymous]),
    #[cfg(unix)]
    duplex::<unix_socket::UnixSocket>(UNIX_STREAM, &[Duplex, Bulk]),
    #[cfg(unix)]
    serving::<unix_socket::UnixSocket>(UNIX_STREAM, &[Serving, Crowd]),
    #[cfg(target_os = "linux")]
    duplex::<seqpacket::Seqpacket>(SEQPACKET, &[Duplex, Bulk, Messages]),
    #[cfg(target_os = "linux")]
    serving::<seqpacket::Seqpacket>(SEQPACKET, &[Serving]),
    #[cfg(target_os = "linux")]
    duplex::<interprocess::Interprocess>("interprocess local socket", &[Duplex, Bulk]),
    #[cfg(target_os = "linux")]
    serving::<interprocess::Interprocess>("interprocess local socket", &[Serving]),
    #[cfg(target_os = "linux")]
    duplex::<ipc_channel::IpcChannel>("ipc-channel bytes", &[Duplex, Bulk, Messages]),
    #[cfg(target_os = "linux")]
    duplex::<iceoryx::Iceoryx<false>>(ICEORYX_SPINS, &[Duplex, Bulk, Messages]),
    #[cfg(target_os = "linux")]
    duplex::<iceoryx::Iceoryx<true>>("iceoryx2 waiting", &[Duplex, Bulk, Messages]),
    duplex::<tokio::Ours>(OURS_TASKS, &[Tasks]),
    #[cfg(windows)]
    duplex::<miow::Miow>(MIOW, &[Duplex, Bulk]),
    #[cfg(windows)]
    duplex::<tokio::Theirs>(TOKIO_PIPE, &[Duplex, Bulk, Tasks]),
    #[cfg(unix)]
    duplex::<tokio::UnixSocket>(TOKIO_STREAM, &[Tasks]),
];

const fn duplex<P: Peer>(name: &'static str, roles: &'static [Role]) -> Contender {
    Contender { name, roles, near: near::<P>, far: far::<P> }
}

const fn serving<S: Server>(name: &'static str, roles: &'static [Role]) -> Contender {
    Contender { name, roles, near: near_server::<S>, far: far_server::<S> }
}

/// Those who take part in this measure.
pub(crate) fn contenders(measure: &Measure) -> impl Iterator<Item = &'static Contender> {
    ALL.iter().filter(|contender| contender.roles.contains(&measure.role))
}

fn find(job: &Job) -> io::Result<(&'static Measure, &'static Contender)> {
    let measure = measure::named(&job.measure)?;
    let unknown = || {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("no peer of this measure is called {:?}", job.peer),
        )
    };
    let contender = contenders(measure).find(|contender| contender.name == job.peer).ok_or_else(unknown)?;
    Ok((measure, contender))
}

/// Takes a sample, as the process that times.
pub(crate) fn sample(job: &Job) -> io::Result<Sample> {
    let (measure, contender) = find(job)?;
    let mut far = Far::new(job);
    let sample = (contender.near)(measure, &mut far)?;
    if let Sample::Figures(_) = sample {
        far.finish()?;
    }
    Ok(sample)
}

/// The other process of a sample.
pub(crate) fn run_far(job: &Job) -> io::Result<()> {
    let (measure, contender) = find(job)?;
    (contender.far)(measure, job)
}

fn near<P: Peer>(measure: &Measure, far: &mut Far) -> io::Result<Sample> {
    if let Some(why) = P::declines(measure.len)? {
        return Ok(Sample::Declined(why));
    }
    let job = far.job().clone();
    let figures: Figures = P::drive(async {
        let mut end = P::near(far, measure.len).await?;
        measure.near(&mut end, &job).await
    })??;
    Ok(Sample::Figures(figures))
}

fn far<P: Peer>(measure: &Measure, job: &Job) -> io::Result<()> {
    P::drive(async {
        let mut end = P::far(&job.address, measure.len).await?;
        measure.far(&mut end, job).await
    })?
}

fn near_server<S: Server>(measure: &Measure, far: &mut Far) -> io::Result<Sample> {
    measure.near_server::<S>(far).map(Sample::Figures)
}

fn far_server<S: Server>(measure: &Measure, job: &Job) -> io::Result<()> {
    measure.far_server::<S>(job)
}

/// An end of the standard library's traits: one object each way.
struct Blocking<R, W> {
    reader: R,
    writer: W,
}

impl<R: Read, W: Write> End for Blocking<R, W> {
    async fn send(&mut self, piece: &[u8]) -> io::Result<()> {
        self.writer.write_all(piece)
    }

    async fn receive(&mut self, piece: &mut Vec<u8>) -> io::Result<()> {
        self.reader.read_exact(piece)
    }
}

/// One object for both ways.
struct BlockingDuplex<T>(T);

impl<T: Read + Write> End for BlockingDuplex<T> {
    async fn send(&mut self, piece: &[u8]) -> io::Result<()> {
        self.0.write_all(piece)
    }

    async fn receive(&mut self, piece: &mut Vec<u8>) -> io::Result<()> {
        self.0.read_exact(piece)
    }
}

/// A message of another length than was agreed.
fn wrong_length(len: usize, expected: usize) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a message of {len} bytes came, not of {expected}"))
}

/// A name of its own for each connection of this process, for peers that do not make one.
fn unique_name() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};

    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("pipework-bench-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}
