//! What is measured: each measure has a near side, which times, and a far side in the other process.

mod round_trip;
mod throughput;

use std::{io, time::Duration};

use crate::peer::End;

/// One measure.
#[derive(Debug)]
pub(crate) struct Measure {
    /// What it is called in the table and between the processes.
    pub(crate) name: &'static str,
    pub(crate) unit: Unit,
    kind: Kind,
    /// Bytes of one operation.
    len: usize,
    /// Operations of one sample.
    count: u32,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    RoundTrip,
    Throughput,
}

/// What the figures are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unit {
    /// Microseconds for one operation: less is better.
    Microseconds,
    /// 10^9 bytes in a second: more is better.
    GigabytesPerSecond,
}

impl Unit {
    pub(crate) fn symbol(self) -> &'static str {
        match self {
            Unit::Microseconds => "us",
            Unit::GigabytesPerSecond => "GB/s",
        }
    }

    pub(crate) fn better(self) -> &'static str {
        match self {
            Unit::Microseconds => "less",
            Unit::GigabytesPerSecond => "more",
        }
    }
}

/// A translation layer makes each call of the system several times as long.
const ROUND_TRIPS: u32 = if cfg!(windows) { 1_000 } else { 20_000 };
const WRITES: u32 = if cfg!(windows) { 1_000 } else { 16_000 };
const QUICK_COUNT: u32 = 20;

const ALL: &[Measure] = &[
    Measure {
        name: "round trip of 64 B",
        unit: Unit::Microseconds,
        kind: Kind::RoundTrip,
        len: 64,
        count: ROUND_TRIPS,
    },
    Measure {
        name: "round trip of 4 KiB",
        unit: Unit::Microseconds,
        kind: Kind::RoundTrip,
        len: 4 << 10,
        count: ROUND_TRIPS,
    },
    Measure {
        name: "throughput of 64 KiB writes",
        unit: Unit::GigabytesPerSecond,
        kind: Kind::Throughput,
        len: 64 << 10,
        count: WRITES,
    },
];

/// All of them, in the order of the report.
pub(crate) fn all() -> impl Iterator<Item = &'static Measure> {
    ALL.iter()
}

/// The measure of this name.
pub(crate) fn named(name: &str) -> io::Result<&'static Measure> {
    let unknown = || io::Error::new(io::ErrorKind::InvalidInput, format!("no measure is called {name:?}"));
    all().find(|measure| measure.name == name).ok_or_else(unknown)
}

impl Measure {
    /// Operations of one sample.
    pub(crate) fn count(&self, quick: bool) -> u32 {
        if quick { QUICK_COUNT } else { self.count }
    }

    /// The side that times: the sample, in this measure's unit.
    pub(crate) async fn near(&self, end: &mut impl End, count: u32) -> io::Result<f64> {
        // First without the clock: memory is touched, and whatever is made on first use is made.
        self.pass_near(end, warm_up(count)).await?;
        let time = self.pass_near(end, count).await?;
        Ok(self.figure(count, time))
    }

    /// The side in the other process.
    pub(crate) async fn far(&self, end: &mut impl End, count: u32) -> io::Result<()> {
        self.pass_far(end, warm_up(count)).await?;
        self.pass_far(end, count).await
    }

    async fn pass_near(&self, end: &mut impl End, count: u32) -> io::Result<Duration> {
        match self.kind {
            Kind::RoundTrip => round_trip::near(end, self.len, count).await,
            Kind::Throughput => throughput::near(end, self.len, count).await,
        }
    }

    async fn pass_far(&self, end: &mut impl End, count: u32) -> io::Result<()> {
        match self.kind {
            Kind::RoundTrip => round_trip::far(end, self.len, count).await,
            Kind::Throughput => throughput::far(end, self.len, count).await,
        }
    }

    fn figure(&self, count: u32, time: Duration) -> f64 {
        match self.unit {
            Unit::Microseconds => time.as_secs_f64() * 1e6 / f64::from(count),
            Unit::GigabytesPerSecond => {
                let len = u32::try_from(self.len).map_or(f64::INFINITY, f64::from);
                len * f64::from(count) / time.as_secs_f64() / 1e9
            }
        }
    }
}

fn warm_up(count: u32) -> u32 {
    count / 10 + 1
}

/// Writes a number into the first bytes, so that what arrives can be told from what came before.
fn stamp(buf: &mut [u8], number: u32) {
    for (byte, stamp) in buf.iter_mut().zip(number.to_le_bytes()) {
        *byte = stamp;
    }
}

/// Whether these bytes are those of the number.
fn check(buf: &[u8], number: u32) -> io::Result<()> {
    if buf.starts_with(&number.to_le_bytes()) {
        Ok(())
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("piece {number} did not arrive as it was sent"),
        ))
    }
}
