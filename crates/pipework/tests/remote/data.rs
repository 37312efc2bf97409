//! Bytes and messages, both ways.

use crate::{
    harness::{Case, Place, open, unique},
    samba::{Samba, Setup},
    server::{Kind, Served},
};
use pipework::{MessageBatch, MessageRead, PipeErrorKind, PipeMode};
use std::{
    io::{self, IoSlice, Read, Write},
    thread,
    time::{Duration, Instant},
};

pub(crate) const CASES: &[Case] = &[
    ("bytes_of_every_length_go_both_ways", bytes_of_every_length_go_both_ways),
    ("messages_of_every_length_keep_their_ends", messages_of_every_length_keep_their_ends),
    (
        "messages_that_are_empty_or_too_long_are_never_sent",
        messages_that_are_empty_or_too_long_are_never_sent,
    ),
    ("an_empty_message_of_the_server_is_a_message", an_empty_message_of_the_server_is_a_message),
    ("messages_are_read_in_parts_and_as_bytes", messages_are_read_in_parts_and_as_bytes),
    ("batches_are_their_messages_in_order", batches_are_their_messages_in_order),
    ("transact_asks_and_is_answered", transact_asks_and_is_answered),
    ("transact_of_two_threads_never_mixes_up", transact_of_two_threads_never_mixes_up),
    ("transact_after_a_read_that_gave_up", transact_after_a_read_that_gave_up),
    ("both_directions_at_once", both_directions_at_once),
    ("the_end_comes_after_the_data", the_end_comes_after_the_data),
    ("an_end_may_do_what_was_asked_for", an_end_may_do_what_was_asked_for),
    ("what_can_not_be_had_is_told", what_can_not_be_had_is_told),
    ("trying_never_waits", trying_never_waits),
    ("pipes_of_samba_itself_answer", pipes_of_samba_itself_answer),
];

const LENGTHS: [usize; 10] =
    [1, 2, 4095, 65_535, 65_536, 65_537, 1 << 20, (1 << 20) + 1, 5_000_000, 16 << 20];

/// Bytes that differ at every place.
pub(crate) fn pattern(len: usize, seed: u8) -> Vec<u8> {
    let byte = |index: usize| (index * 31 + (index >> 8)).to_le_bytes()[0] ^ seed;
    (0..len).map(byte).collect()
}

fn bytes_of_every_length_go_both_ways(place: &Place) {
    let (mut client, mut server) = open(place, Kind::Bytes);
    for (seed, len) in (0..).zip(LENGTHS) {
        let data = pattern(len, seed);
        thread::scope(|scope| {
            let writing = scope.spawn(|| client.write_all(&data).unwrap());
            assert!(server.read_exactly(len) == data, "{len} bytes to the server");
            writing.join().unwrap();
        });
        thread::scope(|scope| {
            let writing = scope.spawn(|| server.socket.write_all(&data).unwrap());
            let mut read = vec![0; len];
            client.read_exact(&mut read).unwrap();
            assert!(read == data, "{len} bytes to the client");
            writing.join().unwrap();
        });
    }
    client.flush().unwrap();
    drop(client);
    assert!(server.is_at_end());
}

fn messages_of_every_length_keep_their_ends(place: &Place) {
    let (client, server) = open(place, Kind::Messages);
    let echo = thread::spawn(move || server.echo_messages());
    for len in [1, 2, 255, 256, 4096, 4097, 32_768, 65_534, 65_535] {
        let message = pattern(len, 7);
        client.write_message(&message).unwrap();
        assert!(client.read_message(len).unwrap().unwrap() == message, "{len}");
        // A write is a message too.
        assert_eq!((&client).write(&message).unwrap(), len);
        let mut read = vec![0; len];
        assert_eq!(client.read_message_into(&mut read).unwrap(), MessageRead::Whole(len));
        assert!(read == message, "{len}");
    }
    for count in 1..=20 {
        client.write_message(&vec![b'x'; count]).unwrap();
    }
    for count in 1..=20 {
        assert_eq!(client.read_message(100).unwrap().unwrap().len(), count);
    }
    drop(client);
    echo.join().unwrap();
}

