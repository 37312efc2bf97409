//! C1 to C7: opening, waiting, and who may read or write.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use pipework::{NamedPipe, PipeErrorKind};

use super::{Case, HOUR, SHORT, every, expect, expect_alive, expect_named, expect_refused, long, pair};
use crate::{
    child::Other,
    harness::{blocked, unique},
    surface::{End, Fault, Instance, OpenSpec, Spec, Surface},
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        every("C1", c1_no_such_pipe_is_absent),
        every("C1", c1_no_free_instance_is_busy),
        every("C1", c1_as_many_opens_as_instances_succeed),
        long(every("C1", c1_busy_is_exact_while_clients_race)),
        every("C2", c2_connect_waits_for_a_client),
        every("C2", c2_a_client_that_is_there_is_success),
        every("C2", c2_a_client_that_came_and_left_is_no_data),
        every("C2", c2_a_client_that_wrote_and_left_is_no_data),
        every("C2", c2_a_listener_hands_out_what_a_client_left),
        every("C2", c2_a_listener_goes_on_when_nothing_was_left),
        every("C3", c3_a_left_instance_takes_no_new_client),
        every("C3", c3_disconnect_alone_does_not_listen),
        every("C4", c4_wait_for_no_such_pipe_is_absent),
        every("C4", c4_wait_succeeds_when_an_instance_listens),
        every("C4", c4_wait_times_out),
        every("C4", c4_wait_is_woken_by_a_new_instance),
        every("C4", c4_wait_is_woken_by_a_reused_instance),
        every("C4", c4_wait_of_zero_is_the_servers_default),
        every("C4", c4_wait_of_zero_is_one_look),
        every("C4", c4_wait_ends_when_the_last_instance_goes),
        every("C4", c4_wait_reserves_nothing),
        every("C4", c4_connect_waits_while_busy),
        every("C4", c4_connect_can_wait_for_a_name),
        every("C4", c4_a_client_that_gives_up_holds_up_nobody),
        every("C4", c4_those_who_wait_for_a_killed_server_find_the_next),
        every("C4", c4_those_who_wait_at_the_maximum_get_in_one_by_one),
        every("C5", c5_an_inbound_server_is_opened_for_writing_only),
        every("C5", c5_an_outbound_server_is_opened_for_reading_only),
        every("C5", c5_a_duplex_pipe_can_be_opened_for_one_direction),
        every("C5", c5_connect_takes_the_one_direction_there_is),
        every("C6", c6_before_any_client_reading_and_writing_is_listening),
        every("C6", c6_a_client_that_is_there_can_be_served_without_connect),
        every("C7", c7_connect_on_a_connected_instance_is_success),
        every("C7", c7_a_second_disconnect_is_not_connected),
        every("C7", c7_disconnect_takes_a_listening_instance_away),
    ]
}

/// Where the kernel keeps those who wait in order.
#[cfg(target_os = "linux")]
pub(super) fn cases_of_this_system() -> Vec<Case> {
    vec![every("C4", c4_those_who_wait_get_in_in_order)]
}

/// C1: absent, for every way to open.
fn c1_no_such_pipe_is_absent(here: &dyn Surface) {
    let name = unique();
    let fault = expect_refused(here.open(&OpenSpec::new(&name)), PipeErrorKind::Absent);
    assert_eq!(fault.io_kind, "NotFound");
    expect_named(&fault, &name);
    expect_refused(here.connect(&OpenSpec::new(&name).timeout(HOUR)), PipeErrorKind::Absent);
    expect_refused(here.connect_to(&name), PipeErrorKind::Absent);
    assert_eq!(PipeErrorKind::Absent.code(), 2);
}

/// C1: there are instances, but none listens.
fn c1_no_free_instance_is_busy(here: &dyn Surface) {
    let name = unique();
    let there = Other::spawn(here);
    let server = there.create(&Spec::new(&name)).unwrap();
    let _client = here.open(&OpenSpec::new(&name)).unwrap();
    let fault = expect_refused(here.open(&OpenSpec::new(&name)), PipeErrorKind::Busy);
    expect_named(&fault, &name);
    server.connect().unwrap();
    expect_refused(here.open(&OpenSpec::new(&name)), PipeErrorKind::Busy);
    expect_refused(there.open(&OpenSpec::new(&name)), PipeErrorKind::Busy);
}

