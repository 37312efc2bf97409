//! The cases: one for each rule of `docs/SEMANTICS.md`, and for each clause where a rule has several.
//!
//! A case's name begins with the rule, in lower case. Cases that take a surface run on every surface there is; the
//! others are about something that only the blocking calls, or only one system, has.

mod anonymous;
mod bad_input;
mod bytes;
mod cancelling;
mod connecting;
mod flush;
mod listener;
mod listing;
mod messages;
mod names;
mod timeouts;

#[cfg(unix)]
mod access;
#[cfg(unix)]
mod readiness;
#[cfg(unix)]
mod sockets;

use std::{any::type_name, fmt, time::Duration};

use pipework::{PipeErrorKind, PipeMode};

use crate::surface::{End, Fault, Instance, OpenSpec, Outcome, Spec, Surface};

/// A case as the harness sees it.
pub(crate) struct Case {
    /// The name of its function.
    pub(crate) name: &'static str,
    /// The rule that it proves, or what else it is about.
    pub(crate) rule: &'static str,
    /// Whether it moves so much that it may take a minute.
    pub(crate) long: bool,
    /// The case itself.
    pub(crate) run: Run,
}

/// A case that asks a surface for its pipes.
type CaseOnSurface = Box<dyn Fn(&dyn Surface)>;

/// How a case is run.
pub(crate) enum Run {
    /// On every surface.
    Every(CaseOnSurface),
    /// Once.
    Plain(Box<dyn Fn()>),
}

/// Every case there is.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(names::cases());
    cases.extend(connecting::cases());
    cases.extend(bytes::cases());
    cases.extend(messages::cases());
    cases.extend(flush::cases());
    cases.extend(timeouts::cases());
    cases.extend(cancelling::cases());
    cases.extend(anonymous::cases());
    cases.extend(listener::cases());
    cases.extend(listing::cases());
    cases.extend(bad_input::cases());
    #[cfg(unix)]
    cases.extend(access::cases());
    #[cfg(unix)]
    cases.extend(readiness::cases());
    #[cfg(unix)]
    cases.extend(sockets::cases());
    cases
}

/// A case for every surface.
fn every<F: Fn(&dyn Surface) + 'static>(rule: &'static str, case: F) -> Case {
    Case { name: function_name::<F>(), rule, long: false, run: Run::Every(Box::new(case)) }
}

/// A case that runs once.
fn plain<F: Fn() + 'static>(rule: &'static str, case: F) -> Case {
    Case { name: function_name::<F>(), rule, long: false, run: Run::Plain(Box::new(case)) }
}

/// Gives a case more time.
fn long(case: Case) -> Case {
    Case { long: true, ..case }
}

/// The last part of a function's path.
fn function_name<F>() -> &'static str {
    type_name::<F>().rsplit("::").next().unwrap_or_default()
}

// ------------------------------------------------------------------ shared by the cases

/// Long enough that nothing that can happen has failed to, short enough to wait for in vain.
const SHORT: Duration = Duration::from_millis(50);

/// A time limit that is there to be ended early.
const HOUR: Duration = Duration::from_secs(3600);

/// Fails the case unless the call failed in this way.
#[track_caller]
fn expect<T: fmt::Debug, E: Into<Fault>>(result: Result<T, E>, kind: PipeErrorKind) -> Fault {
    match result.map_err(Into::into) {
        Ok(value) => panic!("expected {kind:?}, but it succeeded with {value:?}"),
        Err(fault) => {
            assert!(fault == kind, "expected {kind:?}, got {fault}");
            fault
        }
    }
}

/// The same for what has nothing to show.
#[track_caller]
fn expect_refused<T>(result: Outcome<T>, kind: PipeErrorKind) -> Fault {
    expect(result.map(drop), kind)
}

/// An instance and its client, connected.
fn pair(here: &dyn Surface, spec: &Spec) -> (Box<dyn Instance>, Box<dyn End>) {
    pair_with(here, here, spec)
}

/// The same with the client on another surface, typically in another process.
fn pair_with(here: &dyn Surface, there: &dyn Surface, spec: &Spec) -> (Box<dyn Instance>, Box<dyn End>) {
    let server = here.create(spec).unwrap();
    let open =
        OpenSpec { read: spec.outbound, write: spec.inbound, mode: spec.mode, ..OpenSpec::new(&spec.name) };
    let client = there.open(&open).unwrap();
    server.connect().unwrap();
    (server, client)
}

/// Bytes that tell where they belong: different for each seed, and with no short period.
fn pattern(seed: u8, len: usize) -> Vec<u8> {
    let mut state = u32::from(seed).wrapping_mul(2_654_435_761).wrapping_add(1);
    let step = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..len).map(step).collect()
}

/// Compares long data without printing it.
#[track_caller]
fn expect_same(got: &[u8], wanted: &[u8]) {
    assert_eq!(got.len(), wanted.len(), "length");
    let different = got.iter().zip(wanted).position(|(a, b)| a != b);
    assert_eq!(different, None, "index of the first wrong byte");
}

/// Both ends can still be used: a byte goes each way.
#[track_caller]
fn expect_alive(one: &dyn End, other: &dyn End) {
    one.write_all(b"?").unwrap();
    assert_eq!(other.read_exact(1).unwrap(), b"?");
    other.write_all(b"!").unwrap();
    assert_eq!(one.read_exact(1).unwrap(), b"!");
}

/// A pipe of messages and its client, both in message read mode, in two processes.
fn message_pair(here: &dyn Surface, there: &dyn Surface) -> (Box<dyn Instance>, Box<dyn End>) {
    let spec = Spec::new(&crate::harness::unique()).messages();
    assert_eq!(spec.mode, PipeMode::Message);
    pair_with(here, there, &spec)
}

/// Blocks SIGPIPE in this thread: one that is raised is pending from then on, though the program ignores it.
#[cfg(target_os = "linux")]
fn block_broken_pipe_signal() {
    let mut set = nix::sys::signal::SigSet::empty();
    set.add(nix::sys::signal::Signal::SIGPIPE);
    set.thread_block().unwrap();
}

/// Whether SIGPIPE was raised since.
#[cfg(target_os = "linux")]
fn broken_pipe_signal_is_pending() -> bool {
    const BIT: u32 = 13 - 1;
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let mask = |key| status.lines().find_map(|line| line.strip_prefix(key)).unwrap().trim();
    let bits = |key| u64::from_str_radix(mask(key), 16).unwrap();
    (bits("SigPnd:") | bits("ShdPnd:")) >> BIT & 1 == 1
}
