//! Deadlines, cancellers, and ends that go in the middle.

use crate::{
    data::pattern,
    harness::{Case, Place, expect_timeout_because, open, unique, wait_until},
    samba::{Samba, Setup},
    server::{Kind, Served},
};
use pipework::{Canceller, PipeErrorKind, PipeMode};
use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener},
    path::Path,
    thread,
    time::{Duration, Instant},
};

pub(crate) const CASES: &[Case] = &[
    ("a_read_that_gives_up_loses_nothing", a_read_that_gives_up_loses_nothing),
    ("a_write_that_gives_up_is_counted", a_write_that_gives_up_is_counted),
    ("a_canceller_ends_every_wait", a_canceller_ends_every_wait),
    ("opening_ends_in_time", opening_ends_in_time),
    ("connect_waits_for_a_name", connect_waits_for_a_name),
    ("dropping_never_waits_and_loses_nothing", dropping_never_waits_and_loses_nothing),
    ("an_smbd_that_was_stopped_ends_with_its_test", an_smbd_that_was_stopped_ends_with_its_test),
    ("a_server_that_vanished_is_noticed", a_server_that_vanished_is_noticed),
];

const SHORT: Duration = Duration::from_millis(50);

fn a_read_that_gives_up_loses_nothing(place: &Place) {
    for kind in [Kind::Bytes, Kind::Messages] {
        let (mut client, mut server) = open(place, kind);
        client.set_read_timeout(Some(SHORT)).unwrap();
        for round in 0..5 {
            assert!(client.read(&mut [0; 9]).unwrap_err() == PipeErrorKind::TimedOut);
            match kind {
                Kind::Bytes => server.socket.write_all(&[round]).unwrap(),
                Kind::Messages => server.write_message(&[round]),
            }
            client.set_read_timeout(None).unwrap();
            let mut byte = [0];
            assert_eq!((client.read(&mut byte).unwrap(), byte), (1, [round]));
            client.set_read_timeout(Some(SHORT)).unwrap();
        }
    }
}

fn a_write_that_gives_up_is_counted(place: &Place) {
    let (mut client, mut server) = open(place, Kind::Bytes);
    client.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let data = pattern(8 << 20, 9);
    let written = client.write(&data).unwrap();
    assert!(written > 0 && written < data.len(), "{written}");
    // What was handed over is still under way.
    assert!(client.write(b"not written").unwrap_err() == PipeErrorKind::TimedOut);
    client.set_write_timeout(None).unwrap();
    thread::scope(|scope| {
        let writing = scope.spawn(|| client.write_all(b"written"));
        assert!(server.read_exactly(written) == data[..written]);
        assert_eq!(server.read_exactly(7), b"written");
        writing.join().unwrap().unwrap();
    });
    // The failure of what nobody waited for is reported by the next write.
    let written = {
        client.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
        client.write(&data).unwrap()
    };
    assert!(written < data.len());
    drop(server);
    client.set_write_timeout(None).unwrap();
    let gone = client.write(b"x").unwrap_err();
    assert!(gone == PipeErrorKind::NoData, "{gone}");
}

fn a_canceller_ends_every_wait(place: &Place) {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = silent.local_addr().unwrap().port();
    let cancelled = |wait: &(dyn Fn(&Canceller) -> std::io::Error + Sync)| {
        let canceller = Canceller::new().unwrap();
        let error = thread::scope(|scope| {
            let waiting = scope.spawn(|| wait(&canceller));
            thread::park_timeout(SHORT);
            assert!(!waiting.is_finished());
            canceller.cancel();
            waiting.join().unwrap()
        });
        assert!(error == PipeErrorKind::Aborted, "{error}");
        assert!(wait(&canceller) == PipeErrorKind::Aborted, "it stays used");
    };
    // A server that takes the connection and says nothing; a name that does not come.
    cancelled(&|canceller| {
        let mut options = place.options();
        options.remote_port(port).timeout(Duration::MAX).canceller(canceller);
        options.connect(place.address("x")).unwrap_err()
    });
    cancelled(&|canceller| {
        let mut options = place.options();
        options.remote_port(port).timeout(Duration::MAX).canceller(canceller);
        options.open(place.address("x")).unwrap_err()
    });
    cancelled(&|canceller| {
        let mut options = place.options();
        options.wait_absent(true).timeout(Duration::MAX).canceller(canceller);
        options.connect(place.address("never")).unwrap_err()
    });
    let (client, _server) = open(place, Kind::Messages);
    cancelled(&|canceller| {
        client.set_canceller(Some(canceller));
        client.read_message(9).unwrap_err()
    });
    cancelled(&|canceller| {
        client.set_canceller(Some(canceller));
        client.transact(b"x", 9).unwrap_err()
    });
    client.set_canceller(None);
    let (client, _server) = open(place, Kind::Bytes);
    let data = vec![0; 4 << 20];
    cancelled(&|canceller| {
        client.set_canceller(Some(canceller));
        // What went before counts.
        loop {
            if let Err(error) = (&client).write(&data) {
                break error;
            }
        }
    });
}

