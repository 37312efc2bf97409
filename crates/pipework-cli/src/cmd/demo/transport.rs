//! The transports that the demo compares, each between two processes and behind one trait.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read, Write},
    process::Stdio,
};

use pipework::{
    Canceller, ClientOptions, MessageRead, NamedPipeBuilder, PipeMode, PipeName, PipeStream, anonymous,
};

use crate::{
    args::Transport,
    cmd::demo::{
        parameters::{BUFFER_LEN, STALL_TIMEOUT},
        peer_process::PeerProcess,
    },
};

/// One end of a transport, used by one thread.
pub(super) trait Endpoint {
    /// Sends all bytes, on a message pipe as one message.
    fn send(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Receives the available bytes, up to the size of the buffer. 0 is the end.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Fills the buffer.
    fn receive_exact(&mut self, mut buffer: &mut [u8]) -> io::Result<()> {
        while !buffer.is_empty() {
            let len = self.receive(buffer)?;
            if len == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            buffer = buffer.get_mut(len..).unwrap_or_default();
        }
        Ok(())
    }
}

/// An endpoint of bytes.
struct ByteEndpoint<R, W> {
    reader: R,
    writer: W,
}

impl<R: Read, W: Write> Endpoint for ByteEndpoint<R, W> {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes)
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}

/// An endpoint of messages.
struct MessageEndpoint(PipeStream);

impl Endpoint for MessageEndpoint {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_message(bytes)
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read_message_into(buffer)? {
            MessageRead::Whole(len) | MessageRead::Part(len) => Ok(len),
            MessageRead::End => Ok(0),
        }
    }
}

/// The endpoint of this process, and the peer process.
pub(super) struct Connection {
    pub(super) endpoint: Box<dyn Endpoint>,
    pub(super) peer: PeerProcess,
}

/// Creates a transport, starts the peer process, and waits until that has connected.
pub(super) fn open(transport: Transport, bytes: u64, interrupted: &Canceller) -> io::Result<Connection> {
    match transport {
        Transport::PipeworkByte => open_pipework(transport, PipeMode::Byte, bytes, interrupted),
        Transport::PipeworkMessage => open_pipework(transport, PipeMode::Message, bytes, interrupted),
        Transport::KernelPipe => {
            // Most programs use the system's default size, and here it is faster than a larger one.
            let (peer_reader, writer) = anonymous(0)?;
            let (reader, peer_writer) = anonymous(0)?;
            let peer = start_peer(transport, bytes, None, Some((peer_reader.into(), peer_writer.into())))?;
            Ok(Connection { endpoint: Box::new(ByteEndpoint { reader, writer }), peer })
        }
        #[cfg(unix)]
        Transport::UnixSocket => {
            use std::os::{fd::OwnedFd, unix::net::UnixStream};
            let (socket, peer_socket) = UnixStream::pair()?;
            let ends = (OwnedFd::from(peer_socket).into(), Stdio::null());
            let peer = start_peer(transport, bytes, None, Some(ends))?;
            Ok(Connection {
                endpoint: Box::new(ByteEndpoint { reader: socket.try_clone()?, writer: socket }),
                peer,
            })
        }
    }
}

fn open_pipework(
    transport: Transport,
    mode: PipeMode,
    bytes: u64,
    interrupted: &Canceller,
) -> io::Result<Connection> {
    let name = PipeName::unique("pipework-demo")?;
    let mut builder = NamedPipeBuilder::new(&name);
    builder.pipe_mode(mode).in_buffer_size(BUFFER_LEN).out_buffer_size(BUFFER_LEN);
    let listener = builder.listen()?;
    listener.set_canceller(Some(interrupted));
    let peer = start_peer(transport, bytes, Some(&name), None)?;
    let stream = listener.accept_timeout(STALL_TIMEOUT)?;
    Ok(Connection { endpoint: wrap(stream, mode)?, peer })
}

fn start_peer(
    transport: Transport,
    bytes: u64,
    name: Option<&PipeName>,
    ends: Option<(Stdio, Stdio)>,
) -> io::Result<PeerProcess> {
    PeerProcess::start(|command| {
        let transport = match transport {
            Transport::PipeworkByte => "pipework-byte",
            Transport::PipeworkMessage => "pipework-message",
            Transport::KernelPipe => "kernel-pipe",
            #[cfg(unix)]
            Transport::UnixSocket => "unix-socket",
        };
        command.args(["measure", transport, &bytes.to_string()]);
        if let Some(name) = name {
            command.arg(AsRef::<OsStr>::as_ref(name));
        }
        if let Some((stdin, stdout)) = ends {
            command.stdin(stdin).stdout(stdout);
        }
    })
}

/// Connects, in the peer process that [`open`] has started.
pub(super) fn connect(transport: Transport, name: Option<&OsStr>) -> io::Result<Box<dyn Endpoint>> {
    let connect = |mode| {
        let name = name.ok_or_else(|| io::Error::other("this transport needs a name"))?;
        wrap(ClientOptions::new().read_mode(mode).connect(name)?, mode)
    };
    match transport {
        Transport::PipeworkByte => connect(PipeMode::Byte),
        Transport::PipeworkMessage => connect(PipeMode::Message),
        Transport::KernelPipe => {
            let (reader, writer) = unbuffered_stdio()?;
            Ok(Box::new(ByteEndpoint { reader, writer }))
        }
        #[cfg(unix)]
        Transport::UnixSocket => {
            use std::os::{fd::AsFd as _, unix::net::UnixStream};
            let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
            Ok(Box::new(ByteEndpoint { reader: socket.try_clone()?, writer: socket }))
        }
    }
}

fn wrap(stream: PipeStream, mode: PipeMode) -> io::Result<Box<dyn Endpoint>> {
    match mode {
        PipeMode::Message => Ok(Box::new(MessageEndpoint(stream))),
        _ => Ok(Box::new(ByteEndpoint { reader: stream.try_clone()?, writer: stream })),
    }
}

/// Returns stdin and stdout without the buffers and locks of the standard library, which would slow them down.
#[cfg(unix)]
fn unbuffered_stdio() -> io::Result<(File, File)> {
    use std::os::fd::AsFd as _;
    let reader = io::stdin().as_fd().try_clone_to_owned()?;
    let writer = io::stdout().as_fd().try_clone_to_owned()?;
    Ok((reader.into(), writer.into()))
}

/// Returns stdin and stdout without the buffers and locks of the standard library, which would slow them down.
#[cfg(windows)]
fn unbuffered_stdio() -> io::Result<(File, File)> {
    use std::os::windows::io::AsHandle as _;
    let reader = io::stdin().as_handle().try_clone_to_owned()?;
    let writer = io::stdout().as_handle().try_clone_to_owned()?;
    Ok((reader.into(), writer.into()))
}
