//! The cases, and what they run in.

mod admission;
mod carrying;
mod client;
mod ends;
mod exchange;
mod hosts;
mod matrix;
mod ours;
#[path = "../../../pipework/tests/remote/samba.rs"]
mod samba;
mod server;
mod service;
mod site;

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    process::ExitCode,
    sync::{Arc, mpsc::channel},
    thread,
    time::Duration,
};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use site::Site;

/// How long anything may take that happens at once; what takes longer is a failure, and never a pass.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// How long a case may take before it counts as hung.
const CASE_PATIENCE: Duration = Duration::from_secs(150);

/// A case on a gateway that it shares with others, under names of its own.
type Shared = fn(&Site);
/// A case that has everything to itself.
type Alone = fn();

pub(crate) fn main() -> ExitCode {
    if let Some(code) = server::run_if_told().or_else(exchange::run_if_told).or_else(hosts::run_if_told) {
        return code;
    }
    let missing = site::missing();
    let arguments = Arguments { test_threads: Some(2), ..Arguments::from_args() };
    // One smbd and one gateway, made when the first case wants them.
    let shared = Arc::new(site::Lazy::default());
    let mut trials = Vec::new();
    for (name, case) in
        carrying::CASES.iter().chain(admission::CASES).chain(exchange::CASES).chain(ours::CASES)
    {
        let (case, shared) = (*case, Arc::clone(&shared));
        trials.push(trial(name, missing.clone(), move || case(shared.site())));
    }
    for (name, case) in ends::CASES.iter().chain(ours::ENDS).chain(service::CASES) {
        trials.push(trial(name, missing.clone(), *case));
    }
    for (name, case) in hosts::CASES {
        trials.push(trial(name, missing.clone().or_else(hosts::missing), *case));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    matrix::print();
    drop(shared);
    conclusion.exit_code()
}

fn trial(name: &str, missing: Option<String>, case: impl FnOnce() + Send + 'static) -> Trial {
    Trial::ignorable_test(name, move || match missing {
        Some(why) => Ok(Completion::ignored_with(why)),
        None => watched(case).map(|()| Completion::Completed),
    })
}

/// Runs a case, and gives up on it after a long time.
fn watched(case: impl FnOnce() + Send + 'static) -> Result<(), Failed> {
    let (sender, receiver) = channel();
    thread::spawn(move || sender.send(catch_unwind(AssertUnwindSafe(case))));
    match receiver.recv_timeout(CASE_PATIENCE) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(panic)) => resume_unwind(panic),
        Err(_) => Err("hangs".into()),
    }
}

/// Bytes that are the same at both ends, also in `client.py`, and of which no two pieces look alike.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    let period: Vec<u8> =
        (0..65_536_u32).map(|index| ((index * 7 + (index >> 8) * 3) & 0xff) as u8).collect();
    period.iter().copied().cycle().take(len).collect()
}

/// Tries until it holds.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        thread::park_timeout(Duration::from_millis(10));
    }
}
