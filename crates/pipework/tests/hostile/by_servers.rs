//! Servers that aren't, against real clients.

use crate::{
    harness::Case,
    wire::{
        EPOCH, INLINE, Map, PATIENCE, PAYLOAD, SHORT, Shape, digits, directory, expect, is_typed, record,
        view_of, word,
    },
};
use pipework::{ClientOptions, NamedPipe, PipeErrorKind, PipeMode, PipeStream};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketAddrUnix, SocketFlags,
    SocketType, bind, listen, recvmsg, socket_with,
};
use std::{
    fs,
    io::{self, IoSliceMut, Read, Write},
    mem::MaybeUninit,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{fs::DirBuilderExt, net::UnixStream},
    },
    path::PathBuf,
    thread,
    time::Duration,
};

pub(crate) const CASES: &[Case] = &[
    ("server_header_is_none", header_is_none),
    ("server_header_is_no_file", header_is_no_file),
    ("server_header_has_another_name", header_has_another_name),
    ("server_is_not_alive", is_not_alive),
    ("server_instance_is_no_socket", instance_is_no_socket),
    ("server_instance_has_absurd_quotas", absurd_quotas),
    ("server_accepts_and_closes", accepts_and_closes),
    ("server_never_accepts", never_accepts),
    ("server_throws_out", throws_out),
    ("server_queue_breaks_its_word", queue_breaks_its_word),
    ("server_lies_in_the_words", lies_in_the_words),
    ("server_lies_of_messages", lies_of_messages),
    ("server_has_many_dead_instances", many_dead_instances),
];

const NAME: &str = "fake";
/// The version of a pipe's directory.
const VERSION: u32 = 2;
const INCARNATION: u64 = 12345;
const QUOTA: u32 = 8192;

/// A pipe's directory, made by hand.
struct Fake {
    directory: PathBuf,
    /// Sockets that are bound.
    bound: Vec<OwnedFd>,
}

fn header(version: u32, mode: &str, name: &str) -> String {
    format!(
        "pipework {version}\nincarnation {}\nmode {mode}\ninbound yes\noutbound yes\nmax_instances 255\n\
         default_timeout_ms 50\naccess owner\naccept_remote no\nname {name}",
        digits(INCARNATION.into(), 8)
    )
}

impl Fake {
    fn empty() -> Fake {
        let directory = directory(NAME);
        fs::DirBuilder::new().mode(0o700).create(&directory).unwrap();
        Fake { directory, bound: Vec::new() }
    }

    /// One that looks alive.
    fn alive(header: &str) -> Fake {
        let mut fake = Fake::empty();
        fs::write(fake.directory.join("header"), header).unwrap();
        let leaf = fake.server_leaf(1, INCARNATION);
        fake.bind(&leaf, SocketType::STREAM);
        // One instance: a microsecond for each.
        let time = Timespec { tv_sec: 1_800_000_000, tv_nsec: 1_000 };
        let times = Timestamps { last_access: time, last_modification: time };
        utimensat(CWD, fake.directory.join(&leaf), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
        fake
    }

    fn bind(&mut self, leaf: &str, kind: SocketType) -> &OwnedFd {
        let socket = socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap();
        let opened = fs::File::open(&self.directory).unwrap();
        let path = format!("/proc/self/fd/{}/{leaf}", opened.as_raw_fd());
        bind(&socket, &SocketAddrUnix::new(path.as_str()).unwrap()).unwrap();
        self.bound.push(socket);
        self.bound.last().unwrap()
    }

    fn server_leaf(&self, id: u128, incarnation: u64) -> String {
        let view = view_of(&self.directory);
        format!("s-{}-{view}-{}-{}", digits(id, 16), digits(incarnation.into(), 8), digits(1, 7))
    }

    fn instance_leaf(&self, id: u128, in_quota: u32, out_quota: u32) -> String {
        let (view, incarnation) = (view_of(&self.directory), digits(INCARNATION.into(), 8));
        format!(
            "i-{}-{view}-{incarnation}-{}-{}",
            digits(id, 16),
            digits(in_quota.into(), 7),
            digits(out_quota.into(), 7)
        )
    }

    /// One that listens too.
    fn listening(mode: &str) -> Fake {
        let mut fake = Fake::alive(&header(VERSION, mode, NAME));
        listen(fake.bind(&fake.instance_leaf(2, QUOTA, QUOTA), SocketType::STREAM), 0).unwrap();
        fake
    }

    fn accept(&self) -> UnixStream {
        rustix::net::accept(self.bound.last().unwrap()).unwrap().into()
    }

    /// Closes the connections that nobody has accepted yet.
    fn close_those_who_came(&self) {
        let socket = self.bound.last().unwrap();
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        while poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&at_once)).unwrap() > 0 {
            drop(self.accept());
        }
    }

    /// Takes the client's memory as a server does.
    fn accept_memory(&self, messages: bool) -> (UnixStream, Map) {
        let socket = self.accept();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut hello = [0; 40];
        recvmsg(&socket, &mut [IoSliceMut::new(&mut hello)], &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
        let shape = Shape { messages, incarnation: INCARNATION, in_quota: QUOTA, out_quota: QUOTA };
        assert_eq!(hello, shape.hello());
        let fd = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        let map = Map::new(&fd.expect("the memory comes with the hello"), shape.memory_len());
        (socket, map)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        // A creator or a lister may have removed what it held for dead.
        if let Err(error) = fs::remove_dir_all(&self.directory) {
            assert_eq!(error.kind(), io::ErrorKind::NotFound, "{error}");
        }
    }
}

