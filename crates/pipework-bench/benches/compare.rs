//! `cargo bench` runs the program itself, optimised, with the arguments after `--`. As a test it runs one small measure.

use std::process::{Command, ExitCode};

/// The argument that `cargo bench` adds.
const AS_BENCH: &str = "--bench";

fn main() -> ExitCode {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pipework-bench"));
    let (flags, arguments): (Vec<_>, Vec<_>) = std::env::args_os().skip(1).partition(|word| word == AS_BENCH);
    if flags.is_empty() {
        // Other arguments are filters and options of the test harness.
        command.args(["--quick", "--setting", "defaults", "--only", "round trip of 64 B"]);
    } else {
        command.args(arguments);
    }
    match command.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
