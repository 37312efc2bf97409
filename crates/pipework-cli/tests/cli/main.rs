//! Runs the binary as a user runs it. Each test has its own pipes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod call;
mod connect;
#[cfg(windows)]
mod console;
mod demo;
mod harness;
mod interrupt;
mod list;
#[cfg(all(target_os = "linux", feature = "remote"))]
mod network;
mod programs;
mod serve;
mod wait;

use std::process::ExitCode;

use libtest_mimic::Arguments;

fn main() -> ExitCode {
    if let Some(ended) = programs::play() {
        return ended;
    }
    let tests = [
        call::tests(),
        connect::tests(),
        demo::tests(),
        interrupt::tests(),
        list::tests(),
        #[cfg(all(target_os = "linux", feature = "remote"))]
        network::tests(),
        serve::tests(),
        wait::tests(),
    ];
    let trials = tests.into_iter().flatten().map(harness::Test::trial).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