fn opening_ends_in_time(place: &Place) {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut options = place.options();
    options.remote_port(silent.local_addr().unwrap().port()).timeout(SHORT);
    for outcome in [options.open(place.address("x")), options.connect(place.address("x"))] {
        let error = outcome.unwrap_err();
        assert!(error == PipeErrorKind::TimedOut, "{error}");
        assert!(error.to_string().contains("could not be reached"), "{error}");
    }
    // A server of a pipe that does not answer holds up smbd; a client that waits for it does not wait for
    // ever.
    let samba = Samba::start(&Setup::default());
    let slow = Place::of(&samba);
    let name = unique();
    let served = Served::new(&slow.np, &name, Kind::Bytes);
    thread::scope(|scope| {
        let accepting = scope.spawn(|| served.accept_silently());
        let error = slow.options().timeout(Duration::from_millis(500)).open(slow.address(&name)).unwrap_err();
        assert!(error == PipeErrorKind::TimedOut, "{error}");
        // It opens when nobody waits for it any more, and is closed.
        let mut late = accepting.join().unwrap();
        late.let_in(Kind::Bytes).unwrap();
        assert!(late.is_at_end());
    });
    // No time at all is one attempt.
    let error = place.options().timeout(Duration::ZERO).connect(place.address("x")).unwrap_err();
    assert!(error == PipeErrorKind::Absent, "{error}");
    let error =
        place.options().timeout(Duration::ZERO).wait_absent(true).connect(place.address("x")).unwrap_err();
    assert!(error == PipeErrorKind::TimedOut, "{error}");
}

fn connect_waits_for_a_name(place: &Place) {
    let name = unique();
    let mut options = place.options();
    options.wait_absent(true).read_mode(PipeMode::Message);
    thread::scope(|scope| {
        let connecting = scope.spawn(|| options.connect(place.address(&name)).unwrap());
        thread::park_timeout(SHORT);
        let served = Served::new(&place.np, &name, Kind::Messages);
        let mut server = served.accept();
        let client = connecting.join().unwrap();
        client.write_message(b"there").unwrap();
        assert_eq!(server.read_message().unwrap(), b"there");
    });
    expect_timeout_because(&options, &place.address("never"), "did not exist");
    let error = place.options().connect(place.address("never")).unwrap_err();
    assert!(error == PipeErrorKind::Absent, "{error}");
}

fn dropping_never_waits_and_loses_nothing(place: &Place) {
    // A read is under way.
    let (client, mut server) = open(place, Kind::Messages);
    client.set_read_timeout(Some(SHORT)).unwrap();
    assert!(client.read_message(9).unwrap_err() == PipeErrorKind::TimedOut);
    drop(client);
    assert_eq!(server.read_message(), None);
    // A write is under way: it comes before the end.
    let (mut client, mut server) = open(place, Kind::Bytes);
    client.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    let data = pattern(4 << 20, 3);
    let written = client.write(&data).unwrap();
    assert!(written < data.len());
    drop(client);
    assert!(server.read_exactly(written) == data[..written]);
    assert!(server.is_at_end());
    // A clone keeps it open.
    let (client, mut server) = open(place, Kind::Bytes);
    let mut clone = client.try_clone().unwrap();
    drop(client);
    clone.write_all(b"still").unwrap();
    assert_eq!(server.read_exactly(5), b"still");
    drop(clone);
    assert!(server.is_at_end());
}

/// Its host still takes packets, and no process there answers.
fn a_server_that_vanished_is_noticed(_: &Place) {
    let samba = Samba::start(&Setup::default());
    let place = Place::of(&samba);
    let (client, _server) = open(&place, Kind::Messages);
    let start = Instant::now();
    thread::scope(|scope| {
        let reading = scope.spawn(|| client.read_message(9));
        wait_until(|| samba.connection_count() > 0);
        samba.stop_answering();
        let error = reading.join().unwrap().unwrap_err();
        assert!(error == PipeErrorKind::Broken, "{error}");
        assert!(error.to_string().contains("timed out"), "{error}");
    });
    println!("noticed after {:?}", start.elapsed());
    drop(client);
}

fn an_smbd_that_was_stopped_ends_with_its_test(_: &Place) {
    let samba = Samba::start(&Setup::default());
    let (conf, user) = (samba.conf(), samba.user().name.clone());
    samba.stop_answering();
    drop(samba);
    let conf = conf.to_str().unwrap();
    let processes = fs::read_dir("/proc").unwrap();
    let commands = processes.filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("cmdline")).ok());
    let left: Vec<String> = commands.filter(|command| command.contains(conf)).collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(!Path::new(conf).exists());
    assert!(!fs::read_to_string("/etc/passwd").unwrap().contains(&format!("{user}:")));
}