/// A queue that never admits, closes, or sends what is no admission, and one that admits a client and leaves.
fn queue_breaks_its_word() {
    let mut fake = Fake::alive(&header(VERSION, "byte", NAME));
    let leaf = fake.instance_leaf(2, QUOTA, QUOTA).replacen("i-", "q-", 1);
    listen(fake.bind(&leaf, SocketType::STREAM), 16).unwrap();
    let connect = |limit| move || ClientOptions::new().timeout(limit).connect(NAME);
    expect(connect(SHORT)(), PipeErrorKind::TimedOut, "it never admits");
    drop(fake.accept());
    for (word, kind) in [("?", PipeErrorKind::Corrupt), ("?+", PipeErrorKind::Corrupt)] {
        thread::scope(|scope| {
            let client = scope.spawn(connect(PATIENCE));
            let mut socket = fake.accept();
            socket.write_all(word.as_bytes()).unwrap();
            expect(client.join().unwrap(), kind, word);
        });
    }
    thread::scope(|scope| {
        let client = scope.spawn(connect(SHORT));
        // As often as it comes again.
        while !client.is_finished() {
            fake.close_those_who_came();
        }
        expect(client.join().unwrap(), PipeErrorKind::TimedOut, "it closes");
    });
    fake.close_those_who_came();
    thread::scope(|scope| {
        let client = scope.spawn(connect(PATIENCE));
        let mut socket = fake.accept();
        socket.write_all(b"+").unwrap();
        let mut client = client.join().unwrap().unwrap();
        drop(socket);
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
    });
}

fn open() -> io::Result<PipeStream> {
    let stream = ClientOptions::new().open(NAME)?;
    stream.set_read_timeout(Some(SHORT))?;
    stream.set_write_timeout(Some(SHORT))?;
    Ok(stream)
}

/// Every call of a client fails, with an error of its own kind.
fn expect_typed(about: &str) {
    let outcomes: [io::Result<()>; 4] = [
        open().map(drop),
        ClientOptions::new().timeout(SHORT).connect(NAME).map(drop),
        NamedPipe::wait(NAME, Some(SHORT)),
        NamedPipe::new(NAME).map(drop),
    ];
    for (index, outcome) in outcomes.into_iter().enumerate() {
        if let Err(error) = outcome {
            assert!(is_typed(&error), "{about}, call {index}: {error}");
        } else {
            // Only a server may come where there is none.
            assert_eq!(index, 3, "{about}");
        }
    }
}

