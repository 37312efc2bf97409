//! The async surface: each call of a case runs a future to completion.

use std::{
    future::{Future, poll_fn},
    io::{self, IoSlice},
    pin::Pin,
    sync::{Mutex, OnceLock, RwLock, RwLockReadGuard},
    task::{Context, Poll, ready},
    time::Duration,
};

use pipework::{
    MessageBatch, MessageRead, NamedPipe, Peek, Peer, PipeErrorKind,
    tokio::{
        ClientOptions, Listener as TokioListener, NamedPipeClient, NamedPipeServer, PipeEnd, PipeInfo,
        PipeMode, ServerOptions,
    },
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    runtime::{Builder, Runtime},
    time::timeout,
};

use crate::surface::{
    Blocking, Direction, End, Fault, Info, Instance, Listener, OpenSpec, Outcome, Peeked, PeerView, Spec,
    Surface, Tries, messages_of, slices_of,
};

/// What serves, and what opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Tasks,
    Threads,
}

/// Async ends on both sides, or on one side with blocking calls on the other.
#[derive(Debug)]
pub(crate) struct Tokio {
    name: &'static str,
    server: Side,
    client: Side,
    has_workers: bool,
}

/// Both ends async, on a runtime with several threads.
pub(crate) const TOKIO: Tokio =
    Tokio { name: "tokio", server: Side::Tasks, client: Side::Tasks, has_workers: true };
/// The same on a current-thread runtime.
pub(crate) const TOKIO_CURRENT_THREAD: Tokio =
    Tokio { name: "tokio_current_thread", has_workers: false, ..TOKIO };
/// Async servers, blocking clients.
pub(crate) const TOKIO_SERVES: Tokio = Tokio { name: "tokio_serves", client: Side::Threads, ..TOKIO };
/// Async clients, blocking servers.
pub(crate) const TOKIO_OPENS: Tokio = Tokio { name: "tokio_opens", server: Side::Threads, ..TOKIO };

/// A case, and why it can't run on an async surface.
type Exempt = (&'static str, &'static str);

const DISCONNECTED_READ: Exempt = (
    "f3_a_read_of_the_last_connection_does_not_take_the_next_ones_data",
    "not async: a read borrows its end, so nobody can disconnect that meanwhile",
);
const ZERO_TIMEOUT: Exempt =
    ("t1_a_timeout_of_zero_is_invalid", "not async: timeouts are left to the runtime");
const DEFAULT_TIMEOUT: Exempt =
    ("c4_wait_of_zero_is_the_servers_default", "not async: tokio's options have no default timeout");
/// On Windows only.
const LARGER_WRITE: Exempt = ("b2_a_larger_write_waits_until_the_rest_fits", AHEAD);
const TIMED_MESSAGE: Exempt = ("t1_writing_a_message_times_out_with_nothing_written", AHEAD);
const TIMED_BATCH: Exempt = ("m6_writing_a_batch_times_out_with_exactly_what_was_written", AHEAD);
const ENDED_BATCH: Exempt = ("m6_a_batch_that_meets_the_end_returns_what_went_before", AHEAD);
const AHEAD: &str =
    "not async on Windows: one write beyond the room is started, and a timeout does not take it back";

/// The runtimes of this process, one of each kind; a process of one surface uses one of them.
static WITH_WORKERS: OnceLock<Runtime> = OnceLock::new();
static CURRENT_THREAD: OnceLock<Runtime> = OnceLock::new();

