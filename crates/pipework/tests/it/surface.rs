//! What a case asks of a pipe, whatever offers it: the blocking calls of this process, or those of another process.
//!
//! A case is written once against these traits and runs on every surface in [`surfaces`].

use std::{
    fmt,
    io::{self, IoSlice, Read, Write},
    time::Duration,
};

use pipework::{
    Access, ClientOptions, MessageBatch, MessageRead, NamedPipe, NamedPipeBuilder, Peer, PipeEnd,
    PipeErrorKind, PipeInfo, PipeMode, PipeStream, ServerCheck,
};

#[cfg(unix)]
use pipework::{
    RemoteClient,
    os::unix::{ClientOptionsExt, PipeStreamExt},
};

#[cfg(feature = "tokio")]
use crate::asynchronous;

/// A call's result; errors have a form that can cross a process boundary.
pub(crate) type Outcome<T> = Result<T, Fault>;

/// An error in a form that can come from another process.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    /// The kind of a pipe error, if it is one.
    pub(crate) kind: Option<PipeErrorKind>,
    /// The name of the `io::ErrorKind`.
    pub(crate) io_kind: String,
    /// The text for the reader.
    pub(crate) text: String,
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        Fault {
            kind: PipeErrorKind::of(&error),
            io_kind: format!("{:?}", error.kind()),
            text: error.to_string(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ({}): {}", self.kind, self.io_kind, self.text)
    }
}

impl PartialEq<PipeErrorKind> for Fault {
    fn eq(&self, kind: &PipeErrorKind) -> bool {
        self.kind == Some(*kind)
    }
}

/// A user or group that may connect beside the owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Grant {
    /// Every user of this computer.
    Everyone,
    /// One user.
    User(String),
    /// One group.
    Group(String),
}

/// How to create an instance or a listener.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) name: String,
    pub(crate) inbound: bool,
    pub(crate) outbound: bool,
    pub(crate) first: bool,
    pub(crate) max_instances: u8,
    pub(crate) out_len: u32,
    pub(crate) in_len: u32,
    pub(crate) mode: PipeMode,
    pub(crate) default_timeout: Duration,
    pub(crate) grants: Vec<Grant>,
    pub(crate) accept_remote: bool,
}

impl Spec {
    /// A duplex byte pipe that is the first of its name.
    pub(crate) fn new(name: &str) -> Spec {
        Spec {
            name: name.to_owned(),
            inbound: true,
            outbound: true,
            first: true,
            max_instances: 255,
            out_len: 65_536,
            in_len: 65_536,
            mode: PipeMode::Byte,
            default_timeout: Duration::from_millis(50),
            grants: Vec::new(),
            accept_remote: false,
        }
    }

    /// Messages instead of bytes.
    pub(crate) fn messages(mut self) -> Spec {
        self.mode = PipeMode::Message;
        self
    }

    /// Joins a name that may exist already.
    pub(crate) fn joining(mut self) -> Spec {
        self.first = false;
        self
    }

    /// At most so many instances.
    pub(crate) fn max(mut self, count: u8) -> Spec {
        self.max_instances = count;
        self
    }

    /// The same quota for both directions.
    pub(crate) fn quota(mut self, len: u32) -> Spec {
        self.out_len = len;
        self.in_len = len;
        self
    }

    /// Client to server only.
    pub(crate) fn inbound_only(mut self) -> Spec {
        self.outbound = false;
        self
    }

    /// Server to client only.
    pub(crate) fn outbound_only(mut self) -> Spec {
        self.inbound = false;
        self
    }

    /// What a zero timeout in `wait` means.
    pub(crate) fn default_timeout(mut self, timeout: Duration) -> Spec {
        self.default_timeout = timeout;
        self
    }

    /// Lets somebody else in.
    pub(crate) fn grant(mut self, grant: Grant) -> Spec {
        self.grants.push(grant);
        self
    }

    /// Remote clients may connect.
    #[cfg(unix)]
    pub(crate) fn accept_remote(mut self) -> Spec {
        self.accept_remote = true;
        self
    }

    /// The builder of the blocking surface that says the same.
    pub(crate) fn builder(&self) -> NamedPipeBuilder {
        let mut builder = NamedPipeBuilder::new(&self.name);
        builder
            .inbound(self.inbound)
            .outbound(self.outbound)
            .first(self.first)
            .max_instances(self.max_instances)
            .out_buffer_size(self.out_len)
            .in_buffer_size(self.in_len)
            .pipe_mode(self.mode)
            .default_timeout(self.default_timeout)
            .accept_remote(self.accept_remote)
            .access(self.access());
        builder
    }