/// Who lists sees the other pipes too, or hears what is wrong with this one, which is its own.
fn expect_listed(about: &str) {
    let other = NamedPipe::new("other-pipe").unwrap();
    match pipework::list() {
        Ok(listed) => {
            assert!(listed.iter().any(|pipe| pipe.name.to_string().contains("other-pipe")), "{about}")
        }
        Err(error) => assert!(is_typed(&error), "{about}: {error}"),
    }
    drop(other);
}

fn header_is_none() {
    let good = header(VERSION, "byte", NAME);
    let headers: [(&str, Vec<u8>, PipeErrorKind); 9] = [
        ("empty", Vec::new(), PipeErrorKind::Corrupt),
        ("noise", vec![0xA5; 500], PipeErrorKind::Corrupt),
        ("long noise", vec![b'x'; 1 << 20], PipeErrorKind::Corrupt),
        ("cut short", good.as_bytes()[..60].to_vec(), PipeErrorKind::Corrupt),
        ("another mode", header(VERSION, "telepathy", NAME).into(), PipeErrorKind::Corrupt),
        ("another version", header(VERSION - 1, "byte", NAME).into(), PipeErrorKind::Unsupported),
        ("another name", header(VERSION, "byte", "other").into(), PipeErrorKind::Corrupt),
        ("no name", header(VERSION, "byte", "").into(), PipeErrorKind::Corrupt),
        ("a long name", header(VERSION, "byte", &"x".repeat(5000)).into(), PipeErrorKind::Corrupt),
    ];
    for (about, text, kind) in headers {
        let fake = Fake::alive(&good);
        fs::write(fake.directory.join("header"), text).unwrap();
        expect(open(), kind, about);
        expect_typed(about);
        expect_listed(about);
    }
}

/// Who was given one name can't be taken for the server of another.
fn header_has_another_name() {
    let honest = Fake::alive(&header(VERSION, "byte", NAME));
    assert_eq!(pipework::list().unwrap().len(), 1);
    drop(honest);
    let _liar = Fake::alive(&header(VERSION, "byte", "victim"));
    assert!(pipework::list().unwrap().is_empty());
    expect(ClientOptions::new().open("victim"), PipeErrorKind::Absent, "the name in the header");
    expect(ClientOptions::new().open(NAME), PipeErrorKind::Corrupt, "the name of the directory");
}

fn header_is_no_file() {
    type Make = fn(&PathBuf);
    let make: [(&str, Make); 4] = [
        ("a directory", |path| fs::create_dir(path).unwrap()),
        ("a link", |path| std::os::unix::fs::symlink("/etc/passwd", path).unwrap()),
        ("a device of a kind", |path| std::os::unix::fs::symlink("/dev/zero", path).unwrap()),
        ("a fifo", |path| {
            let mode = rustix::fs::Mode::from_raw_mode(0o600);
            rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        }),
    ];
    for (about, make) in make {
        let fake = Fake::empty();
        make(&fake.directory.join("header"));
        let error = open().unwrap_err();
        assert!(is_typed(&error), "{about}: {error}");
        expect_typed(about);
    }
}

fn is_not_alive() {
    let fake = Fake::empty();
    fs::write(fake.directory.join("header"), header(VERSION, "byte", NAME)).unwrap();
    expect(open(), PipeErrorKind::Absent, "a header and nothing else");
    expect(NamedPipe::wait(NAME, None), PipeErrorKind::Absent, "a header and nothing else");
    let messages = ClientOptions::new().read_mode(PipeMode::Message).open(NAME);
    expect(messages, PipeErrorKind::Absent, "what the header says is of no matter then");
    drop(fake);
    let mut fake = Fake::alive(&header(VERSION, "byte", NAME));
    expect(open(), PipeErrorKind::Busy, "alive, and no instance listens");
    fake.bound.clear();
    expect(open(), PipeErrorKind::Absent, "its process has gone");
    // Another incarnation's proof of life is none.
    let leaf = fake.server_leaf(9, 777);
    fake.bind(&leaf, SocketType::STREAM);
    expect(open(), PipeErrorKind::Absent, "another incarnation lives");
    expect(NamedPipe::new(NAME), PipeErrorKind::NameTaken, "it may have lost its header");
    fake.bound.clear();
    // A server comes where only leavings are.
    drop(NamedPipe::new(NAME).unwrap());
}

