//! Lets callers of a Samba server into local named pipes.

use std::process::ExitCode;

fn main() -> ExitCode {
    pipework_gateway::main()
}
