//! A connected end for tasks, whatever it is made of.

#[cfg(feature = "remote")]
use super::super::remote::RemoteEnd;
use super::{
    super::{connection::Connection, end::End, instance::Instance, peer::Peer, plain::PlainEnd},
    accepting::Accepting,
    at_once,
    tasks::Waiter,
    writing::Writer,
};
use crate::{
    error::{PipeErrorKind, fail},
    message::{MessageRead, Peek},
    options::{PipeInfo, PipeMode},
};
use ::tokio::io::{Interest, Ready};
use std::{
    future::poll_fn,
    io::{self, IoSlice, IoSliceMut},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

/// An end of a pipe, for tasks of a runtime.
#[derive(Debug)]
pub(crate) struct AsyncEnd {
    end: End,
    /// Who polled for reading last, and only that one.
    reader: Mutex<Waiter>,
    /// Who polled for writing last, and only that one.
    writer: Mutex<Writer>,
    /// What the last try to write had no room for: less room is no reason to try again.
    wanted: AtomicUsize,
}

/// What an operation goes to at the time of a call.
enum Now<'a> {
    Connection(Arc<Connection>),
    Plain(&'a PlainEnd),
    #[cfg(feature = "remote")]
    Remote(&'a RemoteEnd),
}

impl AsyncEnd {
    pub(crate) fn new(end: End) -> AsyncEnd {
        AsyncEnd { end, reader: Mutex::default(), writer: Mutex::default(), wanted: AtomicUsize::new(1) }
    }

    pub(crate) fn of_instance(instance: &Instance) -> AsyncEnd {
        AsyncEnd::new(instance.end())
    }

    /// The same end for blocking calls, which mix with those of tasks.
    pub(crate) fn into_end(self) -> End {
        self.end
    }

    // ---------------------------------------------------------------- the server's side

    /// Waits for a client.
    pub(crate) async fn connect(&self) -> io::Result<()> {
        // Whoever came by a path, or as a client, is connected for good.
        let End::Instance(instance) = &self.end else { return Ok(()) };
        let mut accepting = Accepting::default();
        poll_fn(|cx| {
            loop {
                match instance.connect(&at_once()) {
                    Ok(()) => return accepting.poll_known(cx, instance),
                    Err(error) if error == PipeErrorKind::TimedOut => {}
                    failed => return Poll::Ready(failed),
                }
                ready!(accepting.poll_client(cx, instance))?;
            }
        })
        .await
    }

    /// Throws the client out.
    pub(crate) fn disconnect(&self) -> io::Result<()> {
        match &self.end {
            End::Instance(instance) => instance.disconnect(),
            _ => Err(fail(
                PipeErrorKind::Unsupported,
                "a plain socket has no instance that could be used again",
            )),
        }
    }

    // ---------------------------------------------------------------- what needs no waiting

    pub(crate) fn info(&self) -> io::Result<PipeInfo> {
        self.end.info()
    }

    pub(crate) fn peer(&self) -> io::Result<Peer> {
        self.end.peer_now()
    }

    pub(crate) fn peek(&self, buf: &mut [u8]) -> io::Result<Peek> {
        self.end.peek(buf)
    }

    pub(crate) fn set_read_mode(&self, mode: PipeMode) -> io::Result<()> {
        self.end.set_read_mode(mode)
    }

    pub(crate) fn try_read(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        match self.now()? {
            Now::Connection(connection) => connection.read_now(bufs),
            Now::Plain(plain) => plain.read_now(bufs),
            #[cfg(feature = "remote")]
            Now::Remote(remote) => remote.read_now(bufs),
        }
    }

    pub(crate) fn try_write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let written = match self.now()? {
            Now::Connection(connection) => connection.write_now(bufs),
            Now::Plain(plain) => plain.write_now(bufs),
            #[cfg(feature = "remote")]
            Now::Remote(remote) => remote.write_now(bufs),
        };
        let has_no_room = written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        let wanted = if has_no_room { bufs.iter().map(|buf| buf.len()).sum() } else { 1 };
        // A hint for the same task: nothing else depends on its order.
        self.wanted.store(wanted, Ordering::Relaxed);
        written
    }

    // ---------------------------------------------------------------- polling

    pub(crate) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut waiter = lock(&self.reader);
        match self.now()? {
            Now::Connection(connection) => connection.poll_read(cx, &mut waiter, bufs),
            Now::Plain(plain) => plain.poll_read(cx, &mut waiter, bufs),
            #[cfg(feature = "remote")]
            Now::Remote(remote) => remote.poll_read(cx, &mut waiter, bufs),
        }
    }

    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut writer = lock(&self.writer);
        match self.now()? {
            Now::Connection(connection) => connection.poll_write(cx, &mut writer, bufs),
            Now::Plain(plain) => plain.poll_write(cx, &mut writer.waiter, bufs),
            #[cfg(feature = "remote")]
            Now::Remote(remote) => remote.poll_write(cx, &mut writer.waiter, bufs),
        }
    }

    /// Ends the sending side where there is such a thing; over the network it waits for what was handed over; elsewhere there is
    /// nothing to do.
    #[cfg_attr(not(feature = "remote"), expect(unused_variables, reason = "only the network waits"))]
    pub(crate) fn poll_shut_down(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.end {
            End::Plain(plain) => Poll::Ready(plain.shutdown_write()),
            #[cfg(feature = "remote")]
            End::Remote(remote) => remote.poll_written(cx, &mut lock(&self.writer).waiter),
            _ => Poll::Ready(Ok(())),
        }
    }

    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_readable(cx, &mut lock(&self.reader))
    }

    pub(crate) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_writable(cx, &mut lock(&self.writer).waiter)
    }

    fn poll_readable(&self, cx: &mut Context<'_>, waiter: &mut Waiter) -> Poll<io::Result<()>> {
        match self.now() {
            Ok(Now::Connection(connection)) => connection.poll_readable(cx, waiter),
            Ok(Now::Plain(plain)) => plain.poll_ready(cx, waiter, Interest::READABLE),
            #[cfg(feature = "remote")]
            Ok(Now::Remote(remote)) => remote.poll_readable(cx, waiter),
            // The read will say it.
            Err(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_writable(&self, cx: &mut Context<'_>, waiter: &mut Waiter) -> Poll<io::Result<()>> {
        let wanted = self.wanted.load(Ordering::Relaxed);
        match self.now() {
            Ok(Now::Connection(connection)) => connection.poll_writable(cx, waiter, wanted as u64),
            Ok(Now::Plain(plain)) => plain.poll_ready(cx, waiter, Interest::WRITABLE),
            #[cfg(feature = "remote")]
            Ok(Now::Remote(remote)) => remote.poll_writable(cx, waiter),
            // The write will say it.
            Err(_) => Poll::Ready(Ok(())),
        }
    }

    // ---------------------------------------------------------------- waiting

    /// Waits until a read or a write, whichever `interest` asks for, would not wait.
    pub(crate) async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        let (mut reader, mut writer) = (Waiter::default(), Waiter::default());
        poll_fn(|cx| {
            let mut ready = Ready::EMPTY;
            if interest.is_readable() && self.poll_readable(cx, &mut reader)?.is_ready() {
                ready |= Ready::READABLE;
            }
            if interest.is_writable() && self.poll_writable(cx, &mut writer)?.is_ready() {
                ready |= Ready::WRITABLE;
            }
            let asks_for_something = interest.is_readable() || interest.is_writable();
            if ready.is_empty() && asks_for_something { Poll::Pending } else { Poll::Ready(Ok(ready)) }
        })
        .await
    }

    pub(crate) async fn read_message(&self, len_max: usize) -> io::Result<Option<Vec<u8>>> {
        #[cfg(feature = "remote")]
        if let End::Remote(remote) = &self.end {
            return remote.read_message_in_task(len_max).await;
        }
        let (connection, mut waiter) = (self.connection()?, Waiter::default());
        poll_fn(|cx| connection.poll_message(cx, &mut waiter, len_max)).await
    }

    pub(crate) async fn read_message_into(&self, buf: &mut [u8]) -> io::Result<MessageRead> {
        #[cfg(feature = "remote")]
        if let End::Remote(remote) = &self.end {
            return remote.read_message_into_in_task(buf).await;
        }
        let (connection, mut waiter) = (self.connection()?, Waiter::default());
        poll_fn(|cx| connection.poll_message_into(cx, &mut waiter, buf)).await
    }

    pub(crate) async fn write_message(&self, message: &[u8]) -> io::Result<()> {
        #[cfg(feature = "remote")]
        if let End::Remote(remote) = &self.end {
            return remote.write_message_in_task(message).await;
        }
        self.connection()?.write_message_in_task(&[IoSlice::new(message)]).await
    }

    pub(crate) async fn transact(&self, request: &[u8], len_max: usize) -> io::Result<Vec<u8>> {
        #[cfg(feature = "remote")]
        if let End::Remote(remote) = &self.end {
            return remote.transact_in_task(request, len_max).await;
        }
        self.connection()?.transact_in_task(request, len_max).await
    }

    pub(crate) async fn drain(&self) -> io::Result<()> {
        match self.now()? {
            Now::Plain(plain) => plain.drain_in_task().await,
            #[cfg(feature = "remote")]
            Now::Remote(remote) => remote.drain_in_task().await,
            Now::Connection(connection) => {
                let mut waiter = Waiter::default();
                poll_fn(|cx| connection.poll_drained(cx, &mut waiter)).await
            }
        }
    }

    fn now(&self) -> io::Result<Now<'_>> {
        match &self.end {
            End::Plain(plain) => Ok(Now::Plain(plain)),
            #[cfg(feature = "remote")]
            End::Remote(remote) => Ok(Now::Remote(remote)),
            _ => self.connection().map(Now::Connection),
        }
    }

    fn connection(&self) -> io::Result<Arc<Connection>> {
        self.end.connection()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a poll leaves in it is whole at every step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// Threads and tasks at one and the same end, and a doorbell that is full.
#[cfg(test)]
mod tests {
    use super::AsyncEnd;
    use crate::{ClientOptions, NamedPipe, NamedPipeBuilder, PipeMode, PipeName, PipeStream};
    use ::tokio::{
        io::Interest,
        runtime::{Builder, Runtime},
        time::timeout,
    };
    use std::{
        future::poll_fn,
        io::{IoSlice, IoSliceMut, Read, Write},
        pin::{Pin, pin},
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
        task::{Context, Wake, Waker},
        thread,
        time::{Duration, Instant},
    };

    const ROUNDS: u32 = 2000;
    /// For what must come, however slow the machine is.
    const LONG: Duration = Duration::from_secs(60);

    fn workers() -> Runtime {
        Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
    }

    /// A server, a client for threads, and the same client for tasks.
    fn both_ways(mode: PipeMode, quota: u32) -> (NamedPipe, PipeStream, Arc<AsyncEnd>) {
        let name = PipeName::unique("tasks").unwrap();
        let server = NamedPipeBuilder::new(&name)
            .pipe_mode(mode)
            .in_buffer_size(quota)
            .out_buffer_size(quota)
            .create()
            .unwrap();
        let client = ClientOptions::new().read_mode(mode).open(&name).unwrap();
        let task = AsyncEnd::new(client.end().clone());
        (server, client, Arc::new(task))
    }

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// Polls as long as the future asks for it, until nothing but news would wake it; they are told from then on.
    fn fall_asleep<F: Future>(mut future: Pin<&mut F>) -> Arc<Woken> {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        loop {
            assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            if !woken.0.swap(false, Ordering::Relaxed) {
                return woken;
            }
        }
    }

    async fn read(end: &AsyncEnd, buf: &mut [u8]) -> usize {
        poll_fn(|cx| end.poll_read(cx, &mut [IoSliceMut::new(buf)])).await.unwrap()
    }

    async fn write(end: &AsyncEnd, data: &[u8]) -> usize {
        poll_fn(|cx| end.poll_write(cx, &[IoSlice::new(data)])).await.unwrap()
    }

    /// The thread that reads empties the doorbell, of which the task that writes must hear; and the other way round.
    #[test]
    fn a_reading_thread_takes_no_wake_up_of_a_writing_task() {
        let (server, client, task) = both_ways(PipeMode::Byte, 1);
        let runtime = workers();
        let writing = runtime.spawn(async move {
            for _ in 0..ROUNDS {
                timeout(LONG, write(&task, b"t")).await.expect("the task hears of room");
            }
        });
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    assert_eq!((&client).read(&mut [0]).unwrap(), 1);
                }
            });
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    assert_eq!((&server).read(&mut [0]).unwrap(), 1);
                }
            });
            for _ in 0..ROUNDS {
                (&server).write_all(b"s").unwrap();
            }
        });
        runtime.block_on(writing).unwrap();
    }

    #[test]
    fn a_reading_task_takes_no_wake_up_of_a_writing_thread() {
        let (server, client, task) = both_ways(PipeMode::Byte, 1);
        client.set_write_timeout(Some(LONG)).unwrap();
        let runtime = workers();
        let reading = runtime.spawn(async move {
            for _ in 0..ROUNDS {
                let count = timeout(LONG, read(&task, &mut [0])).await.expect("the task hears of data");
                assert_eq!(count, 1);
            }
        });
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    (&client).write_all(b"t").unwrap();
                }
            });
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    assert_eq!((&server).read(&mut [0]).unwrap(), 1);
                }
            });
            for _ in 0..ROUNDS {
                (&server).write_all(b"s").unwrap();
            }
        });
        runtime.block_on(reading).unwrap();
    }

    /// It sleeps in the socket, and what it hears there is for all.
    #[test]
    fn a_thread_that_hears_the_doorbell_tells_the_tasks() {
        let (server, client, task) = both_ways(PipeMode::Byte, 1);
        // Nobody takes news from the reactor of this runtime.
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let _context = runtime.enter();
        thread::scope(|scope| {
            let reading = scope.spawn(|| (&client).read(&mut [0]).unwrap());
            assert_eq!(task.try_write(&[IoSlice::new(b"1")]).unwrap(), 1);
            let mut writing = pin!(write(&task, b"2"));
            let woken = fall_asleep(writing.as_mut());
            assert_eq!((&server).read(&mut [0]).unwrap(), 1);
            let begun = Instant::now();
            while !woken.0.load(Ordering::Relaxed) && begun.elapsed() < LONG {
                thread::yield_now();
            }
            assert!(woken.0.load(Ordering::Relaxed), "the task hears of room");
            (&server).write_all(b"3").unwrap();
            assert_eq!(reading.join().unwrap(), 1);
        });
    }

    /// What is there is told to nobody again: the peer was awake, and its news were heard.
    #[test]
    fn a_turn_that_is_given_back_wakes_the_tasks_that_wait_for_it() {
        let (server, _client, task) = both_ways(PipeMode::Message, 100);
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let _context = runtime.enter();
        let mut asking = Box::pin(task.transact(b"question", 99));
        fall_asleep(asking.as_mut());
        let mut reading = pin!(task.read_message(99));
        let woken = fall_asleep(reading.as_mut());
        server.stream().write_message(b"answer").unwrap();
        assert!(!woken.0.load(Ordering::Relaxed));
        drop(asking);
        assert!(woken.0.load(Ordering::Relaxed));
        assert!(reading.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
    }

    /// To look empties the doorbell too.
    #[test]
    fn a_looking_thread_takes_no_wake_up_of_a_task() {
        let (server, client, task) = both_ways(PipeMode::Byte, 1000);
        let (runtime, is_over) = (workers(), AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    client.peek(&mut []).unwrap();
                }
            });
            let echoing = runtime.spawn(async move {
                for _ in 0..ROUNDS {
                    assert_eq!(read(&task, &mut [0]).await, 1);
                    assert_eq!(write(&task, b"t").await, 1);
                }
            });
            server.stream().set_read_timeout(Some(LONG)).unwrap();
            for _ in 0..ROUNDS {
                (&server).write_all(b"s").unwrap();
                let read = (&server).read(&mut [0]);
                if read.is_err() {
                    is_over.store(true, Ordering::Relaxed);
                }
                assert_eq!(read.expect("the task hears of data"), 1);
            }
            is_over.store(true, Ordering::Relaxed);
            runtime.block_on(echoing).unwrap();
        });
    }

    /// A thread keeps the turn of reading while it waits; tasks and threads get what comes one after the other.
    #[test]
    fn threads_and_tasks_take_turns() {
        let (server, client, task) = both_ways(PipeMode::Message, 100);
        let runtime = workers();
        let count_in_task = runtime.spawn(async move {
            let mut count = 0;
            while let Some(message) =
                timeout(LONG, task.read_message(9)).await.expect("its turn comes").unwrap()
            {
                assert_eq!(message, b"one");
                count += 1;
            }
            count
        });
        let count_in_thread = thread::spawn(move || {
            let mut count = 0;
            while let Some(message) = client.read_message(9).unwrap() {
                assert_eq!(message, b"one");
                count += 1;
            }
            count
        });
        for _ in 0..ROUNDS {
            server.stream().write_message(b"one").unwrap();
        }
        server.stream().drain().unwrap();
        drop(server);
        let in_thread: u32 = count_in_thread.join().unwrap();
        assert_eq!(runtime.block_on(count_in_task).unwrap() + in_thread, ROUNDS);
    }

    /// A reactor tells only of what is new: were something left in a full doorbell, nothing new could come.
    #[test]
    fn a_doorbell_that_was_full_rings_again() {
        let (server, _client, task) = both_ways(PipeMode::Byte, 1000);
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        // In the runtime, but without anybody who takes news from its reactor.
        let context = runtime.enter();
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..2000 {
            let mut waiting = pin!(task.ready(Interest::READABLE));
            fall_asleep(waiting.as_mut());
            (&server).write_all(b"x").unwrap();
            assert!(waiting.as_mut().poll(&mut cx).is_ready());
            assert_eq!(task.try_read(&mut [IoSliceMut::new(&mut [0; 9])]).unwrap(), 1);
        }
        drop(context);
        runtime.block_on(async {
            for _ in 0..3 {
                let mut buf = [0; 9];
                let mut reading = pin!(read(&task, &mut buf));
                // Long enough that it waits in the reactor, with nothing left to be told.
                while timeout(Duration::from_millis(5), reading.as_mut()).await.is_ok() {}
                (&server).write_all(b"x").unwrap();
                assert_eq!(timeout(LONG, reading).await.expect("it is told"), 1);
            }
        });
    }

    /// A message that lies in a memory of its own waits for room in a socket whose reader sleeps deep.
    #[test]
    fn a_large_message_waits_for_a_full_socket() {
        let (server, _client, task) = both_ways(PipeMode::Message, 1000);
        let server = Arc::new(AsyncEnd::new(server.into_stream().into_end()));
        let asleep = Builder::new_current_thread().enable_all().build().unwrap();
        let large = vec![7; 100_000];
        {
            // Its doorbell is rung until it is full, since nobody empties it.
            let _context = asleep.enter();
            for _ in 0..2000 {
                let mut waiting = pin!(task.ready(Interest::READABLE));
                fall_asleep(waiting.as_mut());
                assert_eq!(server.try_write(&[IoSlice::new(b"x")]).unwrap(), 1);
                assert_eq!(task.try_read(&mut [IoSliceMut::new(&mut [0; 9])]).unwrap(), 1);
            }
        }
        workers().block_on(async {
            // A task of its own, which nothing but news of the socket wakes.
            let mut writing = ::tokio::spawn({
                let (server, large) = (Arc::clone(&server), large.clone());
                async move { server.write_message(&large).await }
            });
            for _ in 0..3 {
                let waited = timeout(Duration::from_millis(5), &mut writing).await;
                assert!(waited.is_err(), "the socket is full");
            }
            let read = timeout(LONG, task.read_message(1 << 20)).await.expect("it hears of room");
            assert_eq!(read.unwrap().unwrap(), large);
            writing.await.unwrap().unwrap();
        });
    }
}