fn instance_is_no_socket() {
    let fake = Fake::alive(&header(VERSION, "byte", NAME));
    let leaf = fake.instance_leaf(2, QUOTA, QUOTA);
    fs::write(fake.directory.join(&leaf), "text").unwrap();
    expect(open(), PipeErrorKind::Busy, "a file");
    drop(fake);
    let fake = Fake::alive(&header(VERSION, "byte", NAME));
    std::os::unix::fs::symlink("/nowhere", fake.directory.join(&leaf)).unwrap();
    expect(open(), PipeErrorKind::Busy, "a link to nowhere");
    drop(fake);
    let mut fake = Fake::alive(&header(VERSION, "byte", NAME));
    fake.bind(&leaf, SocketType::DGRAM);
    let error = open().unwrap_err();
    assert!(is_typed(&error), "a datagram socket: {error}");
}

fn absurd_quotas() {
    let mut fake = Fake::alive(&header(VERSION, "message", NAME));
    listen(fake.bind(&fake.instance_leaf(2, u32::MAX, u32::MAX), SocketType::STREAM), 0).unwrap();
    match open() {
        Ok(mut stream) => expect(stream.read(&mut [0; 8]), PipeErrorKind::TimedOut, "nobody is there"),
        Err(error) => assert!(is_typed(&error), "{error}"),
    }
}

fn accepts_and_closes() {
    let fake = Fake::listening("byte");
    let mut stream = open().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    drop(fake.accept());
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
    expect(stream.write(b"x"), PipeErrorKind::NoData, "nobody reads");
    expect(stream.peek(&mut [0; 8]), PipeErrorKind::Broken, "nobody is there");
    drop(fake);
    // One that closes before the client can even say hello.
    let fake = Fake::listening("byte");
    let stream = std::thread::scope(|scope| {
        scope.spawn(|| drop(fake.accept()));
        open()
    });
    let mut stream = stream.unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
}

fn never_accepts() {
    let fake = Fake::listening("byte");
    let mut stream = open().unwrap();
    expect(stream.read(&mut [0; 8]), PipeErrorKind::TimedOut, "nobody is there yet");
    assert_eq!(stream.write(&[1; 10_000]).unwrap(), QUOTA as usize, "what was published counts");
    expect(stream.write(b"x"), PipeErrorKind::TimedOut, "nobody reads");
    expect(stream.drain(), PipeErrorKind::TimedOut, "nobody reads");
    expect(open(), PipeErrorKind::Busy, "one client for one instance");
    drop(fake);
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0, "it closed");
}

fn throws_out() {
    let fake = Fake::listening("byte");
    let mut stream = open().unwrap();
    let mut socket = fake.accept();
    socket.write_all(b"D").unwrap();
    expect(stream.read(&mut [0; 8]), PipeErrorKind::NotConnected, "thrown out by the socket");
    expect(stream.write(b"x"), PipeErrorKind::NotConnected, "thrown out by the socket");
    drop((socket, fake));
    let fake = Fake::listening("message");
    let mut stream = open().unwrap();
    let (_socket, map) = fake.accept_memory(true);
    map.set(word::SERVER_MARK, 2);
    expect(stream.read(&mut [0; 8]), PipeErrorKind::NotConnected, "thrown out by the mark");
    // A change of mind is no return.
    map.set(word::SERVER_MARK, 77);
    match stream.read(&mut [0; 8]) {
        Ok(len) => assert_eq!(len, 0),
        Err(error) => assert!(is_typed(&error), "{error}"),
    }
}

