//! Hellos that aren't.

use crate::{
    harness::Case,
    wire::{SEALS, SHORT, Shape, VERSION, Victim, expect, memory, send},
};
use pipework::{PipeErrorKind, PipeMode, os::unix::PipeStreamExt};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{MemfdFlags, Mode, OFlags, SealFlags},
};
use std::{
    fs::File,
    io::{ErrorKind, Read, Write},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::net::UnixStream,
    },
};

pub(crate) const CASES: &[Case] = &[
    ("client_says_nothing", says_nothing),
    ("client_hello_is_garbage", hello_is_garbage),
    ("client_hello_in_pieces", hello_in_pieces),
    ("client_hello_that_another_call_takes", hello_that_another_call_takes),
    ("client_leaves_amid_its_hello", leaves_amid_its_hello),
    ("client_hello_has_no_descriptor", hello_has_no_descriptor),
    ("client_hello_has_many_descriptors", hello_has_many_descriptors),
    ("client_memory_is_none", memory_is_none),
    ("client_hello_at_the_limit_of_descriptors", hello_at_the_limit),
];

fn says_nothing() {
    let victim = Victim::new(PipeMode::Byte, 65536);
    let (raw, mut end) = victim.attack();
    expect(end.read(&mut [0; 8]), PipeErrorKind::TimedOut, "reading");
    expect(end.write(b"hello?"), PipeErrorKind::TimedOut, "writing");
    assert_eq!(end.peek(&mut [0; 8]).unwrap().available, 0);
    end.drain().unwrap();
    assert!(end.peer().unwrap().is_same_user(), "who it is comes from the kernel");
    victim.expect_well();
    drop(raw);
    assert_eq!(end.read(&mut [0; 8]).unwrap(), 0);
    expect(end.write(b"hello?"), PipeErrorKind::NoData, "writing to nobody");
}

