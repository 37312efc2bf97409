//! What each process is sure of, where a kill can't take it back: written to a file after each call that succeeded.

use crate::frame::Frame;
use std::{
    collections::HashMap,
    fs::{self, File},
    os::unix::fs::FileExt,
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
};

/// Bytes of an entry.
const ENTRY: usize = 40;

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Direction {
    ToServer,
    ToClient,
}

/// What an entry records of a connection and a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Its writer: the writes of so many frames returned.
    Wrote,
    /// Its reader: read so many, and then saw the end of the pipe.
    Ended,
    /// Its reader: read so many, and closed.
    Left,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) what: What,
    pub(crate) direction: Direction,
    /// The process that wrote the entry, and the other one.
    pub(crate) process: u32,
    pub(crate) peer: u32,
    pub(crate) connection: u64,
    pub(crate) frames: u32,
    /// When, in nanoseconds of the clock that all processes share.
    pub(crate) time: u64,
}

impl Entry {
    fn encode(&self) -> [u8; ENTRY] {
        let mut bytes = [0; ENTRY];
        bytes[0] = match self.what {
            What::Wrote => 1,
            What::Ended => 2,
            What::Left => 3,
        };
        bytes[1] = u8::from(self.direction == Direction::ToClient);
        bytes[4..8].copy_from_slice(&self.process.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.peer.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.frames.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.connection.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.time.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Entry> {
        let short = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let long = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        Some(Entry {
            what: match bytes[0] {
                1 => What::Wrote,
                2 => What::Ended,
                3 => What::Left,
                // A place that was taken by a process that was killed before it wrote anything.
                _ => return None,
            },
            direction: if bytes[1] == 1 { Direction::ToClient } else { Direction::ToServer },
            process: short(4),
            peer: short(8),
            frames: short(12),
            connection: long(16),
            time: long(24),
        })
    }
}

/// The time, on a clock that all processes share.
pub(crate) fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(time.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap()
}

/// The journal of one process.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    next: AtomicU32,
}

/// The entry of one direction of one connection, which its writer brings up to date.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    journal: &'a Journal,
    place: u32,
    entry: Entry,
}

impl Journal {
    pub(crate) fn open(directory: &Path) -> Journal {
        let path = directory.join(format!("{}-{}", std::process::id(), now()));
        Journal { file: File::create_new(path).unwrap(), next: AtomicU32::new(0) }
    }

    pub(crate) fn writer(&self, connection: u64, direction: Direction, peer: u32) -> Writer<'_> {
        Writer {
            journal: self,
            place: self.place(),
            entry: self.entry(What::Wrote, connection, direction, peer, 0),
        }
    }

    /// The end of the pipe was seen.
    pub(crate) fn ended(&self, seen: Seen, direction: Direction, peer: u32) {
        self.read(What::Ended, seen, direction, peer);
    }

    /// This end closes.
    pub(crate) fn left(&self, seen: Seen, direction: Direction, peer: u32) {
        self.read(What::Left, seen, direction, peer);
    }

    fn read(&self, what: What, seen: Seen, direction: Direction, peer: u32) {
        // Who wrote nothing is known by no number.
        let entry = self.entry(what, seen.connection.unwrap_or(u64::MAX), direction, peer, seen.frames);
        self.put(self.place(), &entry);
    }

    fn entry(&self, what: What, connection: u64, direction: Direction, peer: u32, frames: u32) -> Entry {
        Entry { what, direction, process: std::process::id(), peer, connection, frames, time: now() }
    }

    fn place(&self) -> u32 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn put(&self, place: u32, entry: &Entry) {
        // One system call: a kill falls before it or after it.
        self.file.write_all_at(&entry.encode(), u64::from(place) * ENTRY as u64).unwrap();
    }
}

impl Writer<'_> {
    /// The write of this many frames has returned.
    pub(crate) fn wrote(&mut self, frames: u32) {
        self.entry.frames = frames;
        self.entry.time = now();
        self.journal.put(self.place, &self.entry);
    }
}

/// What a reader has seen: frames without a gap.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    connection: Option<u64>,
    frames: u32,
}

impl Seen {
    pub(crate) fn expect(&mut self, connection: u64) {
        self.connection = Some(connection);
    }

    pub(crate) fn take(&mut self, frame: &Frame) {
        assert_eq!(
            *self.connection.get_or_insert(frame.connection),
            frame.connection,
            "a frame of another connection"
        );
        assert_eq!(frame.number, self.frames, "a gap, or one twice");
        self.frames += 1;
    }

    pub(crate) fn count(&self) -> u32 {
        self.frames
    }
}

/// Everything that anybody wrote down.
pub(crate) fn all(directory: &Path) -> Vec<Entry> {
    let files = fs::read_dir(directory).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
    files
        .flat_map(|bytes| bytes.chunks_exact(ENTRY).filter_map(Entry::decode).collect::<Vec<Entry>>())
        .collect()
}

/// Entries by connection and direction.
pub(crate) fn by_connection(entries: &[Entry], what: &[What]) -> HashMap<(u64, Direction), Entry> {
    let chosen = entries.iter().filter(|entry| what.contains(&entry.what));
    chosen.map(|entry| ((entry.connection, entry.direction), *entry)).collect()
}
