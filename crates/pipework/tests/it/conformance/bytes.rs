//! B1 to B6: bytes.

use std::{io::Write, thread, time::Duration};

use pipework::{ClientOptions, NamedPipe, NamedPipeBuilder, PipeErrorKind, PipeStream};

use super::{
    Case, SHORT, drained_in_time, every, expect, expect_alive, expect_same, long, pair, pair_with, pattern,
    plain,
};
use crate::{
    child::Other,
    harness::{blocked, unique},
    surface::{OpenSpec, Spec, Surface},
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        long(every("B1", b1_bytes_arrive_in_order_both_ways_at_once)),
        every("B1", b1_bytes_arrive_in_order_between_processes),
        every("B1", b1_a_read_returns_what_there_is),
        every("B1", b1_a_vectored_write_is_its_parts_in_order),
        every("B1", b1_instances_are_separate_conduits),
        every("B2", b2_a_write_that_fits_the_quota_returns_at_once),
        every("B2", b2_a_larger_write_waits_until_the_rest_fits),
        every("B2", b2_with_no_buffer_every_write_waits_for_its_reader),
        long(every("B2", b2_a_write_far_beyond_the_buffer_arrives_whole)),
        every("B3", b3_a_blocked_read_does_not_hold_a_write),
        every("B3", b3_a_blocked_write_does_not_hold_a_read),
        every("B4", b4_reading_into_nothing_returns_at_once),
        every("B4", b4_writing_nothing_transfers_nothing),
        every("B5", b5_everything_written_before_a_close_is_read_then_the_end),
        every("B5", b5_a_blocked_read_ends_when_the_other_end_closes),
        every("B5", b5_a_blocked_write_ends_when_the_other_end_closes),
        every("B5", b5_writing_to_a_closed_end_is_a_broken_pipe),
        every("B6", b6_a_killed_process_is_a_closed_end),
        every("B6", b6_a_kill_is_seen_by_a_writer_among_others),
        every("B6", b6_a_kill_ends_what_waits),
        plain("B6", b6_a_closed_end_is_seen_without_a_read_or_write),
    ]
}

/// B1: in order, in both directions at once.
fn b1_bytes_arrive_in_order_both_ways_at_once(here: &dyn Surface) {
    const LEN: usize = 8 << 20;
    let (server, client) = pair(here, &Spec::new(&unique()));
    let (up, down) = (pattern(1, LEN), pattern(2, LEN));
    thread::scope(|scope| {
        scope.spawn(|| client.write_all(&up).unwrap());
        scope.spawn(|| server.end().write_all(&down).unwrap());
        let at_client = scope.spawn(|| client.read_exact(LEN).unwrap());
        expect_same(&server.end().read_exact(LEN).unwrap(), &up);
        expect_same(&at_client.join().unwrap(), &down);
    });
}

/// B1: between processes, in pieces of every size.
fn b1_bytes_arrive_in_order_between_processes(here: &dyn Surface) {
    let there = Other::spawn(here);
    let (server, client) = pair_with(here, &there, &Spec::new(&unique()));
    let data = pattern(3, 300_000);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut rest = data.as_slice();
            for len in (1..).step_by(97) {
                let (piece, after) = rest.split_at(rest.len().min(len));
                client.write_all(piece).unwrap();
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
        });
        expect_same(&server.end().read_exact(data.len()).unwrap(), &data);
        server.end().write_all(&data[..65_536]).unwrap();
        expect_same(&client.read_exact(65_536).unwrap(), &data[..65_536]);
    });
}

/// B1: up to the buffer, and without waiting for it to fill.
fn b1_a_read_returns_what_there_is(here: &dyn Surface) {
    let (server, client) = pair(here, &Spec::new(&unique()));
    client.write_all(b"hello ").unwrap();
    client.write_all(b"world").unwrap();
    assert_eq!(server.end().read_some(4).unwrap(), b"hell");
    assert_eq!(server.end().read_some(100).unwrap(), b"o world");
    server.end().set_read_timeout(Some(SHORT)).unwrap();
    expect(server.end().read_some(100), PipeErrorKind::TimedOut);
}

/// B1: parts go out together and in order; empty parts are nothing.
fn b1_a_vectored_write_is_its_parts_in_order(here: &dyn Surface) {
    let there = Other::spawn(here);
    let (server, client) = pair_with(here, &there, &Spec::new(&unique()));
    assert_eq!(client.write_vectored(&[b"ab", b"", b"cde", b"f"]).unwrap(), 6);
    assert_eq!(server.end().read_exact(6).unwrap(), b"abcdef");
    assert_eq!(client.write_vectored(&[]).unwrap(), 0);
    assert_eq!(client.write_vectored(&[b""]).unwrap(), 0);
    expect_alive(client.as_ref(), server.end());
}