/// Makes what the first runtime makes for the whole process.
pub(crate) fn make_what_stays() {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    #[cfg(windows)]
    runtime.block_on(async {
        let name = pipework::PipeName::unique("stays").expect("a name");
        let options = ServerOptions::new();
        let (server, next) =
            (options.create(&name).expect("a server"), options.create(&name).expect("a server"));
        let _client = ClientOptions::new().open(&name).expect("a client");
        let poll = |waiting: Pin<&mut dyn Future<Output = io::Result<()>>>| {
            assert!(waiting.poll(&mut Context::from_waker(std::task::Waker::noop())).is_pending());
        };
        // The system's thread pool keeps one object for all pipes.
        poll(std::pin::pin!(server.readable()));
        // It waits for events by a thread, which has one while it waits for any: so this one waits for ever.
        let listening: &NamedPipeServer = Box::leak(Box::new(next));
        poll(Box::leak(Box::new(Box::pin(listening.connect()))).as_mut());
    });
    drop(runtime);
}

impl Tokio {
    fn runtime(&self) -> &'static Runtime {
        let runtime = if self.has_workers { &WITH_WORKERS } else { &CURRENT_THREAD };
        runtime.get_or_init(|| {
            let mut builder =
                if self.has_workers { Builder::new_multi_thread() } else { Builder::new_current_thread() };
            if self.has_workers {
                builder.worker_threads(2);
            }
            // The threads for blocking calls end with their calls, and so do the handles of them.
            builder
                .thread_keep_alive(Duration::from_millis(1))
                .enable_all()
                .build()
                .expect("a runtime can be made")
        })
    }

    /// Runs a call to its end, or to the end of its time.
    fn run<T>(
        runtime: &Runtime,
        limit: Option<Duration>,
        call: impl Future<Output = io::Result<T>>,
    ) -> Outcome<T> {
        runtime.block_on(async {
            match limit {
                None => Ok(call.await?),
                Some(limit) => match timeout(limit, call).await {
                    Ok(outcome) => Ok(outcome?),
                    Err(_) => Err(timed_out()),
                },
            }
        })
    }

    fn options(spec: &OpenSpec) -> ClientOptions {
        let mut options = ClientOptions::new();
        options
            .read(spec.read)
            .write(spec.write)
            .pipe_mode(spec.mode)
            .wait_absent(spec.wait_absent)
            .server(spec.server.clone());
        if let Some(limit) = spec.timeout {
            options.timeout(limit);
        }
        #[cfg(unix)]
        if let Some(user) = spec.caller {
            pipework::os::unix::ClientOptionsExt::on_behalf_of(
                &mut options,
                &crate::surface::caller_of(user),
            );
        }
        options
    }

    fn server_options(spec: &Spec) -> ServerOptions {
        let mut options = ServerOptions::new();
        options
            .access_inbound(spec.inbound)
            .access_outbound(spec.outbound)
            .first_pipe_instance(spec.first)
            .max_instances(spec.max_instances.into())
            .out_buffer_size(spec.out_len)
            .in_buffer_size(spec.in_len)
            .pipe_mode(spec.mode)
            .reject_remote_clients(!spec.accept_remote)
            .access(spec.access());
        options
    }

    fn end<P: Pipe>(&self, pipe: P) -> TokioEnd<P> {
        TokioEnd { runtime: self.runtime(), pipe: RwLock::new(pipe), limits: Mutex::default() }
    }
}

