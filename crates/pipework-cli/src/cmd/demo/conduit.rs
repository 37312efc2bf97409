//! The transports that are compared, each between two processes and behind one trait.

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
    cmd::demo::{BUFFER_LEN, PATIENCE, Peer},
};

/// One end of a transport, used by one thread.
pub(super) trait Conduit {
    /// Sends all bytes; where there are messages, as one.
    fn send(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Receives what there is, at most what fits; 0 is the end.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Receives exactly what fits.
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

/// Any transport of bytes.
struct Bytes<R, W> {
    reader: R,
    writer: W,
}

impl<R: Read, W: Write> Conduit for Bytes<R, W> {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes)
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}

/// A message pipe.
struct Messages(PipeStream);

impl Conduit for Messages {
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

/// The near end, and the process at the far end.
pub(super) struct Link {
    pub(super) near: Box<dyn Conduit>,
    pub(super) peer: Peer,
}

/// Sets a transport up and starts the process at its far end.
pub(super) fn start(transport: Transport, bytes: u64, interrupted: &Canceller) -> io::Result<Link> {
    match transport {
        Transport::PipeworkByte => start_pipework(transport, PipeMode::Byte, bytes, interrupted),
        Transport::PipeworkMessage => start_pipework(transport, PipeMode::Message, bytes, interrupted),
        Transport::KernelPipe => {
            // The system's own size: what nearly every program uses, and faster here than a larger one.
            let (there, writer) = anonymous(0)?;
            let (reader, back) = anonymous(0)?;
            let peer = start_peer(transport, bytes, None, Some((there.into(), back.into())))?;
            Ok(Link { near: Box::new(Bytes { reader, writer }), peer })
        }
        #[cfg(unix)]
        Transport::UnixSocket => {
            use std::os::{fd::OwnedFd, unix::net::UnixStream};
            let (near, far) = UnixStream::pair()?;
            let ends = (OwnedFd::from(far).into(), Stdio::null());
            let peer = start_peer(transport, bytes, None, Some(ends))?;
            Ok(Link { near: Box::new(Bytes { reader: near.try_clone()?, writer: near }), peer })
        }
    }
}

fn start_pipework(
    transport: Transport,
    mode: PipeMode,
    bytes: u64,
    interrupted: &Canceller,
) -> io::Result<Link> {
    let name = PipeName::unique("pipework-demo")?;
    let mut builder = NamedPipeBuilder::new(&name);
    builder.pipe_mode(mode).in_buffer_size(BUFFER_LEN).out_buffer_size(BUFFER_LEN);
    let listener = builder.listen()?;
    listener.set_canceller(Some(interrupted));
    let peer = start_peer(transport, bytes, Some(&name), None)?;
    let stream = listener.accept_timeout(PATIENCE)?;
    Ok(Link { near: wrap(stream, mode)?, peer })
}

fn start_peer(
    transport: Transport,
    bytes: u64,
    name: Option<&PipeName>,
    ends: Option<(Stdio, Stdio)>,
) -> io::Result<Peer> {
    Peer::start(|command| {
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

/// The far end, in the process that [`start`] started.
pub(super) fn join(transport: Transport, name: Option<&OsStr>) -> io::Result<Box<dyn Conduit>> {
    let open = |mode| {
        let name = name.ok_or_else(|| io::Error::other("this transport needs a name"))?;
        wrap(ClientOptions::new().read_mode(mode).connect(name)?, mode)
    };
    match transport {
        Transport::PipeworkByte => open(PipeMode::Byte),
        Transport::PipeworkMessage => open(PipeMode::Message),
        Transport::KernelPipe => {
            let (reader, writer) = standard_files()?;
            Ok(Box::new(Bytes { reader, writer }))
        }
        #[cfg(unix)]
        Transport::UnixSocket => {
            use std::os::{fd::AsFd as _, unix::net::UnixStream};
            let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
            Ok(Box::new(Bytes { reader: socket.try_clone()?, writer: socket }))
        }
    }
}

fn wrap(stream: PipeStream, mode: PipeMode) -> io::Result<Box<dyn Conduit>> {
    match mode {
        PipeMode::Message => Ok(Box::new(Messages(stream))),
        _ => Ok(Box::new(Bytes { reader: stream.try_clone()?, writer: stream })),
    }
}

/// Stdin and stdout without the buffers and locks of the standard library, which would be measured, too.
#[cfg(unix)]
fn standard_files() -> io::Result<(File, File)> {
    use std::os::fd::AsFd as _;
    let reader = io::stdin().as_fd().try_clone_to_owned()?;
    let writer = io::stdout().as_fd().try_clone_to_owned()?;
    Ok((reader.into(), writer.into()))
}

/// Stdin and stdout without the buffers and locks of the standard library, which would be measured, too.
#[cfg(windows)]
fn standard_files() -> io::Result<(File, File)> {
    use std::os::windows::io::AsHandle as _;
    let reader = io::stdin().as_handle().try_clone_to_owned()?;
    let writer = io::stdout().as_handle().try_clone_to_owned()?;
    Ok((reader.into(), writer.into()))
}
