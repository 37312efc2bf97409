//! The measures. Each has a side that times, and the other side, in the peer process.

mod batches;
mod burst;
mod connections;
mod fan_out;
mod idle_connections;
mod large_messages;
mod many_clients;
mod memory_after_traffic;
mod one_way;
mod pace;
mod round_trip;
mod wake_up;

use std::io;

use crate::{
    endpoint::{AsyncServer, Endpoint, Server},
    peer_process::PeerProcess,
    placement::Placement::{self, Busy, Defaults, OneCore, Pinned},
    sample_args::SampleArgs,
};

pub(crate) use idle_connections::{
    CLIENT_DESCRIPTORS, IDLE_CPU_TIME, MEMORY, ROUND_TRIP_AMONG_IDLE, ROUND_TRIP_RATIO, SERVER_DESCRIPTORS,
};
pub(crate) use many_clients::REQUESTS;
pub(crate) use memory_after_traffic::{AFTER_BURST, AFTER_ROUND_TRIPS};
pub(crate) use round_trip::PERCENTILES;

/// The figures of a sample, by metric.
pub(crate) type Figures = Vec<(String, f64)>;

/// One measure.
#[derive(Debug)]
pub(crate) struct Measure {
    /// The name in reports, in records and between the processes.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// The competitors with this role take part.
    pub(crate) role: Role,
    /// Bytes of one operation.
    pub(crate) len: usize,
    /// The placements in which it is measured by default.
    pub(crate) placements: &'static [Placement],
}

/// The method of a measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    RoundTrip,
    Latencies,
    Throughput,
    Messages,
    /// How many messages in a batch.
    Batches(usize),
    LargeMessages,
    WakeUp,
    Connections,
    AnsweredConnections,
    FanOut,
    /// How many async clients of one process.
    ManyClients(u32),
    /// How many processes with a client each.
    ManyProcesses(u32),
    /// How many async clients of one process connect at once.
    Burst(u32),
    /// How many connections.
    IdleConnections(u32),
    /// How many connections.
    MemoryAfterTraffic(u32),
}

/// What a measure needs of a competitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A duplex connection of bytes.
    Duplex,
    /// The same, with large buffers if the competitor has that option.
    Bulk,
    /// Pipework with one size of its buffers.
    Buffers,
    /// A duplex connection of messages.
    Messages,
    /// The same, with calls for many messages if the competitor has them.
    Batches,
    /// A duplex connection of messages or bytes, with the default buffers.
    LargeMessages,
    /// A pair of anonymous pipes.
    Anonymous,
    /// An async duplex connection, on a runtime.
    Async,
    /// A server.
    Server,
    /// An async server.
    AsyncServer,
    /// A server that can hold thousands of connections.
    IdleConnections,
}

/// The unit of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) symbol: &'static str,
    /// Whether `more` or `less` is better.
    pub(crate) better: &'static str,
}

const MICROSECONDS: Unit = Unit { symbol: "us", better: "less" };
const GIGABYTES_PER_SECOND: Unit = Unit { symbol: "GB/s", better: "more" };
const MILLISECONDS: Unit = Unit { symbol: "ms", better: "less" };
const PER_SECOND: Unit = Unit { symbol: "1/s", better: "more" };

/// The metric of a measure that has only one.
pub(crate) const ONLY: &str = "";

const ALL_PLACEMENTS: &[Placement] = &[Defaults, Pinned, OneCore, Busy];
const DEFAULTS: &[Placement] = &[Defaults];
const DEFAULTS_AND_BUSY: &[Placement] = &[Defaults, Busy];
const LARGE_PLACEMENTS: &[Placement] = &[Defaults, Pinned];

const fn measure(
    name: &'static str,
    kind: Kind,
    role: Role,
    len: usize,
    placements: &'static [Placement],
) -> Measure {
    Measure { name, kind, role, len, placements }
}