fn messages_that_are_empty_or_too_long_are_never_sent(place: &Place) {
    let (mut client, mut server) = open(place, Kind::Messages);
    let long = vec![1; 65_536];
    for message in [&[][..], &long] {
        for refused in [
            client.write_message(message),
            client.write(message).map(drop),
            client.transact(message, 10).map(drop),
        ] {
            assert!(refused.unwrap_err() == PipeErrorKind::Invalid, "{}", message.len());
        }
    }
    client.write_message(b"the first that comes").unwrap();
    assert_eq!(server.read_message().unwrap(), b"the first that comes");
    // In byte read mode only the server knows that it is a message pipe.
    client.set_read_mode(PipeMode::Byte).unwrap();
    assert_eq!(client.write(b"").unwrap(), 0);
    assert!(client.write(&long).unwrap_err() == PipeErrorKind::Invalid);
    assert_eq!(client.write(b"next").unwrap(), 4);
    assert_eq!(server.read_message().unwrap(), b"next");
}

fn an_empty_message_of_the_server_is_a_message(place: &Place) {
    let (mut client, mut server) = open(place, Kind::Messages);
    for message in [&b""[..], b"one", b"", b"", b"two", b""] {
        server.write_message(message);
    }
    for message in [&b""[..], b"one", b"", b""] {
        assert_eq!(client.read_message(9).unwrap().unwrap(), message);
    }
    // A byte read skips it.
    client.set_read_mode(PipeMode::Byte).unwrap();
    let mut two = [0; 3];
    client.read_exact(&mut two).unwrap();
    assert_eq!(&two, b"two");
    client.set_read_mode(PipeMode::Message).unwrap();
    assert_eq!(client.read_message(9).unwrap().unwrap(), b"");
    thread::scope(|scope| {
        let answering = scope.spawn(|| {
            assert_eq!(server.read_message().unwrap(), b"question");
            server.write_message(b"");
        });
        assert_eq!(client.transact(b"question", 9).unwrap(), b"");
        answering.join().unwrap();
    });
    server.write_message(b"");
    drop(server);
    assert_eq!(client.read_message(9).unwrap().unwrap(), b"");
    assert_eq!(client.read_message(9).unwrap(), None);
}

fn batches_are_their_messages_in_order(place: &Place) {
    let (client, mut server) = open(place, Kind::Messages);
    let messages: Vec<Vec<u8>> = (1..=40).map(|len| pattern(len * 100, 3)).collect();
    let slices: Vec<IoSlice<'_>> = messages.iter().map(|message| IoSlice::new(message)).collect();
    thread::scope(|scope| {
        let writing = scope.spawn(|| client.write_messages(&slices).unwrap());
        for message in &messages {
            assert!(server.read_message().unwrap() == *message, "{} bytes to the server", message.len());
        }
        assert_eq!(writing.join().unwrap(), messages.len());
    });
    for message in [&b"one"[..], b"", b"three"] {
        server.write_message(message);
    }
    let mut batch = MessageBatch::new(2, 100);
    let mut received = Vec::new();
    while received.len() < 3 {
        let count = client.read_messages(&mut batch).unwrap();
        assert!((1..=2).contains(&count), "{count}");
        received.extend(batch.iter().map(<[u8]>::to_vec));
    }
    assert_eq!(received, [&b"one"[..], b"", b"three"]);
    // One that can't be sent keeps back all.
    let refused = client.write_messages(&[IoSlice::new(b"never"), IoSlice::new(b"")]);
    assert!(refused.unwrap_err() == PipeErrorKind::Invalid);
    client.write_message(b"the next that comes").unwrap();
    assert_eq!(server.read_message().unwrap(), b"the next that comes");
    drop(server);
    assert_eq!(client.read_messages(&mut batch).unwrap(), 0);
}

