//! The competitors: pipework and the other ways to connect two processes. Each creates an endpoint in the timing process
//! and one in the peer process, or serves clients of the peer process.

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
    endpoint::{AsyncServer, Endpoint, Server},
    measure::{self, Figures, Measure, Role},
    peer_process::PeerProcess,
    sample::Sample,
    sample_args::SampleArgs,
};

/// How a competitor connects the two processes.
trait Transport {
    type Endpoint: Endpoint;

    /// Why the competitor can't send payloads of this length, if it can't.
    fn declines(_len: usize) -> io::Result<Option<String>> {
        Ok(None)
    }

    /// Listens, starts the peer process, and waits until that has connected.
    async fn create_endpoint(peer: &mut PeerProcess, len: usize) -> io::Result<Self::Endpoint>;

    /// Connects, in the peer process.
    async fn connect_endpoint(address: &str, len: usize) -> io::Result<Self::Endpoint>;

    /// Runs a future. The default is for blocking endpoints; an async competitor starts its runtime.
    fn block_on<F: Future>(future: F) -> io::Result<F::Output> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => Ok(output),
            Poll::Pending => Err(io::Error::other("a call of a blocking endpoint did not block")),
        }
    }
}

/// An entry in the list of competitors.
#[derive(Debug)]
pub(crate) struct Competitor {
    pub(crate) name: &'static str,
    roles: &'static [Role],
    run_timing_process: fn(&Measure, &mut PeerProcess) -> io::Result<Sample>,
    run_peer_process: fn(&Measure, &SampleArgs) -> io::Result<()>,
}

use Role::{
    Anonymous, Async, AsyncServer as AsyncServerRole, Batches, Buffers, Bulk, Duplex, IdleConnections,
    LargeMessages, Messages, Server as ServerRole,
};

/// The names in every report and record. This is pipework's named pipe.
pub(crate) const OURS: &str = "pipework";
pub(crate) const OURS_LARGE: &str = "pipework 1 MiB buffers";
pub(crate) const OURS_MESSAGES: &str = "pipework messages";
pub(crate) const OURS_ANONYMOUS: &str = "pipework anonymous";
pub(crate) const OURS_ANONYMOUS_LARGE: &str = "pipework anonymous 1 MiB";
pub(crate) const OURS_ASYNC: &str = "pipework::tokio";
pub(crate) const TOKIO_STREAM: &str = "tokio UnixStream";
pub(crate) const STD_PIPE: &str = "std pipes (child stdio)";
pub(crate) const UNIX_STREAM: &str = "std UnixStream";
pub(crate) const SEQPACKET: &str = "Unix seqpacket";
pub(crate) const ICEORYX_SPINS: &str = "iceoryx2 spinning";
pub(crate) const MIOW: &str = "miow";
pub(crate) const TOKIO_PIPE: &str = "tokio (current thread)";

