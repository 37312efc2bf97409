//! `cargo bench`: the program itself, optimised, with the arguments behind `--`. As a test, one small measure shows that this
//! works.

use std::process::{Command, ExitCode};

/// What cargo passes to a bench that is run as one.
const AS_BENCH: &str = "--bench";

fn main() -> ExitCode {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pipework-bench"));
    let (flags, arguments): (Vec<_>, Vec<_>) = std::env::args_os().skip(1).partition(|word| word == AS_BENCH);
    if flags.is_empty() {
        // What else there is is for tests: filters, and how they are printed.
        command.args(["--quick", "--setting", "defaults", "--only", "round trip of 64 B"]);
    } else {
        command.args(arguments);
    }
    match command.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
