#![expect(unsafe_code, reason = "plays a hostile peer, which maps the memory of a connection itself")]
//! The wire, spoken by hand: names, header, hello, memory, words, records.

use pipework::{ClientOptions, Listener, NamedPipeBuilder, PipeErrorKind, PipeMode, PipeName, PipeStream};
use rustix::{
    fs::{MemfdFlags, SealFlags},
    mm::{MapFlags, ProtFlags},
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags},
};
use std::{
    fs,
    io::{self, IoSlice, Read, Write},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::{fs::PermissionsExt, net::UnixStream},
    },
    path::{Path, PathBuf},
    time::Duration,
};

/// Long enough for anything that is there already.
pub(crate) const SHORT: Duration = Duration::from_millis(60);
/// For what must come, however slow the machine is.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

// ------------------------------------------------------------------ names

const DIGITS: &str = "0123456789abcdefghjkmnpqrstvwxyz";

/// The view in the names of what is made in this directory: every local file system, or every overlay.
pub(crate) fn view_of(directory: &Path) -> String {
    const OVERLAY: u32 = 0x794c_7630;
    let kind = rustix::fs::statfs(directory).unwrap().f_type;
    digits(u128::from(u32::try_from(kind).unwrap() == OVERLAY), 7)
}

/// A number as the names write it.
pub(crate) fn digits(value: u128, len: u32) -> String {
    let digit = |place| DIGITS.as_bytes()[usize::try_from(value >> (5 * place) & 31).unwrap()];
    (0..len).rev().map(|place| char::from(digit(place))).collect()
}

fn number(text: &str) -> u64 {
    text.chars().fold(0, |value, digit| value << 5 | DIGITS.find(digit).unwrap() as u64)
}

pub(crate) fn directory(name: &str) -> PathBuf {
    PathBuf::from(std::env::var_os("PIPEWORK_DIR").unwrap()).join(name)
}

// ------------------------------------------------------------------ the shape of a connection

/// What a client learns from the name of an instance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) messages: bool,
    pub(crate) incarnation: u64,
    pub(crate) in_quota: u32,
    pub(crate) out_quota: u32,
}

/// The version of the hello.
pub(crate) const VERSION: u32 = 2;

/// The payload begins after the page of the words.
pub(crate) const PAYLOAD: usize = 4096;

impl Shape {
    pub(crate) fn capacity(&self, quota: u32) -> usize {
        let quota = usize::try_from(quota).unwrap();
        let wanted = if self.messages { 2 * quota } else { quota };
        wanted.max(4096).next_power_of_two()
    }

    pub(crate) fn memory_len(&self) -> usize {
        PAYLOAD + self.capacity(self.in_quota) + self.capacity(self.out_quota)
    }

    pub(crate) fn hello(&self) -> [u8; 40] {
        let mut bytes = [0; 40];
        let flags = 6 | u32::from(self.messages);
        bytes[..8].copy_from_slice(b"pipework");
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&flags.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.incarnation.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.in_quota.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.out_quota.to_le_bytes());
        bytes
    }
}

/// The bit of tails and heads that distinguishes an epoch from the next.
pub(crate) const EPOCH: u64 = 1 << 63;

/// Offsets of the shared words.
pub(crate) mod word {
    pub(crate) const IN_TAIL: usize = 0;
    pub(crate) const IN_FILLED: usize = 8;
    pub(crate) const OUT_TAIL: usize = 128;
    pub(crate) const IN_HEAD: usize = 256;
    pub(crate) const OUT_HEAD: usize = 384;
    pub(crate) const OUT_PAYLOAD: usize = 392;
    pub(crate) const CLIENT_WAITING: usize = 512;
    pub(crate) const SERVER_WAITING: usize = 640;
    pub(crate) const CLIENT_MARK: usize = 768;
    pub(crate) const SERVER_MARK: usize = 896;
}

pub(crate) const INLINE: u64 = 0x5057_4d53_4721_0001;
pub(crate) const ATTACHED: u64 = 0x5057_4d53_4721_0002;
pub(crate) const KEPT: u64 = 0x5057_4d53_4721_0003;

