//! Random operations against a specification that is a few queues, and random threads against invariants.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test ends at the first surprise, and its harness reports it"
)]

mod drive;
mod spec;
mod threads;

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use spec::{Op, Shape, Side};

/// Few enough for a debug build; `PROPTEST_CASES` asks for more.
const CASES: u32 = 200;

/// More than all operations can write.
const ROOM: usize = 1 << 20;

fn any_len() -> impl Strategy<Value = usize> {
    prop_oneof![
        6 => 0..40_usize,
        2 => 0..600_usize,
        // Around a page, where a message stops fitting into the smallest ring, and beyond.
        1 => prop_oneof![Just(4064_usize), Just(4080), Just(4081), Just(4096), Just(4097), 4000..9000_usize],
    ]
}

fn any_side() -> impl Strategy<Value = Side> {
    prop_oneof![4 => Just(Side::Server), 3 => Just(Side::Client(0)), 1 => Just(Side::Client(1))]
}

fn any_op() -> impl Strategy<Value = Op> {
    let data = prop_oneof![
        6 => any_len().prop_map(Op::Write),
        3 => prop::collection::vec(0..30_usize, 0..4).prop_map(Op::WriteVectored),
        4 => any_len().prop_map(Op::WriteMessage),
        6 => any_len().prop_map(Op::Read),
        4 => any_len().prop_map(Op::ReadMessage),
        5 => any_len().prop_map(Op::ReadMessageInto),
        4 => any_len().prop_map(Op::Peek),
        2 => (any_len(), any_len()).prop_map(|(request, reply)| Op::Transact(request, reply)),
        2 => Just(Op::Drain),
        1 => any::<bool>().prop_map(Op::SetReadMode),
    ];
    let opening = prop_oneof![
        6 => Just((true, true)),
        1 => Just((false, false)),
        2 => Just((true, false)),
        2 => Just((false, true)),
    ];
    prop_oneof![
        30 => (any_side(), data).prop_map(|(side, op)| Op::At(side, Box::new(op))),
        6 => (0..2_usize, opening, any::<bool>())
            .prop_map(|(client, (read, write), messages)| Op::Open { client, read, write, messages }),
        2 => (0..2_usize).prop_map(Op::DropClient),
        4 => Just(Op::Connect),
        2 => Just(Op::Disconnect),
        2 => Just(Op::Create),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(first, other_mode)| Op::CreateAgain { first, other_mode }),
        1 => Just(Op::DropServer),
        1 => Just(Op::Wait),
    ]
}

fn any_shape() -> impl Strategy<Value = Shape> {
    let quota = || prop_oneof![Just(0), Just(1), Just(16), 2..200_usize, Just(4096), 3000..9000_usize];
    let directions = prop_oneof![3 => Just((true, true)), 1 => Just((true, false)), 1 => Just((false, true))];
    (any::<bool>(), directions, quota(), quota()).prop_map(|(messages, (inbound, outbound), into, out)| {
        // How much of a write that waits is taken is the system's own: there no write waits.
        let (into, out) = if cfg!(unix) { (into, out) } else { (ROOM, ROOM) };
        Shape { messages, inbound, outbound, in_quota: into, out_quota: out }
    })
}

fn config() -> Config {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|count| count.parse().ok()).unwrap_or(CASES);
    Config { cases, failure_persistence: None, max_shrink_iters: 2000, ..Config::default() }
}

/// One thread does anything in any order; each outcome is that of the specification, to the byte.
#[test]
fn every_outcome_is_what_the_specification_tells() {
    let plan = (any_shape(), prop::collection::vec(any_op(), 1..60));
    TestRunner::new(config())
        .run(&plan, |(shape, ops)| drive::run(shape, &ops))
        .unwrap_or_else(|error| panic!("{error}"));
}
