//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::Parser;
use serde::Deserialize;

const HELP: &str = "\
WHAT IT DOES
  A remote client opens \\\\SERVER\\pipe\\NAME. smbd authenticates the client and connects to a socket of that name. The
  gateway owns these sockets, one for each pipe whose server uses accept_remote(true), and connects the client to the
  pipe. The server gets the client's account, its address and whether the session is encrypted from peer().
  Anonymous clients and guests are refused, regardless of smb.conf.

FIRST STEPS
  apt-get install samba                        Samba 4.17 or later
  smbpasswd -a USER                            or join a domain
  pipework-gateway --check                     list what is missing, with the lines for smb.conf
  systemctl enable --now pipework-gateway      or run it as root in a terminal
  pipework serve hello --accept-remote --everyone
  smbclient -U USER '//SERVER/IPC$' -c 'open hello'

CONFIGURATION
  A TOML file. Its keys are the names of the options without the leading dashes:
    busy-timeout = \"10s\"
    connections-per-caller = 64
  Without --config the gateway reads /etc/pipework-gateway.toml, if it exists. Options of the command line override the
  file. SIGHUP reloads the file.

PRIVILEGES
  The gateway runs as root, because smbd accepts no other peer, and because servers accept the identity of a remote
  client from root only. It keeps one capability, CAP_DAC_OVERRIDE, to open the pipes of all users, and drops the others.

EXIT CODES
  0  stopped by a signal, or --check found nothing missing
  1  the gateway can't run, or --check found something missing
  2  wrong options or a wrong configuration";

/// Connects clients of a Samba server to local named pipes.
#[derive(Debug, Parser)]
#[command(name = "pipework-gateway", version, after_help = HELP)]
pub(crate) struct Args {
    /// Read the configuration from this file [default: /etc/pipework-gateway.toml, if it exists]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print what is missing on this system and how to fix it, then exit
    #[arg(long)]
    pub(crate) check: bool,
    #[command(flatten)]
    pub(crate) options: Options,
}

/// The options that the command line and the configuration file have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Options {
    /// Samba's configuration [default: the one that testparm reads]
    #[arg(long, value_name = "FILE")]
    pub(crate) smb_conf: Option<PathBuf>,
    /// Where smbd looks for the sockets of pipes [default: from smb.conf, else /run/samba/ncalrpc/np]
    #[arg(long, value_name = "DIR")]
    pub(crate) np_dir: Option<PathBuf>,
    /// The directory of the gateway's sockets [default: /run/pipework-gateway]
    #[arg(long, value_name = "DIR")]
    pub(crate) run_dir: Option<PathBuf>,
    /// How long the client of a busy pipe waits for an instance, such as 500ms or 5s [default: 5s]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    #[serde(with = "humantime_serde")]
    pub(crate) busy_timeout: Option<Duration>,
    /// Limit on the open connections of one account [default: 512]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) connections_per_caller: Option<u32>,
    /// Limit on the open connections of all accounts [default: 4096]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) connections: Option<u32>,
    /// Refuse clients whose session is not encrypted [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub(crate) require_encryption: Option<bool>,
    /// How long connections may stay open while the gateway stops [default: 5s]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    #[serde(with = "humantime_serde")]
    pub(crate) grace: Option<Duration>,
    /// Log level: error, warn, info, debug, trace, or a filter as in RUST_LOG [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub(crate) log: Option<String>,
}

impl Options {
    /// Fills options that are not set from `others`.
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
    humantime::parse_duration(text).map_err(|_| "expected a time such as 500ms, 5s or 1m".into())
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
    fn the_command_line_overrides_the_file() {
        let args = Args::parse_from(["gateway", "--grace", "1s", "--require-encryption", "--log", "debug"]);
        let file = "grace = \"9s\"\nconnections = 7\nrequire-encryption = false";
        let options = args.options.or(toml::from_str(file).unwrap());
        assert_eq!(options.grace, Some(Duration::from_secs(1)));
        assert_eq!((options.connections, options.require_encryption), (Some(7), Some(true)));
        assert_eq!(options.log.as_deref(), Some("debug"));
    }
}
