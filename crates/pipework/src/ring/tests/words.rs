//! The words of the memory: where they lie, who sleeps, and who has left.

use super::super::{
    CloseState, Direction, Geometry, Interest, Memory, Side, WaitKind, WaitWords, Wake, layout::Word,
    sync::Ordering,
};
use std::sync::Arc;

#[test]
fn the_shape_of_the_memory() {
    let both = Geometry::new(false, Some(65536), Some(100));
    let (inbound, outbound) =
        (both.lane(Direction::Inbound).unwrap(), both.lane(Direction::Outbound).unwrap());
    assert_eq!((inbound.offset, inbound.capacity, inbound.quota), (4096, 65536, 65536));
    assert_eq!((outbound.offset, outbound.capacity, outbound.quota), (4096 + 65536, 4096, 100));
    assert_eq!(both.len(), 4096 + 65536 + 4096);
    let messages = Geometry::new(true, None, Some(65537));
    assert!(messages.lane(Direction::Inbound).is_none());
    assert_eq!(messages.lane(Direction::Outbound).unwrap().capacity, 262_144);
    let huge = Geometry::new(false, Some(u32::MAX), None).lane(Direction::Inbound).unwrap();
    assert_eq!((huge.capacity, huge.quota), (256 << 20, 256 << 20));
    let none = Geometry::new(false, Some(0), None).lane(Direction::Inbound).unwrap();
    assert_eq!((none.capacity, none.quota), (4096, 0));
}

#[test]
fn every_word_has_a_place_of_its_own() {
    let ends = [Side::Client, Side::Server];
    let directions = [Direction::Inbound, Direction::Outbound];
    let words = directions
        .into_iter()
        .flat_map(|way| [Word::Tail(way), Word::Filled(way), Word::Head(way), Word::Payload(way)])
        .chain(
            ends.into_iter().flat_map(|side| [Word::Waiting(side), Word::Mark(side), Word::Processor(side)]),
        );
    // Both ends must agree on them: changing one is a new version of the hello.
    let mut places: Vec<usize> = words.map(Word::offset).collect();
    places.sort_unstable();
    assert_eq!(places, [0, 8, 128, 136, 256, 264, 384, 392, 512, 640, 768, 896, 1024, 1152]);
}

const NOBODY: Wake = Wake { futex: false, socket: false };
const FUTEX: Wake = Wake { futex: true, socket: false };
const SOCKET: Wake = Wake { futex: false, socket: true };

#[test]
fn one_sleeper_is_woken_once() {
    let memory = Arc::new(Memory::heap(4096));
    let client = WaitWords::new(Arc::clone(&memory), Side::Client);
    let server = WaitWords::new(memory, Side::Server);
    assert_eq!(client.must_wake(Interest::Data), NOBODY);
    server.announce(Interest::Data, WaitKind::Poll);
    assert_eq!(client.must_wake(Interest::Space), NOBODY, "for data only");
    assert_eq!(server.must_wake(Interest::Data), NOBODY, "not by itself");
    assert_eq!(client.must_wake(Interest::Data), SOCKET);
    assert_eq!(client.must_wake(Interest::Data), NOBODY, "once");
    server.announce(Interest::Data, WaitKind::Poll);
    server.announce(Interest::Space, WaitKind::Poll);
    assert_eq!((client.must_wake(Interest::Space), client.must_wake(Interest::Data)), (SOCKET, SOCKET));
}

#[test]
fn sleepers_are_woken_where_they_sleep() {
    let memory = Arc::new(Memory::heap(4096));
    let client = WaitWords::new(Arc::clone(&memory), Side::Client);
    let server = WaitWords::new(memory, Side::Server);
    let value = server.announce(Interest::Data, WaitKind::Futex);
    assert_eq!(
        u64::from(server.own_futex_word().load(Ordering::Relaxed)),
        value,
        "what the kernel will compare"
    );
    assert_eq!(client.must_wake(Interest::Data), FUTEX);
    assert_ne!(u64::from(client.peer_futex_word().load(Ordering::Relaxed)), value, "too late to fall asleep");
    server.announce(Interest::Data, WaitKind::Futex);
    server.withdraw(Interest::Data, WaitKind::Futex);
    server.announce(Interest::Data, WaitKind::Poll);
    assert_eq!(client.must_wake(Interest::Data), SOCKET, "its sleep at the futex is over");
    server.announce(Interest::Data, WaitKind::Poll);
    server.announce(Interest::Data, WaitKind::Futex);
    assert_eq!(client.must_wake(Interest::Data), Wake { futex: true, socket: true }, "a thread and a task");
    server.announce(Interest::Space, WaitKind::Futex);
    assert_eq!((client.must_wake_all(), client.must_wake_all()), (FUTEX, NOBODY));
}

#[test]
fn only_a_server_disconnects() {
    let memory = Arc::new(Memory::heap(4096));
    let client = WaitWords::new(Arc::clone(&memory), Side::Client);
    let server = WaitWords::new(Arc::clone(&memory), Side::Server);
    assert_eq!((client.peer_close_state(), server.peer_close_state()), (CloseState::Open, CloseState::Open));
    server.set_close_state(CloseState::Disconnected);
    assert_eq!(
        (client.peer_close_state(), server.peer_close_state()),
        (CloseState::Disconnected, CloseState::Open)
    );
    client.set_close_state(CloseState::Disconnected);
    assert_eq!(server.peer_close_state(), CloseState::Closed, "a client can only close");
    server.set_close_state(CloseState::Closed);
    assert_eq!(client.peer_close_state(), CloseState::Closed);
    memory.store(Word::Mark(Side::Server), 77, Ordering::Release);
    assert_eq!(client.peer_close_state(), CloseState::Closed, "what it does not know is an end");
}

#[test]
fn ends_tell_where_they_wait() {
    let memory = Arc::new(Memory::heap(4096));
    let client = WaitWords::new(Arc::clone(&memory), Side::Client);
    let server = WaitWords::new(memory, Side::Server);
    assert!(client.is_peer_elsewhere(Some(0)), "the server did not say yet");
    assert!(!server.is_peer_elsewhere(Some(0)));
    assert!(!client.is_peer_elsewhere(Some(0)));
    assert!(server.is_peer_elsewhere(Some(1)));
    assert!(client.is_peer_elsewhere(None), "where the processor is unknown");
}

#[test]
fn a_copy_moves_its_bytes_and_no_others() {
    const PLACES: usize = 17;
    let geometry = Geometry::new(false, Some(4096), None);
    let (memory, base) = (Memory::heap(geometry.len()), geometry.lane(Direction::Inbound).unwrap().offset);
    for len in (0..=160).chain([255, 256, 1000]) {
        let bytes: Vec<u8> = (0..len).map(|index| u8::try_from(index % 251).unwrap()).collect();
        for at in 0..PLACES {
            let mut around = vec![0xEE; len + 2 * PLACES];
            memory.copy_in(base, &around);
            memory.copy_in(base + at, &bytes);
            let mut expected = around.clone();
            expected[at..at + len].copy_from_slice(&bytes);
            memory.copy_out(base, &mut around);
            assert_eq!(around, expected, "{len} bytes to {at}");
            let mut out = vec![0xDD; len + 2 * PLACES];
            memory.copy_out(base + at, &mut out[PLACES - at..PLACES - at + len]);
            assert_eq!(out[PLACES - at..PLACES - at + len], bytes, "{len} bytes from {at}");
            assert!(out[..PLACES - at].iter().chain(&out[PLACES - at + len..]).all(|byte| *byte == 0xDD));
        }
    }
}
