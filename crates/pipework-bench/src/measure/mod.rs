//! What is measured: each measure has a near side, which times, and a far side in the other process.

mod connections;
mod crowd;
mod fan_out;
mod one_way;
mod pace;
mod round_trip;
mod wake_up;

use std::io;

use crate::{
    job::Job,
    peer::{End, Server},
    setting::Setting::{self, Busy, Defaults, OneCore, Pinned},
};

pub(crate) use crowd::{
    AMONG, AMONG_OVER_ALONE, CLIENT_DESCRIPTORS, Crowd, MEMORY, REST, SERVER_DESCRIPTORS,
};
pub(crate) use round_trip::PERCENTILES;

/// What a sample comes to: figures by metric.
pub(crate) type Figures = Vec<(String, f64)>;

/// One measure.
#[derive(Debug)]
pub(crate) struct Measure {
    /// What it is called in the table and between the processes.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// Which peers take part.
    pub(crate) role: Role,
    /// Bytes of one operation.
    pub(crate) len: usize,
    /// Where it is worth measuring.
    pub(crate) settings: &'static [Setting],
}

/// How it is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    RoundTrip,
    Latencies,
    Throughput,
    Messages,
    WakeUp,
    Connections,
    AnsweredConnections,
    FanOut,
    Crowd(Crowd),
}

/// What a peer is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A duplex connection of bytes.
    Duplex,
    /// The same, with buffers chosen for bulk where it has any.
    Bulk,
    /// Ours, by the size of its buffers.
    Buffers,
    /// A connection that keeps messages apart.
    Messages,
    /// Pipes without a name.
    Anonymous,
    /// A duplex connection, used by tasks on a runtime.
    Tasks,
    /// One that takes connections.
    Server,
    /// One that holds thousands of them.
    Crowd,
}

/// How a metric is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) symbol: &'static str,
    /// `more` or `less`.
    pub(crate) better: &'static str,
}

const MICROSECONDS: Unit = Unit { symbol: "us", better: "less" };
const GIGABYTES_PER_SECOND: Unit = Unit { symbol: "GB/s", better: "more" };
const PER_SECOND: Unit = Unit { symbol: "1/s", better: "more" };

/// The metric of a measure that has only one.
pub(crate) const ONLY: &str = "";

const EVERYWHERE: &[Setting] = &[Defaults, Pinned, OneCore, Busy];
const DEFAULTS: &[Setting] = &[Defaults];

const fn measure(
    name: &'static str,
    kind: Kind,
    role: Role,
    len: usize,
    settings: &'static [Setting],
) -> Measure {
    Measure { name, kind, role, len, settings }
}

const ALL: &[Measure] = &[
    measure("round trip of 64 B", Kind::RoundTrip, Role::Duplex, 64, EVERYWHERE),
    measure("round trip of 4 KiB", Kind::RoundTrip, Role::Duplex, 4 << 10, EVERYWHERE),
    measure("latencies of 64 B round trips", Kind::Latencies, Role::Duplex, 64, &[Defaults, Pinned]),
    measure("wake-up after 1 ms of idleness", Kind::WakeUp, Role::Duplex, 64, EVERYWHERE),
    measure("throughput of 4 KiB writes", Kind::Throughput, Role::Bulk, 4 << 10, EVERYWHERE),
    measure("throughput of 64 KiB writes", Kind::Throughput, Role::Bulk, 64 << 10, EVERYWHERE),
    measure("throughput of 1 MiB writes", Kind::Throughput, Role::Bulk, 1 << 20, EVERYWHERE),
    measure("buffer sizes: 4 KiB writes", Kind::Throughput, Role::Buffers, 4 << 10, DEFAULTS),
    measure("buffer sizes: 64 KiB writes", Kind::Throughput, Role::Buffers, 64 << 10, DEFAULTS),
    measure("buffer sizes: 1 MiB writes", Kind::Throughput, Role::Buffers, 1 << 20, DEFAULTS),
    measure("messages of 64 B", Kind::Messages, Role::Messages, 64, EVERYWHERE),
    measure("messages of 4 KiB", Kind::Messages, Role::Messages, 4 << 10, &[Defaults, Pinned]),
    measure("messages of 1 MiB", Kind::Messages, Role::Messages, 1 << 20, &[Defaults, Pinned]),
    measure("tasks: round trip of 64 B", Kind::RoundTrip, Role::Tasks, 64, EVERYWHERE),
    measure("tasks: 4 KiB writes", Kind::Throughput, Role::Tasks, 4 << 10, DEFAULTS),
    measure("tasks: 64 KiB writes", Kind::Throughput, Role::Tasks, 64 << 10, EVERYWHERE),
    measure("anonymous pipes: round trip of 64 B", Kind::RoundTrip, Role::Anonymous, 64, DEFAULTS),
    measure("anonymous pipes: 4 KiB writes", Kind::Throughput, Role::Anonymous, 4 << 10, DEFAULTS),
    measure("anonymous pipes: 64 KiB writes", Kind::Throughput, Role::Anonymous, 64 << 10, DEFAULTS),
    measure("anonymous pipes: 1 MiB writes", Kind::Throughput, Role::Anonymous, 1 << 20, DEFAULTS),
    measure("connections with a first byte", Kind::Connections, Role::Server, 1, EVERYWHERE),
    measure("connections with an answer", Kind::AnsweredConnections, Role::Server, 1, EVERYWHERE),
    measure("one writer to 16 instances", Kind::FanOut, Role::Server, 4 << 10, DEFAULTS),
    measure("100 idle connections", Kind::Crowd(Crowd(100)), Role::Crowd, 64, DEFAULTS),
    measure("1000 idle connections", Kind::Crowd(Crowd(1_000)), Role::Crowd, 64, DEFAULTS),
    measure("10000 idle connections", Kind::Crowd(Crowd(10_000)), Role::Crowd, 64, DEFAULTS),
];

