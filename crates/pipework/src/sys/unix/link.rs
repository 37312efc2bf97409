//! The shared memory of a connection, and its hello.

use super::{super::Limit, caller, memory, os, poll};
use crate::{
    error::{PipeErrorKind, context, fail},
    model::hello::{HELLO_LEN, Hello, Refused},
    network::NetworkCaller,
    ring::{Consumer, Direction, Geometry, Memory, Producer, Side, Sleepers},
};
use rustix::{
    io::Errno,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    },
};
use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// What both ends know of a connection before a byte was said.
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
    /// Whether a client may speak for somebody on another computer.
    pub(crate) accept_remote: bool,
}

impl Shape {
    fn geometry(&self) -> Geometry {
        Geometry::new(self.messages, self.inbound, self.outbound)
    }

    /// What a client says that speaks for itself.
    fn hello(&self) -> Hello {
        let Shape { incarnation, messages, inbound, outbound, .. } = *self;
        Hello { incarnation, inbound, outbound, messages, caller_len: 0 }
    }
}

/// The rings of a connection, seen from one end.
#[derive(Debug)]
pub(crate) struct Link {
    consumer: Option<Mutex<Consumer>>,
    producer: Option<Mutex<Writing>>,
    pub(crate) sleepers: Sleepers,
}

/// The producer, and when the other end was last known to live.
#[derive(Debug)]
pub(crate) struct Writing {
    pub(crate) producer: Producer,
    pub(crate) seen_alive: Instant,
}

impl Link {
    /// Maps a memory object of this shape.
    fn new(fd: &OwnedFd, shape: &Shape, side: Side) -> io::Result<Link> {
        let geometry = shape.geometry();
        let memory = Arc::new(super::mapping::map(fd, geometry.len())?);
        Ok(Link::over(&memory, &geometry, side))
    }

    fn over(memory: &Arc<Memory>, geometry: &Geometry, side: Side) -> Link {
        let (reads, writes) = match side {
            Side::Client => (Direction::Outbound, Direction::Inbound),
            Side::Server => (Direction::Inbound, Direction::Outbound),
        };
        let consumer = Consumer::new(Arc::clone(memory), geometry, reads).map(Mutex::new);
        let producer = Producer::new(Arc::clone(memory), geometry, writes)
            .map(|producer| Mutex::new(Writing { producer, seen_alive: Instant::now() }));
        Link { consumer, producer, sleepers: Sleepers::new(Arc::clone(memory), side) }
    }