    /// The users and groups that may connect.
    pub(crate) fn access(&self) -> Access {
        let everyone = self.grants.contains(&Grant::Everyone);
        let start = if everyone { Access::everyone() } else { Access::owner() };
        self.grants.iter().fold(start, |access, grant| match grant {
            Grant::Everyone => access,
            Grant::User(account) => access.user(account),
            Grant::Group(account) => access.group(account),
        })
    }
}

/// How to open a client end.
#[derive(Clone, Debug)]
pub(crate) struct OpenSpec {
    pub(crate) name: String,
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) mode: PipeMode,
    pub(crate) timeout: Option<Duration>,
    pub(crate) wait_absent: bool,
    pub(crate) server: ServerCheck,
    /// The uid of the remote client that it is opened for.
    pub(crate) caller: Option<u32>,
}

impl OpenSpec {
    /// A duplex client in byte read mode with the default time limit.
    pub(crate) fn new(name: &str) -> OpenSpec {
        OpenSpec {
            name: name.to_owned(),
            read: true,
            write: true,
            mode: PipeMode::Byte,
            timeout: None,
            wait_absent: false,
            server: ServerCheck::Trusted,
            caller: None,
        }
    }

    /// Message read mode.
    pub(crate) fn messages(mut self) -> OpenSpec {
        self.mode = PipeMode::Message;
        self
    }

    /// For reading only.
    pub(crate) fn read_only(mut self) -> OpenSpec {
        self.write = false;
        self
    }

    /// For writing only.
    pub(crate) fn write_only(mut self) -> OpenSpec {
        self.read = false;
        self
    }

    /// The longest wait of `connect`.
    pub(crate) fn timeout(mut self, timeout: Duration) -> OpenSpec {
        self.timeout = Some(timeout);
        self
    }

    /// Also waits for a name that does not exist yet.
    pub(crate) fn wait_absent(mut self) -> OpenSpec {
        self.wait_absent = true;
        self
    }

    /// Who the server must be.
    pub(crate) fn server(mut self, check: ServerCheck) -> OpenSpec {
        self.server = check;
        self
    }

    /// For a remote client.
    #[cfg(unix)]
    pub(crate) fn on_behalf_of(mut self, user: u32) -> OpenSpec {
        self.caller = Some(user);
        self
    }

    /// The options of the blocking surface that say the same.
    pub(crate) fn options(&self) -> ClientOptions {
        let mut options = ClientOptions::new();
        options
            .read(self.read)
            .write(self.write)
            .read_mode(self.mode)
            .wait_absent(self.wait_absent)
            .server(self.server.clone());
        if let Some(timeout) = self.timeout {
            options.timeout(timeout);
        }
        #[cfg(unix)]
        if let Some(user) = self.caller {
            options.on_behalf_of(&caller_of(user));
        }
        options
    }
}

/// The identity that a gateway reports for a remote client mapped to this user; the group has the same number.
#[cfg(unix)]
pub(crate) fn caller_of(user: u32) -> RemoteClient {
    RemoteClient {
        account: format!(r"WORKGROUP\caller-{user}"),
        address: "192.0.2.7".to_owned(),
        encrypted: true,
        user_id: user,
        group_ids: vec![user, 4_242],
        sids: vec![format!("S-1-5-21-1-2-3-{user}"), "S-1-5-11".to_owned()],
    }
}

/// What `peek` saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peeked {
    pub(crate) data: Vec<u8>,
    pub(crate) available: usize,
    pub(crate) message_left: Option<usize>,
}

/// What `info` returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Info {
    pub(crate) mode: PipeMode,
    pub(crate) end: PipeEnd,
    pub(crate) max_instances: u32,
    pub(crate) out_len: u32,
    pub(crate) in_len: u32,
}

impl From<PipeInfo> for Info {
    fn from(info: PipeInfo) -> Info {
        Info {
            mode: info.mode,
            end: info.end,
            max_instances: info.max_instances,
            out_len: info.out_buffer_size,
            in_len: info.in_buffer_size,
        }
    }
}

/// What `peer` returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PeerView {
    pub(crate) process_id: Option<u32>,
    pub(crate) same_user: bool,
    pub(crate) user_id: Option<u32>,
    pub(crate) group_ids: Vec<u32>,
    pub(crate) sid: Option<String>,
    pub(crate) account: String,
    pub(crate) network: Option<(String, String, Option<bool>)>,
}