/// C1: busy is exact: each listening instance takes one client, in whatever process.
fn c1_as_many_opens_as_instances_succeed(here: &dyn Surface) {
    let name = unique();
    let there = Other::spawn(here);
    let spec = Spec::new(&name).joining();
    let _mine: Vec<_> = (0..5).map(|_| here.create(&spec).unwrap()).collect();
    let _theirs: Vec<_> = (0..5).map(|_| there.create(&spec).unwrap()).collect();
    let _clients: Vec<_> = (0..10).map(|_| here.open(&OpenSpec::new(&name)).unwrap()).collect();
    expect_refused(here.open(&OpenSpec::new(&name)), PipeErrorKind::Busy);
    expect_refused(there.open(&OpenSpec::new(&name)), PipeErrorKind::Busy);
}

/// C1: with as many instances as racing clients no client gets busy, and no instance is taken twice.
fn c1_busy_is_exact_while_clients_race(here: &dyn Surface) {
    for _ in 0..50 {
        let name = unique();
        let servers: Vec<_> = (0..8).map(|_| here.create(&Spec::new(&name).joining()).unwrap()).collect();
        let clients: Vec<Box<dyn End>> = thread::scope(|scope| {
            let opening: Vec<_> =
                (0..8).map(|_| scope.spawn(|| here.open(&OpenSpec::new(&name)).unwrap())).collect();
            opening.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        expect_refused(here.open(&OpenSpec::new(&name)), PipeErrorKind::Busy);
        for server in &servers {
            server.connect().unwrap();
            server.end().write_all(b"x").unwrap();
        }
        for client in clients {
            assert_eq!(client.read_exact(1).unwrap(), b"x");
        }
    }
}

/// C2: connect blocks until a client opens.
fn c2_connect_waits_for_a_client(here: &dyn Surface) {
    let name = unique();
    let there = Other::spawn(here);
    let server = here.create(&Spec::new(&name)).unwrap();
    thread::scope(|scope| {
        let connecting = blocked(scope, || server.connect());
        let client = there.open(&OpenSpec::new(&name)).unwrap();
        connecting.join().unwrap().unwrap();
        expect_alive(client.as_ref(), server.end());
    });
}

/// C2: if one is there already, success.
fn c2_a_client_that_is_there_is_success(here: &dyn Surface) {
    let name = unique();
    let server = here.create(&Spec::new(&name)).unwrap();
    let client = here.open(&OpenSpec::new(&name)).unwrap();
    server.connect_timeout(Duration::ZERO).unwrap();
    expect_alive(client.as_ref(), server.end());
}

/// C2: if it came and left: no data, and the instance must be disconnected and connected again.
fn c2_a_client_that_came_and_left_is_no_data(here: &dyn Surface) {
    let name = unique();
    let there = Other::spawn(here);
    let server = here.create(&Spec::new(&name)).unwrap();
    drop(there.open(&OpenSpec::new(&name)).unwrap());
    expect(server.connect(), PipeErrorKind::NoData);
    expect(server.connect(), PipeErrorKind::NoData);
    expect_serves_the_next(here, server.as_ref(), &name);
}

/// C2: the same when it wrote; disconnect discards what it wrote.
fn c2_a_client_that_wrote_and_left_is_no_data(here: &dyn Surface) {
    let name = unique();
    let server = here.create(&Spec::new(&name)).unwrap();
    let client = here.open(&OpenSpec::new(&name)).unwrap();
    client.write_all(b"gone").unwrap();
    drop(client);
    expect(server.connect(), PipeErrorKind::NoData);
    expect_serves_the_next(here, server.as_ref(), &name);
}

fn expect_serves_the_next(here: &dyn Surface, server: &dyn Instance, name: &str) {
    expect_refused(here.open(&OpenSpec::new(name)), PipeErrorKind::Busy);
    server.disconnect().unwrap();
    expect(server.connect_timeout(Duration::ZERO), PipeErrorKind::TimedOut);
    let client = here.open(&OpenSpec::new(name)).unwrap();
    server.connect().unwrap();
    expect_alive(client.as_ref(), server.end());
}

/// C2: a listener hands the instance out if there are bytes to read.
fn c2_a_listener_hands_out_what_a_client_left(here: &dyn Surface) {
    let name = unique();
    let there = Other::spawn(here);
    let listener = here.listen(&Spec::new(&name)).unwrap();
    let client = there.open(&OpenSpec::new(&name)).unwrap();
    client.write_all(b"open this file").unwrap();
    drop(client);
    let server = listener.accept().unwrap();
    assert_eq!(server.read_to_end().unwrap(), b"open this file");
}

/// C2: else it just goes on.
fn c2_a_listener_goes_on_when_nothing_was_left(here: &dyn Surface) {
    let name = unique();
    let there = Other::spawn(here);
    let listener = here.listen(&Spec::new(&name)).unwrap();
    for _ in 0..3 {
        drop(there.open(&OpenSpec::new(&name)).unwrap());
        expect_refused(listener.accept_timeout(Duration::ZERO), PipeErrorKind::TimedOut);
    }
    drop(there.open(&OpenSpec::new(&name)).unwrap());
    thread::scope(|scope| {
        let accepting = blocked(scope, || listener.accept());
        let client = there.connect(&OpenSpec::new(&name)).unwrap();
        let server = accepting.join().unwrap().unwrap();
        expect_alive(server.as_ref(), client.as_ref());
    });
}

/// C3: after the client left, the instance is busy.
fn c3_a_left_instance_takes_no_new_client(here: &dyn Surface) {
    let name = unique();
    let (server, client) = pair(here, &Spec::new(&name));
    expect_alive(client.as_ref(), server.end());
    drop(client);
    expect_refused(here.open(&OpenSpec::new(&name)), PipeErrorKind::Busy);
    assert_eq!(server.end().read_some(1).unwrap(), b"");
    expect_refused(here.open(&OpenSpec::new(&name)), PipeErrorKind::Busy);
    server.disconnect().unwrap();
    thread::scope(|scope| {
        let connecting = blocked(scope, || server.connect());
        let client = here.connect(&OpenSpec::new(&name)).unwrap();
        connecting.join().unwrap().unwrap();
        expect_alive(client.as_ref(), server.end());
    });
}

/// C3: it takes disconnect *and* connect.
fn c3_disconnect_alone_does_not_listen(here: &dyn Surface) {
    let name = unique();
    let (server, client) = pair(here, &Spec::new(&name));
    server.disconnect().unwrap();
    drop(client);
    expect_refused(here.open(&OpenSpec::new(&name)), PipeErrorKind::Busy);
    expect(here.wait(&name, Some(SHORT)), PipeErrorKind::TimedOut);
}

/// C4: at once, whatever the time limit.
fn c4_wait_for_no_such_pipe_is_absent(here: &dyn Surface) {
    let name = unique();
    for timeout in [Some(Duration::ZERO), Some(HOUR), None] {
        expect(here.wait(&name, timeout), PipeErrorKind::Absent);
    }
}

/// C4: success when an instance listens, in whatever process.
fn c4_wait_succeeds_when_an_instance_listens(here: &dyn Surface) {
    let name = unique();
    let there = Other::spawn(here);
    let _server = there.create(&Spec::new(&name)).unwrap();
    for timeout in [Some(Duration::ZERO), Some(SHORT), None] {
        here.wait(&name, timeout).unwrap();
    }
}

/// C4: else it times out.
fn c4_wait_times_out(here: &dyn Surface) {
    let name = unique();
    let (_server, _client) = pair(here, &Spec::new(&name));
    let fault = expect(here.wait(&name, Some(SHORT)), PipeErrorKind::TimedOut);
    assert_eq!(fault.io_kind, "TimedOut");
    expect(here.wait(&name, Some(Duration::ZERO)), PipeErrorKind::TimedOut);
}

/// C4: woken by a new instance, also one of another process.
fn c4_wait_is_woken_by_a_new_instance(here: &dyn Surface) {
    let name = unique();
    let there = Other::spawn(here);
    let (_server, _client) = pair(here, &Spec::new(&name));
    thread::scope(|scope| {
        let mine = blocked(scope, || here.wait(&name, None));
        let theirs = there.blocked(scope, || there.wait(&name, Some(HOUR)));
        let _another = there.create(&Spec::new(&name).joining()).unwrap();
        mine.join().unwrap().unwrap();
        theirs.join().unwrap().unwrap();
    });
}

/// C4: woken by connect on a disconnected instance.
fn c4_wait_is_woken_by_a_reused_instance(here: &dyn Surface) {
    let name = unique();
    let there = Other::spawn(here);
    let (server, _client) = pair(here, &Spec::new(&name));
    thread::scope(|scope| {
        let waiting = there.blocked(scope, || there.wait(&name, None));
        server.disconnect().unwrap();
        assert!(!waiting.is_finished(), "disconnect alone does not listen");
        expect(server.connect_timeout(Duration::ZERO), PipeErrorKind::TimedOut);
        waiting.join().unwrap().unwrap();
    });
}

/// C4: the server's own default, for clients that ask for it.
fn c4_wait_of_zero_is_the_servers_default(here: &dyn Surface) {
    let name = unique();
    let (_server, _client) = pair(here, &Spec::new(&name).default_timeout(HOUR));
    thread::scope(|scope| {
        let waiting = blocked(scope, || Ok::<(), Fault>(NamedPipe::wait_default(&name)?));
        let _another = here.create(&Spec::new(&name).joining()).unwrap();
        waiting.join().unwrap().unwrap();
    });
}

/// C4: zero is one look, whatever the server's default.
fn c4_wait_of_zero_is_one_look(here: &dyn Surface) {
    let name = unique();
    let (_server, _client) = pair(here, &Spec::new(&name).default_timeout(HOUR));
    expect(here.wait(&name, Some(Duration::ZERO)), PipeErrorKind::TimedOut);
    let _another = here.create(&Spec::new(&name).joining()).unwrap();
    here.wait(&name, Some(Duration::ZERO)).unwrap();
}

/// C4: a name that goes while somebody waits for it is absent.
fn c4_wait_ends_when_the_last_instance_goes(here: &dyn Surface) {
    let name = unique();
    let (server, client) = pair(here, &Spec::new(&name));
    thread::scope(|scope| {
        let waiting = blocked(scope, || here.wait(&name, None));
        drop(server);
        expect(waiting.join().unwrap(), PipeErrorKind::Absent);
    });
    drop(client);
}

/// C4: success reserves nothing.
fn c4_wait_reserves_nothing(here: &dyn Surface) {
    let name = unique();
    let there = Other::spawn(here);
    let _server = here.create(&Spec::new(&name)).unwrap();
    here.wait(&name, None).unwrap();
    there.wait(&name, None).unwrap();
    let _client = there.open(&OpenSpec::new(&name)).unwrap();
    expect_refused(here.open(&OpenSpec::new(&name)), PipeErrorKind::Busy);
}

/// C4: `connect` is open and wait in one, and several clients are served in turn.
fn c4_connect_waits_while_busy(here: &dyn Surface) {
    let name = unique();
    let there = Other::spawn(here);
    let (server, client) = pair(here, &Spec::new(&name));
    let serve_me = |client: Box<dyn End>| assert_eq!(client.read_exact(1).unwrap(), b"x");
    let patient = OpenSpec::new(&name).timeout(HOUR);
    let for_ever = OpenSpec::new(&name).timeout(Duration::MAX);
    thread::scope(|scope| {
        let first = blocked(scope, || serve_me(here.connect(&patient).unwrap()));
        let second = there.blocked(scope, || serve_me(there.connect(&for_ever).unwrap()));
        drop(client);
        for _ in 0..2 {
            server.disconnect().unwrap();
            server.connect().unwrap();
            server.end().write_all(b"x").unwrap();
            server.flush().unwrap();
        }
        first.join().unwrap();
        second.join().unwrap();
    });
}

/// C4: a client may wait for a name that does not exist yet.
fn c4_connect_can_wait_for_a_name(here: &dyn Surface) {
    let name = unique();
    let there = Other::spawn(here);
    let open = OpenSpec::new(&name).wait_absent();
    expect_refused(here.connect(&open.clone().timeout(SHORT)), PipeErrorKind::TimedOut);
    thread::scope(|scope| {
        let connecting = blocked(scope, || here.connect(&open.clone().timeout(HOUR)).unwrap());
        let server = there.create(&Spec::new(&name)).unwrap();
        let client = connecting.join().unwrap();
        server.connect().unwrap();
        expect_alive(client.as_ref(), server.end());
    });
}

/// C4: clients that wait for a listener and give up are no clients, and those behind them are.
fn c4_a_client_that_gives_up_holds_up_nobody(here: &dyn Surface) {
    let name = unique();
    let there = Other::spawn(here);
    let listener = here.listen(&Spec::new(&name)).unwrap();
    let first = here.open(&OpenSpec::new(&name)).unwrap();
    expect_refused(here.connect(&OpenSpec::new(&name).timeout(SHORT)), PipeErrorKind::TimedOut);
    let patient = OpenSpec::new(&name).timeout(HOUR);
    thread::scope(|scope| {
        let second = there.blocked(scope, || there.connect(&patient).unwrap());
        expect_refused(there.connect(&OpenSpec::new(&name).timeout(SHORT)), PipeErrorKind::TimedOut);
        let third = blocked(scope, || here.connect(&patient).unwrap());
        expect_alive(first.as_ref(), listener.accept().unwrap().as_ref());
        // Which is first is a promise of some systems only.
        let servers = [listener.accept().unwrap(), listener.accept().unwrap()];
        for server in &servers {
            server.write_all(b"x").unwrap();
        }
        for client in [second, third] {
            assert_eq!(client.join().unwrap().read_exact(1).unwrap(), b"x");
        }
    });
    expect_refused(listener.accept_timeout(SHORT), PipeErrorKind::TimedOut);
    drop(here.open(&OpenSpec::new(&name)).unwrap());
}

/// C4: a place in a queue is not the end of the wait: when its server is killed, the client goes on waiting for the name.
fn c4_those_who_wait_for_a_killed_server_find_the_next(here: &dyn Surface) {
    const CLIENTS: usize = 30;
    let name = unique();
    let there = Other::spawn(here);
    let listener = there.listen(&Spec::new(&name)).unwrap();
    let _first = here.open(&OpenSpec::new(&name)).unwrap();
    let open = OpenSpec::new(&name).timeout(HOUR).wait_absent();
    thread::scope(|scope| {
        let waiting: Vec<_> = (0..CLIENTS).map(|_| blocked(scope, || here.connect(&open).unwrap())).collect();
        there.kill();
        drop(listener);
        let listener = here.listen(&Spec::new(&name)).unwrap();
        for _ in 0..CLIENTS {
            listener.accept().unwrap().write_all(b"x").unwrap();
        }
        for client in waiting {
            assert_eq!(client.join().unwrap().read_exact(1).unwrap(), b"x");
        }
    });
}

/// C4: a free instance goes to one of those who wait, and no client is in beyond the maximum.
fn c4_those_who_wait_at_the_maximum_get_in_one_by_one(here: &dyn Surface) {
    const CLIENTS: usize = 8;
    let name = unique();
    let listener = here.listen(&Spec::new(&name).max(2)).unwrap();
    // On Windows the name is gone for a moment, where no instance is left.
    let open = OpenSpec::new(&name).timeout(HOUR).wait_absent();
    let is_in = AtomicUsize::new(0);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    let client = here.connect(&open).unwrap();
                    is_in.fetch_add(1, Ordering::SeqCst);
                    let answer = client.read_exact(1).unwrap();
                    is_in.fetch_sub(1, Ordering::SeqCst);
                    client.write_all(&answer).unwrap();
                    answer
                })
            })
            .collect();
        for _ in 0..CLIENTS {
            let server = listener.accept().unwrap();
            // The one that was accepted, and one that has claimed the other instance.
            assert!(is_in.load(Ordering::SeqCst) <= 2);
            server.write_all(b"x").unwrap();
            assert_eq!(server.read_exact(1).unwrap(), b"x");
        }
        for client in clients {
            assert_eq!(client.join().unwrap(), b"x");
        }
    });
}

