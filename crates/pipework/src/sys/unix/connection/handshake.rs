//! The hello: a client offers the memory of a connection, and names the remote client that it speaks for, if
//! any.

use super::{
    super::{delegation, memory, os},
    fd_passing::{Received, receive_with, send_with},
    rings::{Rings, Shape},
};
use crate::{
    error::context,
    model::hello::{HELLO_LEN, Hello, Refused, VERSION},
    network::RemoteClient,
    ring::Side,
};
use rustix::io::Errno;
use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

/// A client's memory, made before it connects so that a refusal costs no instance.
#[derive(Debug)]
pub(crate) struct ClientHandshake {
    fd: OwnedFd,
    rings: Rings,
    shape: Shape,
}

impl ClientHandshake {
    pub(crate) fn new(shape: Shape) -> io::Result<ClientHandshake> {
        let making = "making the shared memory of the pipe";
        let fd = memory::create(shape.geometry().len()).map_err(|error| context(making, error))?;
        let rings = Rings::new(&fd, &shape, Side::Client).map_err(|error| context(making, error))?;
        Ok(ClientHandshake { fd, rings, shape })
    }

    pub(crate) fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Whether the memory will do for an instance of this shape.
    pub(crate) fn fits(&self, shape: &Shape) -> bool {
        self.shape.hello() == shape.hello()
    }

    /// Says hello to the server, on behalf of the remote client if there is one. Gives the shortage that did not let it, which
    /// passes: too many descriptors of this user in flight, or no memory of the kernel.
    pub(crate) fn send(
        &self,
        socket: BorrowedFd<'_>,
        remote_client: Option<&RemoteClient>,
    ) -> io::Result<Option<Errno>> {
        let remote_client = remote_client.map(delegation::encode).transpose()?.unwrap_or_default();
        let identity_len = u32::try_from(remote_client.len()).unwrap_or(u32::MAX);
        let hello = [&Hello { identity_len, ..self.shape.hello() }.encode()[..], &remote_client].concat();
        match send_with(socket, &hello, self.fd.as_fd()) {
            Ok(()) => Ok(None),
            // The server went away meanwhile: the first call on this end says so.
            Err(Errno::PIPE | Errno::CONNRESET) => Ok(None),
            Err(shortage @ (Errno::TOOMANYREFS | Errno::NOBUFS | Errno::NOMEM)) => Ok(Some(shortage)),
            Err(error) => Err(error.into()),
        }
    }

    /// The client's rings, once the hello was sent.
    pub(crate) fn into_rings(self) -> Rings {
        self.rings
    }
}

/// How much of a hello is taken at a time; a hello without a remote client is much shorter.
const PIECE_LEN: usize = 512;

/// A server's side of the hello: its bytes may come in pieces, its memory with any of them.
#[derive(Debug)]
pub(crate) struct ServerHandshake {
    /// The hello, then the identity of the remote client, as far as they have come.
    bytes: Vec<u8>,
    memory: Option<OwnedFd>,
    /// The remote client that the hello speaks for.
    pub(crate) remote_client: Option<Box<RemoteClient>>,
}

/// The outcome of looking for the hello.
#[derive(Debug)]
pub(crate) enum HelloOutcome {
    /// Not all of it yet.
    Pending,
    /// The client is gone, and there was none.
    Gone,
    /// The hello, taken as it should be.
    Rings(Box<Rings>),
    /// Something else: the end of this connection.
    Corrupt(String),
    /// Its memory, thrown away by the kernel.
    Lost,
}

impl ServerHandshake {
    pub(crate) fn new() -> ServerHandshake {
        ServerHandshake { bytes: Vec::new(), memory: None, remote_client: None }
    }

    /// Takes what is there of the hello, without waiting.
    pub(crate) fn receive(&mut self, socket: BorrowedFd<'_>, shape: &Shape) -> io::Result<HelloOutcome> {
        if let Some(other) = self.fill(socket, HELLO_LEN)? {
            return Ok(other);
        }
        let hello = match self.bytes.first_chunk().map(Hello::decode) {
            Some(Ok(hello)) => hello,
            Some(Err(Refused::Version(version))) => {
                return Ok(HelloOutcome::Corrupt(format!(
                    "a hello of version {version}, and this program speaks version {VERSION}"
                )));
            }
            _ => return Ok(HelloOutcome::Corrupt("no hello of this protocol".into())),
        };
        if (Hello { identity_len: 0, ..hello }) != shape.hello() {
            return Ok(HelloOutcome::Corrupt("a hello for a pipe of another shape".into()));
        }
        if hello.identity_len > 0 {
            let len = usize::try_from(hello.identity_len).unwrap_or(usize::MAX);
            // Only root is trusted to name a remote client.
            if !shape.accept_remote || len > delegation::IDENTITY_LEN_MAX || os::credentials(socket)?.1 != 0 {
                return Ok(HelloOutcome::Corrupt(
                    "a hello for a remote client, which only root may speak for".into(),
                ));
            }
            if let Some(other) = self.fill(socket, HELLO_LEN + len)? {
                return Ok(other);
            }
            self.remote_client = self.bytes.get(HELLO_LEN..).and_then(delegation::decode).map(Box::new);
            if self.remote_client.is_none() {
                return Ok(HelloOutcome::Corrupt(
                    "a hello with an invalid identity of a remote client".into(),
                ));
            }
        }
        self.take_memory(shape)
    }

    /// Fills the bytes up to `len`; else what there is instead.
    fn fill(&mut self, socket: BorrowedFd<'_>, len: usize) -> io::Result<Option<HelloOutcome>> {
        let mut space = [0; PIECE_LEN];
        while let Some(missing) = len.checked_sub(self.bytes.len()).filter(|missing| *missing > 0) {
            let (space, _) = space.split_at_mut(missing.min(PIECE_LEN));
            match receive_with(socket, space)? {
                Received::Nothing => return Ok(Some(HelloOutcome::Pending)),
                Received::End => return Ok(Some(HelloOutcome::Gone)),
                Received::Lost => return Ok(Some(HelloOutcome::Lost)),
                Received::TooMany => {
                    return Ok(Some(HelloOutcome::Corrupt("a hello with more than one descriptor".into())));
                }
                Received::Bytes(len, memory) => {
                    self.bytes.extend(space.iter().take(len));
                    if let Some(memory) = memory
                        && self.memory.replace(memory).is_some()
                    {
                        return Ok(Some(HelloOutcome::Corrupt("a hello with more than one memory".into())));
                    }
                }
            }
        }
        Ok(None)
    }

    fn take_memory(&mut self, shape: &Shape) -> io::Result<HelloOutcome> {
        let Some(memory) = self.memory.take() else {
            return Ok(HelloOutcome::Corrupt("a hello without its memory".into()));
        };
        if let Err(why) = memory::check(&memory, shape.geometry().len()) {
            return Ok(HelloOutcome::Corrupt(why.into()));
        }
        let rings = Rings::new(&memory, shape, Side::Server);
        if rings.is_err() {
            // No room to map it now: it is still there for the next try.
            self.memory = Some(memory);
        } else {
            self.bytes = Vec::new();
        }
        rings.map(|rings| HelloOutcome::Rings(Box::new(rings)))
    }
}
