//! Hellos of processes of root that delegate the identity of a remote client, or claim to.

use crate::{
    harness::Case,
    wire::{Raw, SHORT, Victim, expect, send},
};
use pipework::{PipeErrorKind, PipeMode, os::unix::ListenerExt};
use std::{io::Read, os::fd::AsFd, thread, time::Duration};

pub(crate) const CASES: &[Case] = &[
    ("client_speaks_for_somebody_unasked", speaks_unasked),
    ("client_speaks_for_nobody_it_can_name", speaks_for_nobody),
    ("client_speaks_in_pieces", speaks_in_pieces),
    ("client_never_says_for_whom_it_speaks", never_says),
    ("client_leaves_before_it_has_said_for_whom", leaves_before),
];

/// A caller as the wire has it.
fn caller() -> Vec<u8> {
    let mut bytes = vec![1];
    bytes.extend(1001_u32.to_le_bytes());
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend(1001_u32.to_le_bytes());
    bytes.extend(1_u32.to_le_bytes());
    for text in ["S-1-5-11", r"WORKGROUP\eve", "192.0.2.7"] {
        bytes.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
        bytes.extend(text.as_bytes());
    }
    bytes
}

/// The hello that announces so many bytes of a caller, and these.
fn hello_for(raw: &Raw, len: usize, caller: &[u8]) -> Vec<u8> {
    let mut hello = raw.shape.hello().to_vec();
    hello[32..36].copy_from_slice(&u32::try_from(len).unwrap().to_le_bytes());
    hello.extend(caller);
    hello
}

/// A pipe for this computer believes not even root.
fn speaks_unasked() {
    let victim = Victim::new(PipeMode::Byte, 4096);
    let (raw, mut end) = victim.attack();
    let caller = caller();
    send(&raw.socket, &hello_for(&raw, caller.len(), &caller), &[raw.memory().as_fd()]);
    expect(end.read(&mut [0; 8]), PipeErrorKind::Corrupt, "a caller");
    assert!(end.peer().unwrap().network().is_none());
    victim.expect_well();
}

/// One change of a good caller each.
fn speaks_for_nobody() {
    type Change = fn(&mut Vec<u8>);
    let changes: [(&str, Change); 7] = [
        ("noise", |bytes| bytes.fill(0xA5)),
        ("zeros", |bytes| bytes.fill(0)),
        ("too many groups", |bytes| bytes[5..9].fill(0xFF)),
        ("more than was announced to be in it", |bytes| bytes.push(0)),
        ("a SID that is none", |bytes| bytes[21] = b'X'),
        ("a line's end in the account", |bytes| bytes[34] = b'\n'),
        ("no Unicode", |bytes| bytes[34] = 0xFF),
    ];
    let victim = Victim::for_the_network();
    for (about, change) in changes {
        let mut caller = caller();
        change(&mut caller);
        let raw = victim.connect();
        send(&raw.socket, &hello_for(&raw, caller.len(), &caller), &[raw.memory().as_fd()]);
        // It is handed out all the same: the accept loop goes on, and the connection is over.
        let mut end = victim.listener.accept().unwrap();
        expect(end.read(&mut [0; 8]), PipeErrorKind::Corrupt, about);
        assert!(end.peer().unwrap().network().is_none(), "{about}");
        victim.expect_well();
    }
    let raw = victim.connect();
    send(&raw.socket, &hello_for(&raw, 64 * 1024 + 1, &[0; 100]), &[raw.memory().as_fd()]);
    expect(victim.listener.accept().unwrap().read(&mut [0; 8]), PipeErrorKind::Corrupt, "too much");
    victim.expect_well();
}

fn speaks_in_pieces() {
    let victim = Victim::for_the_network();
    let (raw, caller) = (victim.connect(), caller());
    let hello = hello_for(&raw, caller.len(), &caller);
    thread::scope(|scope| {
        let accepted = scope.spawn(|| victim.listener.accept().unwrap());
        for (index, byte) in hello.iter().enumerate() {
            let memory = raw.memory();
            let descriptors: &[_] = if index == 3 { &[memory.as_fd()] } else { &[] };
            send(&raw.socket, &[*byte], descriptors);
        }
        let peer = accepted.join().unwrap().peer().unwrap();
        let network = peer.network().unwrap();
        assert_eq!((network.account.as_str(), network.address.as_str()), (r"WORKGROUP\eve", "192.0.2.7"));
        assert_eq!(
            (network.encrypted, peer.user_id(), peer.group_ids()),
            (Some(true), Some(1001), &[1001][..])
        );
    });
    victim.expect_well();
}

/// Who it is stays open, and is never taken for the service; it holds nobody up for long.
fn never_says() {
    let victim = Victim::for_the_network();
    let raw = victim.connect();
    // A look does not wait for it; asking who it is does.
    let end = victim.listener.try_accept().unwrap();
    end.set_read_timeout(Some(SHORT)).unwrap();
    expect(end.peer(), PipeErrorKind::TimedOut, "asking who it is");
    victim.expect_well();
    // An accept waits for a while.
    let other = victim.connect();
    let late = victim.listener.accept().unwrap();
    expect(late.peer(), PipeErrorKind::TimedOut, "asking who it is after that");
    victim.expect_well();
    // What it says in the end counts.
    let caller = caller();
    for (raw, end) in [(raw, end), (other, late)] {
        send(&raw.socket, &hello_for(&raw, caller.len(), &caller), &[raw.memory().as_fd()]);
        assert!(end.peer().unwrap().network().is_some());
    }
}

fn leaves_before() {
    let victim = Victim::for_the_network();
    let raw = victim.connect();
    send(&raw.socket, &hello_for(&raw, 50, &[1, 2, 3]), &[raw.memory().as_fd()]);
    let end = thread::scope(|scope| {
        let accepted = scope.spawn(|| victim.listener.accept_timeout(Duration::from_secs(10)));
        drop(raw);
        accepted.join().unwrap()
    });
    // Whether it was taken before it left is a race; either way nobody is waited for.
    if let Ok(mut end) = end {
        assert_eq!(end.read(&mut [0; 8]).unwrap(), 0);
        assert!(end.peer().unwrap().network().is_none());
    }
    victim.expect_well();
}