/// How many clients wait in the queue of the listener of this name. The kernel lists the ends that nobody has accepted by the
/// name at which the queue was bound.
#[cfg(target_os = "linux")]
fn queue_len(name: &str) -> usize {
    let directory = pipework::PipeName::new(name).unwrap().location().unwrap();
    let leaves = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
    let queue =
        leaves.filter_map(|leaf| leaf.into_string().ok()).find(|leaf| leaf.starts_with("q-")).unwrap();
    let bound = format!("t-{}", queue.split('-').nth(1).unwrap());
    let sockets = std::fs::read_to_string("/proc/net/unix").unwrap();
    sockets.lines().filter(|line| line.contains(&bound)).count() - 1
}

/// C4: those who wait for a listener get in in the order in which they came, whichever process they are of.
#[cfg(target_os = "linux")]
fn c4_those_who_wait_get_in_in_order(here: &dyn Surface) {
    if cfg!(pipework_portable) {
        crate::harness::skip("each of those who wait looks for itself where a claim is a lock");
    }
    let name = unique();
    let there = Other::spawn(here);
    let listener = here.listen(&Spec::new(&name)).unwrap();
    let _first = here.open(&OpenSpec::new(&name)).unwrap();
    let patient = OpenSpec::new(&name).timeout(HOUR);
    thread::scope(|scope| {
        let mut waiting = Vec::new();
        for number in 0..10 {
            let (patient, there) = (&patient, &there);
            waiting.push(scope.spawn(move || {
                let surface: &dyn Surface = if number % 2 == 0 { here } else { there };
                surface.connect(patient).unwrap().write_all(&[number]).unwrap();
            }));
            crate::harness::wait_until(|| queue_len(&name) > number.into());
        }
        let first = listener.accept().unwrap();
        for number in 0..10 {
            assert_eq!(listener.accept().unwrap().read_exact(1).unwrap(), [number]);
        }
        drop(first);
        waiting.into_iter().for_each(|client| client.join().unwrap());
    });
}

