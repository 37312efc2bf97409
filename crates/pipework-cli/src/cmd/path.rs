//! `pipework path`: prints the path of a pipe.

use std::io::Write;

use pipework::PipeName;

use crate::{args::PathArgs, failure::Failure, output::print};

pub(crate) fn run(args: &PathArgs) -> Result<(), Failure> {
    let location = PipeName::new(&args.name)?.location()?;
    print(|out| {
        // The bytes themselves: a path need not be valid UTF-8.
        out.write_all(location.as_os_str().as_encoded_bytes())?;
        out.write_all(b"\n")
    })
}
