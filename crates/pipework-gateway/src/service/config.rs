//! The configuration: options of the command line, keys of the file, and defaults.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use tracing::warn;

use super::{
    args::{Args, Options},
    failure::Failure,
};

const CONFIG_FILE: &str = "/etc/pipework-gateway.toml";
const RUN_DIR: &str = "/run/pipework-gateway";
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
const GRACE: Duration = Duration::from_secs(5);
const CONNECTIONS_PER_CALLER: u32 = 512;
const CONNECTIONS: u32 = 4096;
/// The socket to smbd and the socket of the pipe.
const DESCRIPTORS_PER_CONNECTION: u64 = 2;
/// For the log, the inotify watch, the listening sockets and the search for pipes.
const DESCRIPTORS_RESERVED: u64 = 256;

/// The whole configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) smb_conf: Option<PathBuf>,
    pub(crate) np_dir: Option<PathBuf>,
    pub(crate) run_dir: PathBuf,
    pub(crate) policy: Policy,
    pub(crate) grace: Duration,
    pub(crate) log: String,
}

/// The part of the configuration that a reload changes for new connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    pub(crate) busy_timeout: Duration,
    pub(crate) connections_per_caller: u32,
    pub(crate) connections: u32,
    pub(crate) require_encryption: bool,
}

impl Config {
    /// Reads the configuration file, if it exists. Options of the command line override its keys.
    pub(crate) fn read(args: &Args) -> Result<Config, Failure> {
        let file = read_file(args.config.as_deref())?;
        Config::new(args.options.clone().or(file))
    }

    fn new(options: Options) -> Result<Config, Failure> {
        let connections_per_caller = options.connections_per_caller.unwrap_or(CONNECTIONS_PER_CALLER);
        let connections = options.connections.unwrap_or(CONNECTIONS);
        if connections_per_caller == 0 || connections == 0 {
            return Err(Failure::new(
                "a limit of 0 connections refuses every client: stop the service instead",
            ));
        }
        for dir in options.np_dir.iter().chain(&options.run_dir) {
            if !dir.is_absolute() {
                return Err(Failure::new(format!("{} must be an absolute path", dir.display())));
            }
        }
        Ok(Config {
            smb_conf: options.smb_conf,
            np_dir: options.np_dir,
            run_dir: options.run_dir.unwrap_or_else(|| RUN_DIR.into()),
            policy: Policy {
                busy_timeout: options.busy_timeout.unwrap_or(BUSY_TIMEOUT),
                connections_per_caller,
                connections,
                require_encryption: options.require_encryption.unwrap_or(false),
            },
            grace: options.grace.unwrap_or(GRACE),
            log: options.log.unwrap_or_else(|| "info".into()),
        })
    }

    /// Whether the files and directories are those of `other`.
    pub(crate) fn has_same_directories(&self, other: &Config) -> bool {
        (&self.smb_conf, &self.np_dir, &self.run_dir) == (&other.smb_conf, &other.np_dir, &other.run_dir)
    }
}

impl Policy {
    /// Logs a warning if the process may not open as many descriptors as the connections need.
    pub(crate) fn warn_if_descriptors_are_short(&self, limit: Option<u64>) {
        let needed = u64::from(self.connections) * DESCRIPTORS_PER_CONNECTION + DESCRIPTORS_RESERVED;
        if let Some(limit) = limit.filter(|limit| *limit < needed) {
            warn!(
                "the limit of {limit} open files is too low: {} connections need {needed}",
                self.connections
            );
        }
    }
}

fn read_file(named: Option<&Path>) -> Result<Options, Failure> {
    let path = named.unwrap_or(Path::new(CONFIG_FILE));
    match fs::read_to_string(path) {
        Ok(text) => toml::from_str(&text).map_err(|error| Failure::from_error(path.display(), error)),
        Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => Ok(Options::default()),
        Err(error) => Err(Failure::from_error(format_args!("reading {}", path.display()), error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(file: &str) -> Result<Config, String> {
        let options = toml::from_str(file).map_err(|error| error.to_string())?;
        Config::new(options).map_err(|failure| failure.to_string())
    }

    #[test]
    fn an_empty_file_means_the_defaults() {
        let config = config("").unwrap();
        assert_eq!(config.run_dir, Path::new(RUN_DIR));
        assert_eq!(config.policy.connections_per_caller, 512);
        assert_eq!(config.policy.connections, 4096);
        assert_eq!(config.policy.busy_timeout, Duration::from_secs(5));
        assert!(!config.policy.require_encryption);
    }

    #[test]
    fn errors_name_the_wrong_key() {
        for (file, expected) in [
            ("conections = 3", "unknown field `conections`"),
            ("connections = 0", "refuses every client"),
            ("connections = -1", "invalid value"),
            ("grace = \"soon\"", "grace"),
            ("run-dir = \"here\"", "absolute"),
            ("busy-timeout = 5", "busy-timeout"),
            ("log = info", "log"),
        ] {
            let error = config(file).unwrap_err();
            assert!(error.contains(expected), "{file}: {error}");
        }
    }
}
