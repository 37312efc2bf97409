//! The cases: one for each rule of `docs/SEMANTICS.md`, and for each clause where a rule has several.
//!
//! A case's name begins with the rule, in lower case. Cases that take a surface run on every surface there is; the
//! others are about something that only the blocking calls, or only one system, has.

mod access;
mod anonymous;
mod bad_input;
mod batches;
mod bytes;
mod cancelling;
mod connecting;
mod flush;
mod listener;
mod listing;
mod messages;
mod names;
pub(crate) mod skips;
mod states;
#[cfg(feature = "tokio")]
mod tasks;
mod timeouts;

#[cfg(windows)]
mod descriptors;
#[cfg(unix)]
mod forking;
#[cfg(windows)]
mod handles;
#[cfg(target_os = "linux")]
mod injected;
#[cfg(unix)]
mod network;
#[cfg(windows)]
mod overlapped;
#[cfg(unix)]
mod readiness;
#[cfg(unix)]
mod removal;
#[cfg(unix)]
mod shortages;
#[cfg(target_os = "linux")]
mod signals;
#[cfg(unix)]
mod sockets;
#[cfg(unix)]
mod users;
#[cfg(target_os = "linux")]
mod views;

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
    /// Whether it uses every surface in one process.
    pub(crate) is_of_all_surfaces: bool,
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
    /// On another system, and why not here.
    Elsewhere(&'static str),
}

/// Every case there is.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(names::cases());
    cases.extend(connecting::cases());
    cases.extend(bytes::cases());
    cases.extend(messages::cases());
    cases.extend(batches::cases());
    cases.extend(flush::cases());
    cases.extend(timeouts::cases());
    cases.extend(cancelling::cases());
    cases.extend(anonymous::cases());
    cases.extend(listener::cases());
    cases.extend(listing::cases());
    cases.extend(bad_input::cases());
    cases.extend(access::cases());
    cases.extend(states::cases());
    #[cfg(feature = "tokio")]
    cases.extend(tasks::cases());
    cases.extend(cases_of_this_system());
    cases.extend(skips::cases());
    cases
}

/// The cases that only a system like this one has; [`skips`] names them for the others.
#[cfg(unix)]
pub(crate) fn cases_of_this_system() -> Vec<Case> {
    let mut cases = anonymous::cases_of_this_system();
    cases.extend(bad_input::unix::cases());
    cases.extend(forking::cases());
    cases.extend(listener::cases_of_this_system());
    cases.extend(listing::cases_of_this_system());
    cases.extend(messages::cases_of_this_system());
    cases.extend(names::cases_of_this_system());
    cases.extend(network::cases());
    cases.extend(readiness::cases());
    cases.extend(removal::cases());
    cases.extend(shortages::cases());
    cases.extend(sockets::cases());
    #[cfg(feature = "tokio")]
    cases.extend(tasks::cases_of_this_system());
    cases.extend(users::cases());
    #[cfg(target_os = "linux")]
    cases.extend(connecting::cases_of_this_system());
    #[cfg(target_os = "linux")]
    cases.extend(signals::cases());
    #[cfg(target_os = "linux")]
    cases.extend(removal::cases_of_linux());
    #[cfg(target_os = "linux")]
    cases.extend(views::cases());
    #[cfg(target_os = "linux")]
    cases.extend(injected::cases());
    cases
}

/// The same for Windows.
#[cfg(windows)]
pub(crate) fn cases_of_this_system() -> Vec<Case> {
    let mut cases = anonymous::cases_of_this_system();
    cases.extend(descriptors::cases());
    cases.extend(handles::cases());
    cases.extend(overlapped::cases());
    #[cfg(feature = "tokio")]
    cases.extend(tasks::cases_of_this_system());
    cases
}

/// A case for every surface.
fn every<F: Fn(&dyn Surface) + 'static>(rule: &'static str, case: F) -> Case {
    Case {
        name: function_name::<F>(),
        rule,
        long: false,
        is_of_all_surfaces: false,
        run: Run::Every(Box::new(case)),
    }
}

/// A case that runs once.
fn plain<F: Fn() + 'static>(rule: &'static str, case: F) -> Case {
    Case {
        name: function_name::<F>(),
        rule,
        long: false,
        is_of_all_surfaces: false,
        run: Run::Plain(Box::new(case)),
    }
}

/// Gives a case more time.
fn long(case: Case) -> Case {
    Case { long: true, ..case }
}

/// Lets a case use every surface in its process.
fn of_all_surfaces(case: Case) -> Case {
    Case { is_of_all_surfaces: true, ..case }
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

/// The text says which pipe it is about; that of Windows itself does not, nor does the number that tasks get for busy.
#[track_caller]
fn expect_named(fault: &Fault, name: &str) {
    let is_a_number = cfg!(windows) || fault.text.ends_with("(os error 231)");
    assert!(is_a_number || fault.text.contains(name), "the text names the pipe: {}", fault.text);
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

/// What a drain comes to that waits while its reader goes away, as `attempt` has it.
///
/// On Windows nothing shows that a call has begun to wait. To Wine a pipe that was closed before is drained (see
/// `skips`), so an attempt that came to that was late, and is made again.
fn drained_in_time(attempt: impl Fn() -> Outcome<()>) -> Outcome<()> {
    const ATTEMPTS: u32 = 10;
    let late = |outcome: &Outcome<()>| cfg!(windows) && outcome.is_ok();
    (1..ATTEMPTS).map(|_| attempt()).find(|outcome| !late(outcome)).unwrap_or_else(attempt)
}

/// Bytes that show where they belong: different for each seed, and with no short period.
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
