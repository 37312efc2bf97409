//! Threads and tasks at one and the same end, and a doorbell that is full.

use super::{
    Connection,
    doorbell::UNREAD_RINGS_MAX,
    parking::Sleeper,
    step::{On, Step},
};
use crate::ring::{Interest as RingInterest, WaitKind};
use crate::sys::{End, WaitLimit, asynchronous::AsyncEnd};
use crate::{ClientOptions, NamedPipe, NamedPipeBuilder, PipeMode, PipeName, PipeStream};
use ::tokio::{
    io::Interest,
    runtime::{Builder, Runtime},
    time::{sleep, timeout},
};
use std::{
    future::poll_fn,
    io::{IoSlice, IoSliceMut, Read, Write},
    os::fd::AsFd,
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

/// A server, a blocking client, and the same client, async.
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

/// Polls as long as the future asks for it, until only a new event would wake it; the reactor reports events
/// from then on.
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
    // Nothing takes events from the reactor of this runtime.
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

/// The reactor does not report old data again: the peer was awake, and its event was taken.
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
        while let Some(message) = timeout(LONG, task.read_message(9)).await.expect("its turn comes").unwrap()
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

/// A reactor signals only new events: were something left in a full doorbell, nothing new could come.
#[test]
fn a_doorbell_that_was_full_rings_again() {
    let (server, _client, task) = both_ways(PipeMode::Byte, 1000);
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    // In the runtime, but nothing takes events from its reactor.
    let context = runtime.enter();
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..2000 {
        let mut parking = pin!(task.ready(Interest::READABLE));
        fall_asleep(parking.as_mut());
        (&server).write_all(b"x").unwrap();
        assert!(parking.as_mut().poll(&mut cx).is_ready());
        assert_eq!(task.try_read(&mut [IoSliceMut::new(&mut [0; 9])]).unwrap(), 1);
    }
    drop(context);
    runtime.block_on(async {
        for _ in 0..3 {
            let mut buf = [0; 9];
            let mut reading = pin!(read(&task, &mut buf));
            // Long enough that it waits in the reactor, with no event left to report.
            while timeout(Duration::from_millis(5), reading.as_mut()).await.is_ok() {}
            (&server).write_all(b"x").unwrap();
            assert_eq!(timeout(LONG, reading).await.expect("the reactor wakes it"), 1);
        }
    });
}

/// A message that lies in a memory of its own waits for room in a socket whose reader sleeps deep.
/// A task leaves them in the socket, for the price of a system call each.
#[test]
fn rings_that_stay_unread_are_few_and_the_next_one_wakes_the_task() {
    let (server, client, task) = both_ways(PipeMode::Byte, 1);
    let socket = connection(client.end());
    let mut unread = Vec::new();
    workers().block_on(async {
        for _ in 0..10 * UNREAD_RINGS_MAX {
            let mut buf = [0];
            let mut reading = pin!(read(&task, &mut buf));
            let woken = fall_asleep(reading.as_mut());
            (&server).write_all(b"s").unwrap();
            unread.push(rustix::io::ioctl_fionread(socket.as_fd()).unwrap());
            let is_woken = async {
                while !woken.0.load(Ordering::Relaxed) {
                    sleep(Duration::from_millis(1)).await;
                }
            };
            timeout(LONG, is_woken).await.expect("each ring is an event");
            assert_eq!(reading.await, 1);
        }
    });
    assert_eq!(unread.iter().max(), Some(&(UNREAD_RINGS_MAX as u64)), "{unread:?}");
}

#[test]
fn a_large_message_waits_for_a_full_socket() {
    let (server, _client, task) = both_ways(PipeMode::Message, 1000);
    let server = Arc::new(AsyncEnd::new(server.into_stream().into_end()));
    let asleep = Builder::new_current_thread().enable_all().build().unwrap();
    let large = vec![7; 100_000];
    {
        // Its doorbell is rung until it is full, since nothing empties it.
        let _context = asleep.enter();
        for _ in 0..2000 {
            let mut parking = pin!(task.ready(Interest::READABLE));
            fall_asleep(parking.as_mut());
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

/// The connection of an end that keeps it for good.
fn connection(end: &End) -> Arc<Connection> {
    let End::Connection(connection) = end else { panic!("no end of one connection: {end:?}") };
    Arc::clone(connection)
}

/// A thread sleeps at the futex, and a task of its end goes to sleep at the socket: what comes wakes both. A thread that hears
/// nothing would look again 10 ms later.
#[test]
fn a_task_that_falls_asleep_leaves_a_thread_its_wake_up() {
    let (server, client, task) = both_ways(PipeMode::Byte, 1000);
    let server = connection(&server.into_stream().into_end());
    let client = connection(client.end());
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let _context = runtime.enter();
    let (at_server, at_client) = (server.rings_now().unwrap().unwrap(), client.rings_known().unwrap());
    at_client.wait_words.announce(RingInterest::Data, WaitKind::Futex);
    let mut buf = [0; 9];
    let mut reading = pin!(read(&task, &mut buf));
    fall_asleep(reading.as_mut());
    let wake = at_server.wait_words.must_wake(RingInterest::Data);
    assert!(wake.futex && wake.socket, "{wake:?}");
}

/// A thread that polls the socket until it is let go.
struct Polling {
    is_released: AtomicBool,
    polls: std::sync::mpsc::Sender<()>,
    released: std::sync::mpsc::Receiver<()>,
}

impl Sleeper for Polling {
    fn first_sleep(&self) -> WaitKind {
        WaitKind::Poll
    }

    fn announce(&self, _: WaitKind) -> u64 {
        0
    }

    fn is_ready(&mut self) -> std::io::Result<bool> {
        Ok(*self.is_released.get_mut())
    }

    fn sleep_at_futex(&self, _: u64, _: &WaitLimit) -> WaitKind {
        WaitKind::Poll
    }

    fn sleep_at_socket(&self, _: &WaitLimit) -> std::io::Result<()> {
        self.polls.send(()).unwrap();
        self.released.recv().unwrap();
        self.is_released.store(true, Ordering::Relaxed);
        Ok(())
    }
}

/// A thread that polls the socket has yet to take the hello of a client that wrote and is gone. To another one that is not
/// the end.
#[test]
fn the_end_is_not_read_before_a_hello_that_another_thread_takes() {
    let (server, client, task) = both_ways(PipeMode::Byte, 1000);
    let server = connection(&server.into_stream().into_end());
    (&client).write_all(b"last words").unwrap();
    let (polls, is_polling) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel();
    let mut polling = Polling { is_released: AtomicBool::new(false), polls, released };
    thread::scope(|scope| {
        // Dropped here whatever comes, so that the thread ends.
        let (server, release) = (&*server, release);
        scope.spawn(move || server.parking.sleep(&mut polling, &WaitLimit::default()).unwrap());
        is_polling.recv().unwrap();
        drop((client, task));
        while !server.poll_hangup() {
            thread::yield_now();
        }
        let mut buf = [0; 99];
        let mut read = || server.attempt_read(&mut [IoSliceMut::new(&mut buf)]);
        assert_eq!(read().unwrap(), Step::Blocked(On::Hello));
        release.send(()).unwrap();
        while read().unwrap() == Step::Blocked(On::Hello) {
            thread::yield_now();
        }
        assert_eq!(read().unwrap(), Step::Done(0), "the last words were read");
    });
}
