//! The log, on the standard error output.
//!
//! What comes from outside (accounts, addresses, names) is logged with `?`, which escapes it: nobody writes lines of their own
//! into the log. Requests are never logged, so no secret is.

use std::{
    env, fmt,
    io::{self, IsTerminal, Write},
};

use tracing_subscriber::{
    EnvFilter, Registry, filter::LevelFilter, layer::SubscriberExt, reload, util::SubscriberInitExt,
};

use super::Failure;

/// The log, whose level can be changed.
#[derive(Debug)]
pub(crate) struct Log {
    filter: reload::Handle<EnvFilter, Registry>,
}

impl Log {
    /// Starts it for the whole process.
    pub(crate) fn start(level: &str) -> Result<Log, Failure> {
        let (filter, handle) = reload::Layer::new(parse(level)?);
        // The journal has the time already, and no colours.
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
        started.map_err(|error| Failure::at("starting the log", error))?;
        Ok(Log { filter: handle })
    }

    /// Changes what is logged.
    pub(crate) fn set(&self, level: &str) -> Result<(), Failure> {
        self.filter.reload(parse(level)?).map_err(|error| Failure::at("changing the log", error))
    }
}

fn parse(level: &str) -> Result<EnvFilter, Failure> {
    let wrong = |why: &dyn fmt::Display| {
        Failure::new(format!("log = {level:?} is none of error, warn, info, debug, trace: {why}"))
    };
    // A single word that is no level would be taken for a part of the program.
    if !level.contains(['=', ',']) {
        level.parse::<LevelFilter>().map_err(|error| wrong(&error))?;
    }
    EnvFilter::builder().parse(level).map_err(|error| wrong(&error))
}

/// Tells the user something, as a line. Where the output is closed there is nobody to tell.
pub(crate) fn say(text: fmt::Arguments<'_>) {
    writeln!(io::stderr().lock(), "{text}").ok();
}