impl From<&Peer> for PeerView {
    fn from(peer: &Peer) -> PeerView {
        PeerView {
            process_id: peer.process_id(),
            same_user: peer.is_same_user(),
            user_id: peer.user_id(),
            group_ids: peer.group_ids().to_vec(),
            sid: peer.sid().map(str::to_owned),
            account: peer.account().unwrap_or_else(|error| format!("unknown: {error}")),
            network: peer.network().map(|from| (from.account.clone(), from.address.clone(), from.encrypted)),
        }
    }
}

/// Who offers pipes.
pub(crate) trait Surface: Send + Sync {
    /// Its name, the first part of a test's name.
    fn name(&self) -> &'static str;
    /// Makes what this process makes once and keeps, before anything is counted.
    fn warm_up(&self) {}
    /// The cases that it can't run, and why.
    fn exempt(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }
    /// Creates one instance.
    fn create(&self, spec: &Spec) -> Outcome<Box<dyn Instance>>;
    /// Creates a listener.
    fn listen(&self, spec: &Spec) -> Outcome<Box<dyn Listener>>;
    /// Opens now or fails.
    fn open(&self, spec: &OpenSpec) -> Outcome<Box<dyn End>>;
    /// Opens, waiting as the options say.
    fn connect(&self, spec: &OpenSpec) -> Outcome<Box<dyn End>>;
    /// The shortest form: the address and nothing else.
    fn connect_to(&self, name: &str) -> Outcome<Box<dyn End>>;
    /// Waits until an instance listens.
    fn wait(&self, name: &str, timeout: Option<Duration>) -> Outcome<()>;
}

/// One server instance.
pub(crate) trait Instance: Send + Sync {
    /// Waits for a client.
    fn connect(&self) -> Outcome<()>;
    /// The same with a time limit.
    fn connect_timeout(&self, timeout: Duration) -> Outcome<()>;
    /// Throws the client out.
    fn disconnect(&self) -> Outcome<()>;
    /// Waits until the client has read everything, as `Write::flush` of an instance does.
    fn flush(&self) -> Outcome<()>;
    /// The connected end.
    fn end(&self) -> &dyn End;
}

/// An accept loop.
pub(crate) trait Listener: Send + Sync {
    /// Waits for the next client.
    fn accept(&self) -> Outcome<Box<dyn End>>;
    /// The same with a time limit.
    fn accept_timeout(&self, timeout: Duration) -> Outcome<Box<dyn End>>;
}

/// What a program waits to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Reading,
    Writing,
}

/// An end whose calls can return `WouldBlock` instead of waiting.
pub(crate) trait Tries {
    fn try_read(&self, buf: &mut [u8]) -> Outcome<usize>;
    fn try_write(&self, data: &[u8]) -> Outcome<usize>;
    fn try_read_messages(&self, count_max: usize, len_max: usize) -> Outcome<Vec<Vec<u8>>>;
    fn try_write_messages(&self, messages: &[&[u8]]) -> Outcome<usize>;
    /// Waits until the end is ready, at most `limit`; returns whether it is.
    fn await_ready(&self, direction: Direction, limit: Duration) -> Outcome<bool>;
    /// Lets a moment pass, in which the surface does what it does beside its calls.
    fn pass(&self);
}

/// One connected end.
pub(crate) trait End: Send + Sync {
    fn read(&self, buf: &mut [u8]) -> Outcome<usize>;
    fn write(&self, data: &[u8]) -> Outcome<usize>;
    fn write_vectored(&self, parts: &[&[u8]]) -> Outcome<usize>;
    fn read_message(&self, len_max: usize) -> Outcome<Option<Vec<u8>>>;
    fn read_message_into(&self, buf: &mut [u8]) -> Outcome<MessageRead>;
    fn write_message(&self, message: &[u8]) -> Outcome<()>;
    /// One call with a new batch of these limits.
    fn read_messages(&self, count_max: usize, len_max: usize) -> Outcome<Vec<Vec<u8>>>;
    fn write_messages(&self, messages: &[&[u8]]) -> Outcome<usize>;
    fn transact(&self, request: &[u8], len_max: usize) -> Outcome<Vec<u8>>;
    fn peek(&self, len: usize) -> Outcome<Peeked>;
    fn drain(&self) -> Outcome<()>;
    fn set_read_mode(&self, mode: PipeMode) -> Outcome<()>;
    fn set_read_timeout(&self, timeout: Option<Duration>) -> Outcome<()>;
    fn set_write_timeout(&self, timeout: Option<Duration>) -> Outcome<()>;
    fn info(&self) -> Outcome<Info>;
    fn peer(&self) -> Outcome<PeerView>;
    /// The calls that do not wait, if the surface has them.
    fn tries(&self) -> Option<&dyn Tries> {
        None
    }
    /// `flush` of the trait for writing, if the surface has it.
    fn write_flush(&self) -> Option<Outcome<()>> {
        None
    }
}