/// C5: client to server only: the client writes, the server reads, and nothing else.
fn c5_an_inbound_server_is_opened_for_writing_only(here: &dyn Surface) {
    let name = unique();
    let server = here.create(&Spec::new(&name).inbound_only()).unwrap();
    expect_refused(here.open(&OpenSpec::new(&name)), PipeErrorKind::AccessDenied);
    expect_refused(here.open(&OpenSpec::new(&name).read_only()), PipeErrorKind::AccessDenied);
    expect(server.connect_timeout(Duration::ZERO), PipeErrorKind::TimedOut);
    let client = here.open(&OpenSpec::new(&name).write_only()).unwrap();
    server.connect().unwrap();
    expect_one_way(client.as_ref(), server.end());
}

/// C5: server to client only.
fn c5_an_outbound_server_is_opened_for_reading_only(here: &dyn Surface) {
    let name = unique();
    let server = here.create(&Spec::new(&name).outbound_only()).unwrap();
    expect_refused(here.open(&OpenSpec::new(&name)), PipeErrorKind::AccessDenied);
    expect_refused(here.open(&OpenSpec::new(&name).write_only()), PipeErrorKind::AccessDenied);
    expect(server.connect_timeout(Duration::ZERO), PipeErrorKind::TimedOut);
    let client = here.open(&OpenSpec::new(&name).read_only()).unwrap();
    server.connect().unwrap();
    expect_one_way(server.end(), client.as_ref());
}