impl Surface for Tokio {
    fn name(&self) -> &'static str {
        self.name
    }

    fn exempt(&self) -> &'static [(&'static str, &'static str)] {
        if cfg!(windows) {
            return match (self.server, self.client) {
                (Side::Tasks, Side::Tasks) => &[
                    DISCONNECTED_READ,
                    ZERO_TIMEOUT,
                    DEFAULT_TIMEOUT,
                    LARGER_WRITE,
                    TIMED_MESSAGE,
                    TIMED_BATCH,
                    ENDED_BATCH,
                ],
                (Side::Tasks, Side::Threads) => &[DISCONNECTED_READ, DEFAULT_TIMEOUT],
                (Side::Threads, _) => &[ZERO_TIMEOUT, LARGER_WRITE, TIMED_MESSAGE, TIMED_BATCH, ENDED_BATCH],
            };
        }
        match (self.server, self.client) {
            (Side::Tasks, Side::Tasks) => &[DISCONNECTED_READ, ZERO_TIMEOUT, DEFAULT_TIMEOUT],
            (Side::Tasks, Side::Threads) => &[DISCONNECTED_READ, DEFAULT_TIMEOUT],
            (Side::Threads, _) => &[ZERO_TIMEOUT],
        }
    }

    fn warm_up(&self) {
        self.runtime().block_on(async { tokio::spawn(async {}).await }).expect("a task can be run");
        // The runtime keeps the handle of the last thread of the kind that has ended.
        #[cfg(windows)]
        self.runtime()
            .block_on(async { tokio::task::spawn_blocking(|| {}).await })
            .expect("a call can be made aside");
    }

    fn create(&self, spec: &Spec) -> Outcome<Box<dyn Instance>> {
        if self.server == Side::Threads {
            return Blocking.create(spec);
        }
        // A server option that tokio does not have is tested on blocking instances only.
        let _context = self.runtime().enter();
        Ok(Box::new(self.end(Tokio::server_options(spec).create(&spec.name)?)))
    }

    fn listen(&self, spec: &Spec) -> Outcome<Box<dyn Listener>> {
        if self.server == Side::Threads {
            return Blocking.listen(spec);
        }
        let listener = Tokio::server_options(spec).listen(&spec.name)?;
        let runtime = self.runtime();
        Ok(Box::new(Accepting { runtime, listener }))
    }

    fn open(&self, spec: &OpenSpec) -> Outcome<Box<dyn End>> {
        if self.client == Side::Threads {
            return Blocking.open(spec);
        }
        Ok(Box::new(self.end(Tokio::options(spec).open(&spec.name)?)))
    }

    fn connect(&self, spec: &OpenSpec) -> Outcome<Box<dyn End>> {
        if self.client == Side::Threads {
            return Blocking.connect(spec);
        }
        let client = Tokio::run(self.runtime(), None, Tokio::options(spec).connect(&spec.name))?;
        Ok(Box::new(self.end(client)))
    }

    fn connect_to(&self, name: &str) -> Outcome<Box<dyn End>> {
        if self.client == Side::Threads {
            return Blocking.connect_to(name);
        }
        Ok(Box::new(self.end(Tokio::run(self.runtime(), None, pipework::tokio::connect(name))?)))
    }

    fn wait(&self, name: &str, timeout: Option<Duration>) -> Outcome<()> {
        Ok(NamedPipe::wait(name, timeout)?)
    }
}