fn messages_are_read_in_parts_and_as_bytes(place: &Place) {
    let (mut client, mut server) = open(place, Kind::Messages);
    for message in ["first", "second", "third", "fourth", "fifth"] {
        server.write_message(message.as_bytes());
    }
    let mut buf = [0; 3];
    assert_eq!(client.read_message_into(&mut buf).unwrap(), MessageRead::Part(3));
    assert_eq!(client.read_message_into(&mut buf).unwrap(), MessageRead::Whole(2));
    assert_eq!(&buf[..2], b"st");
    let too_long = client.read_message(5).unwrap_err();
    assert!(too_long == PipeErrorKind::MoreData, "{too_long}");
    assert_eq!(client.read_message(6).unwrap().unwrap(), b"second");
    let mut bytes = [0; 7];
    client.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"thirdfo");
    assert_eq!(client.read_message(6).unwrap().unwrap(), b"urth");
    client.set_read_mode(PipeMode::Byte).unwrap();
    assert!(client.read_message(9).unwrap_err() == PipeErrorKind::BadPipe);
    assert!(client.transact(b"x", 9).unwrap_err() == PipeErrorKind::BadPipe);
    client.read_exact(&mut bytes[..5]).unwrap();
    assert_eq!(&bytes[..5], b"fifth");
    assert_eq!(client.read(&mut []).unwrap(), 0);
}

fn transact_asks_and_is_answered(place: &Place) {
    let (client, mut server) = open(place, Kind::Messages);
    thread::scope(|scope| {
        scope.spawn(|| {
            for len in [1, 10, 65_535, 10] {
                let question = server.read_message().unwrap();
                assert_eq!(question, b"question");
                server.write_message(&pattern(len, 3));
            }
            server.write_message(b"unasked");
        });
        for len in [1, 10, 65_535] {
            assert!(client.transact(b"question", len).unwrap() == pattern(len, 3), "{len}");
        }
        let long = client.transact(b"question", 9).unwrap_err();
        assert!(long == PipeErrorKind::MoreData, "{long}");
        let busy = client.transact(b"never sent", 9).unwrap_err();
        assert!(busy == PipeErrorKind::Busy, "{busy}");
        assert_eq!(client.read_message(10).unwrap().unwrap(), pattern(10, 3));
        assert_eq!(client.read_message(10).unwrap().unwrap(), b"unasked");
    });
    // The question is read, and then the server is gone.
    let gone = thread::spawn(move || server.read_message());
    let broken = client.transact(b"anybody?", 9).unwrap_err();
    assert!(broken == PipeErrorKind::Broken, "{broken}");
    assert_eq!(gone.join().unwrap().unwrap(), b"anybody?");
    let broken = client.transact(b"anybody?", 9).unwrap_err();
    assert!(broken == PipeErrorKind::Broken, "{broken}");
}

fn transact_of_two_threads_never_mixes_up(place: &Place) {
    let (client, server) = open(place, Kind::Messages);
    let echo = thread::spawn(move || server.echo_messages());
    thread::scope(|scope| {
        for thread in 0..4_u32 {
            let client = &client;
            scope.spawn(move || {
                for round in 0..100_u32 {
                    let question = [thread.to_le_bytes(), round.to_le_bytes()].concat();
                    assert_eq!(client.transact(&question, 8).unwrap(), question);
                }
            });
        }
    });
    drop(client);
    echo.join().unwrap();
}

fn transact_after_a_read_that_gave_up(place: &Place) {
    let (client, mut server) = open(place, Kind::Messages);
    client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert!(client.read_message(9).unwrap_err() == PipeErrorKind::TimedOut);
    // The read that is still under way takes the reply; and a reply that comes late is not lost.
    assert!(client.transact(b"one", 9).unwrap_err() == PipeErrorKind::TimedOut);
    assert_eq!(server.read_message().unwrap(), b"one");
    server.write_message(b"late");
    client.set_read_timeout(None).unwrap();
    assert_eq!(client.read_message(9).unwrap().unwrap(), b"late");
    client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert!(client.transact(b"two", 9).unwrap_err() == PipeErrorKind::TimedOut);
    assert_eq!(server.read_message().unwrap(), b"two");
    server.write_message(b"late again");
    client.set_read_timeout(None).unwrap();
    assert_eq!(client.read_message(10).unwrap().unwrap(), b"late again");
    let answers = thread::spawn(move || server.echo_messages());
    assert_eq!(client.transact(b"three", 9).unwrap(), b"three");
    drop(client);
    answers.join().unwrap();
}

