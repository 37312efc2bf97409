//! The settings: those of the command line, of the file, and the defaults.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use tracing::warn;

use super::{
    Failure,
    args::{Args, Options},
};

const CONFIG: &str = "/etc/pipework-gateway.toml";
const RUN_DIR: &str = "/run/pipework-gateway";
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
const GRACE: Duration = Duration::from_secs(5);
const CONNECTIONS_PER_CALLER: u32 = 512;
const CONNECTIONS: u32 = 4096;
/// A connection has the socket to smbd and that of the pipe.
const DESCRIPTORS_OF_A_CONNECTION: u64 = 2;
/// Everything else: logs, watches, sockets that listen, a pipe that is being looked for.
const DESCRIPTORS_BESIDE: u64 = 256;

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) smb_conf: Option<PathBuf>,
    pub(crate) np_dir: Option<PathBuf>,
    pub(crate) run_dir: PathBuf,
    pub(crate) policy: Policy,
    pub(crate) grace: Duration,
    pub(crate) log: String,
}

/// What can change while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    pub(crate) busy_timeout: Duration,
    pub(crate) connections_per_caller: u32,
    pub(crate) connections: u32,
    pub(crate) require_encryption: bool,
}

impl Settings {
    /// Reads the file, if there is one, and puts the command line before it.
    pub(crate) fn read(args: &Args) -> Result<Settings, Failure> {
        let file = read_file(args.config.as_deref())?;
        Settings::new(args.options.clone().or(file))
    }

    fn new(options: Options) -> Result<Settings, Failure> {
        let connections_per_caller = options.connections_per_caller.unwrap_or(CONNECTIONS_PER_CALLER);
        let connections = options.connections.unwrap_or(CONNECTIONS);
        if connections_per_caller == 0 || connections == 0 {
            return Err(Failure::new("a limit of no connections lets nobody in: stop the service instead"));
        }
        for dir in options.np_dir.iter().chain(&options.run_dir) {
            if !dir.is_absolute() {
                return Err(Failure::new(format!("{} has to be an absolute path", dir.display())));
            }
        }
        Ok(Settings {
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

    /// Whether everything lies where it lies in `other`.
    pub(crate) fn has_places_of(&self, other: &Settings) -> bool {
        (&self.smb_conf, &self.np_dir, &self.run_dir) == (&other.smb_conf, &other.np_dir, &other.run_dir)
    }
}

impl Policy {
    /// Says so if this process may not have as many descriptors as the connections need.
    pub(crate) fn check_descriptors(&self, limit: Option<u64>) {
        let needed = u64::from(self.connections) * DESCRIPTORS_OF_A_CONNECTION + DESCRIPTORS_BESIDE;
        if let Some(limit) = limit.filter(|limit| *limit < needed) {
            warn!("may open {limit} files, and {needed} are needed for {} connections", self.connections);
        }
    }
}

fn read_file(named: Option<&Path>) -> Result<Options, Failure> {
    let path = named.unwrap_or(Path::new(CONFIG));
    match fs::read_to_string(path) {
        Ok(text) => toml::from_str(&text).map_err(|error| Failure::at(path.display(), error)),
        Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => Ok(Options::default()),
        Err(error) => Err(Failure::at(format_args!("reading {}", path.display()), error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(file: &str) -> Result<Settings, String> {
        let options = toml::from_str(file).map_err(|error| error.to_string())?;
        Settings::new(options).map_err(|failure| failure.to_string())
    }

    #[test]
    fn an_empty_file_is_the_defaults() {
        let settings = settings("").unwrap();
        assert_eq!(settings.run_dir, Path::new(RUN_DIR));
        assert_eq!(settings.policy.connections_per_caller, 512);
        assert_eq!(settings.policy.connections, 4096);
        assert_eq!(settings.policy.busy_timeout, Duration::from_secs(5));
        assert!(!settings.policy.require_encryption);
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (file, expected) in [
            ("conections = 3", "unknown field `conections`"),
            ("connections = 0", "lets nobody in"),
            ("connections = -1", "invalid value"),
            ("grace = \"soon\"", "grace"),
            ("run-dir = \"here\"", "absolute"),
            ("busy-timeout = 5", "busy-timeout"),
            ("log = info", "log"),
        ] {
            let error = settings(file).unwrap_err();
            assert!(error.contains(expected), "{file}: {error}");
        }
    }
}
