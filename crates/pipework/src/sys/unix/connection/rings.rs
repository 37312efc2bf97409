//! The rings of a connection, seen from one end.

use super::operation::Operation;
use crate::{
    model::hello::Hello,
    ring::{Consumer, Direction, Geometry, Memory, Producer, Side, WaitWords},
    sys::errors::denied,
};
use std::{
    io,
    ops::{Deref, DerefMut},
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// The properties of a connection that both ends know before the first byte.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) incarnation: u64,
    pub(crate) messages: bool,
    /// Quota of the client-to-server direction in bytes, if the pipe has it.
    pub(crate) inbound: Option<u32>,
    /// Quota of the server-to-client direction in bytes, if the pipe has it.
    pub(crate) outbound: Option<u32>,
    /// 255 is unlimited.
    pub(crate) max_instances: u8,
    /// Whether a client may speak for a remote client.
    pub(crate) accept_remote: bool,
}

impl Shape {
    pub(super) fn geometry(&self) -> Geometry {
        Geometry::new(self.messages, self.inbound, self.outbound)
    }

    /// The hello of a client that speaks for itself.
    pub(super) fn hello(&self) -> Hello {
        let Shape { incarnation, messages, inbound, outbound, .. } = *self;
        Hello { incarnation, inbound, outbound, messages, identity_len: 0 }
    }
}

/// The rings of a connection, seen from one end.
#[derive(Debug)]
pub(crate) struct Rings {
    consumer: Option<Mutex<Consumer>>,
    producer: Option<Mutex<Producer>>,
    pub(crate) wait_words: WaitWords,
    /// Whether room was made since the peer was last woken for it. Only the owner of the direction reads and writes it.
    space_published: AtomicBool,
    /// The same of data.
    data_published: AtomicBool,
}

impl Rings {
    /// Maps a memory object of this shape.
    pub(super) fn new(fd: &OwnedFd, shape: &Shape, side: Side) -> io::Result<Rings> {
        let geometry = shape.geometry();
        let memory = Arc::new(super::super::mapping::map(fd, geometry.len())?);
        Ok(Rings::over(&memory, &geometry, side))
    }

    fn over(memory: &Arc<Memory>, geometry: &Geometry, side: Side) -> Rings {
        let (reads, writes) = match side {
            Side::Client => (Direction::Outbound, Direction::Inbound),
            Side::Server => (Direction::Inbound, Direction::Outbound),
        };
        Rings {
            consumer: Consumer::new(Arc::clone(memory), geometry, reads).map(Mutex::new),
            producer: Producer::new(Arc::clone(memory), geometry, writes).map(Mutex::new),
            wait_words: WaitWords::new(Arc::clone(memory), side),
            space_published: AtomicBool::default(),
            data_published: AtomicBool::default(),
        }
    }

    pub(crate) fn consumer(&self) -> io::Result<Ring<'_, Consumer>> {
        lock(self.consumer.as_ref(), &self.space_published, "read")
    }

    pub(crate) fn producer(&self) -> io::Result<Ring<'_, Producer>> {
        lock(self.producer.as_ref(), &self.data_published, "write")
    }

    /// Gives memory back that a burst of this end took, if all of it was read; says whether it did.
    pub(super) fn release_unused(&self) -> bool {
        // A thread that has the producer uses its memory. The next operation reports what is wrong with the words.
        let Some(Ok(mut producer)) = self.producer.as_ref().map(Mutex::try_lock) else { return false };
        producer.release_unused() == Ok(true)
    }

    /// Whether an operation of this direction has published anything since this was last asked.
    pub(super) fn take_published(&self, operation: Operation) -> bool {
        let published = match operation {
            Operation::Read => &self.space_published,
            Operation::Write => &self.data_published,
        };
        // Relaxed, and no exchange: the thread that publishes or asks holds the lock of the direction.
        let is_published = published.load(Ordering::Relaxed);
        if is_published {
            published.store(false, Ordering::Relaxed);
        }
        is_published
    }
}

/// One half of a ring, locked. When it is released, it is noted whether it published anything.
#[derive(Debug)]
pub(crate) struct Ring<'a, T: Publishes> {
    half: MutexGuard<'a, T>,
    published: &'a AtomicBool,
}

