//! B5 and P2: a pipe without a reader raises no signal. Linux shows each thread the ones that are pending.

use std::io::{self, Write};

use nix::sys::signal::{SigSet, Signal};
use pipework::{PipeErrorKind, anonymous};

use super::{Case, every, expect, pair, plain};
use crate::{
    harness::unique,
    surface::{Spec, Surface},
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        every("B5", b5_writing_to_a_closed_end_raises_no_signal),
        plain("P2", p2_writing_without_a_reader_raises_no_signal),
    ]
}

/// B5: with no signal. One that is blocked would be pending, even though the program ignores it.
fn b5_writing_to_a_closed_end_raises_no_signal(here: &dyn Surface) {
    block_broken_pipe_signal();
    let (server, client) = pair(here, &Spec::new(&unique()));
    drop(client);
    expect(server.end().write(&[0; 100_000]), PipeErrorKind::NoData);
    assert!(!broken_pipe_signal_is_pending());
}

/// P2: no signal either.
fn p2_writing_without_a_reader_raises_no_signal() {
    let (reader, mut writer) = anonymous(0).unwrap();
    drop(reader);
    block_broken_pipe_signal();
    assert_eq!(writer.write(b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    assert!(!broken_pipe_signal_is_pending());
}

/// Blocks SIGPIPE in this thread: one that is raised is pending from then on, though the program ignores it.
fn block_broken_pipe_signal() {
    let mut set = SigSet::empty();
    set.add(Signal::SIGPIPE);
    set.thread_block().unwrap();
}

/// Whether SIGPIPE was raised since.
fn broken_pipe_signal_is_pending() -> bool {
    const BIT: u32 = 13 - 1;
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let mask = |key| status.lines().find_map(|line| line.strip_prefix(key)).unwrap().trim();
    let bits = |key| u64::from_str_radix(mask(key), 16).unwrap();
    (bits("SigPnd:") | bits("ShdPnd:")) >> BIT & 1 == 1
}
