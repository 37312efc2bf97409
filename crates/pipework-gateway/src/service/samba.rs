//! Samba's configuration, as `testparm` prints it.

use std::{
    collections::BTreeMap,
    io::{self, Read},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
};

use tracing::warn;

use super::{config::Config, failure::Failure};

/// smbd's socket directory on Debian and most other distributions.
const DEFAULT_NP_DIR: &str = "/run/samba/ncalrpc/np";
/// The subdirectory of the configured directory in which smbd looks for pipes.
const NP_SUBDIR: &str = "np";

/// The oldest version that uses a known level of the exchange.
const VERSION_MIN: (u32, u32) = (4, 17);

/// The version of the smbd that is installed here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SmbdVersion {
    /// As smbd prints it, such as `Version 4.17.12-Debian`.
    pub(crate) text: String,
    pub(crate) is_supported: bool,
}

impl SmbdVersion {
    /// Asks smbd. `None` if it is not installed here, which does not mean that none runs.
    pub(crate) fn read() -> Option<SmbdVersion> {
        let output = run(Command::new("smbd").arg("--version")).ok()?;
        Some(SmbdVersion::parse(String::from_utf8_lossy(&output.stdout).trim()))
    }

    fn parse(text: &str) -> SmbdVersion {
        let mut numbers = text.strip_prefix("Version ").unwrap_or_default().split('.').map(str::parse::<u32>);
        let version = numbers.next().and_then(Result::ok).zip(numbers.next().and_then(Result::ok));
        SmbdVersion { text: text.to_owned(), is_supported: version >= Some(VERSION_MIN) }
    }
}

/// The `[global]` section with its defaults. The names are normalized.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SmbConf {
    values: BTreeMap<String, String>,
}

/// Why Samba's configuration can't be read.
#[derive(Debug)]
pub(crate) enum TestparmError {
    NotInstalled,
    /// testparm failed. The text is its error output.
    Failed(String),
}

impl SmbConf {
    /// Runs testparm and parses its output.
    pub(crate) fn read(smb_conf: Option<&Path>) -> Result<SmbConf, TestparmError> {
        let mut command = Command::new("testparm");
        command.args(["--suppress-prompt", "--verbose"]).args(smb_conf);
        let output = run(&mut command).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => TestparmError::NotInstalled,
            _ => TestparmError::Failed(error.to_string()),
        })?;
        if !output.status.success() {
            return Err(TestparmError::Failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        }
        Ok(SmbConf::parse(&String::from_utf8_lossy(&output.stdout)))
    }

    /// Parses the output of testparm.
    pub(crate) fn parse(text: &str) -> SmbConf {
        let global = text.lines().map(str::trim).skip_while(|line| *line != "[global]").skip(1);
        let lines = global.take_while(|line| !line.starts_with('['));
        let values = lines.filter_map(|line| line.split_once('='));
        let values = values.map(|(name, value)| (normalize_name(name), value.trim().to_owned()));
        SmbConf { values: values.collect() }
    }

    /// The value of a parameter, unless it is empty.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.values.get(&normalize_name(name)).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The directory in which this smbd looks for the sockets of pipes.
    pub(crate) fn np_dir(&self) -> PathBuf {
        let parent = self.value("external_rpc_pipe:socket_dir").or_else(|| self.value("ncalrpc dir"));
        parent.map_or_else(|| DEFAULT_NP_DIR.into(), |parent| Path::new(parent).join(NP_SUBDIR))
    }
}

/// Runs a program to its end. [`Command::output`] panics if memory is too short to read what the program prints.
fn run(command: &mut Command) -> io::Result<Output> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let printed = read_both(stdout, stderr);
    // It ends even if not all was read: its pipes are closed.
    let status = child.wait()?;
    printed.map(|(stdout, stderr)| Output { status, stdout, stderr })
}

/// Reads both to their ends, one of them in another thread: a program that fills one pipe does not write to the other.
fn read_both(stdout: Option<impl Read>, stderr: Option<impl Read + Send>) -> io::Result<(Vec<u8>, Vec<u8>)> {
    thread::scope(|scope| {
        let reader = thread::Builder::new().spawn_scoped(scope, || read_all(stderr))?;
        let stdout = read_all(stdout);
        let stderr = reader.join().map_err(|_| io::Error::other("the thread that reads panicked"))?;
        Ok((stdout?, stderr?))
    })
}