    pub(crate) fn consumer(&self) -> io::Result<MutexGuard<'_, Consumer>> {
        let consumer = self.consumer.as_ref().ok_or_else(|| denied("read"))?;
        Ok(consumer.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn writing(&self) -> io::Result<MutexGuard<'_, Writing>> {
        let producer = self.producer.as_ref().ok_or_else(|| denied("write"))?;
        Ok(producer.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// An end may not do this (rule C5).
pub(crate) fn denied(what: &str) -> io::Error {
    fail(
        PipeErrorKind::AccessDenied,
        format!("this end may not {what}: the pipe goes the other way, or it was not asked for"),
    )
}

/// A client's memory, made before it connects so that a refusal costs no instance.
#[derive(Debug)]
pub(crate) struct Offer {
    fd: OwnedFd,
    link: Link,
    shape: Shape,
}

impl Offer {
    pub(crate) fn new(shape: Shape) -> io::Result<Offer> {
        let making = "making the shared memory of the pipe";
        let fd = memory::create(shape.geometry().len()).map_err(|error| context(making, error))?;
        let link = Link::new(&fd, &shape, Side::Client).map_err(|error| context(making, error))?;
        Ok(Offer { fd, link, shape })
    }

    pub(crate) fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Whether the memory will do for an instance of this shape.
    pub(crate) fn fits(&self, shape: &Shape) -> bool {
        self.shape.hello() == shape.hello()
    }

    /// Says hello to the server, for somebody else if there is a caller.
    pub(crate) fn send(
        self,
        socket: BorrowedFd<'_>,
        caller: Option<&NetworkCaller>,
        limit: &Limit,
    ) -> io::Result<Link> {
        let caller = caller.map(caller::encode).transpose()?.unwrap_or_default();
        let caller_len = u32::try_from(caller.len()).unwrap_or(u32::MAX);
        let hello = [&Hello { caller_len, ..self.shape.hello() }.encode()[..], &caller].concat();
        loop {
            match send_with(socket, &hello, self.fd.as_fd()) {
                Ok(()) => return Ok(self.link),
                // The server went away meanwhile: the first call on this end says so.
                Err(Errno::PIPE | Errno::CONNRESET) => return Ok(self.link),
                // Too many descriptors of this user are under way: others will take theirs.
                Err(Errno::TOOMANYREFS) => {
                    limit.check()?;
                    poll::wait(&[], limit, Some(Duration::from_millis(2)))?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// How much of a hello is taken at a time; those without a caller are much shorter.
const PIECE_LEN: usize = 512;

/// A server's side of the hello: its bytes may come in pieces, its memory with any of them.
#[derive(Debug)]
pub(crate) struct Welcome {
    /// The hello, then the identity of whom it speaks for, as far as they have come.
    bytes: Vec<u8>,
    memory: Option<OwnedFd>,
    /// For whom on another computer it was said.
    pub(crate) caller: Option<Box<NetworkCaller>>,
}

/// What came of looking for the hello.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// Not all of it yet.
    Pending,
    /// The client is gone, and there was none.
    Gone,
    /// The hello, taken as it should be.
    Link(Link),
    /// Something else: the end of this connection.
    Corrupt(String),
}

impl Welcome {
    pub(crate) fn new() -> Welcome {
        Welcome { bytes: Vec::new(), memory: None, caller: None }
    }

    /// Takes what is there of the hello, without waiting.
    pub(crate) fn receive(&mut self, socket: BorrowedFd<'_>, shape: &Shape) -> io::Result<Arrival> {
        if let Some(other) = self.fill(socket, HELLO_LEN)? {
            return Ok(other);
        }
        let hello = match self.bytes.first_chunk().map(Hello::decode) {
            Some(Ok(hello)) => hello,
            Some(Err(Refused::Version(version))) => {
                return Ok(Arrival::Corrupt(format!(
                    "a hello of version {version}, and this program speaks version 1"
                )));
            }
            _ => return Ok(Arrival::Corrupt("no hello of this protocol".into())),
        };
        if (Hello { caller_len: 0, ..hello }) != shape.hello() {
            return Ok(Arrival::Corrupt("a hello for a pipe of another shape".into()));
        }
        if hello.caller_len > 0 {
            let len = usize::try_from(hello.caller_len).unwrap_or(usize::MAX);
            // Believed of root alone: what others say of who they are is worth nothing.
            if !shape.accept_remote || len > caller::CALLER_LEN_MAX || os::credentials(socket)?.1 != 0 {
                return Ok(Arrival::Corrupt("a hello for somebody else, which it may not say".into()));
            }
            if let Some(other) = self.fill(socket, HELLO_LEN + len)? {
                return Ok(other);
            }
            self.caller = self.bytes.get(HELLO_LEN..).and_then(caller::decode).map(Box::new);
            if self.caller.is_none() {
                return Ok(Arrival::Corrupt("a hello for somebody of whom it tells nothing".into()));
            }
        }
        self.take_memory(shape)
    }

    /// Fills the bytes up to `len`; else what there is instead.
    fn fill(&mut self, socket: BorrowedFd<'_>, len: usize) -> io::Result<Option<Arrival>> {
        let mut space = [0; PIECE_LEN];
        while let Some(missing) = len.checked_sub(self.bytes.len()).filter(|missing| *missing > 0) {
            let (space, _) = space.split_at_mut(missing.min(PIECE_LEN));
            match receive_with(socket, space)? {
                Received::Nothing => return Ok(Some(Arrival::Pending)),
                Received::End => return Ok(Some(Arrival::Gone)),
                Received::TooMany => {
                    return Ok(Some(Arrival::Corrupt("a hello with more than one descriptor".into())));
                }
                Received::Bytes(len, memory) => {
                    self.bytes.extend(space.iter().take(len));
                    if let Some(memory) = memory
                        && self.memory.replace(memory).is_some()
                    {
                        return Ok(Some(Arrival::Corrupt("a hello with more than one memory".into())));
                    }
                }
            }
        }
        Ok(None)
    }

    fn take_memory(&mut self, shape: &Shape) -> io::Result<Arrival> {
        let Some(memory) = self.memory.take() else {
            return Ok(Arrival::Corrupt("a hello without its memory".into()));
        };
        if let Err(why) = memory::check(&memory, shape.geometry().len()) {
            return Ok(Arrival::Corrupt(why.into()));
        }
        let link = Link::new(&memory, shape, Side::Server);
        if link.is_err() {
            // No room to map it now: it is still there for the next try.
            self.memory = Some(memory);
        } else {
            self.bytes = Vec::new();
        }
        link.map(Arrival::Link)
    }
}

/// What came through a socket.
#[derive(Debug)]
pub(crate) enum Received {
    /// Nothing now.
    Nothing,
    /// Nothing any more: reset and hang-up are both closed.
    End,
    /// So many bytes, and a descriptor with them.
    Bytes(usize, Option<OwnedFd>),
    /// Several descriptors at once, which nobody of ours sends; they are closed.
    TooMany,
}

/// Receives without waiting, with at most one descriptor. Where there is no number left for a descriptor, the bytes
/// stay where they are, so that nothing is lost: they come when a number is free.
pub(crate) fn receive_with(socket: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<Received> {
    match look(socket, buf)? {
        // A look does not get past an urgent byte; a real receive does.
        Received::Bytes(..) | Received::Nothing => receive(socket, buf, os::RECEIVE_FLAGS),
        other => Ok(other),
    }
}

/// Receives without taking, and makes sure that there is a number for a descriptor.
fn look(socket: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<Received> {
    let flags = os::RECEIVE_FLAGS | rustix::net::RecvFlags::PEEK;
    if os::PEEK_SHOWS_DESCRIPTORS {
        return receive(socket, buf, flags);
    }
    match rustix::io::retry_on_intr(|| rustix::net::recv(socket, &mut *buf, flags)) {
        Ok((0, _)) | Err(Errno::CONNRESET) => Ok(Received::End),
        Err(Errno::AGAIN) => Ok(Received::Nothing),
        Err(error) => Err(error.into()),
        Ok((len, _)) => match rustix::io::fcntl_dupfd_cloexec(socket, 0) {
            Ok(_spare) => Ok(Received::Bytes(len, None)),
            Err(error) => Err(no_number_left(error)),
        },
    }
}

fn no_number_left(error: Errno) -> io::Error {
    context("taking a descriptor that the other end sent; close some, then try again", error)
}

fn receive(socket: BorrowedFd<'_>, buf: &mut [u8], flags: rustix::net::RecvFlags) -> io::Result<Received> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        match rustix::net::recvmsg(socket, &mut [IoSliceMut::new(buf)], &mut control, flags) {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(Received::Nothing),
            Err(Errno::CONNRESET) => return Ok(Received::End),
            outcome => break outcome?,
        }
    };
    let mut descriptors = control.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect(),
        _ => Vec::new(),
    });
    let (first, second) = (descriptors.next(), descriptors.next());
    drop(descriptors);
    let is_cut = received.flags.contains(ReturnFlags::CTRUNC);
    if second.is_some() || (is_cut && first.is_some()) {
        return Ok(Received::TooMany);
    }
    if is_cut {
        return Err(no_number_left(Errno::MFILE));
    }
    if let Some(first) = &first {
        os::keep_from_children(first)?;
    }
    Ok(if received.bytes == 0 { Received::End } else { Received::Bytes(received.bytes, first) })
}

/// Sends bytes with a descriptor, without waiting: all or an error.
pub(crate) fn send_with(socket: BorrowedFd<'_>, bytes: &[u8], fd: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [fd];
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    let sent = rustix::io::retry_on_intr(|| {
        rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, os::SEND_FLAGS)
    })?;
    if sent == bytes.len() { Ok(()) } else { Err(Errno::AGAIN) }
}