impl dyn End + '_ {
    /// Writes everything, in as many calls as it takes.
    pub(crate) fn write_all(&self, mut data: &[u8]) -> Outcome<()> {
        while !data.is_empty() {
            let count = self.write(data)?;
            assert!(count > 0, "a write of {} bytes wrote nothing and said so without an error", data.len());
            data = &data[count..];
        }
        Ok(())
    }

    /// Reads exactly `len` bytes; the end of the pipe before that fails the case.
    pub(crate) fn read_exact(&self, len: usize) -> Outcome<Vec<u8>> {
        let mut data = vec![0; len];
        let mut filled = 0;
        while filled < len {
            let count = self.read(&mut data[filled..])?;
            assert!(count > 0, "end of pipe after {filled} of {len} bytes");
            filled += count;
        }
        Ok(data)
    }

    /// Reads until the end of the pipe.
    pub(crate) fn read_to_end(&self) -> Outcome<Vec<u8>> {
        let mut data = Vec::new();
        let mut part = vec![0; 65_536];
        loop {
            match self.read(&mut part)? {
                0 => return Ok(data),
                count => data.extend_from_slice(&part[..count]),
            }
        }
    }

    /// One read of at most `len` bytes.
    pub(crate) fn read_some(&self, len: usize) -> Outcome<Vec<u8>> {
        let mut data = vec![0; len];
        let count = self.read(&mut data)?;
        data.truncate(count);
        Ok(data)
    }
}

/// The messages of a batch, of which the call reported so many.
pub(crate) fn messages_of(batch: &MessageBatch, count: usize) -> Vec<Vec<u8>> {
    assert_eq!(batch.len(), count);
    batch.iter().map(<[u8]>::to_vec).collect()
}

pub(crate) fn slices_of<'a>(parts: &[&'a [u8]]) -> Vec<IoSlice<'a>> {
    parts.iter().map(|part| IoSlice::new(part)).collect()
}

/// Every surface that the cases run on.
pub(crate) fn surfaces() -> Vec<&'static dyn Surface> {
    vec![
        &Blocking,
        #[cfg(feature = "tokio")]
        &asynchronous::TOKIO,
        #[cfg(feature = "tokio")]
        &asynchronous::TOKIO_CURRENT_THREAD,
        #[cfg(feature = "tokio")]
        &asynchronous::TOKIO_SERVES,
        #[cfg(feature = "tokio")]
        &asynchronous::TOKIO_OPENS,
    ]
}

/// The blocking calls of this process.
#[derive(Debug)]
pub(crate) struct Blocking;

impl Surface for Blocking {
    fn name(&self) -> &'static str {
        "blocking"
    }

    fn create(&self, spec: &Spec) -> Outcome<Box<dyn Instance>> {
        Ok(Box::new(spec.builder().create()?))
    }

    fn listen(&self, spec: &Spec) -> Outcome<Box<dyn Listener>> {
        Ok(Box::new(spec.builder().listen()?))
    }

    fn open(&self, spec: &OpenSpec) -> Outcome<Box<dyn End>> {
        Ok(Box::new(spec.options().open(&spec.name)?))
    }

    fn connect(&self, spec: &OpenSpec) -> Outcome<Box<dyn End>> {
        Ok(Box::new(spec.options().connect(&spec.name)?))
    }

    fn connect_to(&self, name: &str) -> Outcome<Box<dyn End>> {
        Ok(Box::new(pipework::connect(name)?))
    }

    fn wait(&self, name: &str, timeout: Option<Duration>) -> Outcome<()> {
        Ok(NamedPipe::wait(name, timeout)?)
    }
}

impl Instance for NamedPipe {
    fn connect(&self) -> Outcome<()> {
        Ok(NamedPipe::connect(self)?)
    }

    fn connect_timeout(&self, timeout: Duration) -> Outcome<()> {
        Ok(NamedPipe::connect_timeout(self, timeout)?)
    }

    fn disconnect(&self) -> Outcome<()> {
        Ok(NamedPipe::disconnect(self)?)
    }

    fn flush(&self) -> Outcome<()> {
        let mut pipe = self;
        Ok(Write::flush(&mut pipe)?)
    }

    fn end(&self) -> &dyn End {
        self.stream()
    }
}

impl Listener for pipework::Listener {
    fn accept(&self) -> Outcome<Box<dyn End>> {
        Ok(Box::new(pipework::Listener::accept(self)?))
    }