fn read_all(from: Option<impl Read>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.map_or(Ok(0), |mut from| from.read_to_end(&mut bytes))?;
    Ok(bytes)
}

/// Samba ignores white space and case in the names of parameters.
fn normalize_name(name: &str) -> String {
    name.chars().filter(|char| !char.is_whitespace()).flat_map(char::to_lowercase).collect()
}

/// Returns the directory in which smbd looks for the sockets of pipes: from the option, else from smb.conf, else the
/// default.
pub(crate) fn find_np_dir(config: &Config) -> Result<PathBuf, Failure> {
    if let Some(dir) = &config.np_dir {
        return Ok(dir.clone());
    }
    match SmbConf::read(config.smb_conf.as_deref()) {
        Ok(smb_conf) => Ok(smb_conf.np_dir()),
        Err(TestparmError::NotInstalled) if config.smb_conf.is_none() => {
            warn!("testparm is not installed; assuming that smbd looks for pipes in {DEFAULT_NP_DIR}");
            Ok(DEFAULT_NP_DIR.into())
        }
        Err(TestparmError::NotInstalled) => Err(Failure::new(
            "testparm is not installed, so smb.conf can't be read: install samba, or use --np-dir",
        )),
        Err(TestparmError::Failed(text)) => {
            Err(Failure::new(format!("testparm can't read smb.conf: {text}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# Global parameters
[global]
\tncalrpc dir = /var/run/samba/ncalrpc
\tMap To Guest = Bad User
\tlog file =
\tfoo:bar = a = b

[homes]
\tncalrpc dir = /elsewhere
";

    /// A reader without memory, or whatever else it lacks.
    struct Failing;

    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::OutOfMemory.into())
        }
    }

    #[test]
    fn a_failed_read_of_a_program_s_output_is_an_error() {
        let kind = |outcome: io::Result<_>| outcome.map(drop).unwrap_err().kind();
        assert_eq!(kind(read_both(Some(Failing), Some(io::empty()))), io::ErrorKind::OutOfMemory);
        assert_eq!(kind(read_both(Some(io::empty()), Some(Failing))), io::ErrorKind::OutOfMemory);
    }

    #[test]
    fn a_program_may_print_more_than_a_pipe_holds() {
        let script = "head -c 200000 /dev/zero >&2; head -c 200000 /dev/zero; exit 3";
        let output = run(Command::new("sh").args(["-c", script])).unwrap();
        assert_eq!((output.stdout.len(), output.stderr.len()), (200_000, 200_000));
        assert_eq!(output.status.code(), Some(3));
        assert_eq!(run(&mut Command::new("/nonexistent")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn the_output_of_testparm_is_parsed() {
        let smb_conf = SmbConf::parse(TEXT);
        assert_eq!(smb_conf.value("map to guest"), Some("Bad User"));
        assert_eq!(smb_conf.value("foo:bar"), Some("a = b"));
        assert_eq!(smb_conf.value("log file"), None);
        assert_eq!(smb_conf.value("homes"), None);
        assert_eq!(smb_conf.np_dir(), Path::new("/var/run/samba/ncalrpc/np"));
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        let is_supported = |text: &str| SmbdVersion::parse(text).is_supported;
        assert!(
            is_supported("Version 4.17.12-Debian")
                && is_supported("Version 4.22.0")
                && is_supported("Version 5.0")
        );
        for text in ["Version 4.9.5", "Version 4.16.4", "Version 3.99", "Version 4", "nothing", ""] {
            assert!(!is_supported(text), "{text}");
        }
    }

    #[test]
    fn a_configured_socket_directory_is_found() {
        let text = TEXT.replace("foo:bar = a = b", "external_rpc_pipe:socket_dir = /run/ipc-pipes");
        assert_eq!(SmbConf::parse(&text).np_dir(), Path::new("/run/ipc-pipes/np"));
        assert_eq!(SmbConf::parse("").np_dir(), Path::new(DEFAULT_NP_DIR));
    }
}