/// What both types of ends can do.
trait Pipe: AsyncRead + AsyncWrite + Unpin + Send + Sync + 'static {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    fn try_read(&self, buf: &mut [u8]) -> io::Result<usize>;
    fn try_write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize>;
    fn read_message(&self, len_max: usize) -> impl Future<Output = io::Result<Option<Vec<u8>>>> + Send;
    fn read_message_into(&self, buf: &mut [u8]) -> impl Future<Output = io::Result<MessageRead>> + Send;
    fn write_message(&self, message: &[u8]) -> impl Future<Output = io::Result<()>> + Send;
    fn read_messages(&self, batch: &mut MessageBatch) -> impl Future<Output = io::Result<usize>> + Send;
    fn write_messages(&self, messages: &[IoSlice<'_>]) -> impl Future<Output = io::Result<usize>> + Send;
    fn try_read_messages(&self, batch: &mut MessageBatch) -> io::Result<usize>;
    fn try_write_messages(&self, messages: &[IoSlice<'_>]) -> io::Result<usize>;
    fn transact(&self, request: &[u8], len_max: usize) -> impl Future<Output = io::Result<Vec<u8>>> + Send;
    fn drain(&self) -> impl Future<Output = io::Result<()>> + Send;
    fn peek(&self, buf: &mut [u8]) -> io::Result<Peek>;
    fn set_read_mode(&self, mode: PipeMode) -> io::Result<()>;
    fn info(&self) -> io::Result<PipeInfo>;
    fn peer(&self) -> io::Result<Peer>;
}

macro_rules! pipes {
    ($($end:ident),*) => { $(
        impl Pipe for $end {
            fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                $end::poll_read_ready(self, cx)
            }

            fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                $end::poll_write_ready(self, cx)
            }

            fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
                $end::try_read(self, buf)
            }

            fn try_write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                $end::try_write_vectored(self, bufs)
            }

            async fn read_message(&self, len_max: usize) -> io::Result<Option<Vec<u8>>> {
                $end::read_message(self, len_max).await
            }

            async fn read_message_into(&self, buf: &mut [u8]) -> io::Result<MessageRead> {
                $end::read_message_into(self, buf).await
            }

            async fn write_message(&self, message: &[u8]) -> io::Result<()> {
                $end::write_message(self, message).await
            }

            async fn read_messages(&self, batch: &mut MessageBatch) -> io::Result<usize> {
                $end::read_messages(self, batch).await
            }

            async fn write_messages(&self, messages: &[IoSlice<'_>]) -> io::Result<usize> {
                $end::write_messages(self, messages).await
            }

            fn try_read_messages(&self, batch: &mut MessageBatch) -> io::Result<usize> {
                $end::try_read_messages(self, batch)
            }

            fn try_write_messages(&self, messages: &[IoSlice<'_>]) -> io::Result<usize> {
                $end::try_write_messages(self, messages)
            }

            async fn transact(&self, request: &[u8], len_max: usize) -> io::Result<Vec<u8>> {
                $end::transact(self, request, len_max).await
            }

            async fn drain(&self) -> io::Result<()> {
                $end::drain(self).await
            }

            fn peek(&self, buf: &mut [u8]) -> io::Result<Peek> {
                $end::peek(self, buf)
            }

            fn set_read_mode(&self, mode: PipeMode) -> io::Result<()> {
                $end::set_read_mode(self, mode)
            }

            fn info(&self) -> io::Result<PipeInfo> {
                $end::info(self)
            }

            fn peer(&self) -> io::Result<Peer> {
                $end::peer(self)
            }
        }
    )* };
}

pipes!(NamedPipeServer, NamedPipeClient);

/// An async end, called by the threads of a case.
struct TokioEnd<P> {
    runtime: &'static Runtime,
    /// Polled alone where nothing else waits at it, since the traits for reading and writing want that; else in the ways
    /// that need no more than a shared reference.
    pipe: RwLock<P>,
    limits: Mutex<Limits>,
}

/// The timeouts, which async calls leave to the runtime.
#[derive(Clone, Copy, Debug, Default)]
struct Limits {
    read: Option<Duration>,
    write: Option<Duration>,
}

impl<P: Pipe> TokioEnd<P> {
    fn pipe(&self) -> RwLockReadGuard<'_, P> {
        self.pipe.read().unwrap()
    }

    fn run<T>(&self, limit: Option<Duration>, call: impl Future<Output = io::Result<T>>) -> Outcome<T> {
        Tokio::run(self.runtime, limit, call)
    }

    fn read_limit(&self) -> Option<Duration> {
        self.limits.lock().unwrap().read
    }

    fn write_limit(&self) -> Option<Duration> {
        self.limits.lock().unwrap().write
    }

    fn poll_read(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        if let Ok(mut pipe) = self.pipe.try_write() {
            let mut buf = ReadBuf::new(buf);
            ready!(Pin::new(&mut *pipe).poll_read(cx, &mut buf))?;
            return Poll::Ready(Ok(buf.filled().len()));
        }
        let pipe = self.pipe();
        loop {
            match pipe.try_read(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return Poll::Ready(outcome),
            }
            ready!(pipe.poll_read_ready(cx))?;
        }
    }

    fn poll_write(&self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if let Ok(mut pipe) = self.pipe.try_write() {
            return match bufs {
                [one] => Pin::new(&mut *pipe).poll_write(cx, one),
                several => Pin::new(&mut *pipe).poll_write_vectored(cx, several),
            };
        }
        let pipe = self.pipe();
        loop {
            match pipe.try_write_vectored(bufs) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return Poll::Ready(outcome),
            }
            ready!(pipe.poll_write_ready(cx))?;
        }
    }

    /// Writes everything. An async write returns as soon as it has written something, so with a quota of 0 this waits for
    /// the reader.
    #[expect(clippy::await_holding_lock, reason = "the thread that holds it waits for this and nothing else")]
    async fn write_parts(&self, parts: &[&[u8]], written: &mut usize) -> io::Result<()> {
        let slices = slices_of(parts);
        *written = poll_fn(|cx| self.poll_write(cx, &slices)).await?;
        let data = parts.concat();
        while *written < data.len() {
            *written += poll_fn(|cx| self.poll_write(cx, &[IoSlice::new(&data[*written..])])).await?;
        }
        let info = self.pipe().info()?;
        let quota = if info.end == PipeEnd::Server { info.out_buffer_size } else { info.in_buffer_size };
        if quota == 0 || (info.mode == PipeMode::Message && data.len() > quota as usize) {
            self.pipe().drain().await?;
        }
        Ok(())
    }
}

