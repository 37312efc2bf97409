//! The command line. The help texts teach by example; the exit codes are those of [`crate::failure::Status`].

use std::{ffi::OsString, num::NonZeroU8, path::PathBuf, time::Duration};

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use pipework::PipeMode;

const MAIN_HELP: &str = "\
EXAMPLES
  pipework demo                          see it work, and how fast
  pipework serve hello --echo            in one terminal ...
  echo hi | pipework connect hello       ... and in another
  pipework list                          which pipes there are

NAMES
  A name is \"hello\" or \\\\.\\pipe\\hello (the same pipe); on Unix an absolute path is a plain Unix socket.
  \\\\server\\pipe\\hello is a pipe on another computer (connect only); quote it, or the shell eats backslashes.

EXIT CODES
  0    done; also when stdout was closed early
  1    failed
  2    wrong usage, or a name that no pipe can have
  3    no such pipe
  4    busy, or the time was up
  5    access denied, or the name is taken
  130  interrupted (Ctrl-C, or asked to end)";

const DEMO_HELP: &str = "\
EXAMPLES
  pipework demo                          send this program itself
  pipework demo big.iso --clients 8      send a file of yours to eight clients at once
  pipework demo --mode message           messages only
  pipework demo --json > result.json     for programs

Speeds are measured between two processes, without hashing: 64 KiB writes from memory (the first 16 MiB of
the file, over and over), copied into a buffer of the reader. Each figure is the median of three passes, and
the transports take turns after a short warm-up. Pipework has buffers of 1 MiB, the others the system's own.";

const SERVE_HELP: &str = "\
EXAMPLES
  pipework serve hello --echo                     send back what arrives
  pipework serve calc -- bc -l                    one calculator for each client
  pipework serve upper -- stdbuf -oL tr a-z A-Z   `stdbuf -oL` where a command holds its output back
  pipework serve calc --message -- bc -l          each message is a line of bc's, and back
  pipework serve log --direction out -- tail -f app.log
                                                  clients only read
  pipework serve job --max-instances 1 --echo     one client at a time
  pipework serve db --group staff --echo          let a group in, too
  pipework serve db --user eve --accept-remote --echo
                                                  also from other computers, through pipework-gateway

A command gets what its client sends as stdin; what it writes to stdout goes to the client. When it ends, the
client gets the rest and the connection is closed. When the client leaves, the command's stdin ends (not
before: a named pipe can't be half closed); five seconds later it is killed. With --message each message is one
line of the command, without the line's end. With --direction in, stdout is that of the server.";

const CONNECT_HELP: &str = "\
EXAMPLES
  pipework connect hello                          type, and see what comes back
  echo hi | pipework connect hello                one question, one answer
  pipework connect hello < question > answer      files
  pipework connect hello --message                each line of stdin is a message
  pipework connect log --stay < /dev/null         only watch
  pipework connect hello --wait --timeout 1m      also if it does not exist yet
  pipework connect '\\\\server\\pipe\\hello' --user eve
                                                  on another computer; asks for the password

A named pipe can't be half closed, so the server never sees that stdin has ended. After the end of stdin,
connect waits until the server has read everything, prints what still comes, and leaves when nothing came for
--idle, or with --stay when the server closes. It always leaves when the server closes. A plain Unix socket can
be half closed; there it stays.
Without --message, on a message pipe, each read from stdin is sent as one message.";

const LIST_HELP: &str = "\
EXAMPLES
  pipework list
  pipework list --json | jq -r '.[].name'

DIRECTION is seen from the server: \"in\" pipes are written by clients, \"out\" pipes are read by them.
NETWORK says whether clients on other computers may come, where pipework-gateway lets them.";

const WAIT_HELP: &str = "\
EXAMPLES
  pipework wait hello && echo hi | pipework connect hello
  pipework wait hello --absent --timeout 30s      also if nobody serves it yet

Waiting reserves nothing: another client may be faster.";

const PATH_HELP: &str = "\
EXAMPLES
  ls \"$(pipework path hello)\"

The pipe need not exist. PIPEWORK_DIR and XDG_RUNTIME_DIR decide where pipes live.";

/// Serve, open, list, await and measure named pipes.
///
/// Named pipes with the semantics of Windows, on every system. One name, any number of clients, each with an
/// instance of its own.
#[derive(Debug, Parser)]
#[command(name = "pipework", version, after_help = MAIN_HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Send a file to several client processes, check every byte, and measure the speed.
    #[command(after_help = DEMO_HELP)]
    Demo(DemoArgs),
    /// Serve a name: echo, or one command for each client.
    #[command(after_help = SERVE_HELP)]
    Serve(ServeArgs),
    /// Connect stdin and stdout to a pipe.
    #[command(after_help = CONNECT_HELP)]
    Connect(ConnectArgs),
    /// List the pipes that you may see.
    #[command(after_help = LIST_HELP)]
    List(ListArgs),
    /// Wait until a client could connect.
    #[command(after_help = WAIT_HELP)]
    Wait(WaitArgs),
    /// Print where a pipe lives.
    #[command(after_help = PATH_HELP)]
    Path(PathArgs),
    /// The other process of the demo.
    #[command(hide = true)]
    DemoPeer(DemoPeerArgs),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct DemoArgs {
    /// The file to send [default: this program itself]
    pub(crate) file: Option<PathBuf>,
    /// Client processes, all at once
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u16).range(1..=254))]
    pub(crate) clients: u16,
    /// How the pipe carries the file
    #[arg(long, value_enum, default_value_t = Modes::Both)]
    pub(crate) mode: Modes,
    /// MiB to send in each pass of the measurement, 0 for none [default: the file's size, 256 to 1024]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(..=1 << 20))]
    pub(crate) measure: Option<u64>,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Modes {
    Byte,
    Message,
    Both,
}