/// B1: each instance has buffers of its own.
fn b1_instances_are_separate_conduits(here: &dyn Surface) {
    let name = unique();
    let pairs: Vec<_> = (0..5).map(|_| pair(here, &Spec::new(&name).joining())).collect();
    for (number, (server, client)) in (0_u8..).zip(&pairs) {
        client.write_all(&[number]).unwrap();
        server.end().write_all(&[number + 100]).unwrap();
    }
    for (number, (server, client)) in (0_u8..).zip(&pairs) {
        assert_eq!(server.end().read_some(9).unwrap(), [number]);
        assert_eq!(client.read_some(9).unwrap(), [number + 100]);
    }
}

/// B2: a write that fits the free quota needs no reader; both directions have their own.
fn b2_a_write_that_fits_the_quota_returns_at_once(here: &dyn Surface) {
    let name = unique();
    let spec = Spec { out_len: 5000, in_len: 300, ..Spec::new(&name) };
    let (server, client) = pair(here, &spec);
    client.write_all(&[1; 200]).unwrap();
    client.write_all(&[1; 100]).unwrap();
    server.end().write_all(&[2; 5000]).unwrap();
    assert_eq!(server.end().read_some(999).unwrap(), [1; 300]);
    assert_eq!(client.read_exact(5000).unwrap(), [2; 5000]);
    client.write_all(&[3; 300]).unwrap();
}

/// B2: beyond the quota a write waits, and goes on when the reader reads.
fn b2_a_larger_write_waits_until_the_rest_fits(here: &dyn Surface) {
    let there = Other::spawn(here);
    let (server, client) = pair_with(here, &there, &Spec::new(&unique()).quota(100));
    client.write_all(&[1; 100]).unwrap();
    thread::scope(|scope| {
        let writing = there.blocked(scope, || client.write_all(&[2; 50]));
        assert_eq!(server.end().read_exact(40).unwrap(), [1; 40]);
        assert!(!writing.is_finished(), "110 bytes are unread, and 100 may be");
        assert_eq!(server.end().read_exact(10).unwrap(), [1; 10]);
        writing.join().unwrap().unwrap();
    });
    assert_eq!(server.end().read_exact(50).unwrap(), [1; 50]);
    assert_eq!(server.end().read_exact(50).unwrap(), [2; 50]);
}

/// B2: a buffer size of 0.
fn b2_with_no_buffer_every_write_waits_for_its_reader(here: &dyn Surface) {
    let there = Other::spawn(here);
    let (server, client) = pair_with(here, &there, &Spec::new(&unique()).quota(0));
    for text in [b"one", b"two"] {
        thread::scope(|scope| {
            let writing = there.blocked(scope, || client.write_all(text));
            assert_eq!(server.end().read_exact(2).unwrap(), text[..2]);
            assert!(!writing.is_finished(), "a byte is unread");
            assert_eq!(server.end().read_exact(1).unwrap(), text[2..]);
            writing.join().unwrap().unwrap();
        });
    }
    thread::scope(|scope| {
        let reading = blocked(scope, || client.read_exact(5).unwrap());
        server.end().write_all(b"reply").unwrap();
        assert_eq!(reading.join().unwrap(), b"reply");
    });
}

/// B2: a write of any size, whatever the buffer.
fn b2_a_write_far_beyond_the_buffer_arrives_whole(here: &dyn Surface) {
    for (quota, len) in [(0, 100_000), (1, 3000), (4096, 3 << 20)] {
        let (server, client) = pair(here, &Spec::new(&unique()).quota(quota));
        let data = pattern(4, len);
        thread::scope(|scope| {
            let writing = scope.spawn(|| client.write(&data));
            expect_same(&server.end().read_exact(data.len()).unwrap(), &data);
            assert_eq!(writing.join().unwrap().unwrap(), data.len());
        });
    }
}

/// B3: from two threads of one end.
fn b3_a_blocked_read_does_not_hold_a_write(here: &dyn Surface) {
    let (server, client) = pair(here, &Spec::new(&unique()));
    for (one, other) in [(server.end(), client.as_ref()), (client.as_ref(), server.end())] {
        thread::scope(|scope| {
            let reading = blocked(scope, || one.read_exact(1).unwrap());
            one.write_all(b"written").unwrap();
            assert_eq!(other.read_exact(7).unwrap(), b"written");
            one.write_all(&[0; 65_536]).unwrap();
            assert!(!reading.is_finished(), "nothing was written to it");
            other.write_all(b"r").unwrap();
            assert_eq!(reading.join().unwrap(), b"r");
            assert_eq!(other.read_exact(65_536).unwrap(), [0; 65_536]);
        });
    }
}