/// An event loop that tried before the hello has announced nothing in the memory, so it has to try again once the hello is
/// taken, by whichever call.
fn hello_that_another_call_takes() {
    let victim = Victim::new(PipeMode::Byte, 4096);
    let (raw, end) = victim.attack();
    let ready = end.read_ready_fd().unwrap();
    let is_ready = || {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(&ready, PollFlags::IN)], Some(&now)).unwrap() == 1
    };
    assert_eq!(end.try_read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(!is_ready(), "nothing has come");
    let _linked = raw.link();
    assert_eq!(end.peek(&mut []).unwrap().available, 0);
    assert!(is_ready(), "the hello was taken");
    assert_eq!(end.try_read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(!is_ready(), "nothing has come since");
}

/// One change of a good hello each.
fn hello_is_garbage() {
    type Change = fn(&Shape, &mut Vec<u8>);
    let changes: [(&str, Change); 10] = [
        ("noise", |_, bytes| bytes.fill(0xA5)),
        ("zeros", |_, bytes| bytes.fill(0)),
        ("an earlier version", |_, bytes| bytes[8] = 1),
        ("a later version", |_, bytes| bytes[8] = 3),
        ("an unknown flag", |_, bytes| bytes[12] |= 0x80),
        ("other modes", |_, bytes| bytes[12] ^= 1),
        ("another direction", |_, bytes| bytes[12] ^= 4),
        ("another incarnation", |_, bytes| bytes[16] ^= 1),
        ("another quota", |_, bytes| bytes[24] ^= 1),
        ("words of a later version", |_, bytes| bytes[39] = 1),
    ];
    for mode in [PipeMode::Byte, PipeMode::Message] {
        let victim = Victim::new(mode, 4096);
        for (about, change) in changes {
            let (raw, mut end) = victim.attack();
            let mut hello = raw.shape.hello().to_vec();
            change(&raw.shape, &mut hello);
            send(&raw.socket, &hello, &[raw.memory().as_fd()]);
            expect(end.read(&mut [0; 8]), PipeErrorKind::Corrupt, about);
            // It stays so.
            expect(end.write(b"x"), PipeErrorKind::Corrupt, about);
            expect(end.peek(&mut [0; 8]), PipeErrorKind::Corrupt, about);
            victim.expect_well();
        }
        for version in [VERSION - 1, VERSION + 1, 9] {
            let (raw, mut end) = victim.attack();
            let mut hello = raw.shape.hello();
            hello[8..12].copy_from_slice(&version.to_le_bytes());
            send(&raw.socket, &hello, &[raw.memory().as_fd()]);
            let error = end.write(b"x").unwrap_err();
            let text = format!("a hello of version {version}, and this program speaks version {VERSION}");
            assert!(error.to_string().contains(&text), "{error}");
        }
    }
}

fn hello_in_pieces() {
    let victim = Victim::new(PipeMode::Byte, 65536);
    for descriptor_at in [0, 1, 20, 39] {
        let (raw, mut end) = victim.attack();
        let (hello, memory) = (raw.shape.hello(), raw.memory());
        for (index, byte) in hello.iter().enumerate() {
            if index == 39 {
                expect(end.read(&mut [0; 8]), PipeErrorKind::TimedOut, "the hello is not complete");
            }
            let descriptors = [memory.as_fd()];
            let descriptors = if index == descriptor_at { &descriptors[..] } else { &[] };
            send(&raw.socket, &[*byte], descriptors);
        }
        assert_eq!(end.write(b"welcome").unwrap(), 7);
        expect(end.read(&mut [0; 8]), PipeErrorKind::TimedOut, "it has said nothing yet");
    }
    victim.expect_well();
}

fn leaves_amid_its_hello() {
    let victim = Victim::new(PipeMode::Message, 65536);
    for len in [1, 39] {
        let (raw, mut end) = victim.attack();
        send(&raw.socket, &raw.shape.hello()[..len], &[raw.memory().as_fd()]);
        drop(raw);
        assert_eq!(end.read(&mut [0; 8]).unwrap(), 0);
        expect(end.write(b"x"), PipeErrorKind::NoData, "nobody is there");
        victim.expect_well();
    }
    // One that was gone before it could be accepted at all.
    let raw = victim.connect();
    send(&raw.socket, &raw.shape.hello()[..10], &[raw.memory().as_fd()]);
    drop(raw);
    expect(victim.listener.accept_timeout(SHORT), PipeErrorKind::TimedOut, "it left nothing to read");
    victim.expect_well();
}

fn hello_has_no_descriptor() {
    let victim = Victim::new(PipeMode::Byte, 65536);
    let (raw, mut end) = victim.attack();
    send(&raw.socket, &raw.shape.hello(), &[]);
    expect(end.read(&mut [0; 8]), PipeErrorKind::Corrupt, "no descriptor");
    victim.expect_well();
}

fn hello_has_many_descriptors() {
    for mode in [PipeMode::Byte, PipeMode::Message] {
        let victim = Victim::new(mode, 65536);
        for count in [2, 3, 250] {
            let (raw, mut end) = victim.attack();
            let memories: Vec<OwnedFd> = (0..count).map(|_| raw.memory()).collect();
            let borrowed: Vec<_> = memories.iter().map(AsFd::as_fd).collect();
            send(&raw.socket, &raw.shape.hello(), &borrowed);
            expect(end.read(&mut [0; 8]), PipeErrorKind::Corrupt, &format!("{count} descriptors at once"));
        }
        let (raw, mut end) = victim.attack();
        let (hello, memory) = (raw.shape.hello(), raw.memory());
        for piece in hello.chunks(20) {
            send(&raw.socket, piece, &[memory.as_fd()]);
        }
        expect(end.read(&mut [0; 8]), PipeErrorKind::Corrupt, "two descriptors one after the other");
        victim.expect_well();
    }
}

fn memory_is_none() {
    let victim = Victim::new(PipeMode::Byte, 65536);
    let home = tempfile::tempdir().unwrap();
    let len = victim.connect_len();
    for (about, fd) in not_memories(len, &home) {
        let (raw, mut end) = victim.attack();
        send(&raw.socket, &raw.shape.hello(), &[fd.as_fd()]);
        expect(end.read(&mut [0; 8]), PipeErrorKind::Corrupt, about);
        expect(end.write(b"x"), PipeErrorKind::Corrupt, about);
        victim.expect_well();
    }
}

impl Victim {
    /// Bytes of the memory that this server wants.
    fn connect_len(&self) -> usize {
        let (raw, _end) = self.attack();
        raw.shape.memory_len()
    }
}

fn not_memories(len: usize, home: &tempfile::TempDir) -> Vec<(&'static str, OwnedFd)> {
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(home.path().join("file"))
        .unwrap();
    file.set_len(len as u64).unwrap();
    let again = |flags| {
        let fd = memory(len, SEALS);
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty()).unwrap()
    };
    let unsealable = rustix::fs::memfd_create("hostile", MemfdFlags::CLOEXEC).unwrap();
    rustix::fs::ftruncate(&unsealable, len as u64).unwrap();
    let (pipe, _) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let (socket, _) = UnixStream::pair().unwrap();
    vec![
        ("no seals", memory(len, SealFlags::empty())),
        ("no seals possible", unsealable),
        ("may shrink", memory(len, SealFlags::GROW | SealFlags::SEAL)),
        ("may grow", memory(len, SealFlags::SHRINK | SealFlags::SEAL)),
        ("may be sealed further", memory(len, SealFlags::SHRINK | SealFlags::GROW)),
        ("can't be written", memory(len, SEALS | SealFlags::WRITE)),
        ("can't be mapped for writing", memory(len, SEALS | SealFlags::FUTURE_WRITE)),
        ("too small", memory(len - 4096, SEALS)),
        ("too large", memory(len + 4096, SEALS)),
        ("a byte too small", memory(len - 1, SEALS)),
        ("empty", memory(0, SEALS)),
        ("opened for reading", again(OFlags::RDONLY)),
        ("opened for writing", again(OFlags::WRONLY)),
        ("opened as a path", again(OFlags::PATH)),
        ("a file", file.into()),
        ("a directory", File::open(home.path()).unwrap().into()),
        ("a device", File::options().read(true).write(true).open("/dev/zero").unwrap().into()),
        ("a pipe", pipe),
        ("a socket", socket.into()),
    ]
}

/// Without a free number for the memory the hello waits, and is taken when there is one.
fn hello_at_the_limit() {
    let victim = Victim::new(PipeMode::Byte, 65536);
    let (raw, mut end) = victim.attack();
    let (linked, mut filler) = (raw.link(), Vec::new());
    while let Ok(file) = File::open("/dev/null") {
        filler.push(file);
    }
    let error = end.read(&mut [0; 8]).unwrap_err();
    assert!(crate::wire::is_typed(&error), "{error}");
    assert_ne!(PipeErrorKind::of(&error), Some(PipeErrorKind::Corrupt), "{error}");
    drop(filler);
    linked.publish(b"here", 4);
    let mut buf = [0; 8];
    assert_eq!(end.read(&mut buf).unwrap(), 4);
    assert_eq!(&buf[..4], b"here");
    victim.expect_well();
}
