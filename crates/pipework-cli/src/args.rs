//! The command line. The help texts consist of examples; the exit codes are those of [`crate::failure::Status`].

use std::{ffi::OsString, num::NonZeroU8, path::PathBuf, sync::LazyLock, time::Duration};

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use pipework::PipeMode;

const MAIN_HELP: &str = "\
EXAMPLES
  pipework demo                          send a file, and measure the speed
  pipework serve hello --echo            in one terminal ...
  echo hi | pipework connect hello       ... and in another
  pipework call hello hi                 one question, one answer
  pipework list                          list the pipes

NAMES
  hello                 a pipe on this machine, also \\\\.\\pipe\\hello
  /tmp/hello.sock       a Unix domain socket, on Unix
  \\\\server\\pipe\\hello   a remote pipe, for connect; quote it, or the shell
                        removes backslashes

EXIT CODES
  0    success; also when stdout was closed early
  1    failure
  2    wrong usage, or an invalid name
  3    no such pipe
  4    busy, or timed out
  5    access denied, or the name is taken
  130  interrupted (Ctrl-C, or SIGTERM except for serve)";

const DEMO_HELP: &str = "\
EXAMPLES
  pipework demo                          send this program itself
  pipework demo big.iso --clients 8      send another file, to eight clients
  pipework demo --mode message           messages only
  pipework demo --json > result.json     for programs

Speeds are measured between two processes, without hashing. The writer sends 64 KiB at a time from \
memory (the first 16 MiB of the file, repeated); the reader copies the data into a buffer. Each \
figure is the median of three passes after a short warm-up; a pass measures each transport once. \
Pipework has buffers of 1 MiB, the other transports have the system's default size.";

const SERVE_HELP: &str = "\
EXAMPLES
  pipework serve hello --echo                     send back what clients send
  pipework serve calc -- bc -l                    one calculator for each client
  pipework serve upper -- stdbuf -oL tr a-z A-Z   without a buffer at its output
  pipework serve calc --message -- bc -l          each message is one line
  pipework serve log --direction out -- tail -f app.log
                                                  clients only read
  pipework serve who -- sh -c 'echo \"$PIPEWORK_PEER_USER\"'
                                                  the client's user
  pipework serve job --max-instances 1 --echo     one client at a time
  pipework serve db --group staff --echo          a group can connect, too
  pipework serve db --user eve --accept-remote --echo
                                                  remote clients, too

The command reads what its client sends from stdin, and writes to the client through stdout. When \
the command exits, the client receives the rest of its output, and the connection is closed. When \
the client disconnects, the command's stdin ends (not before: a named pipe can't be half-closed), \
and within five seconds the command is killed. With --message each message is one line of the \
command, without the line end. With --direction in, the command shares the server's stdout.

The command's environment has the pipe in PIPEWORK_NAME and the client in PIPEWORK_PEER_PID, \
PIPEWORK_PEER_UID and PIPEWORK_PEER_USER, and a remote client in PIPEWORK_PEER_ACCOUNT \
(DOMAIN\\user) and PIPEWORK_PEER_ADDRESS. What is not known is not set. If the command fails while \
its client is there, its exit status is reported.

Ctrl-C ends the connections (code 130). SIGTERM, as from a service manager, lets no more \
clients in, serves the others until they have left or --grace has passed, and ends with code 0.

On Unix the command leads a process group of its own, which ends with it: its processes get SIGTERM, \
and SIGKILL half a second later. A process that has to run on needs its own session (setsid). Such a \
group is in the background of the terminal, so the command can't read from it (/dev/tty).";

const CONNECT_HELP: &str = "\
EXAMPLES
  pipework connect hello                          interactively
  echo hi | pipework connect hello --replies 1 --deadline 5s
                                                  one line, and one line back
  pipework connect hello < request > response     files
  pipework connect hello --message                a line of stdin is a message
  find . -print0 | pipework connect names -0      messages that have line ends
  pipework connect hello --framed < in > out      messages of any bytes
  echo '68 69 0a' | pipework connect hello --hex  bytes by digits, and a dump
  pipework connect log --stay < /dev/null         only read
  pipework connect hello --wait --timeout 1m      wait until the pipe exists
  pipework connect '\\\\server\\pipe\\hello' --user eve
                                                  remote; asks for the password