fn timed_out() -> Fault {
    Fault {
        kind: Some(PipeErrorKind::TimedOut),
        io_kind: "TimedOut".to_owned(),
        text: "timed out".to_owned(),
    }
}

impl<P: Pipe> End for TokioEnd<P> {
    fn read(&self, buf: &mut [u8]) -> Outcome<usize> {
        self.run(self.read_limit(), poll_fn(|cx| self.poll_read(cx, buf)))
    }

    fn write(&self, data: &[u8]) -> Outcome<usize> {
        self.write_vectored(&[data])
    }

    fn write_vectored(&self, parts: &[&[u8]]) -> Outcome<usize> {
        let mut written = 0;
        match self.run(self.write_limit(), self.write_parts(parts, &mut written)) {
            Err(fault) if fault != PipeErrorKind::TimedOut || written == 0 => Err(fault),
            _ => Ok(written),
        }
    }

    fn read_message(&self, len_max: usize) -> Outcome<Option<Vec<u8>>> {
        self.run(self.read_limit(), self.pipe().read_message(len_max))
    }

    fn read_message_into(&self, buf: &mut [u8]) -> Outcome<MessageRead> {
        self.run(self.read_limit(), self.pipe().read_message_into(buf))
    }

    fn write_message(&self, message: &[u8]) -> Outcome<()> {
        self.run(self.write_limit(), self.pipe().write_message(message))
    }

    fn read_messages(&self, count_max: usize, len_max: usize) -> Outcome<Vec<Vec<u8>>> {
        let mut batch = MessageBatch::new(count_max, len_max);
        let count = self.run(self.read_limit(), self.pipe().read_messages(&mut batch))?;
        Ok(messages_of(&batch, count))
    }

    /// An async write returns as soon as it has written some of them.
    fn write_messages(&self, messages: &[&[u8]]) -> Outcome<usize> {
        let (slices, mut written) = (slices_of(messages), 0);
        let pipe = self.pipe();
        let writing = async {
            written = pipe.write_messages(&slices).await?;
            while written < slices.len() {
                written += pipe.write_messages(&slices[written..]).await?;
            }
            Ok(())
        };
        match self.run(self.write_limit(), writing) {
            Err(fault) if written == 0 => Err(fault),
            _ => Ok(written),
        }
    }

    fn transact(&self, request: &[u8], len_max: usize) -> Outcome<Vec<u8>> {
        self.run(self.read_limit(), self.pipe().transact(request, len_max))
    }

    fn peek(&self, len: usize) -> Outcome<Peeked> {
        let mut data = vec![0; len];
        let peek = self.pipe().peek(&mut data)?;
        data.truncate(peek.copied);
        Ok(Peeked { data, available: peek.available, message_left: peek.message_left })
    }