/// Pipework comes first: reports compare the first competitor of a measure with the others.
const ALL: &[Competitor] = &[
    duplex::<pipework::Bytes<0>>(OURS, &[Duplex, Bulk]),
    server::<pipework::Bytes<0>>(OURS, &[ServerRole, IdleConnections]),
    duplex::<pipework::Bytes<{ 1 << 20 }>>(OURS_LARGE, &[Bulk]),
    duplex::<pipework::Bytes<{ 4 << 10 }>>("pipework 4 KiB buffers", &[Buffers]),
    duplex::<pipework::Bytes<{ 16 << 10 }>>("pipework 16 KiB buffers", &[Buffers]),
    duplex::<pipework::Bytes<{ 64 << 10 }>>("pipework 64 KiB buffers", &[Buffers]),
    duplex::<pipework::Bytes<{ 256 << 10 }>>("pipework 256 KiB buffers", &[Buffers]),
    duplex::<pipework::Bytes<{ 1 << 20 }>>(OURS_LARGE, &[Buffers]),
    duplex::<pipework::Bytes<{ 4 << 20 }>>("pipework 4 MiB buffers", &[Buffers]),
    duplex::<pipework::Messages<0>>(OURS_MESSAGES, &[Messages, Batches, LargeMessages]),
    duplex::<pipework::Bytes<0>>(OURS, &[LargeMessages]),
    duplex::<pipework::Messages<{ 1 << 20 }>>("pipework messages 1 MiB buffers", &[Messages, Batches]),
    duplex::<anonymous::Anonymous<0>>(OURS_ANONYMOUS, &[Anonymous]),
    duplex::<anonymous::Anonymous<{ 1 << 20 }>>(OURS_ANONYMOUS_LARGE, &[Anonymous]),
    duplex::<std_pipe::StdPipe>(STD_PIPE, &[Duplex, Bulk, Anonymous]),
    #[cfg(unix)]
    duplex::<unix_socket::UnixSocket>(UNIX_STREAM, &[Duplex, Bulk, LargeMessages]),
    #[cfg(unix)]
    server::<unix_socket::UnixSocket>(UNIX_STREAM, &[ServerRole, IdleConnections]),
    #[cfg(target_os = "linux")]
    duplex::<seqpacket::Seqpacket>(SEQPACKET, &[Duplex, Bulk, Messages, Batches]),
    #[cfg(target_os = "linux")]
    duplex::<seqpacket::SeqpacketBatches>("Unix seqpacket with sendmmsg", &[Batches]),
    #[cfg(target_os = "linux")]
    server::<seqpacket::Seqpacket>(SEQPACKET, &[ServerRole]),
    #[cfg(target_os = "linux")]
    duplex::<interprocess::Interprocess>("interprocess local socket", &[Duplex, Bulk]),
    #[cfg(target_os = "linux")]
    server::<interprocess::Interprocess>("interprocess local socket", &[ServerRole]),
    #[cfg(target_os = "linux")]
    duplex::<ipc_channel::IpcChannel>("ipc-channel bytes", &[Duplex, Bulk, Messages]),
    #[cfg(target_os = "linux")]
    duplex::<iceoryx::Iceoryx<false>>(ICEORYX_SPINS, &[Duplex, Bulk, Messages, LargeMessages]),
    #[cfg(target_os = "linux")]
    duplex::<iceoryx::Iceoryx<true>>("iceoryx2 waiting", &[Duplex, Bulk, Messages]),
    duplex::<tokio::Pipework>(OURS_ASYNC, &[Async]),
    async_server::<tokio::Pipework>(OURS_ASYNC),
    #[cfg(windows)]
    duplex::<miow::Miow>(MIOW, &[Duplex, Bulk]),
    #[cfg(windows)]
    duplex::<tokio::TokioNamedPipe>(TOKIO_PIPE, &[Duplex, Bulk, Async]),
    #[cfg(unix)]
    duplex::<tokio::UnixSocket>(TOKIO_STREAM, &[Async]),
    #[cfg(unix)]
    async_server::<tokio::UnixSocket>(TOKIO_STREAM),
];

const fn duplex<T: Transport>(name: &'static str, roles: &'static [Role]) -> Competitor {
    Competitor {
        name,
        roles,
        run_timing_process: time_endpoint::<T>,
        run_peer_process: run_peer_endpoint::<T>,
    }
}

const fn server<S: Server>(name: &'static str, roles: &'static [Role]) -> Competitor {
    Competitor { name, roles, run_timing_process: time_server::<S>, run_peer_process: run_clients::<S> }
}

const fn async_server<S: AsyncServer + 'static>(name: &'static str) -> Competitor {
    Competitor {
        name,
        roles: &[AsyncServerRole],
        run_timing_process: time_async_server::<S>,
        run_peer_process: run_async_server::<S>,
    }
}

/// The competitors that take part in this measure.
pub(crate) fn competitors(measure: &Measure) -> impl Iterator<Item = &'static Competitor> {
    ALL.iter().filter(|competitor| competitor.roles.contains(&measure.role))
}

