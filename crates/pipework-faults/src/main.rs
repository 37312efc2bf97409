//! The fault lane: see `pipework-faults --help`.

use std::process::ExitCode;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn main() -> ExitCode {
    pipework_faults::main()
}

/// The injector reads and writes registers.
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn main() -> ExitCode {
    use std::io::Write;

    let why = "the injector works on Linux with x86_64 processors only";
    // If stdout is closed, only the exit code remains.
    writeln!(std::io::stdout(), "{why}").ok();
    ExitCode::from(77)
}