/// B3: the other way round.
fn b3_a_blocked_write_does_not_hold_a_read(here: &dyn Surface) {
    let (server, client) = pair(here, &Spec::new(&unique()).quota(10));
    for (one, other) in [(server.end(), client.as_ref()), (client.as_ref(), server.end())] {
        thread::scope(|scope| {
            let writing = blocked(scope, || one.write_all(&[7; 30]));
            other.write_all(b"to read").unwrap();
            assert_eq!(one.read_exact(7).unwrap(), b"to read");
            assert!(!writing.is_finished(), "nobody has read it");
            let reading = blocked(scope, || one.read_exact(1).unwrap());
            assert_eq!(other.read_exact(30).unwrap(), [7; 30]);
            writing.join().unwrap().unwrap();
            other.write_all(b"r").unwrap();
            assert_eq!(reading.join().unwrap(), b"r");
        });
    }
}

/// B4: `Ok(0)` at once, with and without data.
fn b4_reading_into_nothing_returns_at_once(here: &dyn Surface) {
    let (server, client) = pair(here, &Spec::new(&unique()));
    assert_eq!(server.end().read(&mut []).unwrap(), 0);
    client.write_all(b"x").unwrap();
    assert_eq!(server.end().read(&mut []).unwrap(), 0);
    assert_eq!(server.end().read_some(9).unwrap(), b"x");
}

/// B4: a zero-length write in byte mode.
fn b4_writing_nothing_transfers_nothing(here: &dyn Surface) {
    let there = Other::spawn(here);
    let (server, client) = pair_with(here, &there, &Spec::new(&unique()).quota(0));
    for _ in 0..3 {
        assert_eq!(client.write(b"").unwrap(), 0);
    }
    server.end().set_read_timeout(Some(SHORT)).unwrap();
    expect(server.end().read_some(9), PipeErrorKind::TimedOut);
    assert_eq!(server.end().peek(9).unwrap().available, 0);
    client.drain().unwrap();
}

/// B5: everything, then the end, again and again; from either end.
fn b5_everything_written_before_a_close_is_read_then_the_end(here: &dyn Surface) {
    let there = Other::spawn(here);
    let data = pattern(5, 60_000);
    let (server, client) = pair_with(here, &there, &Spec::new(&unique()));
    client.write_all(&data).unwrap();
    drop(client);
    expect_same(&server.end().read_exact(data.len()).unwrap(), &data);
    for _ in 0..3 {
        assert_eq!(server.end().read_some(9).unwrap(), b"");
    }
    let (server, client) = pair_with(here, &there, &Spec::new(&unique()));
    server.end().write_all(&data).unwrap();
    drop(server);
    expect_same(&client.read_to_end().unwrap(), &data);
    assert_eq!(client.read_some(9).unwrap(), b"");
}

/// B5: also for one who waits.
fn b5_a_blocked_read_ends_when_the_other_end_closes(here: &dyn Surface) {
    let there = Other::spawn(here);
    let (server, client) = pair_with(here, &there, &Spec::new(&unique()));
    thread::scope(|scope| {
        let reading = there.blocked(scope, || client.read_to_end());
        drop(server);
        assert_eq!(reading.join().unwrap().unwrap(), b"");
    });
}

/// B5: what was published counts as written; else the write fails.
fn b5_a_blocked_write_ends_when_the_other_end_closes(here: &dyn Surface) {
    let (server, client) = pair(here, &Spec::new(&unique()).quota(10));
    thread::scope(|scope| {
        let writing = blocked(scope, || client.write(&[0; 3 << 20]));
        drop(server);
        if let Err(fault) = writing.join().unwrap() {
            assert_eq!(fault.io_kind, "BrokenPipe", "{fault}");
        }
    });
    expect(client.write(b"x"), PipeErrorKind::NoData);
}

/// B5: its writes fail, from either end; reading then still is the end.
fn b5_writing_to_a_closed_end_is_a_broken_pipe(here: &dyn Surface) {
    let there = Other::spawn(here);
    let (server, client) = pair_with(here, &there, &Spec::new(&unique()));
    drop(client);
    for _ in 0..2 {
        let fault = expect(server.end().write(b"x"), PipeErrorKind::NoData);
        assert_eq!(fault.io_kind, "BrokenPipe");
    }
    assert_eq!(server.end().read_some(9).unwrap(), b"");
    let (server, client) = pair_with(here, &there, &Spec::new(&unique()));
    drop(server);
    expect(client.write(b"x"), PipeErrorKind::NoData);
    assert_eq!(client.read_some(9).unwrap(), b"");
}

