//! System calls that fail. A filter of the kernel makes every call of one number fail in one thread, and the case looks at
//! what its ends make of that.

use std::{
    io::{IoSlice, Read, Write as _},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use pipework::{
    ClientOptions, NamedPipeBuilder, PipeErrorKind, PipeMode, PipeStream, os::unix::PipeStreamExt,
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{
        AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
        sendmsg, socketpair,
    },
    process::{Resource, Rlimit, getrlimit, setrlimit},
    thread::{CapabilitySet, capabilities, set_capabilities},
};
use seccompiler::{SeccompAction, SeccompFilter, apply_filter};

use super::{Case, HOUR, every, expect, expect_alive, long, pair, plain};
use crate::{
    harness::{blocked, skip, unique, wait_until},
    surface::{End, Fault, Instance, OpenSpec, Outcome, Spec, Surface},
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        long(every("shortage", shortage_of_anything_sends_a_message_once_or_fails)),
        every("shortage", shortage_of_descriptors_in_flight_ends_no_wait_early),
        plain("shortage", shortage_of_memory_loses_no_wake_up),
        plain("shortage", shortage_of_memory_keeps_an_event_loop_awake),
        plain("shortage", shortage_of_memory_lets_a_write_ring_beyond_its_limit),
        plain("shortage", shortage_of_memory_keeps_the_claim_of_a_client),
        plain("shortage", shortage_of_memory_is_waited_for_by_a_disconnect),
        #[cfg(feature = "tokio")]
        plain("shortage", shortage_of_memory_loses_no_wake_up_of_a_task),
    ]
}

/// From now on calls with these numbers fail in this thread.
fn fail_calls(numbers: &[i64], error: i32) {
    let rules = numbers.iter().map(|number| (*number, Vec::new())).collect();
    let error = SeccompAction::Errno(error.unsigned_abs());
    let arch = std::env::consts::ARCH.try_into();
    let Ok(arch) = arch else { skip("the filter is not for this processor") };
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, error, arch).unwrap();
    let program: seccompiler::BpfProgram = filter.try_into().unwrap();
    if apply_filter(&program).is_err() {
        skip("needs a kernel that filters system calls");
    }
}

/// A call that fails: its name, its numbers, its error.
type Failing = (&'static str, &'static [i64], i32);

/// The system calls of reading and writing, each with what the kernel documents of it.
const FAILING: &[Failing] = &[
    ("nothing", &[], 0),
    ("send", &[libc::SYS_sendto], libc::ENOBUFS),
    ("send", &[libc::SYS_sendto], libc::ENOMEM),
    ("sendmsg", &[libc::SYS_sendmsg], libc::ENOBUFS),
    ("sendmsg", &[libc::SYS_sendmsg], libc::ENOMEM),
    ("sendmsg", &[libc::SYS_sendmsg], libc::ETOOMANYREFS),
    ("recvmsg", &[libc::SYS_recvmsg], libc::ENOMEM),
    ("recvmsg", &[libc::SYS_recvmsg], libc::EMFILE),
    ("recv", &[libc::SYS_recvfrom], libc::ENOMEM),
    #[cfg(target_arch = "x86_64")]
    ("poll", &[libc::SYS_poll, libc::SYS_ppoll], libc::ENOMEM),
    #[cfg(not(target_arch = "x86_64"))]
    ("poll", &[libc::SYS_ppoll], libc::ENOMEM),
    ("memfd_create", &[libc::SYS_memfd_create], libc::EMFILE),
    ("memfd_create", &[libc::SYS_memfd_create], libc::ENOMEM),
    ("ftruncate", &[libc::SYS_ftruncate], libc::EFBIG),
    ("fcntl", &[libc::SYS_fcntl], libc::EMFILE),
    ("pwrite", &[libc::SYS_pwrite64], libc::ENOSPC),
    ("timerfd_create", &[libc::SYS_timerfd_create], libc::EMFILE),
];

/// One kind of write.
struct Write {
    name: &'static str,
    mode: PipeMode,
    len: usize,
    call: fn(&dyn End, &[u8]) -> Outcome<usize>,
}

const QUOTA: u16 = 4096;