A named pipe can't be half-closed, so the server never sees the end of stdin. After that, connect \
waits until the server has read everything, prints what the server still sends, and exits when \
nothing arrives for --idle, or with --stay when the server closes. It always exits when the server \
closes. With --replies it exits as soon as they have arrived, whatever is left of stdin, and waits \
for them without a limit if --idle is not given. What was sent and got no answer within --idle, \
a missing reply, half a message, and the end at the --deadline are failures (code 1). A Unix domain socket can be half-closed; there connect waits for the server to close. \
Without --message, each read from stdin is sent to a message pipe as one message.";

const CALL_HELP: &str = "\
EXAMPLES
  pipework call calc 1+2                          a line, and a line back
  echo 1+2 | pipework call calc --deadline 5s     the same, for 5 s at most
  pipework call db --message '{\"get\": 1}'         a message, and a message back
  pipework call log --close 'last 10'             all until the server closes
  pipework call log --idle 200ms 'last 10'        until a pause of 200 ms
  pipework call /run/app.sock status              as nc -U does

The question is the argument with a line end, or all of stdin. A byte pipe does not mark the end of \
an answer: by default the answer is one line, and on a Unix domain socket, which is half-closed \
after the question, all until the server closes. The answer always ends when the server closes. With \
--message the question and the answer are one message each; a line end at the end of stdin is not \
sent, and one is added to the answer.

The exit code is 0 only if there was an answer. If the server closes without one, if more than the \
line has arrived, or if the --deadline passes, the exit code is 1, with a reason on stderr.";

const LIST_HELP: &str = "\
EXAMPLES
  pipework list
  pipework list --json | jq -r '.[].name'

DIRECTION is that of the server: clients write to an \"in\" pipe, and read from an \"out\" pipe. \
NETWORK says whether the pipe accepts remote clients, if pipework-gateway runs.";

const WAIT_HELP: &str = "\
EXAMPLES
  pipework wait hello && echo hi | pipework connect hello
  pipework wait hello --absent --timeout 30s      also until the pipe exists

Waiting reserves nothing: another client may connect first.";

const PATH_HELP: &str = "\
EXAMPLES
  ls \"$(pipework path hello)\"

The pipe need not exist. PIPEWORK_DIR and XDG_RUNTIME_DIR select the directory.";

/// What `--version` prints after the name: what a report of a fault needs.
static DETAILS: LazyLock<String> = LazyLock::new(|| {
    let features = if cfg!(feature = "remote") { "remote" } else { "none" };
    #[cfg(unix)]
    let protocol = pipework::os::unix::PROTOCOL_VERSION;
    #[cfg(windows)]
    let protocol = "that of the system";
    let (version, commit) = (env!("CARGO_PKG_VERSION"), env!("PIPEWORK_COMMIT"));
    format!("{version}\ncommit: {commit}\nfeatures: {features}\nprotocol: {protocol}")
});