const ALL: &[Measure] = &[
    measure("round trip of 64 B", Kind::RoundTrip, Role::Duplex, 64, ALL_PLACEMENTS),
    measure("round trip of 4 KiB", Kind::RoundTrip, Role::Duplex, 4 << 10, ALL_PLACEMENTS),
    measure("latencies of 64 B round trips", Kind::Latencies, Role::Duplex, 64, &[Defaults, Pinned]),
    measure("wake-up after 1 ms of idleness", Kind::WakeUp, Role::Duplex, 64, ALL_PLACEMENTS),
    measure("throughput of 4 KiB writes", Kind::Throughput, Role::Bulk, 4 << 10, ALL_PLACEMENTS),
    measure("throughput of 64 KiB writes", Kind::Throughput, Role::Bulk, 64 << 10, ALL_PLACEMENTS),
    measure("throughput of 1 MiB writes", Kind::Throughput, Role::Bulk, 1 << 20, ALL_PLACEMENTS),
    measure("buffer sizes: 4 KiB writes", Kind::Throughput, Role::Buffers, 4 << 10, DEFAULTS),
    measure("buffer sizes: 64 KiB writes", Kind::Throughput, Role::Buffers, 64 << 10, DEFAULTS),
    measure("buffer sizes: 1 MiB writes", Kind::Throughput, Role::Buffers, 1 << 20, DEFAULTS),
    measure("messages of 64 B", Kind::Messages, Role::Messages, 64, ALL_PLACEMENTS),
    measure("messages of 4 KiB", Kind::Messages, Role::Messages, 4 << 10, &[Defaults, Pinned]),
    measure("messages of 1 MiB", Kind::Messages, Role::Messages, 1 << 20, &[Defaults, Pinned]),
    measure("batches of 32 messages of 64 B", Kind::Batches(32), Role::Batches, 64, ALL_PLACEMENTS),
    measure("large messages of 1 MiB", Kind::LargeMessages, Role::LargeMessages, 1 << 20, LARGE_PLACEMENTS),
    measure("large messages of 16 MiB", Kind::LargeMessages, Role::LargeMessages, 16 << 20, LARGE_PLACEMENTS),
    measure("tasks: round trip of 64 B", Kind::RoundTrip, Role::Async, 64, ALL_PLACEMENTS),
    measure("tasks: 4 KiB writes", Kind::Throughput, Role::Async, 4 << 10, DEFAULTS),
    measure("tasks: 64 KiB writes", Kind::Throughput, Role::Async, 64 << 10, ALL_PLACEMENTS),
    measure("anonymous pipes: round trip of 64 B", Kind::RoundTrip, Role::Anonymous, 64, DEFAULTS),
    measure("anonymous pipes: 4 KiB writes", Kind::Throughput, Role::Anonymous, 4 << 10, DEFAULTS),
    measure("anonymous pipes: 64 KiB writes", Kind::Throughput, Role::Anonymous, 64 << 10, DEFAULTS),
    measure("anonymous pipes: 1 MiB writes", Kind::Throughput, Role::Anonymous, 1 << 20, DEFAULTS),
    measure("connections with a first byte", Kind::Connections, Role::Server, 1, ALL_PLACEMENTS),
    measure("connections with an answer", Kind::AnsweredConnections, Role::Server, 1, ALL_PLACEMENTS),
    measure("a crowd of 256 connects", Kind::Burst(256), Role::AsyncServer, 1, DEFAULTS_AND_BUSY),
    measure("a crowd of 1000 connects", Kind::Burst(1_000), Role::AsyncServer, 1, DEFAULTS_AND_BUSY),
    measure("a crowd of 4000 connects", Kind::Burst(4_000), Role::AsyncServer, 1, DEFAULTS_AND_BUSY),
    measure("one writer to 16 instances", Kind::FanOut, Role::Server, 4 << 10, DEFAULTS),
    measure("many clients: 16", Kind::ManyClients(16), Role::AsyncServer, 64, DEFAULTS_AND_BUSY),
    measure("many clients: 256", Kind::ManyClients(256), Role::AsyncServer, 64, DEFAULTS_AND_BUSY),
    measure("many clients: 1000", Kind::ManyClients(1_000), Role::AsyncServer, 64, DEFAULTS_AND_BUSY),
    measure("many processes: 8", Kind::ManyProcesses(8), Role::AsyncServer, 64, DEFAULTS_AND_BUSY),
    measure("many processes: 64", Kind::ManyProcesses(64), Role::AsyncServer, 64, DEFAULTS_AND_BUSY),
    measure("100 idle connections", Kind::IdleConnections(100), Role::IdleConnections, 64, DEFAULTS),
    measure("1000 idle connections", Kind::IdleConnections(1_000), Role::IdleConnections, 64, DEFAULTS),
    measure("10000 idle connections", Kind::IdleConnections(10_000), Role::IdleConnections, 64, DEFAULTS),
    measure("memory after traffic", Kind::MemoryAfterTraffic(200), Role::IdleConnections, 64, DEFAULTS),
];

/// All measures that this system supports, in the order of the report.
pub(crate) fn all() -> impl Iterator<Item = &'static Measure> {
    // Memory, descriptors and processor time are queried from the system, which is implemented for Linux only.
    ALL.iter().filter(|measure| cfg!(target_os = "linux") || measure.role != Role::IdleConnections)
}

/// The measure with this name.
pub(crate) fn named(name: &str) -> io::Result<&'static Measure> {
    let unknown = || io::Error::new(io::ErrorKind::InvalidInput, format!("there is no measure {name:?}"));
    ALL.iter().find(|measure| measure.name == name).ok_or_else(unknown)
}

impl Measure {
    /// The unit of a metric of this measure.
    pub(crate) fn unit(&self, metric: &str) -> Unit {
        match self.kind {
            Kind::RoundTrip | Kind::Latencies | Kind::WakeUp => MICROSECONDS,
            Kind::Messages | Kind::Batches(_) | Kind::Connections | Kind::AnsweredConnections => PER_SECOND,
            Kind::ManyClients(_) | Kind::ManyProcesses(_) => many_clients::unit(metric),
            Kind::Burst(_) => MILLISECONDS,
            Kind::Throughput | Kind::LargeMessages | Kind::FanOut => GIGABYTES_PER_SECOND,
            Kind::IdleConnections(_) => idle_connections::unit(metric),
            Kind::MemoryAfterTraffic(_) => memory_after_traffic::UNIT,
        }
    }