fn lies_in_the_words() {
    type Lie = fn(&Map, &mut PipeStream) -> io::Result<usize>;
    let lies: [(&str, Lie); 7] = [
        ("an epoch with nothing in it", |map, stream| {
            map.set(word::OUT_TAIL, EPOCH);
            stream.read(&mut [0; 8])
        }),
        ("the next epoch before this one was read", |map, stream| {
            map.set(word::OUT_TAIL, 8);
            assert_eq!(stream.read(&mut [0; 7])?, 7);
            map.set(word::OUT_TAIL, EPOCH + 8);
            stream.peek(&mut [0; 8]).map(|peek| peek.available)
        }),
        ("a tail too far", |map, stream| {
            map.set(word::OUT_TAIL, 8193);
            stream.read(&mut [0; 8])
        }),
        ("a tail that goes back", |map, stream| {
            map.set(word::OUT_TAIL, 8);
            assert_eq!(stream.read(&mut [0; 8])?, 8);
            map.set(word::OUT_TAIL, 7);
            stream.read(&mut [0; 8])
        }),
        ("a head beyond the tail", |map, stream| {
            assert_eq!(stream.write(&[1; 8192])?, 8192);
            map.set(word::IN_HEAD, 8193);
            stream.write(b"x")
        }),
        ("a head that goes back", |map, stream| {
            assert_eq!(stream.write(&[1; 8192])?, 8192);
            map.set(word::IN_HEAD, 8192);
            assert_eq!(stream.write(&[1; 8192])?, 8192);
            map.set(word::IN_HEAD, 5);
            stream.write(b"x")
        }),
        ("read before it was written", |map, stream| {
            map.set(word::IN_HEAD, 1);
            stream.drain().map(|()| 0)
        }),
    ];
    for (about, lie) in lies {
        let fake = Fake::listening("byte");
        let mut stream = open().unwrap();
        let (_socket, map) = fake.accept_memory(false);
        expect(lie(&map, &mut stream), PipeErrorKind::Corrupt, about);
        expect(stream.read(&mut [0; 8]), PipeErrorKind::Corrupt, "it stays so");
    }
}

fn lies_of_messages() {
    let outbound = PAYLOAD + 16384;
    let lies = [
        ("zeroed memory", vec![0; 16], 16),
        ("half a header", record(INLINE, 0), 8),
        ("a message longer than published", record(INLINE, 100), 32),
        ("a message longer than any", record(INLINE, u64::MAX), 32),
    ];
    for (about, bytes, tail) in lies {
        let fake = Fake::listening("message");
        let stream = open().unwrap();
        stream.set_read_mode(PipeMode::Message).unwrap();
        let (_socket, map) = fake.accept_memory(true);
        map.fill(outbound, &bytes);
        map.set(word::OUT_TAIL, tail);
        expect(stream.read_message(1000), PipeErrorKind::Corrupt, about);
        expect(stream.write_message(b"x"), PipeErrorKind::Corrupt, about);
    }
    // A transaction that is answered with nonsense.
    let fake = Fake::listening("message");
    let stream = open().unwrap();
    stream.set_read_mode(PipeMode::Message).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let (mut socket, map) = fake.accept_memory(true);
    std::thread::scope(|scope| {
        let client = scope.spawn(|| stream.transact(b"question", 1000));
        while map.get(word::IN_TAIL) == 0 {
            std::thread::yield_now();
        }
        map.fill(outbound, &record(INLINE, 1 << 40));
        map.set(word::OUT_TAIL, 64);
        socket.write_all(b".").unwrap();
        expect(client.join().unwrap(), PipeErrorKind::Corrupt, "an answer that can't be");
    });
}

fn many_dead_instances() {
    let mut fake = Fake::alive(&header(VERSION, "byte", NAME));
    for id in 100..400 {
        fake.bind(&fake.instance_leaf(id, QUOTA, QUOTA), SocketType::STREAM);
    }
    let liveness = fake.bound.swap_remove(0);
    fake.bound.clear();
    expect(open(), PipeErrorKind::Busy, "all of them are dead, and the server lives");
    drop(liveness);
    expect(open(), PipeErrorKind::Absent, "nobody lives");
    // What is dead and ours, the next creator removes.
    let server = NamedPipe::new(NAME).unwrap();
    let left = fs::read_dir(&fake.directory).unwrap().count();
    assert!(left <= 4, "{left} files were left");
    drop(server);
}