fn both_directions_at_once(place: &Place) {
    const LEN: usize = 12 << 20;
    let (client, server) = open(place, Kind::Bytes);
    let (ours, theirs) = (pattern(LEN, 1), pattern(LEN, 2));
    thread::scope(|scope| {
        scope.spawn(|| (&client).write_all(&ours).unwrap());
        scope.spawn(|| (&server.socket).write_all(&theirs).unwrap());
        scope.spawn(|| {
            let mut read = vec![0; LEN];
            (&server.socket).read_exact(&mut read).unwrap();
            assert!(read == ours);
        });
        let mut read = vec![0; LEN];
        (&client).read_exact(&mut read).unwrap();
        assert!(read == theirs);
    });
}

fn the_end_comes_after_the_data(place: &Place) {
    let (mut client, mut server) = open(place, Kind::Bytes);
    server.socket.write_all(b"last words").unwrap();
    let mut read = [0; 10];
    client.read_exact(&mut read).unwrap();
    drop(server);
    for _ in 0..2 {
        assert_eq!(client.read(&mut read).unwrap(), 0);
        let gone = client.write(b"x").unwrap_err();
        assert!(gone == PipeErrorKind::NoData, "{gone}");
    }
    // The writer sees it first.
    let (mut client, server) = open(place, Kind::Messages);
    drop(server);
    let gone = client.write(b"x").unwrap_err();
    assert!(gone == PipeErrorKind::NoData && pipework::is_gone(&gone), "{gone}");
    assert_eq!(client.read_message(9).unwrap(), None);
    assert_eq!(client.read_message_into(&mut read).unwrap(), MessageRead::End);
    assert_eq!(client.read_to_end(&mut Vec::new()).unwrap(), 0);
    // While a read waits.
    let (client, server) = open(place, Kind::Messages);
    thread::scope(|scope| {
        let reading = scope.spawn(|| client.read_message(9));
        drop(server);
        assert_eq!(reading.join().unwrap().unwrap(), None);
    });
}

fn an_end_may_do_what_was_asked_for(place: &Place) {
    let one_way = |read: bool| {
        let name = unique();
        let served = Served::new(&place.np, &name, Kind::Bytes);
        let accepting = thread::spawn(move || served.accept());
        let client = place.options().read(read).write(!read).open(place.address(&name)).unwrap();
        (client, accepting.join().unwrap())
    };
    let (mut client, mut server) = one_way(true);
    assert!(client.write(b"x").unwrap_err() == PipeErrorKind::AccessDenied);
    assert!(client.drain().unwrap_err() == PipeErrorKind::AccessDenied);
    server.socket.write_all(b"x").unwrap();
    assert_eq!(client.read(&mut [0; 9]).unwrap(), 1);
    let (mut client, mut server) = one_way(false);
    assert!(client.read(&mut [0]).unwrap_err() == PipeErrorKind::AccessDenied);
    client.write_all(b"x").unwrap();
    assert_eq!(server.read_exactly(1), b"x");
}

fn what_can_not_be_had_is_told(place: &Place) {
    use pipework::os::unix::PipeStreamExt;
    let (client, _server) = open(place, Kind::Bytes);
    let outcomes = [
        client.peek(&mut []).map(drop),
        client.info().map(drop),
        client.drain(),
        client.shutdown_write(),
        client.read_ready_fd().map(|_fd| ()),
        client.write_ready_fd().map(|_fd| ()),
        pipework::NamedPipe::wait(place.address("x"), None),
    ];
    for (index, unsupported) in outcomes.into_iter().enumerate() {
        assert!(unsupported.unwrap_err() == PipeErrorKind::Unsupported, "{index}");
    }
    let name = pipework::PipeName::new(place.address("x")).unwrap();
    assert!(name.location().unwrap_err() == PipeErrorKind::Unsupported);
    let text = format!("{client:?} {:?}", place.options());
    assert!(!text.contains(&place.password), "{text}");
}