/// The end that may not read or write gets access denied from it.
fn expect_one_way(writer: &dyn End, reader: &dyn End) {
    writer.write_all(b"one way").unwrap();
    assert_eq!(reader.read_exact(7).unwrap(), b"one way");
    expect(writer.read_some(1), PipeErrorKind::AccessDenied);
    expect(writer.peek(1), PipeErrorKind::AccessDenied);
    expect(reader.write(b"back"), PipeErrorKind::AccessDenied);
    expect(reader.write_message(b"back"), PipeErrorKind::AccessDenied);
    writer.write_all(b"still").unwrap();
    assert_eq!(reader.read_exact(5).unwrap(), b"still");
}

/// C5: a client may ask for less than there is; asking for nothing is invalid.
fn c5_a_duplex_pipe_can_be_opened_for_one_direction(here: &dyn Surface) {
    let name = unique();
    let _one = here.create(&Spec::new(&name)).unwrap();
    let _two = here.create(&Spec::new(&name).joining()).unwrap();
    expect_refused(here.open(&OpenSpec::new(&name).read_only().write_only()), PipeErrorKind::Invalid);
    let reader = here.open(&OpenSpec::new(&name).read_only()).unwrap();
    expect(reader.write(b"x"), PipeErrorKind::AccessDenied);
    let writer = here.open(&OpenSpec::new(&name).write_only()).unwrap();
    expect(writer.read_some(1), PipeErrorKind::AccessDenied);
    writer.write_all(b"x").unwrap();
}

