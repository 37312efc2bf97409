//! The log, on standard error.
//!
//! Text from outside (accounts, addresses, names) is logged with `?`, which escapes it, so a client can't forge log
//! lines. Requests are never logged, so the log contains no secret.

use std::{
    env, fmt,
    io::{self, IsTerminal, Write},
};

use tracing_subscriber::{
    EnvFilter, Registry, filter::LevelFilter, layer::SubscriberExt, reload, util::SubscriberInitExt,
};

use super::failure::Failure;

/// The log of the process. Its level can be changed.
#[derive(Debug)]
pub(crate) struct Log {
    filter: reload::Handle<EnvFilter, Registry>,
}

impl Log {
    /// Starts the log for the whole process.
    pub(crate) fn start(level: &str) -> Result<Log, Failure> {
        let (filter, handle) = reload::Layer::new(parse(level)?);
        // The journal adds the time itself and shows no colours.
        let is_journal = env::var_os("JOURNAL_STREAM").is_some();
        let colours = !is_journal && io::stderr().is_terminal();
        let lines =
            tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(colours).with_target(false);
        let registry = tracing_subscriber::registry().with(filter);
        let started = if is_journal {
            registry.with(lines.without_time()).try_init()
        } else {
            registry.with(lines).try_init()
        };
        started.map_err(|error| Failure::from_error("starting the log", error))?;
        Ok(Log { filter: handle })
    }

    /// Changes the level.
    pub(crate) fn set_level(&self, level: &str) -> Result<(), Failure> {
        self.filter.reload(parse(level)?).map_err(|error| Failure::from_error("changing the log", error))
    }
}

fn parse(level: &str) -> Result<EnvFilter, Failure> {
    let wrong = |why: &dyn fmt::Display| {
        Failure::new(format!("log = {level:?} is not one of error, warn, info, debug, trace: {why}"))
    };
    // `EnvFilter` would accept a single unknown word as the name of a module.
    if !level.contains(['=', ',']) {
        level.parse::<LevelFilter>().map_err(|error| wrong(&error))?;
    }
    EnvFilter::builder().parse(level).map_err(|error| wrong(&error))
}

/// Prints a line to standard error, before the log is started. A closed standard error is ignored.
pub(crate) fn print_error(text: fmt::Arguments<'_>) {
    writeln!(io::stderr().lock(), "{text}").ok();
}