/// Serve, open, list, wait for and measure named pipes.
///
/// Named pipes with the semantics of Windows, on every system. A name has any number of clients, each connected to
/// its own instance.
#[derive(Debug, Parser)]
#[command(name = "pipework", version, long_version = DETAILS.as_str(), after_help = MAIN_HELP)]
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
    /// Send one question, and print the answer.
    #[command(after_help = CALL_HELP)]
    Call(CallArgs),
    /// List the visible pipes.
    #[command(after_help = LIST_HELP)]
    List(ListArgs),
    /// Wait until a client can connect.
    #[command(after_help = WAIT_HELP)]
    Wait(WaitArgs),
    /// Print the path of a pipe.
    #[command(after_help = PATH_HELP)]
    Path(PathArgs),
    /// The peer process of the demo.
    #[command(hide = true)]
    DemoPeer(DemoPeerArgs),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct DemoArgs {
    /// The file to send [default: this program itself]
    pub(crate) file: Option<PathBuf>,
    /// Number of client processes, which all connect at the same time
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u16).range(1..=254))]
    pub(crate) clients: u16,
    /// Modes of the pipe
    #[arg(long, value_enum, default_value_t = Modes::Both)]
    pub(crate) mode: Modes,
    /// MiB to send in each pass of the measurement; 0 skips it [default: the file's size, 256 to 1024]
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
    /// Send back what clients send (the default without a command)
    #[arg(long, conflicts_with = "command")]
    pub(crate) echo: bool,
    /// The command to run for each client
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
    /// Make a message pipe instead of a byte pipe
    #[arg(long)]
    pub(crate) message: bool,
    /// Direction of the pipe; in: clients only write, out: clients only read
    #[arg(long, value_enum, default_value_t = Direction::Duplex)]
    pub(crate) direction: Direction,
    /// The maximum number of clients at a time, 1 to 254 [default: no limit]
    #[arg(long, value_name = "N", value_parser = parse_max_instances)]
    pub(crate) max_instances: Option<NonZeroU8>,
    /// Add instances to a name that another process serves already
    #[arg(long)]
    pub(crate) join: bool,
    /// Also allow this user to connect (a name or a number)
    #[arg(long, value_name = "USER")]
    pub(crate) user: Vec<String>,
    /// Also allow this group to connect (a name or a number)
    #[arg(long, value_name = "GROUP")]
    pub(crate) group: Vec<String>,
    /// Allow every local user to connect
    #[arg(long)]
    pub(crate) everyone: bool,
    /// Also accept remote clients, if their account has access (on Linux through pipework-gateway)
    #[arg(long)]
    pub(crate) accept_remote: bool,
    /// Size of the buffer from clients to the server [default: 262144]
    #[arg(long, value_name = "BYTES")]
    pub(crate) in_buffer: Option<u32>,
    /// Size of the buffer from the server to each client [default: 262144]
    #[arg(long, value_name = "BYTES")]
    pub(crate) out_buffer: Option<u32>,
    /// After SIGTERM, how long the connected clients may take to finish
    #[arg(long, value_name = "TIME", value_parser = parse_time, default_value = "5s")]
    pub(crate) grace: Duration,
    /// Report when clients connect and disconnect
    #[arg(long, short)]
    pub(crate) verbose: bool,
}

/// The direction of the server, as in `PipeEntry::directions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Direction {
    Duplex,
    In,
    Out,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ConnectArgs {
    /// Send each line of stdin as a message, print each message as a line
    #[arg(long)]
    pub(crate) message: bool,
    /// Messages, each with a NUL byte at its end in stdin and stdout
    #[arg(long, short = '0', conflicts_with_all = ["message", "hex"])]
    pub(crate) null: bool,
    /// Messages, each after its length in stdin and stdout (4 bytes, little-endian)
    #[arg(long, conflicts_with_all = ["message", "null", "hex"])]
    pub(crate) framed: bool,
    /// Print what arrives as a hex dump, and send the bytes whose hexadecimal digits are a line of stdin
    #[arg(long)]
    pub(crate) hex: bool,
    /// After the end of stdin, exit when nothing has arrived for this time; 0s expects no answer [default: 1s]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) idle: Option<Duration>,
    /// After the end of stdin, stay connected until the server closes
    #[arg(long, conflicts_with = "idle")]
    pub(crate) stay: bool,
    /// Exit when this many replies have arrived: messages, or lines of a byte pipe
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) replies: Option<u64>,
    #[command(flatten)]
    pub(crate) open: OpenArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct CallArgs {
    /// The question [default: all of stdin]
    #[arg(index = 2)]
    pub(crate) question: Option<OsString>,
    /// The question and the answer are messages
    #[arg(long, conflicts_with_all = ["line", "close", "idle"])]
    pub(crate) message: bool,
    /// The answer is a line (the default, except on a Unix domain socket)
    #[arg(long, conflicts_with_all = ["close", "idle"])]
    pub(crate) line: bool,
    /// The answer is all until the server closes
    #[arg(long, conflicts_with = "idle")]
    pub(crate) close: bool,
    /// The answer ends when nothing more has arrived for this time
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) idle: Option<Duration>,
    /// Add no line end and remove none
    #[arg(long)]
    pub(crate) exact: bool,
    #[command(flatten)]
    pub(crate) open: OpenArgs,
}