/// C5: the shortest form opens duplex, else the one direction there is.
fn c5_connect_takes_the_one_direction_there_is(here: &dyn Surface) {
    let name = unique();
    let inbound = here.create(&Spec::new(&name).inbound_only()).unwrap();
    let writer = here.connect_to(&name).unwrap();
    inbound.connect().unwrap();
    expect_one_way(writer.as_ref(), inbound.end());
    let name = unique();
    let outbound = here.create(&Spec::new(&name).outbound_only()).unwrap();
    let reader = here.connect_to(&name).unwrap();
    outbound.connect().unwrap();
    expect_one_way(outbound.end(), reader.as_ref());
}

/// C6: reading or writing before any client.
fn c6_before_any_client_reading_and_writing_is_listening(here: &dyn Surface) {
    let server = here.create(&Spec::new(&unique())).unwrap();
    for _ in 0..2 {
        expect(server.end().read_some(1), PipeErrorKind::Listening);
        expect(server.end().write(b"x"), PipeErrorKind::Listening);
        expect(server.end().write_message(b"x"), PipeErrorKind::Listening);
        expect(server.connect_timeout(Duration::ZERO), PipeErrorKind::TimedOut);
    }
}

/// C6: before any client, that is; once one is there the instance is connected, whether connect was called or not.
fn c6_a_client_that_is_there_can_be_served_without_connect(here: &dyn Surface) {
    let name = unique();
    let there = Other::spawn(here);
    let server = here.create(&Spec::new(&name)).unwrap();
    let client = there.open(&OpenSpec::new(&name)).unwrap();
    client.write_all(b"early").unwrap();
    assert_eq!(server.end().read_exact(5).unwrap(), b"early");
    server.connect().unwrap();
    expect_alive(server.end(), client.as_ref());
}