    fn drain(&self) -> Outcome<()> {
        self.run(self.write_limit(), self.pipe().drain())
    }

    fn set_read_mode(&self, mode: PipeMode) -> Outcome<()> {
        Ok(self.pipe().set_read_mode(mode)?)
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> Outcome<()> {
        self.limits.lock().unwrap().read = timeout;
        Ok(())
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> Outcome<()> {
        self.limits.lock().unwrap().write = timeout;
        Ok(())
    }

    fn info(&self) -> Outcome<Info> {
        Ok(self.pipe().info()?.into())
    }

    fn peer(&self) -> Outcome<PeerView> {
        Ok((&self.pipe().peer()?).into())
    }

    fn tries(&self) -> Option<&dyn Tries> {
        Some(self)
    }

    fn write_flush(&self) -> Option<Outcome<()>> {
        let flush = |cx: &mut Context<'_>| Pin::new(&mut *self.pipe.write().unwrap()).poll_flush(cx);
        Some(self.run(self.write_limit(), poll_fn(flush)))
    }
}

impl<P: Pipe> Tries for TokioEnd<P> {
    fn try_read(&self, buf: &mut [u8]) -> Outcome<usize> {
        Ok(self.pipe().try_read(buf)?)
    }

    fn try_write(&self, data: &[u8]) -> Outcome<usize> {
        Ok(self.pipe().try_write_vectored(&[IoSlice::new(data)])?)
    }

    fn try_read_messages(&self, count_max: usize, len_max: usize) -> Outcome<Vec<Vec<u8>>> {
        let mut batch = MessageBatch::new(count_max, len_max);
        let count = self.pipe().try_read_messages(&mut batch)?;
        Ok(messages_of(&batch, count))
    }

    fn try_write_messages(&self, messages: &[&[u8]]) -> Outcome<usize> {
        Ok(self.pipe().try_write_messages(&slices_of(messages))?)
    }

    fn await_ready(&self, direction: Direction, limit: Duration) -> Outcome<bool> {
        let pipe = self.pipe();
        let ready = poll_fn(|cx| match direction {
            Direction::Reading => pipe.poll_read_ready(cx),
            Direction::Writing => pipe.poll_write_ready(cx),
        });
        match self.run(Some(limit), ready) {
            Err(fault) if fault == PipeErrorKind::TimedOut => Ok(false),
            outcome => outcome.map(|()| true),
        }
    }

    fn pass(&self) {
        self.runtime.block_on(async { tokio::time::sleep(Duration::from_millis(1)).await });
    }
}

impl Instance for TokioEnd<NamedPipeServer> {
    fn connect(&self) -> Outcome<()> {
        self.run(None, self.pipe().connect())
    }

    fn connect_timeout(&self, timeout: Duration) -> Outcome<()> {
        self.run(Some(timeout), self.pipe().connect())
    }

    fn disconnect(&self) -> Outcome<()> {
        Ok(self.pipe().disconnect()?)
    }

    fn flush(&self) -> Outcome<()> {
        self.drain()
    }

    fn end(&self) -> &dyn End {
        self
    }
}

/// An async listener, called by the threads of a case.
struct Accepting {
    runtime: &'static Runtime,
    listener: TokioListener,
}

impl Accepting {
    fn accepted(&self, limit: Option<Duration>) -> Outcome<Box<dyn End>> {
        let server = Tokio::run(self.runtime, limit, self.listener.accept())?;
        let end = TokioEnd { runtime: self.runtime, pipe: RwLock::new(server), limits: Mutex::default() };
        Ok(Box::new(end))
    }
}

impl Listener for Accepting {
    fn accept(&self) -> Outcome<Box<dyn End>> {
        self.accepted(None)
    }

    fn accept_timeout(&self, timeout: Duration) -> Outcome<Box<dyn End>> {
        self.accepted(Some(timeout))
    }
}
