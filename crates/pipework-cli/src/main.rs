//! The tool `pipework`: serves, opens, lists, waits for and measures named pipes. Each command is a thin layer over the
//! library.

mod args;
mod cmd;
mod failure;
mod interrupt;
mod names;
mod output;
mod stdio;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Command};

fn main() -> ExitCode {
    let result = match Args::parse().command {
        Command::Demo(args) => cmd::demo::run(&args),
        Command::Serve(args) => cmd::serve::run(&args),
        Command::Connect(args) => cmd::connect::run(&args),
        Command::Call(args) => cmd::call::run(&args),
        Command::List(args) => cmd::list::run(&args),
        Command::Wait(args) => cmd::wait::run(&args),
        Command::Path(args) => cmd::path::run(&args),
        Command::DemoPeer(args) => cmd::demo::peer::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => output::report(&failure),
    }
}
