//! What comes after: the next process that uses the name.

use crate::{
    conversation::{ask_to_quit, take_name},
    plan::Mode,
    process,
};
use std::{process::ExitCode, time::Instant};

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum What {
    /// The first instance, and a client of it
    Name,
    /// A client of the server that lives, which then quits
    Server,
    /// The same, and the client is remote
    RemoteServer,
    /// `list`, which removes what dead processes left
    List,
}

/// Prints "ok" and the milliseconds that it took, or the error.
pub(crate) fn run(what: What, mode: Mode) -> ExitCode {
    process::die_with_parent();
    let begun = Instant::now();
    let outcome = match what {
        What::Name => take_name(mode),
        What::Server => ask_to_quit(mode, false),
        What::RemoteServer => ask_to_quit(mode, true),
        What::List => pipework::list().map(drop),
    };
    match outcome {
        Ok(()) => process::say(&format!("ok {}", begun.elapsed().as_millis())),
        Err(error) => process::say(&format!("{what:?}: {error} after {} ms", begun.elapsed().as_millis())),
    }
    ExitCode::SUCCESS
}