/// A half of a ring that publishes.
pub(crate) trait Publishes {
    /// Whether it has published since this was last asked.
    fn take_published(&mut self) -> bool;
}

impl Publishes for Consumer {
    fn take_published(&mut self) -> bool {
        self.take_published()
    }
}

impl Publishes for Producer {
    fn take_published(&mut self) -> bool {
        self.take_published()
    }
}

impl<T: Publishes> Deref for Ring<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.half
    }
}

impl<T: Publishes> DerefMut for Ring<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.half
    }
}

impl<T: Publishes> Drop for Ring<'_, T> {
    fn drop(&mut self) {
        if self.half.take_published() {
            self.published.store(true, Ordering::Relaxed);
        }
    }
}

fn lock<'a, T: Publishes>(
    half: Option<&'a Mutex<T>>,
    published: &'a AtomicBool,
    what: &str,
) -> io::Result<Ring<'a, T>> {
    let half = half.ok_or_else(|| denied(what))?;
    // The state of a half is consistent after each of its steps.
    Ok(Ring { half: half.lock().unwrap_or_else(PoisonError::into_inner), published })
}

#[cfg(test)]
mod tests {
    use super::{super::super::memory, *};
    use crate::ring::Front;

    /// Both ends of a connection with the default buffers, and its memory object.
    struct Pair {
        fd: OwnedFd,
        client: Rings,
        server: Rings,
    }

    impl Pair {
        fn new() -> Pair {
            let quota = Some(256 * 1024);
            let shape = Shape {
                incarnation: 1,
                messages: false,
                inbound: quota,
                outbound: quota,
                max_instances: 255,
                accept_remote: false,
            };
            let fd = memory::create(shape.geometry().len()).unwrap();
            let [client, server] =
                [Side::Client, Side::Server].map(|side| Rings::new(&fd, &shape, side).unwrap());
            Pair { fd, client, server }
        }

        /// Each end sends and reads as much.
        fn round_trip(&self, len: usize) {
            for (from, to) in [(&self.client, &self.server), (&self.server, &self.client)] {
                assert_eq!(from.producer().unwrap().write_bytes(&vec![7; len]), Ok(len));
                let mut consumer = to.consumer().unwrap();
                assert_eq!(consumer.front(), Ok(Front::Bytes(len as u64)));
                let mut received = vec![0; len];
                assert_eq!(consumer.take(&mut received), len);
                assert!(received == vec![7; len]);
            }
        }

        /// The memory that the object has, in KiB.
        fn kib(&self) -> i64 {
            rustix::fs::fstat(&self.fd).unwrap().st_blocks / 2
        }
    }

    #[test]
    fn memory_follows_what_is_under_way() {
        let pair = Pair::new();
        assert_eq!(pair.kib(), 0, "nothing is touched yet");
        for _ in 0..5000 {
            pair.round_trip(64);
        }
        assert!(pair.kib() <= 24, "{} KiB after many small ones", pair.kib());
    }

    #[test]
    fn memory_of_a_burst_goes_back_to_the_system() {
        let pair = Pair::new();
        for _ in 0..20 {
            pair.round_trip(16 * 1024);
        }
        assert!(pair.kib() <= 64, "{} KiB: each takes the place of the one before", pair.kib());
        for _ in 0..8 {
            // Much is under way at once.
            assert_eq!(pair.client.producer().unwrap().write_bytes(&[1; 30_000]), Ok(30_000));
        }
        assert!(pair.kib() >= 240);
        assert!(!pair.client.release_unused(), "nothing was read");
        let mut received = vec![0; 240_000];
        let mut consumer = pair.server.consumer().unwrap();
        assert_eq!(consumer.front(), Ok(Front::Bytes(240_000)));
        assert_eq!(consumer.take(&mut received), 240_000);
        assert!(received == vec![1; 240_000]);
        drop(consumer);
        let is_released = [&pair.client, &pair.server].map(Rings::release_unused);
        assert_eq!(is_released, [true, true]);
        // Where the system has no call for it, the memory stays, and all else is the same.
        if cfg!(target_os = "linux") {
            assert!(pair.kib() <= 24, "{} KiB", pair.kib());
        }
        pair.round_trip(100_000);
        pair.round_trip(64);
    }
}