impl Modes {
    pub(crate) fn each(self) -> &'static [PipeMode] {
        match self {
            Modes::Byte => &[PipeMode::Byte],
            Modes::Message => &[PipeMode::Message],
            Modes::Both => &[PipeMode::Byte, PipeMode::Message],
        }
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ServeArgs {
    /// The name to serve
    pub(crate) name: OsString,
    /// Send back what arrives (the default without a command)
    #[arg(long, conflicts_with = "command")]
    pub(crate) echo: bool,
    /// The command to run for each client
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
    /// Make a message pipe instead of a byte pipe
    #[arg(long)]
    pub(crate) message: bool,
    /// Which way the pipe goes; in: clients only write, out: clients only read
    #[arg(long, value_enum, default_value_t = Direction::Duplex)]
    pub(crate) direction: Direction,
    /// At most so many clients at a time, 1 to 254 [default: no limit]
    #[arg(long, value_name = "N", value_parser = parse_max_instances)]
    pub(crate) max_instances: Option<NonZeroU8>,
    /// Serve the name together with a process that serves it already
    #[arg(long)]
    pub(crate) join: bool,
    /// Let this user connect, too (a name or a number)
    #[arg(long, value_name = "USER")]
    pub(crate) user: Vec<String>,
    /// Let this group connect, too (a name or a number)
    #[arg(long, value_name = "GROUP")]
    pub(crate) group: Vec<String>,
    /// Let every user of this computer connect
    #[arg(long)]
    pub(crate) everyone: bool,
    /// Let clients on other computers connect, too, if their account may (on Linux through pipework-gateway)
    #[arg(long)]
    pub(crate) accept_remote: bool,
    /// Bytes that clients may write ahead [default: 262144]
    #[arg(long, value_name = "BYTES")]
    pub(crate) in_buffer: Option<u32>,
    /// Bytes that may be written ahead to a client [default: 262144]
    #[arg(long, value_name = "BYTES")]
    pub(crate) out_buffer: Option<u32>,
    /// Say when clients come and go
    #[arg(long, short)]
    pub(crate) verbose: bool,
}

/// Seen from the server, as in `PipeEntry::directions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Direction {
    Duplex,
    In,
    Out,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ConnectArgs {
    /// The pipe to open
    pub(crate) name: OsString,
    /// Send each line of stdin as a message, print each message as a line
    #[arg(long)]
    pub(crate) message: bool,
    /// Print what arrives as a hex dump
    #[arg(long)]
    pub(crate) hex: bool,
    /// Wait also for a pipe that does not exist yet
    #[arg(long)]
    pub(crate) wait: bool,
    /// How long to wait for a free instance, such as 500ms, 2s or 1m [default: 20s, with --wait for ever]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) timeout: Option<Duration>,
    /// Leave when stdin has ended and nothing came for so long [default: 1s]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) idle: Option<Duration>,
    /// Stay until the server closes, also after the end of stdin
    #[arg(long, conflicts_with = "idle")]
    pub(crate) stay: bool,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

/// For a pipe on another computer.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "For a pipe on another computer")]
pub(crate) struct RemoteArgs {
    /// The account there: user, DOMAIN\user or user@realm; asks for its password [default: your Kerberos tickets]
    #[arg(long, value_name = "USER")]
    pub(crate) user: Option<String>,
    /// Take the password from the first line of this file instead of asking
    #[arg(long, value_name = "FILE", requires = "user")]
    pub(crate) password_file: Option<PathBuf>,
    /// Go on also where the server can't encrypt; it still has to sign
    #[arg(long, requires = "user")]
    pub(crate) allow_unencrypted: bool,
    /// TCP port of the SMB service [default: 445]
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<u16>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ListArgs {
    /// Print the list as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct WaitArgs {
    /// The pipe to wait for
    pub(crate) name: OsString,
    /// Give up after this time, such as 500ms, 2s or 1m [default: never]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) timeout: Option<Duration>,
    /// Wait also for a pipe that does not exist yet
    #[arg(long)]
    pub(crate) absent: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct PathArgs {
    /// The name to look up
    pub(crate) name: OsString,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct DemoPeerArgs {
    #[command(subcommand)]
    pub(crate) task: PeerTask,
}

/// What the demo's other process does.
#[derive(Debug, Subcommand)]
pub(crate) enum PeerTask {
    /// Receives the file through a pipe, in byte mode unless `message`.
    Receive {
        name: OsString,
        #[arg(long)]
        message: bool,
    },
    /// Takes part in a measurement.
    Measure {
        transport: Transport,
        bytes: u64,
        /// Of the pipe, where the transport has one.
        name: Option<OsString>,
    },
}

/// What is measured. The order is that of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Transport {
    PipeworkByte,
    PipeworkMessage,
    KernelPipe,
    #[cfg(unix)]
    UnixSocket,
}

fn parse_max_instances(text: &str) -> Result<NonZeroU8, String> {
    match text.parse::<u8>().ok().and_then(NonZeroU8::new) {
        Some(count) if count.get() < u8::MAX => Ok(count),
        _ => Err("give a number from 1 to 254, or leave the option out for no limit".into()),
    }
}

fn parse_time(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "give a time such as 500ms, 2s or 1m".into())
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
    fn instances_are_1_to_254() {
        assert_eq!(parse_max_instances("1").map(NonZeroU8::get), Ok(1));
        assert_eq!(parse_max_instances("254").map(NonZeroU8::get), Ok(254));
        for wrong in ["0", "255", "256", "-1", "many", ""] {
            assert!(parse_max_instances(wrong).is_err(), "{wrong}");
        }
    }
}