/// B6: including what it had written.
fn b6_a_killed_process_is_a_closed_end(here: &dyn Surface) {
    let there = Other::spawn(here);
    let data = pattern(6, 50_000);
    let (server, client) = pair_with(here, &there, &Spec::new(&unique()));
    let name = unique();
    let theirs = there.create(&Spec::new(&name)).unwrap();
    let mine = here.open(&OpenSpec::new(&name)).unwrap();
    theirs.connect().unwrap();
    client.write_all(&data).unwrap();
    theirs.end().write_all(&data).unwrap();
    there.kill();
    expect_same(&server.end().read_to_end().unwrap(), &data);
    expect_same(&mine.read_to_end().unwrap(), &data);
    expect(server.end().write(b"x"), PipeErrorKind::NoData);
    expect(mine.write(b"x"), PipeErrorKind::NoData);
}

/// B6: also where a process writes to many readers, and looks at all of them at once.
fn b6_a_kill_is_seen_by_a_writer_among_others(here: &dyn Surface) {
    let (one, other) = (Other::spawn(here), Other::spawn(here));
    let (first, first_reader) = pair_with(here, &one, &Spec::new(&unique()));
    let (second, second_reader) = pair_with(here, &other, &Spec::new(&unique()));
    for _ in 0..200 {
        // Asking another process to read takes longer than a reader that was seen alive is taken to live.
        for (writer, reader) in [(&first, &first_reader), (&second, &second_reader)] {
            writer.end().write_all(b"x").unwrap();
            expect_same(&reader.read_some(1).unwrap(), b"x");
        }
    }
    one.kill();
    expect(first.end().write(b"x"), PipeErrorKind::NoData);
    second.end().write_all(b"x").unwrap();
    other.kill();
    expect(second.end().write(b"x"), PipeErrorKind::NoData);
    expect(first.end().write(b"x"), PipeErrorKind::NoData);
}

/// B6: a kill ends a read, a write and a drain that wait.
fn b6_a_kill_ends_what_waits(here: &dyn Surface) {
    let outcome = drained_in_time(|| {
        let there = Other::spawn(here);
        let spec = |name: &str| Spec::new(name).quota(10);
        let (reader, _one) = pair_with(here, &there, &spec(&unique()));
        let (writer, _two) = pair_with(here, &there, &spec(&unique()));
        let (drainer, _three) = pair_with(here, &there, &spec(&unique()));
        drainer.end().write_all(b"unread").unwrap();
        let drained = thread::scope(|scope| {
            let reading = blocked(scope, || reader.end().read_some(1));
            let writing = blocked(scope, || writer.end().write_all(&[0; 3 << 20]));
            let draining = blocked(scope, || drainer.end().drain());
            there.kill();
            assert_eq!(reading.join().unwrap().unwrap(), b"");
            assert_eq!(writing.join().unwrap().unwrap_err().io_kind, "BrokenPipe");
            draining.join().unwrap()
        });
        expect(reader.connect_timeout(Duration::ZERO), PipeErrorKind::NoData);
        drained
    });
    expect(outcome, PipeErrorKind::Broken);
}

/// B6: also before everything is read, and where nothing can be read.
fn b6_a_closed_end_is_seen_without_a_read_or_write() {
    for (inbound, outbound) in [(true, true), (true, false), (false, true)] {
        // Windows does not report it to a server end that only writes.
        let is_reported = inbound || !cfg!(windows);
        let seen = |server: &PipeStream| match server.is_connected() {
            Err(error) if !is_reported && error == PipeErrorKind::Unsupported => None,
            is_connected => Some(is_connected.unwrap()),
        };
        let name = unique();
        let server = NamedPipeBuilder::new(&name).inbound(inbound).outbound(outbound).create().unwrap();
        assert!(server.stream().is_connected().unwrap_err() == PipeErrorKind::Listening);
        let client = ClientOptions::new().read(outbound).write(inbound).open(&name).unwrap();
        server.connect().unwrap();
        assert!(seen(server.stream()) != Some(false) && client.is_connected().unwrap());
        if inbound {
            (&client).write_all(b"unread").unwrap();
        }
        drop(client);
        assert!(seen(server.stream()) != Some(true));
        server.disconnect().unwrap();
        assert!(server.stream().is_connected().unwrap_err() == PipeErrorKind::NotConnected);
    }
    let name = unique();
    let server = NamedPipe::new(&name).unwrap();
    let client = ClientOptions::new().open(&name).unwrap();
    server.disconnect().unwrap();
    assert!(!client.is_connected().is_ok_and(|is_connected| is_connected));
}