/// What all clients need to open a pipe.
#[derive(Debug, ClapArgs)]
pub(crate) struct OpenArgs {
    /// The pipe to open
    #[arg(index = 1)]
    pub(crate) name: OsString,
    /// Also wait for a pipe that does not exist yet
    #[arg(long)]
    pub(crate) wait: bool,
    /// How long to wait for a free instance, such as 500ms, 2s or 1m [default: 20s, with --wait no limit]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) timeout: Option<Duration>,
    /// Give up after this time from the start, such as 500ms, 2s or 1m: then the exit code is 1 [default: never]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) deadline: Option<Duration>,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

/// Options for a remote pipe.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Options for a remote pipe")]
pub(crate) struct RemoteArgs {
    /// The account on the server: user, DOMAIN\user or user@realm; asks for its password [default: your Kerberos tickets]
    #[arg(long, value_name = "USER")]
    pub(crate) user: Option<String>,
    /// Read the password from the first line of this file
    #[arg(long, value_name = "FILE", requires = "user")]
    pub(crate) password_file: Option<PathBuf>,
    /// Also connect to a server that can't encrypt; it still has to sign
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
    /// Time out after this time, such as 500ms, 2s or 1m [default: never]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) timeout: Option<Duration>,
    /// Also wait for a pipe that does not exist yet
    #[arg(long)]
    pub(crate) absent: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct PathArgs {
    /// The name of the pipe
    pub(crate) name: OsString,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct DemoPeerArgs {
    #[command(subcommand)]
    pub(crate) task: PeerTask,
}

/// The tasks of the demo's peer process.
#[derive(Debug, Subcommand)]
pub(crate) enum PeerTask {
    /// Receives the file through a pipe, in message mode if `message`.
    Receive {
        name: OsString,
        #[arg(long)]
        message: bool,
    },
    /// Is the other end of a measurement.
    Measure {
        transport: Transport,
        bytes: u64,
        /// The name of the pipe, if the transport is a named pipe.
        name: Option<OsString>,
    },
}

/// The measured transports, in the order of the table.
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
        _ => Err("expected a number from 1 to 254; omit the option for no limit".into()),
    }
}

fn parse_time(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "expected a time such as 500ms, 2s or 1m".into())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    /// A paragraph is one line, and the others fit: so help is wrapped once, where it is shown.
    #[test]
    fn footers_of_help_are_not_wrapped_twice() {
        let mut tool = Args::command();
        tool.build();
        let commands = tool.get_subcommands().cloned().chain([tool.clone()]);
        for command in commands {
            let footer = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let lines: Vec<&str> = footer.lines().collect();
            let is_prose = |line: &str| line.starts_with(|first: char| first.is_alphabetic());
            let is_heading = |line: &str| !line.chars().any(char::is_lowercase);
            for pair in lines.windows(2) {
                let is_cut = pair.iter().all(|line| is_prose(line) && !is_heading(line));
                assert!(!is_cut, "{}: a paragraph is in two lines: {pair:?}", command.get_name());
            }
            for line in lines.iter().filter(|line| !is_prose(line)) {
                assert!(line.chars().count() <= 80, "{}: {line}", command.get_name());
            }
        }
    }

    #[test]
    fn options_are_under_their_heading() {
        let mut tool = Args::command();
        tool.build();
        let options = tool.get_subcommands().flat_map(clap::Command::get_arguments);
        for option in options.filter(|option| option.get_help_heading().is_some()) {
            let for_remote = ["user", "password_file", "allow_unencrypted", "port"];
            assert!(for_remote.contains(&option.get_id().as_str()), "{option}");
        }
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