    fn accept_timeout(&self, timeout: Duration) -> Outcome<Box<dyn End>> {
        Ok(Box::new(pipework::Listener::accept_timeout(self, timeout)?))
    }
}

impl End for PipeStream {
    fn read(&self, buf: &mut [u8]) -> Outcome<usize> {
        let mut stream = self;
        Ok(Read::read(&mut stream, buf)?)
    }

    fn write(&self, data: &[u8]) -> Outcome<usize> {
        let mut stream = self;
        Ok(Write::write(&mut stream, data)?)
    }

    fn write_vectored(&self, parts: &[&[u8]]) -> Outcome<usize> {
        let mut stream = self;
        Ok(Write::write_vectored(&mut stream, &slices_of(parts))?)
    }

    fn read_message(&self, len_max: usize) -> Outcome<Option<Vec<u8>>> {
        Ok(PipeStream::read_message(self, len_max)?)
    }

    fn read_message_into(&self, buf: &mut [u8]) -> Outcome<MessageRead> {
        Ok(PipeStream::read_message_into(self, buf)?)
    }

    fn write_message(&self, message: &[u8]) -> Outcome<()> {
        Ok(PipeStream::write_message(self, message)?)
    }

    fn read_messages(&self, count_max: usize, len_max: usize) -> Outcome<Vec<Vec<u8>>> {
        let mut batch = MessageBatch::new(count_max, len_max);
        let count = PipeStream::read_messages(self, &mut batch)?;
        Ok(messages_of(&batch, count))
    }

    fn write_messages(&self, messages: &[&[u8]]) -> Outcome<usize> {
        Ok(PipeStream::write_messages(self, &slices_of(messages))?)
    }

    fn transact(&self, request: &[u8], len_max: usize) -> Outcome<Vec<u8>> {
        Ok(PipeStream::transact(self, request, len_max)?)
    }

    fn peek(&self, len: usize) -> Outcome<Peeked> {
        let mut data = vec![0; len];
        let peek = PipeStream::peek(self, &mut data)?;
        data.truncate(peek.copied);
        Ok(Peeked { data, available: peek.available, message_left: peek.message_left })
    }

    fn drain(&self) -> Outcome<()> {
        Ok(PipeStream::drain(self)?)
    }

    fn set_read_mode(&self, mode: PipeMode) -> Outcome<()> {
        Ok(PipeStream::set_read_mode(self, mode)?)
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> Outcome<()> {
        Ok(PipeStream::set_read_timeout(self, timeout)?)
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> Outcome<()> {
        Ok(PipeStream::set_write_timeout(self, timeout)?)
    }

    fn info(&self) -> Outcome<Info> {
        Ok(PipeStream::info(self)?.into())
    }

    fn peer(&self) -> Outcome<PeerView> {
        Ok((&PipeStream::peer(self)?).into())
    }

    #[cfg(unix)]
    fn tries(&self) -> Option<&dyn Tries> {
        Some(self)
    }

    fn write_flush(&self) -> Option<Outcome<()>> {
        let mut stream = self;
        Some(Write::flush(&mut stream).map_err(Fault::from))
    }
}

/// As an event loop does.
#[cfg(unix)]
impl Tries for PipeStream {
    fn try_read(&self, buf: &mut [u8]) -> Outcome<usize> {
        Ok(PipeStreamExt::try_read(self, buf)?)
    }

    fn try_write(&self, data: &[u8]) -> Outcome<usize> {
        Ok(PipeStreamExt::try_write(self, data)?)
    }

    fn try_read_messages(&self, count_max: usize, len_max: usize) -> Outcome<Vec<Vec<u8>>> {
        let mut batch = MessageBatch::new(count_max, len_max);
        let count = PipeStreamExt::try_read_messages(self, &mut batch)?;
        Ok(messages_of(&batch, count))
    }

    fn try_write_messages(&self, messages: &[&[u8]]) -> Outcome<usize> {
        Ok(PipeStreamExt::try_write_messages(self, &slices_of(messages))?)
    }

    fn await_ready(&self, direction: Direction, limit: Duration) -> Outcome<bool> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        // The stream of an instance has no descriptor, since its connections change.
        let stream = self.try_clone()?;
        let descriptor = match direction {
            Direction::Reading => stream.read_ready_fd()?,
            Direction::Writing => stream.write_ready_fd()?,
        };
        let limit = Timespec::try_from(limit).unwrap();
        match poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], Some(&limit)) {
            Err(rustix::io::Errno::INTR) => Ok(false),
            count => Ok(count.map_err(io::Error::from)? == 1),
        }
    }

    fn pass(&self) {
        std::thread::yield_now();
    }
}
