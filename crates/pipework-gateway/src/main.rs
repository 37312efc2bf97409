//! Connects clients of a Samba server to local named pipes.

use std::process::ExitCode;

fn main() -> ExitCode {
    pipework_gateway::main()
}