pub(crate) fn record(tag: u64, len: u64) -> Vec<u8> {
    tag.to_le_bytes().into_iter().chain(len.to_le_bytes()).collect()
}

// ------------------------------------------------------------------ memory

pub(crate) const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

pub(crate) fn memory(len: usize, seals: SealFlags) -> OwnedFd {
    let fd = rustix::fs::memfd_create("hostile", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    rustix::fs::ftruncate(&fd, len as u64).unwrap();
    rustix::fs::fcntl_add_seals(&fd, seals).unwrap();
    fd
}

/// The memory of a connection, mapped by hand.
#[derive(Debug)]
pub(crate) struct Map {
    base: *mut u8,
    len: usize,
}

// SAFETY: the mapping belongs to the process; it is reached through volatile accesses only.
unsafe impl Send for Map {}
// SAFETY: as above.
unsafe impl Sync for Map {}

impl Map {
    pub(crate) fn new(fd: &OwnedFd, len: usize) -> Map {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a null hint makes the kernel choose a free place.
        let base = unsafe { rustix::mm::mmap(std::ptr::null_mut(), len, access, MapFlags::SHARED, fd, 0) };
        Map { base: base.unwrap().cast(), len }
    }

    pub(crate) fn set(&self, offset: usize, value: u64) {
        assert!(offset.is_multiple_of(8) && offset + 8 <= self.len);
        // SAFETY: within the mapping, as was just checked, and aligned, since the mapping begins on a page.
        unsafe { self.base.wrapping_add(offset).cast::<u64>().write_volatile(value) }
    }

    pub(crate) fn get(&self, offset: usize) -> u64 {
        assert!(offset.is_multiple_of(8) && offset + 8 <= self.len);
        // SAFETY: as in `set`.
        unsafe { self.base.wrapping_add(offset).cast::<u64>().read_volatile() }
    }

    pub(crate) fn fill(&self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= self.len);
        for (index, byte) in bytes.iter().enumerate() {
            // SAFETY: within the mapping, as was just checked.
            unsafe { self.base.wrapping_add(offset + index).write_volatile(*byte) }
        }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: our own mapping, which nobody uses any more.
        unsafe { rustix::mm::munmap(self.base.cast(), self.len) }.unwrap();
    }
}

// ------------------------------------------------------------------ sockets

/// Sends bytes with descriptors in one message.
pub(crate) fn send(socket: &UnixStream, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) {
    try_send(socket, bytes, descriptors, SendFlags::NOSIGNAL).unwrap();
}

pub(crate) fn try_send(
    socket: &UnixStream,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
    flags: SendFlags,
) -> rustix::io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(250))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(descriptors)));
    }
    rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags)
}

/// A hostile client that got as far as a connection.
pub(crate) struct Raw {
    pub(crate) socket: UnixStream,
    pub(crate) shape: Shape,
}

/// One that has said hello properly: from here on it lies in the memory.
pub(crate) struct Linked {
    pub(crate) socket: UnixStream,
    pub(crate) shape: Shape,
    pub(crate) fd: OwnedFd,
    pub(crate) map: Map,
}

impl Raw {
    pub(crate) fn memory(&self) -> OwnedFd {
        memory(self.shape.memory_len(), SEALS)
    }

    pub(crate) fn link(self) -> Linked {
        let fd = self.memory();
        let map = Map::new(&fd, self.shape.memory_len());
        send(&self.socket, &self.shape.hello(), &[fd.as_fd()]);
        Linked { socket: self.socket, shape: self.shape, fd, map }
    }
}

impl Linked {
    pub(crate) fn ring(&self) {
        send(&self.socket, b".", &[]);
    }

    /// Says that so much was published, after these bytes were put at the beginning of the ring to the server.
    pub(crate) fn publish(&self, bytes: &[u8], tail: u64) {
        self.map.fill(PAYLOAD, bytes);
        self.map.set(word::IN_TAIL, tail);
        self.ring();
    }
}

