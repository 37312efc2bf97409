//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::Parser;
use serde::Deserialize;

const HELP: &str = "\
WHAT IT DOES
  A caller on another computer opens \\\\SERVER\\pipe\\NAME. smbd authenticates it and looks for a socket of that name; the
  gateway owns these sockets, one for each pipe whose server said accept_remote(true), and connects the caller to the
  pipe. The server sees by peer() who it is: account, address, whether the session is encrypted.
  Anonymous callers and guests are refused, whatever smb.conf says.

FROM A BARE MACHINE
  apt-get install samba                        Samba 4.17 or later
  smbpasswd -a USER                            or join a domain
  pipework-gateway --check                     says what smb.conf lacks, line by line, and what else is missing
  systemctl enable --now pipework-gateway      or run it as root in a terminal
  pipework serve hello --accept-remote --everyone
  smbclient -U USER '//SERVER/IPC$' -c 'open hello'

CONFIGURATION
  A TOML file with the names of the options as keys, without their dashes in front:
    busy-timeout = \"10s\"
    connections-per-caller = 64
  Without --config it is /etc/pipework-gateway.toml, if there is one. Options of the command line come first.
  SIGHUP makes it read the file again.

RIGHTS
  It runs as root, because smbd talks to root alone and servers believe nobody else about callers. Of root's capabilities
  it keeps CAP_DAC_OVERRIDE, to reach the pipes of all users, and gives up the others for good.

EXIT CODES
  0  it was told to stop, or --check found nothing missing
  1  it can't run, or --check found something
  2  wrong options or a wrong configuration";

/// Lets callers of a Samba server into local named pipes.
#[derive(Debug, Parser)]
#[command(name = "pipework-gateway", version, after_help = HELP)]
pub(crate) struct Args {
    /// Read settings from this file [default: /etc/pipework-gateway.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Tell what is missing on this computer and how to mend it, and end
    #[arg(long)]
    pub(crate) check: bool,
    #[command(flatten)]
    pub(crate) options: Options,
}

/// What can be said on the command line and in the file, in the same words.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Options {
    /// Samba's configuration [default: that of testparm]
    #[arg(long, value_name = "FILE")]
    pub(crate) smb_conf: Option<PathBuf>,
    /// Where smbd looks for the sockets of pipes [default: what smb.conf says, else /run/samba/ncalrpc/np]
    #[arg(long, value_name = "DIR")]
    pub(crate) np_dir: Option<PathBuf>,
    /// Where the gateway keeps its own sockets [default: /run/pipework-gateway]
    #[arg(long, value_name = "DIR")]
    pub(crate) run_dir: Option<PathBuf>,
    /// How long a caller of a busy pipe waits for an instance, such as 500ms or 5s [default: 5s]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    #[serde(with = "humantime_serde")]
    pub(crate) busy_timeout: Option<Duration>,
    /// Connections of one account at a time [default: 512]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) connections_per_caller: Option<u32>,
    /// Connections of all accounts at a time [default: 4096]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) connections: Option<u32>,
    /// Refuse callers whose session is not encrypted [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub(crate) require_encryption: Option<bool>,
    /// How long connections may go on after it was told to stop [default: 5s]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    #[serde(with = "humantime_serde")]
    pub(crate) grace: Option<Duration>,
    /// What to log: error, warn, info, debug, trace, or as RUST_LOG [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub(crate) log: Option<String>,
}

impl Options {
    /// These, and what they leave open from `others`.
    pub(crate) fn or(self, others: Options) -> Options {
        Options {
            smb_conf: self.smb_conf.or(others.smb_conf),
            np_dir: self.np_dir.or(others.np_dir),
            run_dir: self.run_dir.or(others.run_dir),
            busy_timeout: self.busy_timeout.or(others.busy_timeout),
            connections_per_caller: self.connections_per_caller.or(others.connections_per_caller),
            connections: self.connections.or(others.connections),
            require_encryption: self.require_encryption.or(others.require_encryption),
            grace: self.grace.or(others.grace),
            log: self.log.or(others.log),
        }
    }
}

fn parse_time(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "give a time such as 500ms, 5s or 1m".into())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn the_file_has_the_options_of_the_command_line() {
        let command = Args::command();
        for option in command.get_arguments().filter_map(|argument| argument.get_long()) {
            let text = format!("{option} = 1");
            let error = toml::from_str::<Options>(&text).err().map(|error| error.to_string());
            let is_known = !error.is_some_and(|error| error.contains("unknown field"));
            assert_eq!(is_known, !matches!(option, "config" | "check" | "help" | "version"), "{option}");
        }
    }

    #[test]
    fn the_command_line_comes_first() {
        let args = Args::parse_from(["gateway", "--grace", "1s", "--require-encryption", "--log", "debug"]);
        let file = "grace = \"9s\"\nconnections = 7\nrequire-encryption = false";
        let options = args.options.or(toml::from_str(file).unwrap());
        assert_eq!(options.grace, Some(Duration::from_secs(1)));
        assert_eq!((options.connections, options.require_encryption), (Some(7), Some(true)));
        assert_eq!(options.log.as_deref(), Some("debug"));
    }
}