/// C7: connect on a connected instance.
fn c7_connect_on_a_connected_instance_is_success(here: &dyn Surface) {
    let (server, client) = pair(here, &Spec::new(&unique()));
    server.connect().unwrap();
    server.connect_timeout(Duration::ZERO).unwrap();
    expect_alive(client.as_ref(), server.end());
}

/// C7: a second disconnect.
fn c7_a_second_disconnect_is_not_connected(here: &dyn Surface) {
    let (server, _client) = pair(here, &Spec::new(&unique()));
    server.disconnect().unwrap();
    expect(server.disconnect(), PipeErrorKind::NotConnected);
    expect(server.end().read_some(1), PipeErrorKind::NotConnected);
    expect(server.end().write(b"x"), PipeErrorKind::NotConnected);
}

/// C7: disconnect on an instance that listens takes it away from clients until connect.
fn c7_disconnect_takes_a_listening_instance_away(here: &dyn Surface) {
    let name = unique();
    let server = here.create(&Spec::new(&name)).unwrap();
    server.disconnect().unwrap();
    expect_refused(here.open(&OpenSpec::new(&name)), PipeErrorKind::Busy);
    expect(server.disconnect(), PipeErrorKind::NotConnected);
    expect(server.connect_timeout(Duration::ZERO), PipeErrorKind::TimedOut);
    let client = here.open(&OpenSpec::new(&name)).unwrap();
    server.connect().unwrap();
    expect_alive(client.as_ref(), server.end());
}