// ------------------------------------------------------------------ the honest ones

/// A real server, and who attacks it.
pub(crate) struct Victim {
    pub(crate) name: String,
    pub(crate) listener: Listener,
    mode: PipeMode,
}

impl Victim {
    pub(crate) fn new(mode: PipeMode, quota: u32) -> Victim {
        Victim::with(mode, quota, false)
    }

    /// One that clients from the network may reach, by way of a service of root's.
    pub(crate) fn for_the_network() -> Victim {
        let pipes = std::env::var_os("PIPEWORK_DIR").unwrap();
        fs::set_permissions(pipes, fs::Permissions::from_mode(0o755)).unwrap();
        Victim::with(PipeMode::Byte, 4096, true)
    }

    fn with(mode: PipeMode, quota: u32, accept_remote: bool) -> Victim {
        let name = PipeName::unique("victim").unwrap().to_string().rsplit('\\').next().unwrap().to_owned();
        let mut builder = NamedPipeBuilder::new(&name);
        builder.accept_remote(accept_remote);
        let listener = builder.pipe_mode(mode).in_buffer_size(quota).out_buffer_size(quota).listen().unwrap();
        Victim { name, listener, mode }
    }

    /// Connects to the instance that listens.
    pub(crate) fn connect(&self) -> Raw {
        let directory = directory(&self.name);
        let leaf = fs::read_dir(&directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .find(|leaf| leaf.starts_with("i-") || leaf.starts_with("n-"))
            .expect("an instance listens");
        // The directory may lie deeper than an address reaches.
        let opened = fs::File::open(&directory).unwrap();
        let socket = UnixStream::connect(format!("/proc/self/fd/{}/{leaf}", opened.as_raw_fd())).unwrap();
        let parts: Vec<u64> = leaf.split('-').skip(3).map(number).collect();
        let [incarnation, in_quota, out_quota] = parts[..] else { panic!("{leaf}") };
        let quota = |quota: u64| u32::try_from(quota).unwrap();
        let messages = self.mode == PipeMode::Message;
        Raw {
            socket,
            shape: Shape { messages, incarnation, in_quota: quota(in_quota), out_quota: quota(out_quota) },
        }
    }

    /// Connects, and gives the server's end too, whose waits are short.
    pub(crate) fn attack(&self) -> (Raw, PipeStream) {
        let raw = self.connect();
        let end = self.listener.accept().unwrap();
        end.set_read_timeout(Some(SHORT)).unwrap();
        end.set_write_timeout(Some(SHORT)).unwrap();
        (raw, end)
    }

    pub(crate) fn attack_linked(&self) -> (Linked, PipeStream) {
        let (raw, end) = self.attack();
        (raw.link(), end)
    }

    /// Somebody else is served as if nothing had happened.
    pub(crate) fn expect_well(&self) {
        let mut client = ClientOptions::new().open(&self.name).unwrap();
        let mut server = self.listener.accept().unwrap();
        let mut buf = [0; 4];
        client.write_all(b"ping").unwrap();
        server.read_exact(&mut buf).unwrap();
        assert_eq!(&buf, b"ping");
        server.write_all(b"pong").unwrap();
        client.read_exact(&mut buf).unwrap();
        assert_eq!(&buf, b"pong");
    }
}

/// Fails unless the call failed as it should.
#[track_caller]
pub(crate) fn expect<T: std::fmt::Debug>(outcome: io::Result<T>, kind: PipeErrorKind, about: &str) {
    match outcome {
        Ok(value) => panic!("{about}: {value:?} instead of {kind:?}"),
        Err(error) => assert_eq!(PipeErrorKind::of(&error), Some(kind), "{about}: {error}"),
    }
}

/// Whether the error says what went wrong.
pub(crate) fn is_typed(error: &io::Error) -> bool {
    // An error without a kind has the system's code.
    PipeErrorKind::of(error).is_some() || error.kind() != io::ErrorKind::Other
}
