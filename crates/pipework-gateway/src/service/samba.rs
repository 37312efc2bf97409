//! Samba's configuration, as its own program reads it.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tracing::warn;

use super::{Failure, config::Settings};

/// Debian's, and that of most others.
const NP_DIR: &str = "/run/samba/ncalrpc/np";
/// What smbd looks for below its directory.
const NP: &str = "np";

/// The `[global]` section, defaults included: names in small letters, without blanks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Global {
    values: BTreeMap<String, String>,
}

/// Why Samba's configuration is unknown.
#[derive(Debug)]
pub(crate) enum Unknown {
    /// There is no testparm.
    NoProgram,
    /// It found something wrong.
    Wrong(String),
}

impl Global {
    /// Asks testparm.
    pub(crate) fn read(smb_conf: Option<&Path>) -> Result<Global, Unknown> {
        let mut command = Command::new("testparm");
        command.args(["--suppress-prompt", "--verbose"]).args(smb_conf);
        let output = command.stdin(Stdio::null()).output().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Unknown::NoProgram,
            _ => Unknown::Wrong(error.to_string()),
        })?;
        if !output.status.success() {
            return Err(Unknown::Wrong(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        }
        Ok(Global::parse(&String::from_utf8_lossy(&output.stdout)))
    }

    /// Reads what testparm prints.
    pub(crate) fn parse(text: &str) -> Global {
        let global = text.lines().map(str::trim).skip_while(|line| *line != "[global]").skip(1);
        let lines = global.take_while(|line| !line.starts_with('['));
        let values = lines.filter_map(|line| line.split_once('='));
        let values = values.map(|(name, value)| (normal(name), value.trim().to_owned()));
        Global { values: values.collect() }
    }

    /// A parameter's value, by its usual name.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.values.get(&normal(name)).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Where this smbd looks for the sockets of pipes.
    pub(crate) fn np_dir(&self) -> PathBuf {
        let parent = self.value("external_rpc_pipe:socket_dir").or_else(|| self.value("ncalrpc dir"));
        parent.map_or_else(|| NP_DIR.into(), |parent| Path::new(parent).join(NP))
    }
}

/// Samba ignores blanks and case in names.
fn normal(name: &str) -> String {
    name.chars().filter(|char| !char.is_whitespace()).flat_map(char::to_lowercase).collect()
}

/// Where smbd looks for the sockets of pipes: what was said, else what its configuration says, else the usual place.
pub(crate) fn np_dir(settings: &Settings) -> Result<PathBuf, Failure> {
    if let Some(dir) = &settings.np_dir {
        return Ok(dir.clone());
    }
    match Global::read(settings.smb_conf.as_deref()) {
        Ok(global) => Ok(global.np_dir()),
        Err(Unknown::NoProgram) if settings.smb_conf.is_none() => {
            warn!("there is no testparm to ask where smbd looks for pipes; takes {NP_DIR}");
            Ok(NP_DIR.into())
        }
        Err(Unknown::NoProgram) => {
            Err(Failure::new("there is no testparm to read smb.conf with: install samba, or say --np-dir"))
        }
        Err(Unknown::Wrong(text)) => Err(Failure::new(format!("testparm says: {text}"))),
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

    #[test]
    fn what_testparm_prints_is_read() {
        let global = Global::parse(TEXT);
        assert_eq!(global.value("map to guest"), Some("Bad User"));
        assert_eq!(global.value("foo:bar"), Some("a = b"));
        assert_eq!(global.value("log file"), None);
        assert_eq!(global.value("homes"), None);
        assert_eq!(global.np_dir(), Path::new("/var/run/samba/ncalrpc/np"));
    }

    #[test]
    fn another_place_of_sockets_is_found() {
        let text = TEXT.replace("foo:bar = a = b", "external_rpc_pipe:socket_dir = /run/ipc-pipes");
        assert_eq!(Global::parse(&text).np_dir(), Path::new("/run/ipc-pipes/np"));
        assert_eq!(Global::parse("").np_dir(), Path::new(NP_DIR));
    }
}