fn writes() -> Vec<Write> {
    let message = |end: &dyn End, data: &[u8]| end.write_message(data).map(|()| data.len());
    let vectored = |end: &dyn End, data: &[u8]| {
        let (one, other) = data.split_at(data.len() / 3);
        end.write_vectored(&[one, other])
    };
    let transact = |end: &dyn End, data: &[u8]| end.transact(data, 100).map(|_| data.len());
    let attempt = |end: &dyn End, data: &[u8]| end.tries().map_or(Ok(0), |tries| tries.try_write(data));
    let of = |name, mode, len, call| Write { name, mode, len, call };
    vec![
        of("write, bytes", PipeMode::Byte, 100, |end, data| end.write(data)),
        of("write, bytes over the quota", PipeMode::Byte, usize::from(QUOTA) + 1000, |end, data| {
            end.write(data)
        }),
        of("write_vectored, bytes", PipeMode::Byte, 100, vectored),
        of("try_write, bytes", PipeMode::Byte, 100, attempt),
        of("write, a message", PipeMode::Message, 100, |end, data| end.write(data)),
        of("write_message", PipeMode::Message, 100, message),
        of("write_message over the quota", PipeMode::Message, usize::from(QUOTA) + 1000, message),
        of("write_message, large", PipeMode::Message, 100_000, message),
        of("write_vectored, a message", PipeMode::Message, 100, vectored),
        of("try_write, a message", PipeMode::Message, 100, attempt),
        of("try_write, a large message", PipeMode::Message, 100_000, attempt),
        of("transact", PipeMode::Message, 100, transact),
        of("transact, large", PipeMode::Message, 100_000, transact),
    ]
}

/// Reads what was published by now, and answers a transaction; the bytes, and in how many messages.
fn take_published(reader: &dyn End, write: &Write) -> (usize, usize) {
    let (mut bytes, mut count) = (0, 0);
    while let Ok(seen) = reader.peek(0) {
        if write.mode == PipeMode::Message && seen.message_left.is_some() {
            bytes += reader.read_message(1 << 20).unwrap().unwrap().len();
            count += 1;
            if write.name.starts_with("transact") {
                reader.write_message(b"reply").unwrap();
            }
        } else if seen.available > 0 {
            bytes += reader.read(&mut [0; 1000]).unwrap();
        } else {
            break;
        }
    }
    (bytes, count)
}

/// Writes in a thread in which some calls fail, while the reader is late. What came of it, and what was published.
fn write_where_calls_fail(
    server: &dyn End,
    client: &dyn End,
    write: &Write,
    failing: &Failing,
) -> (Outcome<usize>, usize, usize) {
    /// How late the reader is, and how long a write waits.
    const LATE: Duration = Duration::from_millis(10);
    const LIMIT: Duration = Duration::from_millis(60);
    client.set_write_timeout(Some(LIMIT)).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    if write.mode == PipeMode::Message && !write.name.starts_with("transact") {
        // Its memory waits in the client's socket. The call waits for its reader until its limit.
        server.set_write_timeout(Some(Duration::from_millis(1))).unwrap();
        drop(server.write_message(&[9; 100_000]));
        server.set_write_timeout(None).unwrap();
    }
    thread::scope(|scope| {
        let (done, outcome) = mpsc::channel();
        scope.spawn(move || {
            let data = vec![7; write.len];
            fail_calls(failing.1, failing.2);
            done.send((write.call)(client, &data)).unwrap();
        });
        let (mut bytes, mut count) = (0, 0);
        loop {
            let over = outcome.recv_timeout(LATE);
            let (more, messages) = take_published(server, write);
            (bytes, count) = (bytes + more, count + messages);
            if let Ok(over) = over {
                return (over, bytes, count);
            }
        }
    })
}