fn find(args: &SampleArgs) -> io::Result<(&'static Measure, &'static Competitor)> {
    let measure = measure::named(&args.measure)?;
    let unknown = || {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("this measure has no competitor {:?}", args.competitor),
        )
    };
    let mut competitors = competitors(measure);
    let competitor = competitors.find(|competitor| competitor.name == args.competitor).ok_or_else(unknown)?;
    Ok((measure, competitor))
}

/// Takes a sample. This is the timing process.
pub(crate) fn take_sample(args: &SampleArgs) -> io::Result<Sample> {
    let (measure, competitor) = find(args)?;
    let mut peer = PeerProcess::new(args);
    let sample = (competitor.run_timing_process)(measure, &mut peer)?;
    if let Sample::Figures(_) = sample {
        peer.finish()?;
    }
    Ok(sample)
}

/// Is the other end of a sample. This is the peer process.
pub(crate) fn run_peer_process(args: &SampleArgs) -> io::Result<()> {
    let (measure, competitor) = find(args)?;
    (competitor.run_peer_process)(measure, args)
}

fn time_endpoint<T: Transport>(measure: &Measure, peer: &mut PeerProcess) -> io::Result<Sample> {
    if let Some(reason) = T::declines(measure.len)? {
        return Ok(Sample::Declined(reason));
    }
    let args = peer.args().clone();
    let figures: Figures = T::block_on(async {
        let mut endpoint = T::create_endpoint(peer, measure.len).await?;
        measure.time_endpoint(&mut endpoint, &args).await
    })??;
    Ok(Sample::Figures(figures))
}

fn run_peer_endpoint<T: Transport>(measure: &Measure, args: &SampleArgs) -> io::Result<()> {
    T::block_on(async {
        let mut endpoint = T::connect_endpoint(&args.address, measure.len).await?;
        measure.run_peer_endpoint(&mut endpoint, args).await
    })?
}

fn time_server<S: Server>(measure: &Measure, peer: &mut PeerProcess) -> io::Result<Sample> {
    measure.time_server::<S>(peer).map(Sample::Figures)
}

fn run_clients<S: Server>(measure: &Measure, args: &SampleArgs) -> io::Result<()> {
    measure.run_clients::<S>(args)
}

fn time_async_server<S: AsyncServer + 'static>(
    measure: &Measure,
    peer: &mut PeerProcess,
) -> io::Result<Sample> {
    measure.time_async_server::<S>(peer).map(Sample::Figures)
}

fn run_async_server<S: AsyncServer + 'static>(measure: &Measure, args: &SampleArgs) -> io::Result<()> {
    measure.run_async_server::<S>(args)
}

/// An endpoint by `Read` and `Write`: one object for each direction.
struct Blocking<R, W> {
    reader: R,
    writer: W,
}

impl<R: Read, W: Write> Endpoint for Blocking<R, W> {
    async fn send(&mut self, payload: &[u8]) -> io::Result<()> {
        self.writer.write_all(payload)
    }

    async fn receive(&mut self, payload: &mut Vec<u8>) -> io::Result<()> {
        self.reader.read_exact(payload)
    }
}

/// An endpoint by `Read` and `Write`: one object for both directions.
struct BlockingDuplex<T>(T);

impl<T: Read + Write> Endpoint for BlockingDuplex<T> {
    async fn send(&mut self, payload: &[u8]) -> io::Result<()> {
        self.0.write_all(payload)
    }

    async fn receive(&mut self, payload: &mut Vec<u8>) -> io::Result<()> {
        self.0.read_exact(payload)
    }
}

/// The error for a message of unexpected length.
fn wrong_length(len: usize, expected: usize) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("received a message of {len} bytes instead of {expected}"),
    )
}

/// Returns a new name for each connection, for competitors that do not generate one.
fn unique_name() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};

    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("pipework-bench-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}