fn trying_never_waits(place: &Place) {
    use pipework::os::unix::PipeStreamExt;
    let (client, mut server) = open(place, Kind::Bytes);
    let would_block = |outcome: io::Result<usize>| outcome.unwrap_err().kind() == io::ErrorKind::WouldBlock;
    let mut buf = [0; 9];
    assert!(would_block(client.try_read(&mut buf)));
    server.socket.write_all(b"tried").unwrap();
    let read = loop {
        match client.try_read(&mut buf) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::yield_now(),
            outcome => break outcome.unwrap(),
        }
    };
    assert_eq!(&buf[..read], b"tried");
    // Nobody reads: sooner or later there is no room.
    let data = pattern(1 << 20, 5);
    let (mut written, mut since) = (0, Instant::now());
    while since.elapsed() < Duration::from_millis(500) {
        match client.try_write(&data[written % data.len()..]) {
            Ok(len) => (written, since) = (written + len, Instant::now()),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
    }
    let read = server.read_exactly(written);
    assert!(read.iter().zip(data.iter().cycle()).all(|(read, written)| read == written));
}

/// A real protocol of others: the server service of Samba itself is bound to, and says who it is.
fn pipes_of_samba_itself_answer(_: &Place) {
    let samba = Samba::start(&Setup { own_pipes: true, ..Setup::default() });
    let place = Place::of(&samba);
    let client = place.options().read_mode(PipeMode::Message).open(place.address("srvsvc")).unwrap();
    let answer = client.transact(&bind_request(), 4096).unwrap();
    // Version 5.0, bind acknowledged, the first and last fragment, of the length that was read.
    assert_eq!(answer[..4], [5, 0, 12, 3], "{answer:02x?}");
    assert_eq!(usize::from(u16::from_le_bytes([answer[8], answer[9]])), answer.len());
    let text = String::from_utf8_lossy(&answer);
    assert!(text.to_lowercase().contains(r"\pipe\srvsvc"), "{text}");
    // The same by writing and reading bytes.
    let bytes = place.options().open(place.address("SrvSvc")).unwrap();
    (&bytes).write_all(&bind_request()).unwrap();
    let mut head = [0; 16];
    (&bytes).read_exact(&mut head).unwrap();
    assert_eq!(head[..4], [5, 0, 12, 3]);
}

/// Binds to the interface 4b324fc8-1670-01d3-1278-5a47bf6ee188, version 3, as NDR.
fn bind_request() -> Vec<u8> {
    let interface =
        [0xc8, 0x4f, 0x32, 0x4b, 0x70, 0x16, 0xd3, 0x01, 0x12, 0x78, 0x5a, 0x47, 0xbf, 0x6e, 0xe1, 0x88];
    let ndr =
        [0x04, 0x5d, 0x88, 0x8a, 0xeb, 0x1c, 0xc9, 0x11, 0x9f, 0xe8, 0x08, 0x00, 0x2b, 0x10, 0x48, 0x60];
    let mut request = vec![5, 0, 11, 3, 0x10, 0, 0, 0];
    request.extend(72_u16.to_le_bytes());
    request.extend(0_u16.to_le_bytes());
    request.extend(1_u32.to_le_bytes());
    request.extend(4280_u16.to_le_bytes());
    request.extend(4280_u16.to_le_bytes());
    request.extend(0_u32.to_le_bytes());
    // One context, with one way to write data.
    request.extend([1, 0, 0, 0, 0, 0, 1, 0]);
    request.extend(interface);
    request.extend(3_u32.to_le_bytes());
    request.extend(ndr);
    request.extend(2_u32.to_le_bytes());
    assert_eq!(request.len(), 72);
    request
}