/// M1 and T1: the table of every write, in each state of the system. A message that was published is no error, unless the pipe
/// is at its end: who got one would write it again. One that was not published is an error, and can be written again.
fn shortage_of_anything_sends_a_message_once_or_fails(here: &dyn Surface) {
    let mut wrong = Vec::new();
    for write in writes() {
        for failing in FAILING {
            let mut spec = Spec::new(&unique());
            (spec.in_len, spec.out_len, spec.mode) = (QUOTA.into(), QUOTA.into(), write.mode);
            let (server, client) = pair(here, &spec);
            if write.name.starts_with("try") && client.tries().is_none() {
                continue;
            }
            let (outcome, bytes, count) = write_where_calls_fail(server.end(), &*client, &write, failing);
            let is_waited_for = |fault: &Fault| *fault == PipeErrorKind::TimedOut;
            let is_right = match &outcome {
                Ok(len) => bytes == *len && (write.mode == PipeMode::Byte || count == 1),
                // The request was written, and the error says so or is that of the wait for the reply.
                Err(fault) if write.name.starts_with("transact") && count == 1 => {
                    is_waited_for(fault) || fault.text.contains("the request was written")
                }
                // A future that is dropped when its time is over may have written, as one that waits for its reader.
                Err(fault) => {
                    bytes == 0 || (is_waited_for(fault) && here.name().starts_with("tokio") && count <= 1)
                }
            };
            let error = match failing.2 {
                0 => String::new(),
                error => format!(" with {}", std::io::Error::from_raw_os_error(error)),
            };
            let returned = outcome.map_err(|fault| fault.text);
            let row =
                format!("{}: {} fails{error}: {bytes} bytes published, {returned:?}", write.name, failing.0);
            let mut stdout = std::io::stdout().lock();
            writeln!(stdout, "{row}").unwrap();
            drop(stdout);
            if !is_right {
                wrong.push(row);
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// More descriptors in flight than the kernel lets this user have: sent, and received by nobody until they are dropped.
struct InFlight {
    _sockets: Vec<(OwnedFd, OwnedFd)>,
    before: Rlimit,
}

impl InFlight {
    /// For this thread and those that it starts, which have the rights of root no more: for root the kernel does not count.
    fn fill() -> InFlight {
        const AT_ONCE: usize = 50;
        const LIMIT: u64 = 100;
        let sockets = (0..4).map(|_| {
            let (one, other) =
                socketpair(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None).unwrap();
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            let descriptors = [one.as_fd(); AT_ONCE];
            assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
            sendmsg(&one, &[IoSlice::new(b"x")], &mut control, SendFlags::DONTWAIT).unwrap();
            (one, other)
        });
        let sockets = sockets.collect();
        let mut rights = capabilities(None).unwrap();
        rights.effective.remove(CapabilitySet::SYS_RESOURCE | CapabilitySet::SYS_ADMIN);
        set_capabilities(None, rights).unwrap();
        let before = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(LIMIT), maximum: before.maximum }).unwrap();
        InFlight { _sockets: sockets, before }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        setrlimit(Resource::Nofile, self.before).unwrap();
    }
}

/// C4 and T1: an open does not wait for fewer, and says why. A connect waits, not a moment less than its limit, and keeps the
/// instance that it has claimed.
fn shortage_of_descriptors_in_flight_ends_no_wait_early(here: &dyn Surface) {
    const LIMIT: Duration = Duration::from_millis(100);
    let name = unique();
    let server = here.create(&Spec { max_instances: 1, ..Spec::new(&name) }).unwrap();
    let again = || {
        expect(server.connect(), PipeErrorKind::NoData);
        server.disconnect().unwrap();
        // To listen again it need not wait.
        expect_listening(&*server);
    };
    let in_flight = InFlight::fill();
    let fault = here.open(&OpenSpec::new(&name)).map(drop).expect_err("no descriptor can be sent");
    assert!(fault.kind.is_none() && fault.text.contains("in flight"), "{fault}");
    again();
    let begun = Instant::now();
    let limited = OpenSpec { timeout: Some(LIMIT), ..OpenSpec::new(&name) };
    expect(here.connect(&limited).map(drop), PipeErrorKind::TimedOut);
    assert!(begun.elapsed() >= LIMIT, "{:?}", begun.elapsed());
    again();
    let client = thread::scope(|scope| {
        let endless = OpenSpec { timeout: Some(HOUR), ..OpenSpec::new(&name) };
        let connecting = scope.spawn(move || here.connect(&endless));
        // There is one instance: the client that takes it has it for good.
        server.connect().unwrap();
        assert!(!connecting.is_finished(), "its hello can't be sent");
        drop(in_flight);
        connecting.join().unwrap().unwrap()
    });
    expect_alive(server.end(), &*client);
}

/// Lets the instance listen again.
fn expect_listening(server: &dyn Instance) {
    let listens = server.connect_timeout(Duration::from_millis(1));
    expect(listens, PipeErrorKind::TimedOut);
}

/// A reader that sleeps hears of what was written, although the kernel had no memory for the wake-up at first: by the next
/// call on the writer's end, whatever it is.
fn shortage_of_memory_loses_no_wake_up() {
    let name = unique();
    let server = NamedPipeBuilder::new(&name).create().unwrap();
    let client = ClientOptions::new().open(&name).unwrap();
    server.connect().unwrap();
    client.set_write_timeout(Some(Duration::from_millis(30))).unwrap();
    for _ in 0..3 {
        thread::scope(|scope| {
            let reading = blocked(scope, || (&server).read(&mut [0; 9]).unwrap());
            scope.spawn(|| {
                fail_calls(&[libc::SYS_sendto], libc::ENOBUFS);
                assert_eq!(client.write(b"x").unwrap(), 1, "it was published");
            });
            // Nothing of its own to ring for.
            wait_until(|| {
                let tried = client.try_read(&mut [0; 9]);
                assert_eq!(tried.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
                reading.is_finished()
            });
            assert_eq!(reading.join().unwrap(), 1);
        });
    }
}

/// Whether a descriptor becomes readable within this time.
fn is_readable(fd: BorrowedFd<'_>, time: Duration) -> bool {
    let time = Timespec::try_from(time).unwrap();
    poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], Some(&time)).unwrap() > 0
}

/// Both ends, each in an event loop that waits for data: it is woken through the socket only.
fn pair_in_event_loops() -> (PipeStream, PipeStream) {
    let name = unique();
    let server = NamedPipeBuilder::new(&name).create().unwrap();
    let client = ClientOptions::new().open(&name).unwrap();
    server.connect().unwrap();
    let server = server.into_stream();
    // Made on first use, and ready until it was used.
    server.read_ready_fd().unwrap();
    client.read_ready_fd().unwrap();
    expect_nothing(server.try_read(&mut [0; 9]));
    expect_nothing(client.try_read(&mut [0; 9]));
    assert!(!is_readable(server.read_ready_fd().unwrap(), Duration::ZERO));
    (server, client)
}

fn expect_nothing(read: std::io::Result<usize>) {
    assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

/// An event loop that has nothing to do but to ring is woken again and again, with pauses, until its peer hears.
fn shortage_of_memory_keeps_an_event_loop_awake() {
    const LASTING: Duration = Duration::from_millis(100);
    let (server, client) = pair_in_event_loops();
    let (server_fd, client_fd) = (server.read_ready_fd().unwrap(), client.read_ready_fd().unwrap());
    thread::scope(|scope| {
        let short = scope.spawn(|| {
            fail_calls(&[libc::SYS_sendto], libc::ENOBUFS);
            assert_eq!(client.try_write(b"x").unwrap(), 1, "it was published");
            let (begun, mut tries) = (Instant::now(), 0);
            while begun.elapsed() < LASTING {
                assert!(is_readable(client_fd, HOUR), "quiet, while its peer sleeps");
                expect_nothing(client.try_read(&mut [0; 9]));
                tries += 1;
            }
            // One each millisecond.
            assert!(tries <= 2 * LASTING.as_millis(), "{tries} tries without a pause");
        });
        short.join().unwrap();
    });
    assert!(!is_readable(server_fd, Duration::ZERO), "nothing has rung yet");
    assert!(is_readable(client_fd, HOUR), "quiet, while its peer sleeps");
    expect_nothing(client.try_read(&mut [0; 9]));
    assert!(is_readable(server_fd, HOUR), "the peer was not woken");
    assert_eq!(server.try_read(&mut [0; 9]).unwrap(), 1);
    expect_nothing(client.try_read(&mut [0; 9]));
    assert!(!is_readable(client_fd, LASTING), "nothing is owed any more");
}

/// The limit of a write is no limit of the wake-up that it owes to its peer. In the end an event loop goes on with it.
fn shortage_of_memory_lets_a_write_ring_beyond_its_limit() {
    let (server, client) = pair_in_event_loops();
    let (server_fd, client_fd) = (server.read_ready_fd().unwrap(), client.read_ready_fd().unwrap());
    client.set_write_timeout(Some(Duration::from_millis(1))).unwrap();
    thread::scope(|scope| {
        let writing = scope.spawn(|| {
            fail_calls(&[libc::SYS_sendto], libc::ENOBUFS);
            let begun = Instant::now();
            assert_eq!(client.write(b"x").unwrap(), 1, "it was published");
            begun.elapsed()
        });
        assert!(writing.join().unwrap() >= Duration::from_millis(900), "it gave up");
    });
    assert!(!is_readable(server_fd, Duration::ZERO), "nothing has rung yet");
    assert!(is_readable(client_fd, Duration::ZERO), "the event loop has to go on");
    expect_nothing(client.try_read(&mut [0; 9]));
    assert!(is_readable(server_fd, HOUR), "the peer was not woken");
}

/// C4: a connect whose hello meets the shortage keeps the instance that it has claimed, and waits.
fn shortage_of_memory_keeps_the_claim_of_a_client() {
    const LIMIT: Duration = Duration::from_millis(50);
    for error in [libc::ENOBUFS, libc::ENOMEM] {
        let name = unique();
        let _server = NamedPipeBuilder::new(&name).create().unwrap();
        thread::scope(|scope| {
            let connecting = scope.spawn(|| {
                fail_calls(&[libc::SYS_sendmsg], error);
                let begun = Instant::now();
                let connected = ClientOptions::new().timeout(LIMIT).connect(&name).map(drop);
                assert_eq!(PipeErrorKind::of(&connected.unwrap_err()), Some(PipeErrorKind::TimedOut));
                assert!(begun.elapsed() >= LIMIT, "{:?}", begun.elapsed());
            });
            connecting.join().unwrap();
        });
    }
}

/// F2: a server without the memory of its client says by one byte that it has disconnected it, and repeats that for a second.
fn shortage_of_memory_is_waited_for_by_a_disconnect() {
    let name = unique();
    let server = NamedPipeBuilder::new(&name).create().unwrap();
    let client = ClientOptions::new().open(&name).unwrap();
    server.connect().unwrap();
    let limit = getrlimit(Resource::Nofile);
    let few = Rlimit { current: Some(4), maximum: limit.maximum };
    let _taken = std::fs::File::open("/dev/null").unwrap();
    thread::scope(|scope| {
        let disconnecting = scope.spawn(|| {
            fail_calls(&[libc::SYS_sendto], libc::ENOBUFS);
            // The hello can't be taken.
            setrlimit(Resource::Nofile, few).unwrap();
            let begun = Instant::now();
            server.disconnect().unwrap();
            begun.elapsed()
        });
        assert!(disconnecting.join().unwrap() >= Duration::from_millis(900), "it gave up");
    });
    setrlimit(Resource::Nofile, limit).unwrap();
    let read = client.read(&mut [0; 9]);
    assert_eq!(read.unwrap(), 0, "the end of the pipe");
}

/// The same of a task that wrote and does nothing else.
#[cfg(feature = "tokio")]
fn shortage_of_memory_loses_no_wake_up_of_a_task() {
    use pipework::tokio::NamedPipeClient;
    use tokio::{io::AsyncWriteExt, runtime::Builder};

    let name = unique();
    let server = NamedPipeBuilder::new(&name).create().unwrap();
    let client = ClientOptions::new().open(&name).unwrap();
    server.connect().unwrap();
    // Its worker is there before any thread with the filter could start one.
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut client = {
        let _context = runtime.enter();
        NamedPipeClient::try_from(client).unwrap()
    };
    thread::scope(|scope| {
        let reading = blocked(scope, || (&server).read(&mut [0; 9]).unwrap());
        scope.spawn(|| {
            fail_calls(&[libc::SYS_sendto], libc::ENOBUFS);
            assert_eq!(runtime.block_on(client.write(b"x")).unwrap(), 1, "it was published");
        });
        assert_eq!(reading.join().unwrap(), 1);
    });
}
