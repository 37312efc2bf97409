//! The list of cases and their harness.

mod admission;
mod client;
mod failures;
mod fixture;
mod matrix;
mod npa_exchange;
mod pipework_client;
#[path = "../../../pipework/tests/remote/samba.rs"]
mod samba;
mod server;
mod service;
#[path = "../../src/service/smbd_case.rs"]
mod smbd_case;
mod transfer;
mod two_hosts;

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    process::ExitCode,
    sync::{Arc, mpsc::channel},
    thread,
    time::Duration,
};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use fixture::Fixture;

/// The timeout for events that normally happen at once. A timeout is a failure, never a pass.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);
/// The timeout of a case.
const CASE_TIMEOUT: Duration = Duration::from_secs(150);

/// A case that shares its gateway with others and uses unique pipe names.
type Shared = fn(&Fixture);
/// A case with a gateway of its own.
type Exclusive = fn();

pub(crate) fn main() -> ExitCode {
    if let Some(code) = server::run_role().or_else(npa_exchange::run_role).or_else(two_hosts::run_role) {
        return code;
    }
    let missing = fixture::missing();
    let arguments = Arguments { test_threads: Some(2), ..Arguments::from_args() };
    // One smbd and one gateway, started by the first case that needs them.
    let shared = Arc::new(fixture::LazyFixture::default());
    let mut trials = Vec::new();
    for (name, case) in transfer::CASES
        .iter()
        .chain(admission::CASES)
        .chain(npa_exchange::CASES)
        .chain(pipework_client::CASES)
    {
        let (case, shared) = (*case, Arc::clone(&shared));
        trials.push(trial(name, missing.clone(), move || case(shared.get())));
    }
    for (name, case) in failures::CASES
        .iter()
        .chain(pipework_client::FAILURES)
        .chain(service::CASES)
        .chain(npa_exchange::CROWDS)
    {
        trials.push(trial(name, missing.clone(), *case));
    }
    for (name, case) in two_hosts::CASES {
        trials.push(trial(name, missing.clone().or_else(two_hosts::missing), *case));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    matrix::print();
    drop(shared);
    conclusion.exit_code()
}

fn trial(name: &str, missing: Option<String>, case: impl FnOnce() + Send + 'static) -> Trial {
    Trial::ignorable_test(name, move || match missing {
        Some(why) => Ok(Completion::ignored_with(why)),
        None => run_with_timeout(case).map(|()| Completion::Completed),
    })
}

/// Runs a case with a timeout.
fn run_with_timeout(case: impl FnOnce() + Send + 'static) -> Result<(), Failed> {
    let (sender, receiver) = channel();
    thread::spawn(move || sender.send(catch_unwind(AssertUnwindSafe(case))));
    match receiver.recv_timeout(CASE_TIMEOUT) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(panic)) => resume_unwind(panic),
        Err(_) => Err("timed out".into()),
    }
}

/// The payload, which `client.py` generates too. No two parts of it are equal, so a moved part is noticed.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    let period: Vec<u8> =
        (0..65_536_u32).map(|index| ((index * 7 + (index >> 8) * 3) & 0xff) as u8).collect();
    period.iter().copied().cycle().take(len).collect()
}

/// Polls until a condition holds.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !holds() {
        assert!(start.elapsed() < TIMEOUT, "timed out: {what}");
        thread::park_timeout(Duration::from_millis(10));
    }
}