    /// Times an endpoint. This is the timing process.
    pub(crate) async fn time_endpoint(
        &self,
        endpoint: &mut impl Endpoint,
        args: &SampleArgs,
    ) -> io::Result<Figures> {
        let (len, budget) = (self.len, args.budget());
        let only = |figure| vec![(ONLY.to_owned(), figure)];
        match self.kind {
            Kind::RoundTrip => round_trip::time(endpoint, len, budget).await.map(only),
            Kind::Latencies => round_trip::time_each(endpoint, len, budget).await,
            Kind::WakeUp => wake_up::time(endpoint, len, budget * 3).await,
            Kind::Throughput => one_way::time(endpoint, len, budget).await.map(one_way::throughput).map(only),
            Kind::LargeMessages => {
                large_messages::time(endpoint, len, budget).await.map(one_way::throughput).map(only)
            }
            Kind::Messages => one_way::time(endpoint, len, budget).await.map(one_way::rate).map(only),
            Kind::Batches(count) => {
                batches::time(endpoint, len, count, budget).await.map(one_way::rate).map(only)
            }
            _ => Err(unsuitable(self, args)),
        }
    }

    /// Runs the other endpoint, in the peer process.
    pub(crate) async fn run_peer_endpoint(
        &self,
        endpoint: &mut impl Endpoint,
        args: &SampleArgs,
    ) -> io::Result<()> {
        match self.kind {
            Kind::RoundTrip | Kind::Latencies => round_trip::run_peer(endpoint, self.len).await,
            Kind::WakeUp => wake_up::run_peer(endpoint, self.len).await,
            Kind::LargeMessages => large_messages::run_peer(endpoint, self.len).await,
            Kind::Throughput | Kind::Messages => one_way::run_peer(endpoint, self.len).await,
            Kind::Batches(count) => batches::run_peer(endpoint, self.len, count).await,
            _ => Err(unsuitable(self, args)),
        }
    }

    /// Times a server. This is the timing process.
    pub(crate) fn time_server<S: Server>(&self, peer: &mut PeerProcess) -> io::Result<Figures> {
        match self.kind {
            Kind::Connections => connections::time_server::<S>(peer, false),
            Kind::AnsweredConnections => connections::time_server::<S>(peer, true),
            Kind::FanOut => fan_out::time_server::<S>(peer, self.len),
            Kind::IdleConnections(count) => idle_connections::time_server::<S>(count, peer, self.len),
            Kind::MemoryAfterTraffic(count) => memory_after_traffic::time_server::<S>(count, peer, self.len),
            _ => Err(unsuitable(self, peer.args())),
        }
    }

    /// Runs the clients of a server, in the peer process.
    pub(crate) fn run_clients<S: Server>(&self, args: &SampleArgs) -> io::Result<()> {
        match self.kind {
            Kind::Connections => connections::run_clients::<S>(args, false),
            Kind::AnsweredConnections => connections::run_clients::<S>(args, true),
            Kind::FanOut => fan_out::run_clients::<S>(args, self.len),
            Kind::IdleConnections(_) => idle_connections::run_clients::<S>(args, self.len),
            Kind::MemoryAfterTraffic(_) => memory_after_traffic::run_clients::<S>(args),
            _ => Err(unsuitable(self, args)),
        }
    }

    /// Times the clients of an async server. This is the timing process, and the server is the peer process.
    pub(crate) fn time_async_server<S: AsyncServer + 'static>(
        &self,
        peer: &mut PeerProcess,
    ) -> io::Result<Figures> {
        match self.kind {
            Kind::Burst(count) => burst::time::<S>(count, peer),
            Kind::ManyClients(count) => many_clients::time_tasks::<S>(count, peer, self.len),
            Kind::ManyProcesses(count) => many_clients::time_processes::<S>(count, peer),
            _ => Err(unsuitable(self, peer.args())),
        }
    }

    /// Runs the async server, or a process with one of its clients.
    pub(crate) fn run_async_server<S: AsyncServer + 'static>(&self, args: &SampleArgs) -> io::Result<()> {
        match self.kind {
            Kind::Burst(count) => burst::run_server::<S>(count, args),
            Kind::ManyClients(count) | Kind::ManyProcesses(count) => {
                many_clients::run_peer::<S>(count, args, self.len)
            }
            _ => Err(unsuitable(self, args)),
        }
    }
}

/// The error for a competitor whose role is not that of the measure.
fn unsuitable(measure: &Measure, args: &SampleArgs) -> io::Error {
    let text = format!("{:?} does not apply to {:?}", measure.name, args.competitor);
    io::Error::new(io::ErrorKind::InvalidInput, text)
}