/// All of them, in the order of the report.
pub(crate) fn all() -> impl Iterator<Item = &'static Measure> {
    // What a crowd costs is asked from the system, and only Linux is known to tell.
    ALL.iter().filter(|measure| cfg!(target_os = "linux") || measure.role != Role::Crowd)
}

/// The measure of this name.
pub(crate) fn named(name: &str) -> io::Result<&'static Measure> {
    let unknown = || io::Error::new(io::ErrorKind::InvalidInput, format!("no measure is called {name:?}"));
    ALL.iter().find(|measure| measure.name == name).ok_or_else(unknown)
}

impl Measure {
    /// In what a metric of this measure is counted.
    pub(crate) fn unit(&self, metric: &str) -> Unit {
        match self.kind {
            Kind::RoundTrip | Kind::Latencies | Kind::WakeUp => MICROSECONDS,
            Kind::Throughput | Kind::FanOut => GIGABYTES_PER_SECOND,
            Kind::Messages | Kind::Connections | Kind::AnsweredConnections => PER_SECOND,
            Kind::Crowd(_) => crowd::unit(metric),
        }
    }

    /// The side that times, on a connection.
    pub(crate) async fn near(&self, end: &mut impl End, job: &Job) -> io::Result<Figures> {
        let budget = job.budget();
        let only = |figure| vec![(ONLY.to_owned(), figure)];
        match self.kind {
            Kind::RoundTrip => round_trip::near(end, self.len, budget).await.map(only),
            Kind::Latencies => round_trip::latencies(end, self.len, budget).await,
            Kind::WakeUp => wake_up::near(end, self.len, budget * 3).await,
            Kind::Throughput => one_way::near(end, self.len, budget).await.map(one_way::throughput).map(only),
            Kind::Messages => one_way::near(end, self.len, budget).await.map(one_way::rate).map(only),
            _ => Err(not_for(self, job)),
        }
    }

    /// The side in the other process, on a connection.
    pub(crate) async fn far(&self, end: &mut impl End, job: &Job) -> io::Result<()> {
        match self.kind {
            Kind::RoundTrip | Kind::Latencies => round_trip::far(end, self.len).await,
            Kind::WakeUp => wake_up::far(end, self.len).await,
            Kind::Throughput | Kind::Messages => one_way::far(end, self.len).await,
            _ => Err(not_for(self, job)),
        }
    }

    /// The side that times, as a server.
    pub(crate) fn near_server<S: Server>(&self, far: &mut crate::far::Far) -> io::Result<Figures> {
        match self.kind {
            Kind::Connections => connections::near::<S>(far, false),
            Kind::AnsweredConnections => connections::near::<S>(far, true),
            Kind::FanOut => fan_out::near::<S>(far, self.len),
            Kind::Crowd(crowd) => crowd.near::<S>(far, self.len),
            _ => Err(not_for(self, far.job())),
        }
    }

    /// The side in the other process, as clients of a server.
    pub(crate) fn far_server<S: Server>(&self, job: &Job) -> io::Result<()> {
        match self.kind {
            Kind::Connections => connections::far::<S>(job, false),
            Kind::AnsweredConnections => connections::far::<S>(job, true),
            Kind::FanOut => fan_out::far::<S>(job, self.len),
            Kind::Crowd(_) => crowd::far::<S>(job, self.len),
            _ => Err(not_for(self, job)),
        }
    }
}

fn not_for(measure: &Measure, job: &Job) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{:?} is not for {:?}", measure.name, job.peer))
}
